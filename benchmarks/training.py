"""Training steps as a fit takes them: each stage's own objective, run by the package's own loop."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from typing import Any, final
from unittest.mock import patch

import torch

from benchmarks.problems import Problem, curved, draw, linear
from benchmarks.row import Plan, repeated
from lcm.data.pairs import PairData
from lcm.learn.training import loop
from lcm.learn.training.objective import Objective, Schedule
from lcm.run.config import FitConfig
from lcm.run.fitting import fit_pairs

STAGES = ("flow", "marginal", "mechanisms")
_OBJECTIVES = {"NoiseEncoderObjective": "flow", "MarginalObjective": "marginal", "ExplicitObjective": "mechanisms"}
_LOOPS = ("optimise", "optimise_together")
_CALIBRATION_STEPS = 5
_PAIRS = 20_000


@final
class _Silent:
    """A tracker that keeps nothing."""

    def record(self, *values: object) -> None: ...

    def advance(self, *values: object) -> None: ...

    def save(self, *values: object) -> None: ...

    def restore(self) -> None: ...


@final
@dataclass(frozen=True)
class Stage:
    """What one stage of a fit optimises, or the same stage of several fits at once.

    Attributes:
        name: one of `STAGES`, or another for steps that no fit takes, such as implicit.
        objectives: one for each fit, as they are when the stage begins.
        batch_size: pairs of a step, for each fit.
    """

    name: str
    objectives: tuple[Objective, ...]
    batch_size: int

    @property
    def objective(self) -> Objective:
        """That of the first fit."""
        return self.objectives[0]

    def run(self, steps: int, batch_size: int | None = None) -> None:
        """Take training steps, from the state at the beginning of the stage, which is restored at the end."""
        schedule = Schedule(steps, batch_size or self.batch_size, validate_every=steps)
        generators = [torch.Generator().manual_seed(number) for number in range(len(self.objectives))]
        with ExitStack() as patches:
            # so that what is timed are steps alone, and no state validates better than the first
            for objective in self.objectives:
                patches.enter_context(patch.object(objective, "validate", _unchanged))
            if len(self.objectives) == 1:
                loop.optimise(self.objective, schedule, generators[0], _Silent())
            else:
                together: Any = vars(loop)["optimise_together"]
                together(self.objectives, schedule, generators, _Silent())

    def seconds(self, steps: int, batch_size: int | None = None) -> float:
        """Seconds that each of some steps takes."""
        started = time.perf_counter()
        self.run(steps, batch_size)
        return (time.perf_counter() - started) / steps


def _unchanged() -> dict[str, float | list[float]]:
    return {"validation_log_likelihood": 0.0}


@final
class _Found(Exception):
    """Ends a fit at the stage that was asked for."""

    def __init__(self, stage: Stage) -> None:
        super().__init__(stage.name)
        self.stage = stage


def begun_stage(problem: Problem, name: str, fit: Callable[[PairData, FitConfig], object] = fit_pairs) -> Stage:
    """Fit by the default config until the stage `name` begins, with one step in each stage before it.

    Raises:
        ValueError: a fit to these pairs has no such stage.
    """
    try:
        with _stopped_at(name):
            fit(problem.train, FitConfig())
    except _Found as found:
        return found.stage
    raise ValueError(f"Expected a fit with the stage {name}; got one without it.")


@contextmanager
def _stopped_at(name: str) -> Iterator[None]:
    """Replace the loops, wherever the package has imported them, by ones that end the fit at a stage."""
    loops: dict[str, Any] = {key: value for key, value in vars(loop).items() if key in _LOOPS}
    users = [module for key, module in list(sys.modules.items()) if key.startswith("lcm.learn.")]
    with ExitStack() as patches:
        for key, original in loops.items():
            for module in users:
                if key in vars(module) and vars(module)[key] is original:
                    patches.enter_context(patch.object(module, key, _ending(original, name)))
        yield


def _ending(original: Callable[..., None], name: str) -> Callable[..., None]:
    def instead(first: Any, schedule: Schedule, *others: Any) -> None:
        objectives = (first,) if isinstance(first, Objective) else tuple(first)
        if _OBJECTIVES.get(type(objectives[0]).__name__) == name:
            raise _Found(Stage(name, objectives, schedule.batch_size))
        original(first, replace(schedule, steps=1), *others)

    return instead


def stage_problem(name: str, n: int, plan: Plan) -> Problem:
    """Pairs that lead a fit to a stage: of a curved mixing for the flow, of a linear one for the others."""
    pairs = max(2_000 if plan.quick else _PAIRS, 100 * (n + 1))
    return draw(curved(n) if name == "flow" else linear(n), pairs, plan.seed, test_pairs=100)


def stage_of(name: str, n: int, plan: Plan) -> Stage:
    """A stage at its beginning, of a fit of n variables by the default config."""
    return begun_stage(stage_problem(name, n, plan), name)


def step_seconds(stage: Stage, plan: Plan, batch_size: int | None = None) -> list[float]:
    """Seconds of a step, repeated; each is the mean over as many steps as fill half a second (quick: a fifth)."""
    calibrated = stage.seconds(_CALIBRATION_STEPS, batch_size)
    steps = int(min(max((0.2 if plan.quick else 0.5) / calibrated, 5), 5000))
    return repeated(lambda: stage.seconds(steps, batch_size), plan)
