"""What a stage of a fit minimises, for how long, and where it reports to."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Generator, Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar, final

import torch
from torch import Tensor, nn

T = TypeVar("T")


@final
@dataclass(frozen=True)
class Group:
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
    def groups(self) -> list[Group]:
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


Stages = Generator[Job, None, T]
"""A part of a fit: it yields a job whenever one is to be done, continues when it is, and returns its result."""


class Tracker(Protocol):
    """Where a stage of one or several fits reports to, and where its checkpoints live."""

    def record(self, values: Mapping[str, object], member: int = 0) -> None: ...

    def advance(self, step: int, steps: int, log_likelihood: float) -> None: ...

    def save(self, state: dict[str, Tensor]) -> None: ...

    def restore(self) -> dict[str, Tensor] | None: ...
