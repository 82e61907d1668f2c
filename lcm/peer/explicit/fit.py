"""Fit the explicit models, with graphs learned jointly, known in part or known (docs/explicit-models.md)."""

from __future__ import annotations

import math
from collections.abc import Hashable
from functools import partial
from typing import final

import torch
from torch import Tensor, nn

from lcm.base.chunks import in_chunks
from lcm.base.component import describe
from lcm.learn.config import KnownConfig
from lcm.learn.known import known_graph
from lcm.learn.prepared import Prepared
from lcm.learn.training.objective import Job, Objective, ParameterGroup, Schedule, Stages
from lcm.model.intervention import TargetDistribution
from lcm.model.latent_causal_model import LatentCausalModel
from lcm.model.likelihood import THICKNESS_FLOOR, joint_log_density
from lcm.peer.explicit import ExplicitConfig
from lcm.peer.explicit.flow import ExplicitFlow
from lcm.peer.explicit.graph_parameters import (
    EncoGraph,
    FixedGraph,
    GraphParameters,
    PermutationGraph,
    build_graph_parameters,
)
from lcm.peer.explicit.start import LinearStart, labels_for_graph, labels_for_order, linear_start
from lcm.peer.explicit.vae import ExplicitVAE

_FLOW_RATE, _VAE_RATE = 1e-2, 3e-3
_VAE_LAYERS = 2
_MECHANISM_RATE, _GRAPH_RATE = 1e-2, 5e-2
_REFIT_SLOWER = 0.2
_ACYCLICITY = 1.0
_ORDER_LOG_ODDS = 3.0
_ANNEAL_SHARE = 0.4
_CLOSED_FORM_RATE = 0.02
_HELD_OUT_GRAPHS = 10
_HELD_OUT_SAMPLES = 4
_UNDECIDED = 1.0


def fit_explicit_flow(
    prepared: Prepared,
    targets: TargetDistribution,
    config: ExplicitConfig,
    generator: torch.Generator,
    known: KnownConfig | None = None,
) -> Stages[LatentCausalModel]:
    """Fit `elcm-flow`: jointly under sampled graphs, then under the decided one.

    A known graph or order replaces the parametrisation that the config names.

    Raises:
        ValueError: a graph of another size than the data's n, or none where the config says fixed.
    """
    parameters, start = _graph_and_start(prepared, targets, config, known or KnownConfig())
    model = ExplicitFlow(parameters, _copy(targets), config, start, generator)
    objective = ExplicitFlowObjective(model, prepared, config, generator)
    yield Job("explicit flow", objective, Schedule(config.steps, config.batch_size), generator)
    if not isinstance(model.graph, FixedGraph) and config.refit_steps > 0:
        model.graph = FixedGraph(model.graph.decide()).to(generator.device)
        refit = ExplicitFlowObjective(model, prepared, config, generator, refit=True)
        yield Job("explicit flow, graph decided", refit, Schedule(config.refit_steps, config.batch_size), generator)
    model.measure_thickness(prepared)
    return model.assemble(model.graph.decide(), prepared).requires_grad_(False)


def fit_explicit_vae(
    prepared: Prepared,
    targets: TargetDistribution,
    config: ExplicitConfig,
    generator: torch.Generator,
    known: KnownConfig | None = None,
) -> Stages[ExplicitVAE]:
    """Fit `elcm-vae` as `fit_explicit_flow` fits `elcm-flow`.

    Raises:
        ValueError: as `fit_explicit_flow`.
    """
    parameters, start = _graph_and_start(prepared, targets, config, known or KnownConfig())
    layers = _VAE_LAYERS if config.layers is None else config.layers
    sizes = layers, config.hidden, config.mechanism_hidden
    model = ExplicitVAE(prepared.standardisation, _copy(targets), *sizes, config.posterior, generator)
    model.start_at(start)
    parameters.to(generator.device)
    objective = ExplicitVAEObjective(model, parameters, prepared, config, generator)
    yield Job("explicit autoencoder", objective, Schedule(config.steps, config.batch_size), generator)
    found = parameters.decide()
    if not isinstance(parameters, FixedGraph) and config.refit_steps > 0:
        fixed = FixedGraph(found).to(generator.device)
        refit = ExplicitVAEObjective(model, fixed, prepared, config, generator, refit=True)
        schedule = Schedule(config.refit_steps, config.batch_size)
        yield Job("explicit autoencoder, graph decided", refit, schedule, generator)
    model.set_graph(found)
    return model.requires_grad_(False)


