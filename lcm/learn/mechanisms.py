"""The stages of the causal mechanisms and the imposed distributions, given noise encodings and a graph."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from copy import deepcopy
from typing import final

import torch
from torch import Tensor

from lcm.base.chunks import in_chunks
from lcm.learn.config import MechanismsConfig
from lcm.learn.noise_encoder import ImplicitModel
from lcm.learn.noise_encoder_objective import Encoded
from lcm.learn.training.objective import Job, Objective, ParameterGroup, Schedule, Stages
from lcm.model.elementwise import SplineMap
from lcm.model.graph import Graph
from lcm.model.mechanism import TrainableMechanism, require_trainable
from lcm.model.noise import NormalNoise, PushforwardNoise
from lcm.model.scm import SCM
from lcm.readout.dependence import not_far_out

_ROWS_PER_REGRESSOR = 10
_LEAST_LOG_DENSITY = -15.0
_VALIDATIONS = 20
_GIVE_UP_AT = 0.1
_REFIT_SHARE = 0.4


@final
class ExplicitObjective(Objective):
    """Negative mean of Σ_i p(i ∈ I | x, x̃) [log p̃_i(z̃_i) + log|∂ζ_i/∂ũ_i|]: all that concerns the mechanisms.

    The mechanisms, of the kind that is configured, lie between learned noise distributions p_ε and p̃. They are richer
    than their name, since both ends are monotone splines (docs/method.md).
    """

    def __init__(
        self,
        graph: Graph,
        implicit: ImplicitModel,
        train: Encoded,
        validation: Encoded,
        config: MechanismsConfig,
    ) -> None:
        """The noise p_ε starts as the implicit model's, and stays it where φ is linear."""
        super().__init__()
        n = graph.n
        kind = TrainableMechanism.of_kind(config.kind)
        mechanism = kind.untrained(torch.from_numpy(graph.adjacency.copy()), config.hidden)
        self.scm = SCM(graph, mechanism, deepcopy(implicit.solution.noise).requires_grad_(not implicit.linear))
        self.imposed = PushforwardNoise(NormalNoise(n), SplineMap(n, config.bins))
        self.config = config
        self.to(train.normal.device)
        sets = implicit.target_distribution.target_sets
        weights = [encoded.posterior @ sets.to(encoded.posterior.dtype) for encoded in (train, validation)]
        self.start_linear(train, weights[0])
        self._train = _informative(train.normal_tilde, weights[0])
        self._validation = _informative(validation.normal_tilde, weights[1])

    def groups(self) -> list[ParameterGroup]:
        trained = [parameter for parameter in self.parameters() if parameter.requires_grad]
        return ParameterGroup.by_shape(trained, self.config.learning_rate)

    @property
    def n_rows(self) -> int:
        return len(self._train[0])

    def move_log_density(self, normal_tilde: Tensor) -> Tensor:
        """log-density (N, n) of each ũ_i as if i were a target."""
        noise, log_gauge = self.scm.noise.from_normal(normal_tilde)
        z, log_slope = self.scm.solve_each(noise)
        return self.imposed.log_density(z) + log_slope + log_gauge

    def structure(self) -> Hashable:
        return self.config, self.scm.generation_sizes()

    @classmethod
    def align(cls, objectives: Sequence[Objective]) -> None:
        """Where graphs differ in the sizes of their generations, solve variable by variable if that takes fewer steps.

        Any order of a graph has n generations of one variable, so that all graphs of n variables become one structure.
        """
        explicit = [objective for objective in objectives if isinstance(objective, ExplicitObjective)]
        graphs = [objective.scm.graph for objective in explicit]
        for n in {graph.n for graph in graphs}:
            sizes = {tuple(map(len, graph.generations())) for graph in graphs if graph.n == n}
            if len(sizes) > 1 and sum(map(len, sizes)) >= n:
                for objective in explicit:
                    if objective.scm.n == n:
                        objective.scm.solve_by([[variable] for variable in objective.scm.graph.order()])

    def batch(self, rows: Tensor) -> tuple[Tensor, ...]:
        return tuple(part[rows] for part in self._train)

    def loss(self, batch: tuple[Tensor, ...], progress: float) -> Tensor:
        return -self._weighted(*batch).mean()

    def _weighted(self, normal_tilde: Tensor, weights: Tensor) -> Tensor:
        """Log-density (N,) of what moved; a pair that the noise encoder got wrong counts no more than the bound."""
        return (weights * self.move_log_density(normal_tilde).clamp_min(_LEAST_LOG_DENSITY)).sum(1)

    def held_out_log_likelihood(self) -> float:
        """Mean of the objective over the held-out pairs, in nats a pair."""
        (values,) = in_chunks(lambda *pairs: (self._weighted(*pairs),), *self._validation)
        return float(values.mean())

    def validate(self) -> dict[str, float | list[float]]:
        return {"validation_log_likelihood": self.held_out_log_likelihood()}

    @torch.no_grad()
    def start_linear(self, encoded: Encoded, weights: Tensor) -> None:
        """Set the mechanisms to the least-squares fit of ε̃_i on its parents' z among the pairs with target i.

        Closed form, one generation after the other, and already the maximum of the likelihood where all is linear and
        normal; gradient steps on correlated parents would take long to come as far.
        """
        mechanism = require_trainable(self.scm.mechanism)
        (noise,) = in_chunks(lambda normal: (self.scm.noise.from_normal(normal)[0].double(),), encoded.normal_tilde)
        z = torch.zeros_like(noise)
        for i in self.scm.graph.order():
            parents = torch.nonzero(mechanism.adjacency[:, i]).flatten()
            chosen = weights[:, i] > 0.5
            found = _least_squares(z[chosen][:, parents], noise[chosen, i])
            if found is None:
                z[:, i] = noise[:, i]
                continue
            # rounded to the precision of the mechanisms, so that the values are theirs
            weight, bias, log_scale = (value.to(encoded.normal_tilde.dtype) for value in found)
            mechanism.set_linear(i, parents, weight, bias, log_scale)
            slopes = z.new_zeros(z.shape[1]).index_copy(0, parents, weight.double())
            z[:, i] = (noise[:, i] * log_scale.exp() + bias) + z @ slopes


