"""Training rows that are not held in memory: gathered from the data and standardised whenever they are asked for."""

from __future__ import annotations

from typing import final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lcm.data.mapped import take_rows
from lcm.decoder import ChainDecoder

_GOLDEN_RATIO = (1 + 5**0.5) / 2


@final
class StreamedRows:
    """The rows of observations (N, d) but for some, in the n coordinates of a fit, read when they are indexed.

    Row r lies at place a·r + b modulo their number, with a near the golden section of it: rows that are neighbours here
    are spread evenly over the data, whose order may mean something.
    """

    def __init__(
        self, source: NDArray[np.float32], left_out: NDArray[np.int64], standardisation: ChainDecoder, start: int = 0
    ) -> None:
        """left_out: sorted row numbers of the source. start: b, the place of row 0."""
        self._source, self._standardisation = source, standardisation
        self._n_rows = len(source) - len(left_out)
        self._places_before = left_out - np.arange(len(left_out))
        self._stride, self._start = _coprime_near_golden_section(self._n_rows), start

    def __len__(self) -> int:
        return self._n_rows

    @property
    def device(self) -> torch.device:
        """Where rows appear."""
        part = self._standardisation.parts[0]
        return next(part.buffers()).device

    def source_rows(self, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        """The row numbers in the source (M,) of rows (M,)."""
        places = (rows * self._stride + self._start) % self._n_rows
        return places + np.searchsorted(self._places_before, places, side="right")

    def __getitem__(self, rows: Tensor | slice) -> Tensor:
        """Standardised rows (M, n), M the number of row numbers or the length of the slice.

        Raises:
            ValueError: the file that the data lie in became shorter.
        """
        numbers = np.arange(*rows.indices(self._n_rows)) if isinstance(rows, slice) else rows.cpu().numpy()
        gathered = take_rows(self._source, self.source_rows(numbers))
        return self._standardisation.inverse(torch.from_numpy(gathered).to(self.device))[0]


def _coprime_near_golden_section(count: int) -> int:
    stride = max(1, round(count / _GOLDEN_RATIO))
    while np.gcd(stride, count) != 1:
        stride += 1
    return stride


Rows = Tensor | StreamedRows