def _copy(targets: TargetDistribution) -> TargetDistribution:
    """Target sets with separate probabilities, which training will change."""
    return TargetDistribution(targets.n, targets.as_lists(), targets.probabilities.tolist())


def _graph_and_start(
    prepared: Prepared, targets: TargetDistribution, config: ExplicitConfig, known: KnownConfig
) -> tuple[GraphParameters, LinearStart]:
    """Graph parameters and the linear start, labelled to suit a known graph or order."""
    graph = None if known.graph is None else known_graph(known, targets.n)
    kind = "fixed" if graph is not None else "order" if known.order is not None else config.graph
    parameters = build_graph_parameters(kind, prepared.n, graph)
    start = linear_start(prepared, targets, config.linear_start)
    if graph is not None:
        start = start.relabelled(labels_for_graph(start, targets, graph))
    elif kind == "order":
        start = start.relabelled(labels_for_order(start, targets))
    if config.linear_start:
        _start_order(parameters, start)
    return parameters, start


@torch.no_grad()
def _start_order(parameters: GraphParameters, start: LinearStart) -> None:
    """Start near the order of the linear start, with fixed log-odds between neighbours in it."""
    place = -torch.tensor(start.order).argsort().float()
    if isinstance(parameters, PermutationGraph):
        parameters.score.copy_(_ORDER_LOG_ODDS * place)
    elif isinstance(parameters, EncoGraph):
        parameters.orientation.copy_(0.5 * _ORDER_LOG_ODDS * (place.unsqueeze(1) - place))


