"""Graph searches over the variables of any fitted model, without torch until one is used (docs/graph-search.md)."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from lcm.peer.search.config import LIBRARY_METHODS, GraphSearchConfig, SearchMethod

if TYPE_CHECKING:
    import torch

    from lcm.data.pairs import PairData
    from lcm.learn.training.objective import Stages
    from lcm.model.pair_model import PairModel
    from lcm.peer.search.variables import FittedVariables
    from lcm.readout.evidence import FoundGraph

_MOST_ROWS = 50_000


def discover_on_data(
    model: PairModel,
    data: PairData,
    method: SearchMethod,
    seed: int = 0,
    *,
    config: GraphSearchConfig | None = None,
    false_discovery_rate: float = 0.05,
) -> tuple[FoundGraph, int | None]:
    """Find a graph over the variables that a model encodes from the first 50,000 pairs, by `discover`.

    Returns:
        The graph in the numbering of the learned variables, and its structural Hamming distance from the true graph;
        None if the data do not hold the true variables and graph.

    Raises:
        ValueError: as `discover` and `encode_pairs`.
    """
    from lcm.data.encode import encode_pairs
    from lcm.isomorphism.matching import correlation_matrix, match_variables
    from lcm.metric.graph import aligned_adjacency, structural_hamming_distance
    from lcm.peer.search.variables import FittedVariables

    pairs = data.first(_MOST_ROWS)
    encoded = encode_pairs(model, pairs)
    variables = FittedVariables.from_encoded(encoded, model.target_distribution)
    found = discover(variables, method, seed, config=config, false_discovery_rate=false_discovery_rate)
    if pairs.z is None or pairs.adjacency is None:
        return found, None
    permutation = match_variables(correlation_matrix(pairs.z, encoded.z.double().cpu().numpy()))
    aligned = aligned_adjacency(found.graph.adjacency, permutation)
    return found, structural_hamming_distance(pairs.adjacency, aligned)


def discover(
    variables: FittedVariables,
    method: SearchMethod | None = None,
    seed: int = 0,
    *,
    config: GraphSearchConfig | None = None,
    false_discovery_rate: float = 0.05,
) -> FoundGraph:
    """Find the graph over fitted variables; equal arguments give equal graphs.

    Args:
        variables: encodings of pairs, all (N, n).
        method: one of `METHODS`; overrides that of `config`.
        seed: of the networks, if the method trains any.
        config: all other settings.
        false_discovery_rate: of the method `tests`; the level of every test of `pc`.

    Raises:
        ValueError: an unknown method, a rate outside (0, 1), or a library that is not installed.
    """
    import torch

    from lcm.learn.training.loop import run_alone
    from lcm.learn.training.tracker import Recorder

    config = config or GraphSearchConfig()
    if method is not None:
        config = replace(config, method=method)
    generator = torch.Generator(variables.z.device).manual_seed(seed)
    return run_alone(
        find_graph(variables, config, generator, false_discovery_rate), Recorder().stage(0, f"graph by {config.method}")
    )


def find_graph(
    variables: FittedVariables,
    config: GraphSearchConfig,
    generator: torch.Generator,
    false_discovery_rate: float = 0.05,
) -> Stages[FoundGraph]:
    """Find the graph over fitted variables by the configured method, as stages of a fit; it is never cyclic.

    Args:
        variables: encodings of pairs, all (N, n).
        config: the method and its settings.
        generator: on the variables' device; checkpointed with every stage that trains.
        false_discovery_rate: of the method `tests`; the level of every test of `pc`.

    Raises:
        ValueError: a rate outside (0, 1), or a library that is not installed.
    """
    import time

    from lcm.readout.evidence import check_rate

    check_rate(false_discovery_rate)
    started = time.perf_counter()
    if variables.n == 1 or config.method == "none":
        found = _empty(variables.n)
    else:
        found = yield from _search(variables, config, generator, false_discovery_rate)
    return replace(found, seconds=time.perf_counter() - started)


def _empty(n: int) -> FoundGraph:
    import numpy as np

    from lcm.model.graph import Graph
    from lcm.readout.evidence import FoundGraph

    return FoundGraph(Graph.from_edges(n, []), np.zeros((n, n)), tuple(range(n)))


def _search(
    variables: FittedVariables, config: GraphSearchConfig, generator: torch.Generator, rate: float
) -> Stages[FoundGraph]:
    from lcm.readout.evidence import FoundGraph

    if config.method == "tests":
        from lcm.peer.search.solution import find_by_tests

        evidence = yield from find_by_tests(variables, config.networks, generator)
        return FoundGraph(evidence.graph_at(rate), evidence.edge_strength.astype("float64"), evidence.order, evidence)
    if config.method == "enco":
        from lcm.peer.search.enco import find_by_enco

        graph, probability = yield from find_by_enco(variables, config.enco, generator)
        return FoundGraph(graph, probability, graph.order())
    if config.method in LIBRARY_METHODS:
        from lcm.peer.search.libraries import find_by_library

        return find_by_library(variables, config.method, config.threshold, rate)
    return (yield from _by_solution_functions(variables, config, generator))


def _by_solution_functions(
    variables: FittedVariables, config: GraphSearchConfig, generator: torch.Generator
) -> Stages[FoundGraph]:
    from lcm.model.graph import Graph
    from lcm.peer.search.solution import dependence_strengths, fit_solution, jacobian_strengths
    from lcm.readout.evidence import FoundGraph, strongest_acyclic

    solution = yield from fit_solution(variables, config.networks, generator)
    if config.method == "dependence":
        strength, order = dependence_strengths(solution)
        return FoundGraph(Graph(strength > config.threshold), strength, order)
    strength = jacobian_strengths(solution)
    graph = strongest_acyclic(strength, strength > config.threshold)
    return FoundGraph(graph, strength, graph.order())
