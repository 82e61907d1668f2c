"""One optimisation loop for every stage: Adam, warm-up and cosine decay, validation, early stopping, exact resume."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol, final

import torch
from torch import Tensor, nn

_GRADIENT_CLIP = 5.0
_WARM_UP_STEPS = 50
_DECAY_FROM = 0.5
_LAST_RATE = 0.01


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
    """Abstract: what a stage minimises. Its state lies in parameters and buffers, so that a checkpoint is complete."""

    @abstractmethod
    def groups(self) -> list[Group]:
        """Parameter groups; each is clipped and stepped on its own."""

    @property
    @abstractmethod
    def n_rows(self) -> int:
        """Number of training pairs."""

    @abstractmethod
    def loss(self, rows: Tensor, progress: float) -> Tensor:
        """Mean loss of the training pairs `rows`; `progress` in [0, 1) is the share of the steps done."""

    @abstractmethod
    def validate(self) -> dict[str, float | list[float]]:
        """Held-out measures; `validation_log_likelihood` decides which state is kept."""


class Tracker(Protocol):
    """Where a stage reports to, and where its checkpoints live."""

    def record(self, values: Mapping[str, object]) -> None: ...

    def advance(self, step: int, steps: int, log_likelihood: float) -> None: ...

    def save(self, state: dict[str, Tensor]) -> None: ...

    def restore(self) -> dict[str, Tensor] | None: ...


def optimise(objective: Objective, schedule: Schedule, generator: torch.Generator, tracker: Tracker) -> None:
    """Minimise `objective` in place and leave it at its best validated state.

    Deterministic given the objective's state and the generator's; a run resumed from any checkpoint ends in the same
    state as one that was never interrupted.
    """
    _Loop(objective, schedule, generator, tracker).run()


class _Loop:
    def __init__(self, objective: Objective, schedule: Schedule, generator: torch.Generator, tracker: Tracker) -> None:
        self.objective, self.schedule, self.generator, self.tracker = objective, schedule, generator, tracker
        self.groups = objective.groups()
        self.optimiser = torch.optim.Adam(
            [{"params": group.parameters, "lr": group.learning_rate} for group in self.groups],
            betas=(0.9, 0.99),
            fused=True,
        )
        self.step, self.best, self.best_step, self.stale, self.mean_loss = 0, -math.inf, 0, 0, 0.0
        self.best_state = _copy(objective.state_dict())

    def run(self) -> None:
        saved = self.tracker.restore()
        if saved is None:
            self._validate()
        else:
            self._unpack(saved)
        schedule = self.schedule
        losses: list[Tensor] = []
        while self.step < schedule.steps and not self._finished():
            losses.append(self._train_step())
            self.step += 1
            if self.step % schedule.validate_every == 0 or self.step == schedule.steps:
                self.mean_loss = float(torch.stack(losses).mean())
                losses = []
                self._validate()
                self.tracker.save(self._pack())
        self.objective.load_state_dict(self.best_state)

    def _finished(self) -> bool:
        hopeless = self.best_step == 0 and self.step >= self.schedule.give_up_at * self.schedule.steps
        return hopeless or self.stale >= self.schedule.patience

    def _train_step(self) -> Tensor:
        progress = self.step / self.schedule.steps
        rate = _rate(self.step, self.schedule.steps)
        for options, group in zip(self.optimiser.param_groups, self.groups, strict=True):
            options["lr"] = group.learning_rate * rate
        rows = torch.randint(
            self.objective.n_rows,
            (self.schedule.batch_size,),
            generator=self.generator,
            device=self.generator.device,
        )
        loss = self.objective.loss(rows, progress)
        self.optimiser.zero_grad()
        loss.backward()
        for group in self.groups:
            nn.utils.clip_grad_norm_(group.parameters, _GRADIENT_CLIP)
        self.optimiser.step()
        return loss.detach()

    def _validate(self) -> None:
        with torch.no_grad():
            measures = self.objective.validate()
        value = measures["validation_log_likelihood"]
        assert isinstance(value, float)
        trained = {"log_likelihood": -self.mean_loss} if self.step else {}
        self.tracker.record({"step": self.step, **trained, **measures})
        self.tracker.advance(self.step, self.schedule.steps, value)
        if not math.isfinite(value):
            raise FloatingPointError(f"the held-out log-likelihood became {value} at step {self.step}")
        if value > self.best:
            self.best, self.best_step, self.stale = value, self.step, 0
            self.best_state = _copy(self.objective.state_dict())
        elif self.step >= self.schedule.patient_from * self.schedule.steps:
            self.stale += 1

    def _pack(self) -> dict[str, Tensor]:
        """Everything the rest of the run depends on, as tensors."""
        packed = {f"state.{name}": value for name, value in self.objective.state_dict().items()}
        packed |= {f"best.{name}": value for name, value in self.best_state.items()}
        for index, slots in self.optimiser.state_dict()["state"].items():
            packed |= {f"adam.{index}.{slot}": value for slot, value in slots.items()}
        packed["generator"] = self.generator.get_state()
        packed["counters"] = torch.tensor([self.step, self.stale, self.best_step, self.best], dtype=torch.float64)
        return packed

    def _unpack(self, packed: dict[str, Tensor]) -> None:
        def part(prefix: str) -> dict[str, Tensor]:
            return {k.removeprefix(prefix): v for k, v in packed.items() if k.startswith(prefix)}

        self.objective.load_state_dict(part("state."))
        self.best_state = part("best.")
        slots: dict[int, dict[str, Tensor]] = {}
        for name, value in part("adam.").items():
            index, slot = name.split(".")
            slots.setdefault(int(index), {})[slot] = value
        state = self.optimiser.state_dict()
        self.optimiser.load_state_dict({"state": slots, "param_groups": state["param_groups"]})
        self.generator.set_state(packed["generator"])
        *counts, self.best = packed["counters"].tolist()
        self.step, self.stale, self.best_step = (int(count) for count in counts)


def _rate(step: int, steps: int) -> float:
    """Relative step size: linear warm-up, constant, then a cosine down to a hundredth."""
    decay = max(0.0, (step / steps - _DECAY_FROM) / (1.0 - _DECAY_FROM))
    cosine = _LAST_RATE + (1.0 - _LAST_RATE) * 0.5 * (1.0 + math.cos(math.pi * decay))
    return min(1.0, (step + 1) / min(_WARM_UP_STEPS, steps)) * cosine


def _copy(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: value.detach().clone() for name, value in state.items()}


@torch.no_grad()
def in_chunks(function: Callable[..., tuple[Tensor, ...]], *arrays: Tensor, size: int = 16384) -> list[Tensor]:
    """Apply a row-wise function to arrays of equal length in chunks and join the results, without gradients."""
    chunks = [function(*parts) for parts in zip(*(array.split(size) for array in arrays), strict=True)]
    return [torch.cat(columns) for columns in zip(*chunks, strict=True)]