@final
class ExplicitFlowObjective(Objective):
    """Negative mean log p(x, x̃) under a sampled graph, and the penalties on edges and cycles.

    σ and p_𝓘 move towards their closed forms in every step, as in the default model. An annealed floor on σ makes the
    first steps smooth. A refit, under a decided graph, is slower and without annealing.
    """

    closed_form: Tensor
    first_floor: Tensor
    progress: Tensor

    def __init__(
        self,
        model: ExplicitFlow,
        prepared: Prepared,
        config: ExplicitConfig,
        generator: torch.Generator,
        refit: bool = False,
    ) -> None:
        super().__init__()
        self.model, self.config, self._generator, self._refit = model, config, generator, refit
        self._anneal_share = 0.0 if refit else _ANNEAL_SHARE
        self._train, self._validation = prepared.train, prepared.validation
        self._held_out_draws = _graphs_held_out(model.graph, generator)
        self.register_buffer("progress", torch.zeros(()))
        self.register_buffer("closed_form", model.thickness.clone())
        self.register_buffer("first_floor", model.thickness.clamp_min(THICKNESS_FLOOR))

    def groups(self) -> list[ParameterGroup]:
        model, config = self.model, self.config
        mechanisms = [*model.mechanism.parameters(), *model.noise.parameters(), *model.imposed.parameters()]
        decoder = [parameter for parameter in model.decoder.parameters() if parameter.requires_grad]
        rate = _FLOW_RATE if config.learning_rate is None else config.learning_rate
        return _groups(decoder, rate, mechanisms, model.graph, self._refit)

    @property
    def n_rows(self) -> int:
        return len(self._train[0])

    def structure(self) -> Hashable:
        graph = self.model.graph
        return str(describe(self.model.decoder)), self.config, type(graph), self._refit

    def batch(self, rows: Tensor) -> tuple[Tensor, ...]:
        x, x_tilde = self._train
        return x[rows], x_tilde[rows], _graph_draws(self.model.graph, len(rows), self.config, self._generator)

    def loss(self, batch: tuple[Tensor, ...], progress: float) -> Tensor:
        x, x_tilde, draws = batch
        self.progress.fill_(progress)
        model = self.model
        adjacency = model.graph.sample(draws.flatten()[: model.graph.n_draws])
        model.thickness.copy_(torch.maximum(self.closed_form, self._annealed_floor(progress)))
        terms, difference = model.terms(x, x_tilde, adjacency, model.thickness)
        joint = joint_log_density(terms, *model.target_sets())
        self._update(difference, joint, (x != x_tilde).any(1), annealed=progress >= self._anneal_share)
        return _graph_penalty(model.graph, self.config, progress) - torch.logsumexp(joint, 1).mean()

    def _annealed_floor(self, progress: float) -> Tensor:
        share = self._anneal_share
        done = 1.0 if share == 0 else min(1.0, progress / share)
        return self.first_floor * (THICKNESS_FLOOR / self.first_floor) ** done

    @torch.no_grad()
    def _update(self, difference: Tensor, joint: Tensor, changed: Tensor, annealed: bool) -> None:
        posterior = torch.softmax(joint, 1)
        variance = self.model.staying_variance(difference, posterior, changed)
        self.closed_form.copy_(self.closed_form.square().lerp(variance, _CLOSED_FORM_RATE).sqrt())
        if annealed:
            probabilities = self.model.target_distribution.probabilities
            probabilities.copy_(probabilities.lerp(posterior.mean(0), _CLOSED_FORM_RATE))

    def validate(self) -> dict[str, float | list[float]]:
        model = self.model
        model.thickness.copy_(self.closed_form)
        graph = model.graph.decide()
        return {
            "validation_log_likelihood": self._held_out() - _undecided(model.graph, self.progress),
            "edges": float(graph.n_edges),
            "cyclicity": float(model.graph.cyclicity()),
            "thickness": model.thickness.tolist(),
        }

    def _held_out(self) -> float:
        """Mean log p(x, x̃) of the held-out pairs, each part of them under another sampled graph."""
        model, total = self.model, 0.0
        parts = zip(*(part.tensor_split(_HELD_OUT_GRAPHS) for part in self._validation), strict=True)
        for draws, (x, x_tilde) in zip(self._held_out_draws, parts, strict=True):
            adjacency = model.graph.sample(draws)
            (values,) = in_chunks(partial(_log_density, model, adjacency), x, x_tilde)
            total += float(values.sum())
        return total / len(self._validation[0])


def _log_density(model: ExplicitFlow, adjacency: Tensor, x: Tensor, x_tilde: Tensor) -> tuple[Tensor]:
    return (model.log_density(x, x_tilde, adjacency),)


