"""Side information of a fit: known targets, graph or order, and how they change the fit."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import logsumexp
from torch import Tensor

from lcm.learn.config import KnownConfig
from lcm.model.graph import Graph, transitive_closure
from lcm.readout.ancestors import Ancestry

Array = NDArray[np.float64]
_ROWS = 4_000
_START_THICKNESS = 0.1
_LEAST_THICKNESS = 1e-3
_UPDATES = 15


def known_graph(known: KnownConfig, n: int) -> Graph:
    """The known graph. Raises ValueError for a variable out of range or a cycle."""
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
    """Which variables j may be ancestors of i, bool (n, n), [j, i]. None if neither graph nor order is known."""
    if known.graph is not None:
        return torch.from_numpy(transitive_closure(known_graph(known, n).adjacency))
    if known.order is not None:
        position = torch.tensor(known.order).argsort()
        return position.unsqueeze(1) < position.unsqueeze(0)
    return None


def with_known(ancestry: Ancestry, known: KnownConfig) -> Ancestry:
    """The ancestry with the known candidates and order in place of those found."""
    n = len(ancestry.order)
    if known.graph is not None:
        graph = known_graph(known, n)
        return replace(ancestry, candidates=graph.adjacency.copy(), order=tuple(graph.order()))
    if known.order is not None:
        position = np.argsort(known.order)
        return replace(ancestry, candidates=position[:, None] < position[None, :], order=known.order)
    return ancestry


def is_symmetric(target_sets: NDArray[np.bool_]) -> bool:
    """Whether the collection of sets (K, n) is the same under every renumbering of the n variables."""
    known = {tuple(row) for row in target_sets.tolist()}
    n = target_sets.shape[1]
    return all({tuple(row) for row in target_sets[:, _swapped(n, i, i + 1)].tolist()} == known for i in range(n - 1))


def label_components(start: Array, start_tilde: Array, target_sets: NDArray[np.bool_]) -> NDArray[np.int64]:
    """The order (n,) of the components with which the target sets explain the pairs best: new i is old order[i].

    The search swaps two components while a swap raises the likelihood of a simple model: normal noise of unit variance
    for targets, and a change by a thickness in closed form for other variables.

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
    """The order (n,) in which component i moves when variable i is a target: new component i is old order[i].

    Args:
        differences: (N, n) changes of the components, which have unit variance over x.
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
    """Mean of log Σ_I p(pair | I) at uniform p_𝓘 and the thickness that the posterior implies."""
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
