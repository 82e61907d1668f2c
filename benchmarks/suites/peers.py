"""Every model at one quality: how long the shortest fit takes whose variables have a disentanglement of 0.95."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial

from benchmarks.problems import Problem, draw, linear, toy2d, usual_pairs
from benchmarks.row import Label, Plan, Row, counted
from benchmarks.suites.quality import budget_text
from experiments._experiment import fit_config
from lcm.data.nature.config import NatureConfig
from lcm.metric.scores import evaluate
from lcm.peer import PEERS
from lcm.run.config import KnownConfig, models
from lcm.run.fitting import FitResult, fit_pairs

SUITE = "peers"
LEAST_DCI = 0.95
BUDGETS = (100, 200, 400, 800, 1_600, 3_200, 6_400)
_FIGURE = f"fit with disentanglement >= {LEAST_DCI}"


def cases(plan: Plan) -> dict[str, Callable[[], list[Row]]]:
    """One case for each model and nature."""
    natures = {"linear, n = 4": linear(4)} | ({} if plan.quick else {"toy2d": toy2d()})
    names = ("flow", "beta-vae") if plan.quick else tuple(models())
    return {
        f"{model}, {name}": partial(_case, model, name, config, plan)
        for name, config in natures.items()
        for model in names
    }


def _case(model: str, name: str, config: NatureConfig, plan: Plan) -> list[Row]:
    pairs = usual_pairs(plan)
    label = Label(SUITE, f"{model}, {name}, seed {plan.seed}, {pairs:,} pairs")
    return time_to_disentanglement(model, draw(config, pairs, plan.seed), label, plan)


def time_to_disentanglement(model: str, problem: Problem, label: Label, plan: Plan) -> list[Row]:
    """The smallest of the budgets at which a complete fit reaches the quality, and its fit_seconds.

    A model that misses it with its default steps, or with 50 of a quick run, is tried no further.
    """
    most = 50 if plan.quick else None
    reached = _disentanglement(_fit(model, problem, plan.seed, most), problem)
    if reached < LEAST_DCI:
        return [label.missing(_FIGURE, "s", f"not reached: {reached:.3f} with {budget_text(most)}")]
    budget: int | None = most
    for fewer in () if plan.quick else BUDGETS:
        if (found := _disentanglement(_fit(model, problem, plan.seed, fewer), problem)) >= LEAST_DCI:
            budget, reached = fewer, found
            break
    seconds = counted(lambda: _fit(model, problem, plan.seed, budget).seconds, plan)
    return [label.row(_FIGURE, "s", seconds, f"{budget_text(budget)}; disentanglement {reached:.3f}")]


def _fit(model: str, problem: Problem, seed: int, steps: int | None) -> FitResult:
    config = replace(fit_config(steps), model=model, n=problem.nature.n, seed=seed)
    if model in PEERS and PEERS[model].needs_targets:
        config = replace(config, known=KnownConfig(targets=True))
    return fit_pairs(problem.train, config)


def _disentanglement(result: FitResult, problem: Problem) -> float:
    scores = evaluate(result, problem.test, n_jobs=1, keys=("dci_disentanglement",))
    return float(scores["dci_disentanglement"])