@final
class ExplicitVAEObjective(Objective):
    """Negative mean ELBO under a sampled graph, and the penalties on edges and cycles; p_𝓘 in closed form."""

    progress: Tensor

    def __init__(
        self,
        model: ExplicitVAE,
        graph: GraphParameters,
        prepared: Prepared,
        config: ExplicitConfig,
        generator: torch.Generator,
        refit: bool = False,
    ) -> None:
        super().__init__()
        self.model, self.graph, self.config, self._generator, self._refit = model, graph, config, generator, refit
        self._train, self._validation = prepared.train, prepared.validation
        self._held_out_draws = _graphs_held_out(graph, generator)
        self.register_buffer("progress", torch.zeros(()))
        self._held_out_normal = self._normal(len(self._validation[0]), _HELD_OUT_SAMPLES)

    def _normal(self, rows: int, samples: int) -> Tensor:
        shape = (rows, samples, 2, self.model.n)
        return torch.randn(shape, generator=self._generator, device=self._generator.device)

    def groups(self) -> list[ParameterGroup]:
        model, config = self.model, self.config
        mechanisms = list(model.mechanism.parameters())
        others = [
            parameter
            for name, parameter in model.named_parameters()
            if not name.startswith("mechanism.") and (name != "heuristic" or model.posterior == "heuristic")
        ]
        rate = _VAE_RATE if config.learning_rate is None else config.learning_rate
        return _groups(others, rate, mechanisms, self.graph, self._refit)

    @property
    def n_rows(self) -> int:
        return len(self._train[0])

    def structure(self) -> Hashable:
        return str(self.model.description()), self.config, type(self.graph), self._refit

    def batch(self, rows: Tensor) -> tuple[Tensor, ...]:
        y, y_tilde = self._train
        draws = _graph_draws(self.graph, len(rows), self.config, self._generator)
        return y[rows], y_tilde[rows], self._normal(len(rows), 1), draws

    def loss(self, batch: tuple[Tensor, ...], progress: float) -> Tensor:
        y, y_tilde, normal, draws = batch
        self.progress.fill_(progress)
        adjacency = self.graph.sample(draws.flatten()[: self.graph.n_draws])
        bound, posterior = self.model.elbo(y, y_tilde, adjacency, normal.transpose(0, 1))
        probabilities = self.model.target_distribution.probabilities
        probabilities.copy_(probabilities.lerp(posterior.detach().mean((0, 1)), _CLOSED_FORM_RATE))
        return _graph_penalty(self.graph, self.config, progress) - bound.mean()

    def validate(self) -> dict[str, float | list[float]]:
        graph, total = self.graph.decide(), 0.0
        self.model.set_graph(graph)
        arrays = (*self._validation, self._held_out_normal)
        parts = zip(*(part.tensor_split(_HELD_OUT_GRAPHS) for part in arrays), strict=True)
        for draws, part in zip(self._held_out_draws, parts, strict=True):
            (values,) = in_chunks(partial(_bound, self.model, self.graph.sample(draws)), *part)
            total += float(values.sum())
        return {
            "validation_log_likelihood": total / len(self._validation[0]) - _undecided(self.graph, self.progress),
            "edges": float(graph.n_edges),
            "cyclicity": float(self.graph.cyclicity()),
            "target_probabilities": self.model.target_distribution.probabilities.tolist(),
        }


def _bound(model: ExplicitVAE, adjacency: Tensor, y: Tensor, y_tilde: Tensor, normal: Tensor) -> tuple[Tensor]:
    return (model.elbo(y, y_tilde, adjacency, normal.transpose(0, 1))[0],)


def _groups(
    decoder: list[nn.Parameter], rate: float, mechanisms: list[nn.Parameter], graph: GraphParameters, refit: bool
) -> list[ParameterGroup]:
    """Parameters by step size; a refit takes smaller steps."""
    slower = _REFIT_SLOWER if refit else 1.0
    groups = [
        ParameterGroup(decoder, slower * rate),
        ParameterGroup(mechanisms, slower * _MECHANISM_RATE),
        ParameterGroup(list(graph.parameters()), _GRAPH_RATE),
    ]
    return [group for group in groups if group.parameters]


def _graph_draws(graph: GraphParameters, rows: int, config: ExplicitConfig, generator: torch.Generator) -> Tensor:
    """Uniform draws (rows, w), with w such that every batch has enough of them for one sample."""
    width = math.ceil(graph.n_draws / config.batch_size)
    return torch.rand(rows, width, generator=generator, device=generator.device)


def _graph_penalty(graph: GraphParameters, config: ExplicitConfig, progress: float) -> Tensor:
    """The penalty () on edges and cycles in nats a pair; the weight of cycles rises with the square of progress."""
    if isinstance(graph, FixedGraph):
        return graph.allowed.new_zeros((), dtype=torch.get_default_dtype())
    return config.sparsity * graph.expected_edges() + _ACYCLICITY * progress**2 * graph.cyclicity()


def _undecided(graph: GraphParameters, progress: Tensor) -> float:
    """The handicap of a state under sampled graphs when states are compared, in nats a pair, falling to zero.

    The linear start has all edges. Where it is almost right, no later state would be preferred without the handicap.
    """
    return 0.0 if isinstance(graph, FixedGraph) else _UNDECIDED * (1.0 - float(progress))


def _graphs_held_out(graph: GraphParameters, generator: torch.Generator) -> Tensor:
    """Uniform draws (G, n_draws) of the graphs of all validations: with fresh draws, luck would choose among states."""
    return torch.rand(_HELD_OUT_GRAPHS, graph.n_draws, generator=generator, device=generator.device)
