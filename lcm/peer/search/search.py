"""One door to all methods of graph discovery on fitted variables."""

from __future__ import annotations

import time
from dataclasses import replace

import numpy as np
import torch

from lcm.learn.training.objective import Stages
from lcm.model.graph import Graph
from lcm.peer.search.config import LIBRARY_METHODS, GraphSearchConfig
from lcm.peer.search.variables import FittedVariables
from lcm.readout.evidence import FoundGraph, check_rate, strongest_acyclic


def find_graph(
    variables: FittedVariables,
    config: GraphSearchConfig,
    generator: torch.Generator,
    false_discovery_rate: float = 0.05,
) -> Stages[FoundGraph]:
    """Find the graph over fitted variables by the configured method; the graph is never cyclic.

    Args:
        variables: encodings of pairs, all (N, n).
        config: the method and its settings.
        generator: on the variables' device; checkpointed with every stage that trains.
        false_discovery_rate: of the method `tests`; the level of every test of `pc`.

    Raises:
        ValueError: a rate outside (0, 1), or a library that is not installed.
    """
    check_rate(false_discovery_rate)
    started = time.perf_counter()
    if variables.n == 1 or config.method == "none":
        found = _empty(variables.n)
    else:
        found = yield from _search(variables, config, generator, false_discovery_rate)
    return replace(found, seconds=time.perf_counter() - started)


def _empty(n: int) -> FoundGraph:
    return FoundGraph(Graph.from_edges(n, []), np.zeros((n, n)), tuple(range(n)))


def _search(
    variables: FittedVariables, config: GraphSearchConfig, generator: torch.Generator, rate: float
) -> Stages[FoundGraph]:
    # each imports what it needs when it is asked for
    if config.method == "tests":
        from lcm.peer.search.independence import find_by_tests

        evidence = yield from find_by_tests(variables, config.networks, generator)
        strength = evidence.edge_strength.astype(np.float64)
        return FoundGraph(evidence.graph_at(rate), strength, evidence.order, evidence)
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
    from lcm.peer.search.independence import dependence_strengths
    from lcm.peer.search.solution import fit_solution, jacobian_strengths

    solution = yield from fit_solution(variables, config.networks, generator)
    if config.method == "dependence":
        strength, order = dependence_strengths(solution)
        return FoundGraph(Graph(strength > config.threshold), strength, order)
    strength = jacobian_strengths(solution)
    graph = strongest_acyclic(strength, strength > config.threshold)
    return FoundGraph(graph, strength, graph.order())
