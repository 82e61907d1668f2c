"""Time to quality: how long the shortest complete fit takes that recovers variables and graph."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial

from benchmarks.problems import Problem, curved, draw, linear, toy2d, usual_pairs
from benchmarks.row import Label, Plan, Row, counted
from experiments._experiment import fit_config
from lcm.data.encode import encode_pairs
from lcm.data.nature.config import NatureConfig
from lcm.isomorphism.matching import correlation_matrix, match_variables, mean_correlation
from lcm.metric.graph import aligned_adjacency, structural_hamming_distance
from lcm.run.fitting import FitResult, fit_pairs

SUITE = "quality"
LEAST_MCC = 0.99
BUDGETS: tuple[int | None, ...] = (25, 50, 100, 200, 400, 800, 1600, None)
"""Steps of the flow, and at most as many of any other stage; None for the defaults of a fit."""

_NATURES: dict[str, tuple[NatureConfig, int]] = {
    "linear, n = 4": (linear(4), 2),
    "linear, n = 10": (linear(10), 2),
    "toy2d: location-scale, flow, n = 2": (toy2d(), 2),
    "location-scale, mixing 0.25, n = 3": (curved(3), 2),
}
"""Ground truths with the number of their seeds."""


def cases(plan: Plan) -> dict[str, Callable[[], list[Row]]]:
    """One case for each nature and seed."""
    chosen = list(_NATURES.items())[:1] if plan.quick else list(_NATURES.items())
    return {
        f"{name}, seed {plan.seed + offset}": partial(_case, name, config, plan.seed + offset, plan)
        for name, (config, seeds) in chosen
        for offset in range(1 if plan.quick else seeds)
    }


def _case(name: str, config: NatureConfig, seed: int, plan: Plan) -> list[Row]:
    # fewer would not reach it
    pairs = max(10_000, usual_pairs(plan))
    problem = draw(config, pairs, seed)
    label = Label(SUITE, f"{name}, seed {seed}, {pairs:,} pairs")
    return time_to_quality(problem, label, seed, BUDGETS[1:4] if plan.quick else BUDGETS, plan)


def time_to_quality(
    problem: Problem, label: Label, seed: int, budgets: tuple[int | None, ...], plan: Plan
) -> list[Row]:
    """The smallest of the budgets at which a complete fit reaches MCC >= 0.99 and SHD = 0, and its fit_seconds.

    The fit that first reaches them is the one that is not counted.
    """
    for budget in budgets:
        mcc, shd = quality(_fit(problem, seed, budget), problem)
        if mcc >= LEAST_MCC and shd == 0:
            break
    note = f"{budget_text(budget)}; MCC {mcc:.4f}, SHD {shd}"
    if mcc < LEAST_MCC or shd > 0:
        return [label.missing("fit with MCC >= 0.99 and SHD = 0", "s", f"not reached with {note}")]
    seconds = counted(lambda: _fit(problem, seed, budget).seconds, plan)
    return [label.row("fit with MCC >= 0.99 and SHD = 0", "s", seconds, note)]


def quality(result: FitResult, problem: Problem) -> tuple[float, int]:
    """MCC and SHD of a fit on the test pairs, as `lcm evaluate` has them, without the slower scores."""
    truth = problem.test
    assert truth.z is not None and truth.adjacency is not None
    correlation = correlation_matrix(truth.z, encode_pairs(result.model, truth).z.double().numpy())
    permutation = match_variables(correlation)
    learned = aligned_adjacency(result.model.scm.graph.adjacency, permutation)
    return mean_correlation(correlation, permutation), structural_hamming_distance(truth.adjacency, learned)


def _fit(problem: Problem, seed: int, budget: int | None) -> FitResult:
    return fit_pairs(problem.train, replace(fit_config(budget), seed=seed))


def budget_text(budget: int | None) -> str:
    """A number of steps in words; None is that of a fit by default."""
    return "the default steps" if budget is None else f"{budget} steps"
