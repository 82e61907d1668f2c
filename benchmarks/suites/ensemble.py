"""Scaling in the size of an ensemble: K models trained at once beside one."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from statistics import median

from benchmarks.ensemble import UNAVAILABLE, EnsembleFit, ensemble_fit
from benchmarks.problems import Problem, draw, linear, toy2d
from benchmarks.row import Label, Plan, Row, timed
from benchmarks.training import begun_stage, step_seconds
from experiments._experiment import fit_config
from lcm.data.nature.config import NatureConfig
from lcm.data.pairs import PairData
from lcm.run.config import FitConfig

SUITE = "ensemble"


def cases(plan: Plan) -> dict[str, Callable[[], list[Row]]]:
    """A fit with a flow and one without, and training steps of either."""
    natures = {"toy2d": toy2d()} if plan.quick else {"toy2d": toy2d(), "linear, n = 4": linear(4)}
    return {name: partial(_case, name, config, plan) for name, config in natures.items()}


def _case(name: str, config: NatureConfig, plan: Plan) -> list[Row]:
    fit = ensemble_fit()
    if fit is None:
        return [Label(SUITE, name).missing("fit of K models", "s", UNAVAILABLE)]
    sizes, pairs, steps = ((1, 2), 2_000, 10) if plan.quick else ((1, 2, 4, 8, 16), 10_000, 100)
    problem = draw(config, pairs, plan.seed, test_pairs=100)
    default = FitConfig().noise_encoder.batch_size
    case = f"{name}, {pairs:,} pairs, {steps} steps, batch {default}"
    rows = fit_rows(fit, problem, case, sizes, steps, plan)
    stage = "flow" if name == "toy2d" else "marginal"
    for batch in (default,) if plan.quick else (default, 128, 32):
        rows += step_rows(fit, problem, f"{name}, batch {batch}", sizes, stage, batch, plan)
    return rows


def fit_rows(fit: EnsembleFit, problem: Problem, case: str, sizes: Sequence[int], steps: int, plan: Plan) -> list[Row]:
    """Seconds of complete fits of K models for each K of `sizes`, the first of which is 1."""
    measured = {size: timed(partial(fit, problem.train, fit_config(steps), size), plan) for size in sizes}
    return _beside_one("fit of K models", case, measured)


def step_rows(
    fit: EnsembleFit, problem: Problem, case: str, sizes: Sequence[int], stage: str, batch: int, plan: Plan
) -> list[Row]:
    """Seconds of a training step of K models in one stage, for each K of `sizes`, the first of which is 1."""

    def measure(size: int) -> list[float]:
        def begin(data: PairData, config: FitConfig) -> object:
            encoder = replace(config.noise_encoder, batch_size=batch)
            return fit(data, replace(config, noise_encoder=encoder), size)

        return step_seconds(begun_stage(problem, stage, begin), plan)

    measured = {size: measure(size) for size in sizes}
    return _beside_one(f"{stage} step of K models", case, measured)


def _beside_one(quantity: str, case: str, measured: Mapping[int, list[float]]) -> list[Row]:
    one = median(measured[1])
    rows = []
    for size, seconds in measured.items():
        label = Label(SUITE, case, "K", size)
        rows += [
            label.row(quantity, "s", seconds),
            label.row(f"{quantity} beside one", "× one model", [value / one for value in seconds]),
        ]
    return rows
