"""Side information that a fit is given: targets, graph, order; what it needs, and what it changes."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import logsumexp
from torch import Tensor

from lcm.learn.config import KnownConfig
from lcm.model.graph import Graph, transitive_closure
from lcm.readout.edges import Ancestry

Array = NDArray[np.float64]


_ROWS = 4_000
_START_THICKNESS = 0.1
_LEAST_THICKNESS = 1e-3
_UPDATES = 15


def known_graph(known: KnownConfig, n: int) -> Graph:
    """The graph that is known; ValueError for a variable out of range, or a cycle."""
    adjacency = np.zeros((n, n), dtype=np.bool_)
    for i, j in known.graph or ():
        if not (0 <= i < n and 0 <= j < n):
            raise ValueError(f"known.graph: Expected variables of 0..{n - 1}; got the edge [{i}, {j}].")
        adjacency[i, j] = True
    try:
        return Graph(adjacency)
    except ValueError as error:
        raise ValueError(f"known.graph: {error}") from error


def known_ancestors(known: KnownConfig, n: int) -> Tensor | None:
    """Which variables j may be ancestors of i, bool (n, n), [j, i], by a known graph or order; None without."""
    if known.graph is not None:
        return torch.from_numpy(transitive_closure(known_graph(known, n).adjacency))
    if known.order is not None:
        position = torch.tensor(known.order).argsort()
        return position.unsqueeze(1) < position.unsqueeze(0)
    return None


def with_known(ancestry: Ancestry, known: KnownConfig) -> Ancestry:
    """The candidates and the order that are known instead of those found."""
    n = len(ancestry.order)
    if known.graph is not None:
        graph = known_graph(known, n)
        return replace(ancestry, candidates=graph.adjacency.copy(), order=tuple(graph.order()))
    if known.order is not None:
        position = np.argsort(known.order)
        return replace(ancestry, candidates=position[:, None] < position[None, :], order=known.order)
    return ancestry


def is_symmetric(target_sets: NDArray[np.bool_]) -> bool:
    """Whether every relabelling of the n variables leaves the collection of sets (K, n) as it is."""
    known = {tuple(row) for row in target_sets.tolist()}
    n = target_sets.shape[1]
    return all({tuple(row) for row in target_sets[:, _swapped(n, i, i + 1)].tolist()} == known for i in range(n - 1))


def label_components(start: Array, start_tilde: Array, target_sets: NDArray[np.bool_]) -> NDArray[np.int64]:
    """An order (n,) of the components under which the sets explain the pairs best: new component i is old order[i].

    Exchanges of two components are tried as long as one of them raises the likelihood of a crude model: normal noise of
    unit variance, that of non-targets moved by a thickness in closed form.

    Args:
        start, start_tilde: (N, n) components of x and x̃, of unit variance over x.
        target_sets: (K, n).
    """
    n = target_sets.shape[1]
    order = np.arange(n)
    if is_symmetric(target_sets):
        return order
    changed = np.flatnonzero((start != start_tilde).any(1))[:_ROWS]
    first, second = start[changed], start_tilde[changed]
    best, improved = _log_likelihood(first, second, target_sets), True
    while improved:
        improved = False
        for i in range(n):
            for j in range(i + 1, n):
                tried = order[_swapped(n, i, j)]
                value = _log_likelihood(first[:, tried], second[:, tried], target_sets)
                if value > best + 1e-9:
                    order, best, improved = tried, value, True
    return order


def assign_components(differences: Array, targets: NDArray[np.bool_]) -> NDArray[np.int64]:
    """An order (n,) of the components in which component i moves where variable i is a target: new i is old order[i].

    Args:
        differences: (N, n) changes of the components, of unit variance over x.
        targets: (N, n) bool, the known targets of each pair.
    """
    from scipy.optimize import linear_sum_assignment

    moved = np.square(differences).T @ targets.astype(np.float64)
    share = moved / np.maximum(moved.sum(1, keepdims=True), np.finfo(np.float64).tiny)
    components, variables = linear_sum_assignment(share, maximize=True)
    return np.asarray(components[np.argsort(variables)], dtype=np.int64)


def _swapped(n: int, i: int, j: int) -> NDArray[np.int64]:
    order = np.arange(n)
    order[[i, j]] = order[[j, i]]
    return order


def _log_likelihood(first: Array, second: Array, target_sets: NDArray[np.bool_]) -> float:
    """Mean of log Σ_I p(pair | I) at uniform p_𝓘 and the thickness that its own posterior implies."""
    sets = target_sets.astype(np.float64)
    squared, moved = np.square(second - first), -0.5 * np.square(second)
    thickness = np.full(first.shape[1], _START_THICKNESS)
    for _ in range(_UPDATES):
        stay = -0.5 * squared / np.square(thickness) - np.log(thickness)
        joint = stay.sum(1, keepdims=True) + (moved - stay) @ sets.T
        posterior = np.exp(joint - logsumexp(joint, axis=1, keepdims=True))
        stays = 1.0 - posterior @ sets
        variance = (stays * squared).sum(0) / np.maximum(stays.sum(0), 1e-6)
        thickness = np.sqrt(np.maximum(variance, _LEAST_THICKNESS**2))
    return float(logsumexp(joint, axis=1).mean())
