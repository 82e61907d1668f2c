"""A training step against the machine's own rate of matrix products, and where the rest of it goes."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from statistics import median

from benchmarks.operations import (
    ELEMENTWISE,
    MATMUL,
    SHARES,
    Work,
    call_seconds,
    product_rate,
    profiled_seconds,
    work_of,
)
from benchmarks.row import Label, Plan, Row, repeated
from benchmarks.training import Stage, stage_of, step_seconds

SUITE = "profile"
_SIZES = (256, 512, 1024, 2048)
_SMALL_BATCH = 8


def cases(plan: Plan) -> dict[str, Callable[[], list[Row]]]:
    """The stages that have matrix products; the machine's own rates are measured in the same case."""
    n = 4 if plan.quick else 10
    return {f"{name}, n = {n}": partial(_case, name, n, plan) for name in ("flow", "mechanisms")}


def _case(name: str, n: int, plan: Plan) -> list[Row]:
    stage = stage_of(name, n, plan)
    label = Label(SUITE, f"{name}, n = {n}, batch {stage.batch_size}")
    rates = [_product_row(label, size, plan) for size in (_SIZES[:2] if plan.quick else _SIZES)]
    call = repeated(lambda: call_seconds(20_000), plan)
    call_row = label.row("one call on one entry", "µs", [1e6 * value for value in call])
    peak = max(row.median or 0.0 for row in rates)
    return [*rates, call_row, *step_rows(stage, label, 1e9 * peak, median(call), plan)]


def _product_row(label: Label, size: int, plan: Plan) -> Row:
    times = max(2, (1024 // size) ** 3)
    rates = repeated(lambda: product_rate((size, size, size), times) / 1e9, plan)
    return label.row(f"matrix product {size} × {size} × {size}", "GFLOP/s", rates)


def step_rows(stage: Stage, label: Label, peak: float, call: float, plan: Plan) -> list[Row]:
    """What a step does, how much of `peak` (FLOP/s) it reaches, and where its time goes; `call` seconds of a call."""
    work = step_work(stage)
    seconds = step_seconds(stage, plan)
    calls = sum(work.calls.values())
    small = [value / median(seconds) for value in step_seconds(stage, plan, _SMALL_BATCH)]
    return [
        label.row("step", "s", seconds),
        label.row("matrix products of a step", "MFLOP", [work.flops / 1e6], "counted"),
        label.row("entries that elementwise operations write", "M", [work.entries[ELEMENTWISE] / 1e6], "counted"),
        label.row("tensor operations of a step", "calls", [calls], "counted"),
        label.row("peak rate reached by the step", "%", [100 * work.flops / (value * peak) for value in seconds]),
        label.row("share that the calls alone cost", "%", [100 * calls * call / value for value in seconds]),
        label.row(f"share left with a batch of {_SMALL_BATCH}", "%", [100 * value for value in small]),
        *_share_rows(stage, label, work, peak, plan),
    ]


def step_work(stage: Stage) -> Work:
    """What one training step does; what begins and ends a stage is subtracted."""
    return work_of(lambda: stage.run(2)).less(work_of(lambda: stage.run(1)))


def _share_rows(stage: Stage, label: Label, work: Work, peak: float, plan: Plan) -> list[Row]:
    steps = 2 if plan.quick else 10
    profiles: list[dict[str, float]] = []

    def measure() -> float:
        profiles.append(profiled_seconds(lambda: stage.run(steps)))
        return sum(profiles[-1].values())

    totals = repeated(measure, plan)
    counted = profiles[1:]
    within = [100 * work.flops * steps / (each[MATMUL] * peak) for each in counted]
    shares = {kind: [100 * each[kind] / total for each, total in zip(counted, totals, strict=True)] for kind in SHARES}
    return [
        label.row("peak rate reached within matrix products", "%", within, "under the profiler"),
        *(label.row(f"share: {kind}", "%", values, "under the profiler") for kind, values in shares.items()),
    ]