def _least_squares(causes: Tensor, effect: Tensor) -> tuple[Tensor, Tensor, Tensor] | None:
    """Weights (k,), bias and log-scale of the mechanism whose noise is what causes (M, k) leave of an effect (M,).

    None where there are too few rows for a regression.
    """
    design = torch.cat([causes, torch.ones_like(effect.unsqueeze(1))], 1)
    if len(design) <= _ROWS_PER_REGRESSOR * design.shape[1]:
        return None
    near = not_far_out(causes)
    design, effect = design[near], effect[near]
    solution = torch.linalg.lstsq(design, effect.unsqueeze(1)).solution[:, 0]
    spread = (effect - design @ solution).std().clamp_min(1e-3)
    return -solution[:-1] / spread, -solution[-1] / spread, -spread.log()


def _informative(normal_tilde: Tensor, weights: Tensor) -> tuple[Tensor, Tensor]:
    """The pairs in which something was probably intervened on; all of them where there is no such pair."""
    chosen = weights.sum(1) > 0.5
    chosen = chosen if bool(chosen.any()) else torch.ones_like(chosen)
    return normal_tilde[chosen], weights[chosen]


def fit_mechanisms(objective: ExplicitObjective, generator: torch.Generator) -> Stages[None]:
    """Fit the mechanisms in place from their linear start, which is kept unless training improves on it."""
    yield _job("candidate mechanisms", objective, objective.config.steps, generator)
    objective.scm.solve_by(objective.scm.graph.generations())


def refit_mechanisms(
    objective: ExplicitObjective, candidate: ExplicitObjective, generator: torch.Generator
) -> Stages[None]:
    """Fit the mechanisms of a subgraph in place, from the linear start or the candidate's, the better validated."""
    linear = objective.held_out_log_likelihood()
    state = {name: value.clone() for name, value in objective.state_dict().items()}
    objective.load_state_dict(candidate.state_dict())
    if objective.held_out_log_likelihood() <= linear:
        objective.load_state_dict(state)
    yield _job("mechanisms", objective, max(1, round(_REFIT_SHARE * objective.config.steps)), generator)
    objective.scm.solve_by(objective.scm.graph.generations())


def _job(stage: str, objective: ExplicitObjective, steps: int, generator: torch.Generator) -> Job:
    every = max(1, steps // _VALIDATIONS)
    schedule = Schedule(steps, objective.config.batch_size, every, patience=_VALIDATIONS, give_up_at=_GIVE_UP_AT)
    return Job(stage, objective, schedule, generator)
