"""Scaling in the number of pairs: the main jobs on a linear nature of four variables."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from benchmarks.problems import linear
from benchmarks.row import Label, Plan, Row
from benchmarks.suites.jobs import job_rows

SUITE = "scaling-pairs"


def cases(plan: Plan) -> dict[str, Callable[[], list[Row]]]:
    """One case for each number of pairs; `memory` has the peak sizes."""
    powers = (3, 4) if plan.quick else (3, 4, 5, 6)
    return {f"{10**power:,} pairs": partial(_case, 4, 10**power, plan) for power in powers}


def _case(n: int, pairs: int, plan: Plan) -> list[Row]:
    label = Label(SUITE, f"linear, n = {n}", "pairs", pairs)
    # evaluate and compare look at a bounded number of pairs
    return job_rows(linear(n), pairs, label, plan, jobs=("generate", "encode"), test_pairs=100)
