"""Last stage of a fit: the causal mechanisms and the imposed distributions, given noise encodings and a graph."""

from __future__ import annotations

from typing import final

import torch
from torch import Tensor

from lcm.elementwise import SplineMap
from lcm.graph import Graph
from lcm.learn.config import MechanismsConfig
from lcm.learn.noise_encoder import Encoded
from lcm.learn.optimise import Group, Objective, Schedule, Tracker, in_chunks, optimise
from lcm.mechanism import LocationScaleMechanism
from lcm.noise import NormalNoise, PushforwardNoise
from lcm.scm import SCM


@final
class ExplicitObjective(Objective):
    """Negative mean of Σ_i p(i ∈ I | x, x̃) [log p̃_i(z̃_i) + log|∂ζ_i/∂ũ_i|]: all that the likelihood says of the mechanisms.

    Location-scale mechanisms between learned noise distributions p_ε and p̃: richer than their name, since both ends
    are monotone splines (docs/method.md).
    """

    def __init__(self, graph: Graph, train: Encoded, validation: Encoded, sets: Tensor, config: MechanismsConfig) -> None:
        super().__init__()
        n = graph.n
        mechanism = LocationScaleMechanism(torch.from_numpy(graph.adjacency.copy()), config.hidden)
        mechanism.network.draw_weights(torch.Generator().manual_seed(0))
        self.scm = SCM(graph, mechanism, PushforwardNoise(NormalNoise(n), SplineMap(n, config.bins)))
        self.imposed = PushforwardNoise(NormalNoise(n), SplineMap(n, config.bins))
        self.config = config
        weights = [encoded.posterior @ sets.to(encoded.posterior.dtype) for encoded in (train, validation)]
        informative = weights[0].sum(1) > 0.5
        self._train = (train.normal_tilde[informative], weights[0][informative])
        self._validation = (validation.normal_tilde, weights[1])

    def groups(self) -> list[Group]:
        return [Group(list(self.parameters()), self.config.learning_rate)]

    @property
    def n_rows(self) -> int:
        return len(self._train[0])

    def move_log_density(self, normal_tilde: Tensor) -> Tensor:
        """log-density (N, n) of each ũ_i as if i were a target."""
        noise, log_gauge = self.scm.noise.from_normal(normal_tilde)
        z, log_slope = self.scm.solve_each(noise)
        return self.imposed.log_density(z) + log_slope + log_gauge

    def loss(self, rows: Tensor, progress: float) -> Tensor:
        normal_tilde, weights = (part[rows] for part in self._train)
        return -(weights * self.move_log_density(normal_tilde)).sum(1).mean()

    def validate(self) -> dict[str, float | list[float]]:
        def weighted(normal_tilde: Tensor, weights: Tensor) -> tuple[Tensor]:
            return ((weights * self.move_log_density(normal_tilde)).sum(1),)

        (values,) = in_chunks(weighted, *self._validation)
        return {"validation_log_likelihood": float(values.mean())}

    def adopt(self, other: ExplicitObjective) -> None:
        """Start from another graph's parameters; edges that are absent here are masked out."""
        self.load_state_dict(other.state_dict(), strict=False)


def fit_mechanisms(
    objective: ExplicitObjective, generator: torch.Generator, tracker: Tracker, share: float = 1.0
) -> None:
    """Fit the mechanisms in place; `share` shortens the schedule for a start that is nearly right."""
    config = objective.config
    steps = max(1, round(config.steps * share))
    optimise(objective, Schedule(steps, config.batch_size, validate_every=max(1, steps // 10)), generator, tracker)
