"""Scaling in the number of variables: steps of each stage, and the main jobs on linear natures."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from benchmarks.problems import linear, usual_pairs
from benchmarks.row import Label, Plan, Row
from benchmarks.suites.jobs import job_rows
from benchmarks.training import STAGES, stage_of, step_seconds

SUITE = "scaling-n"
_TEST_PAIRS = 2_000


def cases(plan: Plan) -> dict[str, Callable[[], list[Row]]]:
    """One case for each number of variables."""
    sizes = (2, 4, 8) if plan.quick else (2, 4, 8, 10, 20, 30)
    return {f"n = {n}": partial(_case, n, plan) for n in sizes}


def _case(n: int, plan: Plan) -> list[Row]:
    pairs = usual_pairs(plan)
    jobs = Label(SUITE, f"linear, {pairs:,} pairs", "n", n)
    rows = job_rows(linear(n), pairs, jobs, plan, test_pairs=_TEST_PAIRS // (10 if plan.quick else 1))
    for name in STAGES:
        stage = stage_of(name, n, plan)
        seconds = step_seconds(stage, plan)
        label = Label(SUITE, f"batch {stage.batch_size}", "n", n)
        rows.append(label.row(f"{name} steps", "steps/s", [1.0 / value for value in seconds]))
    return rows
