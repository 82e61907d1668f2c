"""One optimisation loop for every stage: Adam, warm-up and cosine decay, validation, early stopping, exact resume."""

from __future__ import annotations

import math
import time
from collections.abc import Hashable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar, final

import torch
from torch import Tensor

from lcm.base.rows import keep_freed_memory, return_free_memory
from lcm.learn.training.objective import Job, Objective, Schedule, Stages, Tracker
from lcm.learn.training.optimiser import Optimiser
from lcm.learn.training.stack import Stack, structure
from lcm.learn.training.tracker import Recorder

_GRADIENT_CLIP = 5.0
_WARM_UP_STEPS = 50
_DECAY_FROM = 0.5
_LAST_RATE = 0.01
_ROWS_AT_ONCE = 16_384


@final
class NotFiniteError(FloatingPointError):
    """A stage whose held-out likelihood is no longer finite."""


def optimise(objective: Objective, schedule: Schedule, generator: torch.Generator, tracker: Tracker) -> None:
    """Minimise `objective` in place and leave it at its best validated state.

    Deterministic given the objective's state and the generator's; a run resumed from any checkpoint ends in the same
    state as one that was never interrupted.
    """
    optimise_together([objective], schedule, [generator], tracker)


def optimise_together(
    objectives: Sequence[Objective], schedule: Schedule, generators: Sequence[torch.Generator], tracker: Tracker
) -> None:
    """Minimise objectives of one structure as one batched computation, each as `optimise` would alone.

    Every objective has its own random batches, clipping, validation, best state and end. After its end it leaves the
    computation.
    """
    keep_freed_memory()
    members = [_Member(*pair) for pair in zip(objectives, generators, strict=True)]
    _Loop(members, schedule, tracker).run()


@final
@dataclass(eq=False)
class _Member:
    """One objective of the batch and how far it has come."""

    objective: Objective
    generator: torch.Generator
    best: float = -math.inf
    best_step: int = 0
    stale: int = 0
    loss: float = 0.0
    value: float = math.nan


