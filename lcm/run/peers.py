"""Fits of the peers: each model by its own objective, then the graph over its variables."""

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
from lcm.peer import PEERS
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
        generator: one for each of the stages 0 and 1.
    """
    peer = PEERS[config.model]
    model: PairModel = yield from peer.fit(prepared, targets, config.peers[peer.section], generator(0), config.known)
    model.requires_grad_(False)
    found = yield from _find_graph(model, prepared, config, generator(1))
    (log_density,) = in_chunks(lambda *pair: (_encode(model, prepared, *pair).log_density,), *prepared.validation)
    # p-values are promised for the variables of the default model alone
    found = replace(found, evidence=None)
    return Fitted(model, found, -float(log_density.double().mean()))


def _find_graph(
    model: PairModel, prepared: Prepared, config: FitConfig, generator: torch.Generator
) -> Stages[FoundGraph]:
    """The known graph, the one that the model has learned, or the result of the search over its variables."""
    from lcm.peer.search import find_graph
    from lcm.peer.search.variables import FittedVariables
    from lcm.peer.variational import VariationalModel

    known, learns_graph = config.known, PEERS[config.model].learns_graph
    if known.graph is not None or learns_graph:
        graph = model.graph if known.graph is None else known_graph(known, model.n)
        found = FoundGraph(graph, graph.adjacency.astype(np.float64), tuple(graph.order()))
    else:
        encoded = in_chunks(lambda *pair: _encode(model, prepared, *pair), *prepared.train, most=_MOST_SEARCHED)
        variables = FittedVariables.from_encoded(EncodedPairs(*encoded), model.target_distribution)
        rate = config.readout.false_discovery_rate
        searched = yield from find_graph(variables, config.graph_search, generator, rate)
        found = _along(known_ancestors(known, model.n), searched)
    if isinstance(model, VariationalModel):
        model.set_graph(found.graph)
    return found


def _along(ancestors: Tensor | None, found: FoundGraph) -> FoundGraph:
    """The graph without edges against a known order."""
    if ancestors is None:
        return found
    graph = Graph(found.graph.adjacency & ancestors.numpy())
    return replace(found, graph=graph, order=tuple(graph.order()))


def _encode(model: PairModel, prepared: Prepared, y: Tensor, y_tilde: Tensor) -> EncodedPairs:
    """Encodings of pairs (N, n) in the coordinates of the fit."""
    x, x_tilde = (prepared.standardisation(part)[0] for part in (y, y_tilde))
    return model.encode_pairs(x, x_tilde)
