"""The package beside a variational autoencoder in the style of the paper, on the same pairs."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from statistics import median

from benchmarks.reference_style import BATCH_SIZE, Training
from benchmarks.row import Label, Plan, Row, repeated
from benchmarks.training import begun_stage, stage_problem, step_seconds

SUITE = "reference"
EPOCH = 100_000


def cases(plan: Plan) -> dict[str, Callable[[], list[Row]]]:
    """One case for each number of variables."""
    return {f"n = {n}": partial(_case, n, plan) for n in ((4,) if plan.quick else (4, 10))}


def _case(n: int, plan: Plan) -> list[Row]:
    problem = stage_problem("flow", n, plan)
    training = Training(problem.train.x, problem.train.x_tilde, plan.seed)
    steps_taken: list[int] = []

    def step() -> float:
        losses, seconds = training.run(0.5 if plan.quick else 3.0)
        steps_taken.append(len(losses))
        return seconds / len(losses)

    theirs = repeated(step, plan)
    stage = begun_stage(problem, "flow")
    ours = step_seconds(stage, plan)
    measured = f"from {min(steps_taken[1:])} steps or more"
    label = Label(SUITE, f"n = {n}")
    rows = _rates(label, f"reference style, batch {BATCH_SIZE}", theirs, BATCH_SIZE, measured)
    rows += _rates(
        label, f"flow of a fit, batch {stage.batch_size}", ours, stage.batch_size, "from half a second of steps"
    )
    ratios = [median(theirs) / BATCH_SIZE * stage.batch_size / value for value in ours]
    return [*rows, label.row("pairs per second, fit over reference style", "×", ratios)]


def _rates(label: Label, name: str, seconds: list[float], batch: int, measured: str) -> list[Row]:
    epoch = [EPOCH / batch * value for value in seconds]
    return [
        label.row(f"{name}: steps", "steps/s", [1.0 / value for value in seconds]),
        label.row(f"{name}: pairs", "pairs/s", [batch / value for value in seconds]),
        label.row(f"{name}: an epoch of {EPOCH:,} pairs", "s", epoch, f"extrapolated {measured}"),
    ]
