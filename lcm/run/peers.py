"""Fits of the peers: each model by its own objective, then the graph over its variables by the search that is set."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from lcm.base.chunks import in_chunks
from lcm.learn.known import known_ancestors, known_graph
from lcm.learn.prepared import Prepared
from lcm.learn.result import Fitted
from lcm.learn.training.objective import Stages
from lcm.model.graph import Graph
from lcm.model.intervention import TargetDistribution
from lcm.model.pair_model import EncodedPairs, PairModel
from lcm.peer.explicit.config import ExplicitConfig
from lcm.readout.evidence import FoundGraph
from lcm.run.config import FitConfig

_MOST_SEARCHED = 50_000


def fit_peer(
    prepared: Prepared, targets: TargetDistribution, config: FitConfig, generator: Callable[[int], torch.Generator]
) -> Stages[Fitted]:
    """Fit the peer that `config.model` names, and find the graph over its variables.

    Args:
        prepared: the pairs.
        targets: the intervention family, changed in place.
        config: all settings.
        generator: one for each stage 0, 1, 2.
    """
    graph = None if config.known.graph is None else known_graph(config.known, targets.n)
    model = yield from _fit_model(prepared, targets, config, generator(0), graph)
    model.requires_grad_(False)
    found = yield from _find_graph(model, prepared, config, generator(1), graph)
    (log_density,) = in_chunks(lambda *pair: (_encode(model, prepared, *pair).log_density,), *prepared.validation)
    # p-values are promised for the variables of the default model alone
    found = replace(found, evidence=None)
    return Fitted(model, found, -float(log_density.double().mean()))


def _fit_model(
    prepared: Prepared,
    targets: TargetDistribution,
    config: FitConfig,
    generator: torch.Generator,
    graph: Graph | None,
) -> Stages[PairModel]:
    if config.model == "ilcm-vae":
        from lcm.peer.implicit.fit import fit_implicit_vae

        ancestors = known_ancestors(config.known, targets.n)
        return (yield from fit_implicit_vae(prepared, targets, config.implicit_vae, generator, ancestors))
    if config.model == "elcm-vae":
        from lcm.peer.explicit.fit import fit_explicit_vae

        return (yield from fit_explicit_vae(prepared, targets, _explicit(config), generator, graph))
    if config.model == "elcm-flow":
        from lcm.peer.explicit.fit import fit_explicit_flow

        return (yield from fit_explicit_flow(prepared, targets, _explicit(config), generator, graph))
    if config.model == "flow" or config.model == "linear":
        raise ValueError(f"model: Expected a peer; got {config.model}.")
    from lcm.peer.disentanglement.fit import fit_disentanglement_vae

    return (yield from fit_disentanglement_vae(prepared, targets, config.disentanglement, generator, config.model))


def _explicit(config: FitConfig) -> ExplicitConfig:
    """The settings of an explicit model, the parametrisation of its graph being what is known of it."""
    if config.known.graph is not None:
        return replace(config.explicit, graph="fixed")
    return config.explicit if config.known.order is None else replace(config.explicit, graph="order")


def _find_graph(
    model: PairModel, prepared: Prepared, config: FitConfig, generator: torch.Generator, known: Graph | None
) -> Stages[FoundGraph]:
    """The known graph, the one that the model has learned itself, or what the search finds over its variables."""
    from lcm.peer.search.search import find_graph
    from lcm.peer.search.variables import FittedVariables
    from lcm.peer.variational import VariationalModel

    learned = known or (model.graph if config.model in ("elcm-vae", "elcm-flow") else None)
    if learned is not None and isinstance(model, VariationalModel):
        model.set_graph(learned)
    if learned is not None:
        return FoundGraph(learned, learned.adjacency.astype(np.float64), tuple(learned.order()))
    encoded = in_chunks(lambda *pair: _encode(model, prepared, *pair), *prepared.train, most=_MOST_SEARCHED)
    variables = FittedVariables.from_encoded(EncodedPairs(*encoded), model.target_distribution)
    rate = config.readout.false_discovery_rate
    found = _along(
        known_ancestors(config.known, model.n), (yield from find_graph(variables, config.graph_search, generator, rate))
    )
    if isinstance(model, VariationalModel):
        model.set_graph(found.graph)
    return found


def _along(ancestors: Tensor | None, found: FoundGraph) -> FoundGraph:
    """The graph without edges against an order that is known."""
    if ancestors is None:
        return found
    graph = Graph(found.graph.adjacency & ancestors.numpy())
    return replace(found, graph=graph, order=tuple(graph.order()))


def _encode(model: PairModel, prepared: Prepared, y: Tensor, y_tilde: Tensor) -> EncodedPairs:
    """Encodings of pairs (N, n) in the coordinates of the fit."""
    x, x_tilde = (prepared.standardisation(part)[0] for part in (y, y_tilde))
    return model.encode_pairs(x, x_tilde)
