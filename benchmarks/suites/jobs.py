"""The package's main jobs: generate, fit, encode, evaluate, compare."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

from benchmarks.problems import draw, toy2d, usual_pairs
from benchmarks.row import Label, Plan, Row, timed
from experiments._experiment import fit_config
from lcm.data.encode import encode_data
from lcm.data.nature.build import torch_generator
from lcm.data.nature.config import NatureConfig
from lcm.data.sample import sample_data
from lcm.isomorphism import find_isomorphism
from lcm.metric.scores import evaluate
from lcm.model.latent_causal_model import LatentCausalModel
from lcm.run.fitting import fit_pairs

SUITE = "jobs"
JOBS = ("generate", "fit", "encode", "evaluate", "compare")
_QUICK_STEPS = 50


def cases(plan: Plan) -> dict[str, Callable[[], list[Row]]]:
    """A nature whose fit needs a flow; `scaling-n` has linear ones."""
    return {"toy2d": partial(_case, "toy2d", toy2d(), plan)}


def _case(name: str, config: NatureConfig, plan: Plan) -> list[Row]:
    pairs = usual_pairs(plan)
    steps = "" if not plan.quick else f", {_QUICK_STEPS} steps"
    return job_rows(config, pairs, Label(SUITE, f"{name}, {pairs:,} pairs{steps}"), plan)


def job_rows(
    config: NatureConfig, pairs: int, label: Label, plan: Plan, jobs: Sequence[str] = JOBS, test_pairs: int = 10_000
) -> list[Row]:
    """Seconds of a fit and of other jobs on pairs of one nature; "evaluate" and "compare" look at the test pairs."""
    problem = draw(config, pairs, plan.seed, test_pairs)
    fitting = fit_config(_QUICK_STEPS if plan.quick else None)
    fitted: list[LatentCausalModel] = []

    def fit() -> None:
        fitted[:] = [fit_pairs(problem.train, fitting).model]

    rows = [label.row("fit", "s", timed(fit, plan))]
    model = fitted[0]
    others: dict[str, Callable[[], object]] = {
        "generate": lambda: sample_data(problem.nature, pairs, torch_generator(plan.seed, "train")),
        "encode": lambda: encode_data(model, problem.train),
        "evaluate": lambda: evaluate(model, problem.test, n_jobs=plan.threads),
        "compare": lambda: find_isomorphism(model, model, problem.test),
    }
    notes = dict.fromkeys(("evaluate", "compare"), f"{test_pairs:,} test pairs")
    return rows + [
        label.row(job, "s", timed(run, plan), notes.get(job, "")) for job, run in others.items() if job in jobs
    ]
