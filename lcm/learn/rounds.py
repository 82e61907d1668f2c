"""When the fit of a noise encoder ends: rounds of steps, until it is exact enough or its likelihood has flattened."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import torch

from lcm.learn.config import NoiseEncoderConfig
from lcm.learn.noise_encoder import ImplicitModel
from lcm.learn.noise_encoder_objective import NoiseEncoderObjective
from lcm.learn.training.objective import Job, Schedule, Stages

STAGE = "noise encoder"
_LATER_RATE = 0.5
_LATER_SHARE = 0.5


@final
@dataclass
class Rounds:
    """How far the rounds of a fit have come.

    rounds, steps: done so far. gain: nats a pair that the last round added to the held-out likelihood; None for the
    first. limited: whether the limit of time ended the fit before it converged.
    """

    rounds: int = 0
    steps: int = 0
    gain: float | None = None
    limited: bool = False


def fit_in_rounds(
    objective: NoiseEncoderObjective, config: NoiseEncoderConfig, generator: torch.Generator
) -> Stages[Rounds]:
    """Optimise in rounds, in each of which the step size falls to 0, until a rule of docs/method.md ends them.

    A fixed number of steps in the config is one round.
    """
    progress, n = Rounds(), len(objective.model.thickness)
    steps = config.first_round(n, objective.n_rows)
    most = config.most_steps(objective.n_rows)
    while True:
        before = objective.held_out()
        progress.rounds += 1
        name = STAGE if progress.rounds == 1 else f"{STAGE}, round {progress.rounds}"
        # the likelihood falls at first where the step size rises again, so only the end of a round says how it went
        schedule = Schedule(steps, config.batch_size, patience=steps, linear=True)
        yield Job(name, objective, schedule, generator)
        progress.steps += steps
        progress.gain = objective.held_out() - before if progress.rounds > 1 else None
        if config.steps is not None or _converged(objective.model, progress, config):
            return progress
        change = usual_thickness(objective.model)
        steps = max(1, round(_LATER_SHARE * progress.steps))
        expected = objective.seconds * (1.0 + steps / progress.steps)
        late = expected > config.time_limit(n, change)
        if late or progress.steps + steps > most:
            progress.limited = late
            return progress
        if config.is_far(change) and progress.rounds == 1 and config.layers is None:
            objective.deepen(generator)
        objective.begin_later_round(_LATER_RATE)


def _converged(model: ImplicitModel, progress: Rounds, config: NoiseEncoderConfig) -> bool:
    flat = progress.gain is not None and progress.gain < config.least_gain
    return flat or usual_thickness(model) <= config.precision


def usual_thickness(model: ImplicitModel) -> float:
    """The standard deviation by which coordinates that stay change in a pair whose target gets fresh noise.

    Root mean square over the variables, in the standard-normal gauge.
    """
    return float(model.thickness.square().mean().sqrt())
