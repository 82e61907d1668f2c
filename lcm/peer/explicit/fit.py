"""Fit the explicit models, with graphs learned jointly, known in part or known (docs/explicit-models.md)."""

from __future__ import annotations

import torch

from lcm.learn.prepared import Prepared
from lcm.learn.training.objective import Job, Schedule, Stages
from lcm.model.graph import Graph
from lcm.model.intervention import TargetDistribution
from lcm.model.latent_causal_model import LatentCausalModel
from lcm.peer.explicit.config import ExplicitConfig
from lcm.peer.explicit.flow import ExplicitFlow
from lcm.peer.explicit.graph_parameters import (
    EncoGraph,
    FixedGraph,
    GraphParameters,
    PermutationGraph,
    build_graph_parameters,
)
from lcm.peer.explicit.objective import FLOW_RATE, VAE_RATE, ExplicitFlowObjective, ExplicitVAEObjective, refit_config
from lcm.peer.explicit.start import LinearStart, labels_for_graph, labels_for_order, linear_start
from lcm.peer.explicit.vae import ExplicitVAE

_FLOW_STEPS, _VAE_STEPS = 3000, 3000
_VAE_LAYERS = 2


def fit_explicit_flow(
    prepared: Prepared,
    targets: TargetDistribution,
    config: ExplicitConfig,
    generator: torch.Generator,
    graph: Graph | None = None,
) -> Stages[LatentCausalModel]:
    """Fit `elcm-flow`: jointly under sampled graphs, then under the decided one.

    Raises:
        ValueError: a graph of another size than the data's n, or none where the config says fixed.
    """
    parameters, start = _graph_and_start(prepared, targets, config, graph)
    model = ExplicitFlow(parameters, _copy(targets), config, start, generator)
    steps = _FLOW_STEPS if config.steps is None else config.steps
    objective = ExplicitFlowObjective(model, prepared, config, generator)
    yield Job("explicit flow", objective, Schedule(steps, config.batch_size), generator)
    if not isinstance(model.graph, FixedGraph) and config.refit_steps > 0:
        model.graph = FixedGraph(model.graph.decide()).to(generator.device)
        refit = ExplicitFlowObjective(model, prepared, refit_config(config, FLOW_RATE), generator)
        yield Job("explicit flow, graph decided", refit, Schedule(config.refit_steps, config.batch_size), generator)
    model.measure_thickness(prepared)
    return model.assemble(model.graph.decide(), prepared).requires_grad_(False)


def fit_explicit_vae(
    prepared: Prepared,
    targets: TargetDistribution,
    config: ExplicitConfig,
    generator: torch.Generator,
    graph: Graph | None = None,
) -> Stages[ExplicitVAE]:
    """Fit `elcm-vae`: jointly under sampled graphs, then under the decided one.

    Raises:
        ValueError: a graph of another size than the data's n, or none where the config says fixed.
    """
    parameters, start = _graph_and_start(prepared, targets, config, graph)
    layers = _VAE_LAYERS if config.layers is None else config.layers
    sizes = layers, config.hidden, config.mechanism_hidden
    model = ExplicitVAE(prepared.standardisation, _copy(targets), *sizes, config.posterior, generator)
    model.start_at(start)
    parameters.to(generator.device)
    steps = _VAE_STEPS if config.steps is None else config.steps
    objective = ExplicitVAEObjective(model, parameters, prepared, config, generator)
    yield Job("explicit autoencoder", objective, Schedule(steps, config.batch_size), generator)
    found = parameters.decide()
    if graph is None and config.refit_steps > 0:
        fixed = FixedGraph(found).to(generator.device)
        refit = ExplicitVAEObjective(model, fixed, prepared, refit_config(config, VAE_RATE), generator)
        schedule = Schedule(config.refit_steps, config.batch_size)
        yield Job("explicit autoencoder, graph decided", refit, schedule, generator)
    model.set_graph(found)
    return model.requires_grad_(False)


def _copy(targets: TargetDistribution) -> TargetDistribution:
    """Target sets with probabilities of their own, which training will change."""
    return TargetDistribution(targets.n, targets.as_lists(), targets.probabilities.tolist())


def _graph_and_start(
    prepared: Prepared, targets: TargetDistribution, config: ExplicitConfig, graph: Graph | None
) -> tuple[GraphParameters, LinearStart]:
    """Graph parameters and the linear start, labelled as a known graph or order says."""
    kind = config.graph if graph is None else "fixed"
    parameters = build_graph_parameters(kind, prepared.n, graph, config.temperature)
    start = linear_start(prepared, targets, config.linear_start)
    if graph is not None:
        start = start.relabelled(labels_for_graph(start, targets, graph))
    elif kind == "order":
        start = start.relabelled(labels_for_order(start, targets))
    if config.linear_start:
        _start_order(parameters, start, config.order_start)
    return parameters, start


@torch.no_grad()
def _start_order(parameters: GraphParameters, start: LinearStart, log_odds: float) -> None:
    """Begin near the order of the linear start, `log_odds` between variables that are next to each other in it."""
    place = -torch.tensor(start.order).argsort().float()
    if isinstance(parameters, PermutationGraph):
        parameters.score.copy_(log_odds * place)
    elif isinstance(parameters, EncoGraph):
        parameters.orientation.copy_(0.5 * log_odds * (place.unsqueeze(1) - place))