class _Loop:
    def __init__(self, members: Sequence[_Member], schedule: Schedule, tracker: Tracker) -> None:
        self.members, self.schedule, self.tracker = list(members), schedule, tracker
        self.step = 0
        self.started = time.perf_counter() - max(member.objective.seconds for member in members)
        self.running = list(range(len(members)))
        self.stack = Stack([member.objective for member in members])
        self.optimiser = Optimiser(self.stack)
        self.best_state = {name: value.clone() for name, value in self.stack.state().items()}

    def run(self) -> None:
        saved = self.tracker.restore()
        if saved is None:
            self._validate()
        else:
            self._unpack(saved)
        self._retire()
        while self.running:
            self._train()
            self._validate()
            self.tracker.save(self._pack())
            self._retire()

    def _train(self) -> None:
        """Steps up to the next validation."""
        every = self.schedule.validate_every
        end = min(self.schedule.steps, (self.step // every + 1) * every)
        losses: list[Tensor] = []
        for batches in self._ahead(end - self.step):
            for batch in batches:
                losses.append(self._train_step(batch))
                self.step += 1
        for index, loss in zip(self.running, torch.stack(losses).mean(0).tolist(), strict=True):
            self.members[index].loss = loss

    def _ahead(self, count: int) -> Iterator[Iterator[tuple[Tensor, ...]]]:
        """The batches of the next `count` steps, in parts; costly rows are gathered in the background."""
        cost = max(self.members[index].objective.row_cost for index in self.running)
        at_once = max(1, _ROWS_AT_ONCE // (self.schedule.batch_size * cost))
        counts = [min(at_once, count - start) for start in range(0, count, at_once)]
        if cost == 1:
            yield from map(self._batches, counts)
            return
        with ThreadPoolExecutor(1) as gathering:
            waiting = gathering.submit(self._batches, counts[0])
            for following in [*counts[1:], 0]:
                ready = waiting.result()
                if following:
                    waiting = gathering.submit(self._batches, following)
                yield ready

    def _batches(self, count: int) -> Iterator[tuple[Tensor, ...]]:
        """Batches of the next `count` steps, parts (K, B, ...); each member's own generator draws its rows."""
        size = self.schedule.batch_size
        parts = []
        for member in (self.members[index] for index in self.running):
            generator, n_rows = member.generator, member.objective.n_rows
            rows = torch.randint(n_rows, (count * size,), generator=generator, device=generator.device)
            parts.append([part.unflatten(0, (count, size)) for part in member.objective.batch(rows)])
        return zip(*(torch.stack(part, 1) for part in zip(*parts, strict=True)), strict=True)

    def _train_step(self, batch: tuple[Tensor, ...]) -> Tensor:
        rate = _rate(self.step, self.schedule)
        losses = self.stack.backward(batch, self.step / self.schedule.steps)
        for gradient in self.stack.gradients:
            norm = torch.linalg.vector_norm(gradient, dim=1, keepdim=True)
            gradient.mul_((_GRADIENT_CLIP / (norm + 1e-6)).clamp_max(1.0))
        self.optimiser.step([learning_rate * rate for learning_rate in self.stack.learning_rates])
        return losses

    def _validate(self) -> None:
        for index in self.running:
            self._validate_member(index)
        values = [self.members[index].value for index in self.running]
        self.tracker.advance(self.step, self.schedule.steps, max(values))
        for value in values:
            if not math.isfinite(value):
                raise NotFiniteError(f"the held-out log-likelihood became {value} at step {self.step}")
        for row, index in enumerate(self.running):
            self._compare(row, index)
            self.members[index].objective.seconds = time.perf_counter() - self.started

    def _validate_member(self, index: int) -> None:
        member = self.members[index]
        with torch.no_grad():
            measures = member.objective.validate()
        member.value = measures["validation_log_likelihood"]
        trained = {"log_likelihood": member.objective.log_likelihood(member.loss)} if self.step else {}
        self.tracker.record({"step": self.step, **trained, **measures}, index)

    def _compare(self, row: int, index: int) -> None:
        """Keep the state of a member, a row of the stack, if it is the best so far."""
        member = self.members[index]
        if member.value > member.best:
            member.best, member.best_step, member.stale = member.value, self.step, 0
            for name, value in self.stack.state().items():
                self.best_state[name][index] = value[row]
        elif self.step >= self.schedule.patient_from * self.schedule.steps:
            member.stale += 1

    def _finished(self, index: int) -> bool:
        member, schedule = self.members[index], self.schedule
        hopeless = member.best_step == 0 and self.step >= schedule.give_up_at * schedule.steps
        return self.step >= schedule.steps or hopeless or member.stale >= schedule.patience

    def _retire(self) -> None:
        """Put the members that have ended into their best states; continue with a stack of the others."""
        left = [row for row, index in enumerate(self.running) if not self._finished(index)]
        if len(left) < len(self.running):
            self._keep_rows(left)

    def _keep_rows(self, left: list[int]) -> None:
        ended = [row for row in range(len(self.running)) if row not in left]
        state = self.stack.state()
        for name, value in state.items():
            value[ended] = self.best_state[name][[self.running[row] for row in ended]]
        objectives, moments = self.stack.objectives, self.optimiser.state()
        self.stack.release()
        self.running = [self.running[row] for row in left]
        if left:
            self.stack = Stack([objectives[row] for row in left])
            self.optimiser = Optimiser(self.stack, {name: value[left] for name, value in moments.items()}, self.step)

    def _pack(self) -> dict[str, Tensor]:
        """Everything that the rest of the run depends on, as tensors."""
        packed = {f"state.{name}": value for name, value in self.stack.state().items()}
        packed |= {f"best.{name}": value for name, value in self.best_state.items()}
        packed |= {f"optimiser.{name}": value for name, value in self.optimiser.state().items()}
        packed["generators"] = torch.stack([member.generator.get_state() for member in self.members])
        counters = [(member.best, member.best_step, member.stale) for member in self.members]
        packed["counters"] = torch.tensor(counters, dtype=torch.float64)
        packed["running"], packed["step"] = torch.tensor(self.running), torch.tensor(self.step)
        packed["seconds"] = torch.tensor([member.objective.seconds for member in self.members], dtype=torch.float64)
        return packed

    def _unpack(self, packed: dict[str, Tensor]) -> None:
        def part(prefix: str) -> dict[str, Tensor]:
            return {k.removeprefix(prefix): v for k, v in packed.items() if k.startswith(prefix)}

        self.step = int(packed["step"])
        for member, seconds in zip(self.members, packed["seconds"].tolist(), strict=True):
            member.objective.seconds = seconds
        self.started = time.perf_counter() - float(packed["seconds"].max())
        for name, value in part("best.").items():
            self.best_state[name].copy_(value)
        running = packed["running"].tolist()
        if running != self.running:
            self._keep_rows(running)
        self.stack.load(part("state."))
        self.optimiser = Optimiser(self.stack, part("optimiser."), self.step)
        for member, state, counters in zip(
            self.members, packed["generators"], packed["counters"].tolist(), strict=True
        ):
            # the generator reads from the start of the storage, even of a view
            member.generator.set_state(state.clone())
            member.best, member.best_step, member.stale = counters[0], int(counters[1]), int(counters[2])


def _rate(step: int, schedule: Schedule) -> float:
    """Relative step size: a warm-up, then linear down to 0; or constant, then a cosine down to a hundredth."""
    share = step / schedule.steps
    decay = max(0.0, (share - _DECAY_FROM) / (1.0 - _DECAY_FROM))
    cosine = _LAST_RATE + (1.0 - _LAST_RATE) * 0.5 * (1.0 + math.cos(math.pi * decay))
    return min(1.0, (step + 1) / min(_WARM_UP_STEPS, schedule.steps)) * (1.0 - share if schedule.linear else cosine)


_Result = TypeVar("_Result")


def run_together(fits: Sequence[Stages[_Result]], recorder: Recorder) -> list[_Result]:
    """Run fits to their ends and return their results, in order.

    Every fit yields its next job; jobs of one structure are done together; this repeats until all fits have ended. The
    recorder calls fit k restart k.
    """
    results: dict[int, _Result] = {}
    running: Sequence[int] = range(len(fits))
    while running:
        # no reference to a job is kept, so that the data of a stage are freed when its fit continues
        running = _do(_advance(fits, running, results), recorder)
        return_free_memory()
    return [results[number] for number in range(len(fits))]


def _do(jobs: dict[int, Job], recorder: Recorder) -> list[int]:
    """Do the next jobs of fits, jobs of one structure together; return the numbers of these fits."""
    for numbers in _groups(jobs):
        first = jobs[numbers[0]]
        try:
            optimise_together(
                [jobs[number].objective for number in numbers],
                first.schedule,
                [jobs[number].generator for number in numbers],
                recorder.stage(numbers, first.stage),
            )
        except NotFiniteError as error:
            ends = "the same fit ends there again, so change the config or look for outliers in the data"
            raise NotFiniteError(f"{error} of the stage {first.stage}; {ends}") from error
    return list(jobs)


def run_alone(fit: Stages[_Result], tracker: Tracker) -> _Result:
    """Run one fit, or a part of it, with all jobs reporting to `tracker`; return its result."""
    while True:
        try:
            job = next(fit)
        except StopIteration as end:
            result: _Result = end.value
            return result
        optimise_together([job.objective], job.schedule, [job.generator], tracker)


def _advance(fits: Sequence[Stages[_Result]], numbers: Sequence[int], results: dict[int, _Result]) -> dict[int, Job]:
    """The next jobs of the fits with these numbers; the results of fits that have ended go to `results`."""
    jobs = {}
    for number in numbers:
        try:
            jobs[number] = next(fits[number])
        except StopIteration as end:
            results[number] = end.value
    return jobs


def _groups(jobs: dict[int, Job]) -> list[list[int]]:
    """Groups of jobs, by number and in order, that can be done as one."""
    kinds: dict[Hashable, list[int]] = {}
    for number, job in jobs.items():
        kinds.setdefault((job.stage, job.schedule, type(job.objective)), []).append(number)
    groups: dict[Hashable, list[int]] = {}
    for kind, numbers in kinds.items():
        type(jobs[numbers[0]].objective).align([jobs[number].objective for number in numbers])
        for number in numbers:
            groups.setdefault((kind, structure(jobs[number].objective)), []).append(number)
    return list(groups.values())
