"""Training rows that are not held in memory: gathered from the data and standardised whenever they are asked for."""

from __future__ import annotations

from typing import final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lcm.data.mapped import mapped_file, release, require_whole
from lcm.decoder import ChainDecoder

_GOLDEN_RATIO = (1 + 5**0.5) / 2
_RESIDENT_BYTES = 1 << 30
_GATHERS_UNTIL_RELEASE = 32


@final
class StreamedRows:
    """The rows of observations (N, d) but for some, in the n coordinates of a fit, read when they are indexed.

    Row r lies at place a·r + b modulo their number, with a near the golden section of it: rows that are neighbours here
    are spread evenly over the data, whose order may mean something. Within a batch, rows are read in the order in which
    they lie in the file.
    """

    def __init__(
        self, source: NDArray[np.float32], left_out: NDArray[np.int64], standardisation: ChainDecoder, start: int = 0
    ) -> None:
        """left_out: sorted row numbers of the source. start: b, the place of row 0."""
        self._source, self._standardisation = source, standardisation
        self._n_rows = len(source) - len(left_out)
        self._places_before = left_out - np.arange(len(left_out))
        self._stride, self._start = _coprime_near_golden_section(self._n_rows), start
        self._is_mapped = mapped_file(source) is not None
        self._gathers = 0

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
        if isinstance(rows, slice):
            found = self._gather(np.arange(*rows.indices(self._n_rows)))
            release(self._source)
            return found
        return self._gather(rows.cpu().numpy())

    def _gather(self, rows: NDArray[np.int64]) -> Tensor:
        index = self.source_rows(rows)
        if self._is_mapped:
            require_whole(self._source)
            order = np.argsort(index)
            gathered = np.empty((len(index), self._source.shape[1]), self._source.dtype)
            gathered[order] = self._source[index[order]]
            self._bound_residency()
        else:
            gathered = self._source[index]
        return self._standardisation.inverse(torch.from_numpy(gathered).to(self.device))[0]

    def _bound_residency(self) -> None:
        self._gathers += 1
        if self._gathers % _GATHERS_UNTIL_RELEASE == 0 and self._source.nbytes > _RESIDENT_BYTES:
            release(self._source)


def _coprime_near_golden_section(count: int) -> int:
    stride = max(1, round(count / _GOLDEN_RATIO))
    while np.gcd(stride, count) != 1:
        stride += 1
    return stride


Rows = Tensor | StreamedRows
