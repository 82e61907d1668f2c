"""A stage of a fit: its objective, its schedule, its tracker, and training rows that are read on demand."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Generator, Hashable, Iterable, Mapping, Sequence
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
    """Parameters that share a step size and a gradient clip.

    matrices: whether each is a stack of matrices (L, R, C), whose steps are to be taken in the eigenbases of their
        gradients.
    """

    parameters: list[nn.Parameter]
    learning_rate: float
    matrices: bool = False

    @classmethod
    def by_shape(cls, parameters: Iterable[nn.Parameter], learning_rate: float) -> list[ParameterGroup]:
        """Groups of the stacks of matrices among some parameters, and of the others; no group is empty."""
        stacks: list[nn.Parameter] = []
        others: list[nn.Parameter] = []
        for parameter in parameters:
            (stacks if parameter.dim() == 3 and parameter.numel() else others).append(parameter)
        return [cls(group, learning_rate, group is stacks) for group in (stacks, others) if group]


@final
@dataclass(frozen=True)
class Schedule:
    """How long to optimise, and when to stop early.

    patience: training ends after so many validations without progress, counted from the share `patient_from` of steps.
    give_up_at: training ends at this share of the steps if no state has validated better than the first.
    linear: whether the step size falls linearly from the start, and not along a cosine in the second half.
    """

    steps: int
    batch_size: int
    validate_every: int = 100
    patience: int = 5
    patient_from: float = 0.6
    give_up_at: float = 1.0
    linear: bool = False


class Objective(nn.Module, ABC):
    """Abstract: what a stage minimises.

    Training changes only parameters and floating-point buffers. A checkpoint of them is therefore complete, and several
    objectives can be evaluated as one: `loss` is a function of them and of its batch.

    seconds: time spent in training so far, that of interrupted runs included; the loop keeps it.
    """

    seconds: float = 0.0

    @abstractmethod
    def groups(self) -> list[ParameterGroup]:
        """Parameter groups; each has its own clip and step size."""

    @property
    @abstractmethod
    def n_rows(self) -> int:
        """Number of training rows: pairs, or single images."""

    @abstractmethod
    def batch(self, rows: Tensor) -> tuple[Tensor, ...]:
        """The training rows `rows` (B,): tensors (B, ...)."""

    @abstractmethod
    def loss(self, batch: tuple[Tensor, ...], progress: float) -> Tensor:
        """Mean loss of a batch; `progress` in [0, 1) is the share of the steps done."""

    @abstractmethod
    def validate(self) -> dict[str, Any]:
        """Held-out measures; the state with the largest `validation_log_likelihood` is kept."""

    def log_likelihood(self, loss: float) -> float:
        """The mean log-likelihood in nats a pair that corresponds to a mean loss."""
        return -loss

    @property
    def row_cost(self) -> int:
        """The cost of gathering a row, in rows of a few numbers."""
        return 1

    def structure(self) -> Hashable:
        """What `loss` depends on besides tensors: equal for objectives that can be evaluated as one."""
        return id(self)

    @classmethod
    def align(cls, objectives: Sequence[Objective]) -> None:
        """Reduce the number of structures among objectives of this class before they are optimised together."""

    def forward(self, batch: tuple[Tensor, ...], progress: float) -> Tensor:
        return self.loss(batch, progress)


@final
@dataclass(frozen=True)
class Job:
    """One stage of a fit, ready to be optimised alone or together with the same stage of other fits."""

    stage: str
    objective: Objective
    schedule: Schedule
    generator: torch.Generator


Stages = Generator[Job, None, _Result]
"""A part of a fit: it yields each job, continues when the job is done, and returns its result."""


class Tracker(Protocol):
    """Receives the records and keeps the checkpoints of a stage of one or several fits."""

    def record(self, values: Mapping[str, object], member: int = 0) -> None: ...

    def advance(self, step: int, steps: int, log_likelihood: float) -> None: ...

    def save(self, state: dict[str, Tensor]) -> None: ...

    def restore(self) -> dict[str, Tensor] | None: ...


@final
class StreamedRows:
    """Rows of observations (N, d), without some, in the r coordinates of a fit; they are read when they are indexed.

    Row r lies at place a·r + b modulo the number of rows, with a near its golden section. Neighbouring rows are so
    spread evenly over the data, whose order may carry information.
    """

    def __init__(
        self, source: NDArray[np.floating], left_out: NDArray[np.int64], standardisation: ChainDecoder, start: int = 0
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
        """Standardised rows (M, r), M the number of row numbers or the length of the slice.

        Raises:
            ValueError: the file that the data lie in became shorter.
        """
        numbers = np.arange(*rows.indices(self._n_rows)) if isinstance(rows, slice) else rows.cpu().numpy()
        gathered = take_rows(self._source, self.source_rows(numbers))
        return self._standardisation.encode(torch.from_numpy(gathered).to(self.device))


def _coprime_near_golden_section(count: int) -> int:
    stride = max(1, round(count / _GOLDEN_RATIO))
    while np.gcd(stride, count) != 1:
        stride += 1
    return stride


Rows = Tensor | StreamedRows
