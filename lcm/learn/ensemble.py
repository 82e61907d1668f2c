"""Several fits at once: each goes its own way, and stages of one structure are optimised as one batched computation."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import TypeVar

from lcm.learn.optimise import Job, Stages, Tracker, optimise_together
from lcm.learn.stack import structure
from lcm.learn.tracker import Recorder
from lcm.memory import return_free_memory

T = TypeVar("T")


def run_together(fits: Sequence[Stages[T]], recorder: Recorder) -> list[T]:
    """Run fits to their ends and return their results, in order.

    All fits go on to their next job; jobs of one structure are then done together, and so on until none is left. Fit k
    is restart k to the recorder.
    """
    results: dict[int, T] = {}
    running: Sequence[int] = range(len(fits))
    while running:
        # no job is kept, so that the data of a stage go when its fit goes on
        running = _do(_advance(fits, running, results), recorder)
        return_free_memory()
    return [results[number] for number in range(len(fits))]


def _do(jobs: dict[int, Job], recorder: Recorder) -> list[int]:
    """Do the next jobs of fits, those of one structure together, and return the numbers of these fits."""
    for numbers in _groups(jobs):
        first = jobs[numbers[0]]
        optimise_together(
            [jobs[number].objective for number in numbers],
            first.schedule,
            [jobs[number].generator for number in numbers],
            recorder.stage(numbers, first.stage),
        )
    return list(jobs)


def run_alone(fit: Stages[T], tracker: Tracker) -> T:
    """Run one fit, or a part of one, all of whose jobs report to `tracker`, and return its result."""
    while True:
        try:
            job = next(fit)
        except StopIteration as end:
            result: T = end.value
            return result
        optimise_together([job.objective], job.schedule, [job.generator], tracker)


def _advance(fits: Sequence[Stages[T]], numbers: Sequence[int], results: dict[int, T]) -> dict[int, Job]:
    """The next jobs of the fits with these numbers; what those without one return goes to `results`."""
    jobs = {}
    for number in numbers:
        try:
            jobs[number] = next(fits[number])
        except StopIteration as end:
            results[number] = end.value
    return jobs


def _groups(jobs: dict[int, Job]) -> list[list[int]]:
    """The numbers of jobs that can be done as one, in order."""
    kinds: dict[Hashable, list[int]] = {}
    for number, job in jobs.items():
        kinds.setdefault((job.stage, job.schedule, type(job.objective)), []).append(number)
    groups: dict[Hashable, list[int]] = {}
    for kind, numbers in kinds.items():
        type(jobs[numbers[0]].objective).align([jobs[number].objective for number in numbers])
        for number in numbers:
            groups.setdefault((kind, structure(jobs[number].objective)), []).append(number)
    return list(groups.values())
