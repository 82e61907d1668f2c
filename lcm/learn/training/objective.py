"""What a stage of a fit minimises, for how long, and where it reports to."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Generator, Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar, final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from lcm.base.rows import take_rows
from lcm.model.decoder import ChainDecoder

_GOLDEN_RATIO = (1 + 5**0.5) / 2
_Result = TypeVar("_Result")


@final
@dataclass(frozen=True)
class ParameterGroup:
    """Parameters with a step size and a gradient clip of their own."""

    parameters: list[nn.Parameter]
    learning_rate: float


@final
@dataclass(frozen=True)
class Schedule:
    """How long to optimise, and when to stop earlier.

    patience: validations without progress that end it, counted from the share `patient_from` of the steps on.
    give_up_at: share of the steps after which it ends if no state has validated better than the first.
    """

    steps: int
    batch_size: int
    validate_every: int = 100
    patience: int = 5
    patient_from: float = 0.6
    give_up_at: float = 1.0


class Objective(nn.Module, ABC):
    """Abstract: what a stage minimises.

    All that training changes lies in parameters and in floating-point buffers, so that a checkpoint is complete and
    several objectives can be evaluated as one: `loss` is a function of these and of its batch.
    """

    @abstractmethod
    def groups(self) -> list[ParameterGroup]:
        """Parameter groups; each is clipped and stepped on its own."""

    @property
    @abstractmethod
    def n_rows(self) -> int:
        """Number of training pairs."""

    @abstractmethod
    def batch(self, rows: Tensor) -> tuple[Tensor, ...]:
        """The training pairs `rows` (B,): tensors (B, ...)."""

    @abstractmethod
    def loss(self, batch: tuple[Tensor, ...], progress: float) -> Tensor:
        """Mean loss of a batch; `progress` in [0, 1) is the share of the steps done."""

    @abstractmethod
    def validate(self) -> dict[str, Any]:
        """Held-out measures; `validation_log_likelihood` decides which state is kept."""

    def log_likelihood(self, loss: float) -> float:
        """The mean log-likelihood in nats a pair that a mean loss stands for."""
        return -loss

    @property
    def row_cost(self) -> int:
        """How many rows of a few numbers a row of a batch is worth, where many rows are gathered at once."""
        return 1

    def structure(self) -> Hashable:
        """All that `loss` depends on besides tensors: equal for objectives that may be evaluated as one."""
        return id(self)

    @classmethod
    def align(cls, objectives: Sequence[Objective]) -> None:
        """Bring objectives of this class, which are about to be optimised together, to fewer structures."""

    def forward(self, batch: tuple[Tensor, ...], progress: float) -> Tensor:
        return self.loss(batch, progress)


@final
@dataclass(frozen=True)
class Job:
    """One stage of a fit that is ready to be optimised, alone or together with those of other fits."""

    stage: str
    objective: Objective
    schedule: Schedule
    generator: torch.Generator


Stages = Generator[Job, None, _Result]
"""A part of a fit: it yields a job whenever one is to be done, continues when it is, and returns its result."""


class Tracker(Protocol):
    """Where a stage of one or several fits reports to, and where its checkpoints live."""

    def record(self, values: Mapping[str, object], member: int = 0) -> None: ...

    def advance(self, step: int, steps: int, log_likelihood: float) -> None: ...

    def save(self, state: dict[str, Tensor]) -> None: ...

    def restore(self) -> dict[str, Tensor] | None: ...


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
