"""Scaling in threads: steps of each stage, and a fit."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial

import torch

from benchmarks.machine import cores
from benchmarks.problems import linear, usual_pairs
from benchmarks.row import Label, Plan, Row
from benchmarks.suites.jobs import job_rows
from benchmarks.training import STAGES, stage_of, step_seconds

SUITE = "threads"


def thread_counts(most: int) -> list[int]:
    """1, 2, 4, … below the number of cores, and that."""
    doubled = [1 << power for power in range(most.bit_length()) if 1 << power < most]
    return [*doubled, most]


def cases(plan: Plan) -> dict[str, Callable[[], list[Row]]]:
    """One case for each number of threads, whatever the plan's own."""
    return {f"threads = {count}": partial(_case, count, plan) for count in thread_counts(cores())}


def _case(count: int, plan: Plan) -> list[Row]:
    n, pairs = (4 if plan.quick else 10), usual_pairs(plan)
    with _threads(count):
        jobs = Label(SUITE, f"linear, n = {n}, {pairs:,} pairs", "threads", count)
        rows = job_rows(linear(n), pairs, jobs, replace(plan, threads=count), jobs=("encode",), test_pairs=100)
        for name in STAGES:
            stage = stage_of(name, n, plan)
            label = Label(SUITE, f"n = {n}, batch {stage.batch_size}", "threads", count)
            seconds = step_seconds(stage, plan)
            rows.append(label.row(f"{name} steps", "steps/s", [1.0 / value for value in seconds]))
    return rows


@contextmanager
def _threads(count: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)
