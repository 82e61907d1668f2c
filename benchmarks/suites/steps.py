"""Steps and pairs a second of a training step of each stage."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from benchmarks.row import Label, Plan, Row
from benchmarks.training import STAGES, stage_of, step_seconds

SUITE = "steps"


def cases(plan: Plan) -> dict[str, Callable[[], list[Row]]]:
    """One case for each stage and number of variables."""
    sizes = (4,) if plan.quick else (4, 10)
    return {f"{stage}, n = {n}": partial(_case, stage, n, plan) for stage in STAGES for n in sizes}


def _case(name: str, n: int, plan: Plan) -> list[Row]:
    stage = stage_of(name, n, plan)
    label = Label(SUITE, f"{name}, n = {n}, batch {stage.batch_size}")
    seconds = step_seconds(stage, plan)
    return [
        label.row("training steps", "steps/s", [1.0 / value for value in seconds]),
        label.row("training pairs", "pairs/s", [stage.batch_size / value for value in seconds]),
    ]
