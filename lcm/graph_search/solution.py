"""Solution functions z_i = s_i(ε) on encodings of any model: what `jacobian` and `dependence` are read from."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any, final

import torch
from torch import Tensor

from lcm.graph_search.config import NetworksConfig
from lcm.graph_search.gauge import NoiseRows, in_gauge
from lcm.graph_search.variables import FittedVariables
from lcm.learn.implicit import SolutionFunctions
from lcm.learn.optimise import Group, Job, Objective, Schedule, Stages, in_chunks

_VALIDATIONS = 20
_ROWS_PER_REGRESSOR = 10


@final
class SolutionObjective(Objective):
    """Solution functions of all variables, each of all noise encodings, location-scale in its own.

    Where the model has mechanisms, they regress z on ε before and after: a mean square. Where z is ε, they are the
    conditional density of ũ_i given the others in pairs with target i, which perfect interventions make one of ζ_i
    alone (docs/theory.md section 2).
    """

    def __init__(self, variables: FittedVariables, config: NetworksConfig, generator: torch.Generator) -> None:
        super().__init__()
        n = variables.n
        self.config, self.regresses = config, variables.has_mechanisms
        mask = ~torch.eye(n, dtype=torch.bool)
        self.functions = SolutionFunctions(mask, config.hidden, config.bins, generator).to(variables.z.device)
        train, held_out = in_gauge(variables)
        self.start_linear(train)
        self.points = held_out.normal
        self._train, self._held_out = self._rows(train), self._rows(held_out)

    def _rows(self, rows: NoiseRows) -> tuple[Tensor, Tensor]:
        """u with z, before and after, or ũ with the weights of the targets."""
        if self.regresses:
            return torch.cat([rows.normal, rows.normal_tilde]), torch.cat([rows.z, rows.z_tilde])
        return rows.normal_tilde, rows.weights

    def groups(self) -> list[Group]:
        return [Group(list(self.parameters()), self.config.learning_rate)]

    @property
    def n_rows(self) -> int:
        return len(self._train[0])

    def structure(self) -> Hashable:
        return self.config, self.regresses

    def batch(self, rows: Tensor) -> tuple[Tensor, ...]:
        return tuple(part[rows] for part in self._train)

    def loss(self, batch: tuple[Tensor, ...], progress: float) -> Tensor:
        return self._losses(*batch).mean()

    def _losses(self, normal: Tensor, other: Tensor) -> Tensor:
        if not self.regresses:
            return -(other * self.functions.move_log_density(normal).clamp_min(-15.0)).sum(1)
        # a share that no outlier dominates
        return torch.nn.functional.smooth_l1_loss(self.solve(self.noise(normal)), other, reduction="none").sum(1)

    def validate(self) -> dict[str, Any]:
        (losses,) = in_chunks(lambda *rows: (self._losses(*rows),), *self._held_out)
        return {"validation_log_likelihood": -float(losses.mean())}

    def noise(self, normal: Tensor) -> Tensor:
        """ε (N, n), in which the functions are location-scale, from the gauge u (N, n)."""
        return self.functions.noise.from_normal(normal)[0]

    def solve(self, noise: Tensor) -> Tensor:
        """z (N, n) from ε (N, n)."""
        return self.functions.mechanism(noise, noise)[0]

    @torch.no_grad()
    def start_linear(self, train: NoiseRows) -> None:
        """Set all functions to their least-squares fits."""
        mechanism, n = self.functions.mechanism, train.normal.shape[1]
        for i in range(n):
            others = [j for j in range(n) if j != i]
            normal = train.normal if self.regresses else train.normal_tilde[train.weights[:, i] > 0.5]
            if len(normal) < _ROWS_PER_REGRESSOR * (n + 1):
                continue
            columns = [i, *others] if self.regresses else others
            effect = (train.z if self.regresses else normal)[: len(normal), i].double()
            design = torch.cat([normal[:, columns], torch.ones_like(normal[:, :1])], 1).double()
            solution = torch.linalg.lstsq(design, effect.unsqueeze(1)).solution[:, 0]
            if self.regresses:
                scale, slopes = solution[0].clamp_min(1e-2), solution[1:]
            else:
                scale = 1.0 / (effect - design @ solution).std().clamp_min(1e-3)
                slopes = -solution * scale
            mechanism.network.linear[i, others, 0] = slopes[:-1].to(mechanism.bias)
            mechanism.bias[i], mechanism.log_scale[i] = slopes[-1], scale.log()


def fit_solution(
    variables: FittedVariables, config: NetworksConfig, generator: torch.Generator
) -> Stages[SolutionObjective]:
    """The fitted solution functions."""
    objective = SolutionObjective(variables, config, generator)
    if config.steps > 0:
        every = max(1, config.steps // _VALIDATIONS)
        schedule = Schedule(config.steps, config.batch_size, every, patience=_VALIDATIONS)
        yield Job("solution functions", objective, schedule, generator)
    return objective.requires_grad_(False)
