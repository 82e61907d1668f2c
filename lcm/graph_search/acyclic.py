"""From strengths of edges, perhaps cyclic, to a graph."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from lcm.graph import BoolArray, Graph


def strongest_acyclic(strength: NDArray[np.float64], accepted: BoolArray) -> Graph:
    """The accepted edges, the strongest first, each unless it closes a cycle with those before it.

    Args:
        strength: (n, n), [i, j] for i → j; of equal ones the first in reading order comes first.
        accepted: bool (n, n); the diagonal is ignored.
    """
    n = len(strength)
    reaches = np.eye(n, dtype=np.bool_)
    adjacency = np.zeros_like(reaches)
    for index in np.argsort(-strength, axis=None, kind="stable"):
        cause, effect = divmod(int(index), n)
        if accepted[cause, effect] and not reaches[effect, cause]:
            adjacency[cause, effect] = True
            reaches |= np.outer(reaches[:, cause], reaches[effect])
    return Graph(adjacency)


def directed(edges: BoolArray, undirected: BoolArray, order: tuple[int, ...]) -> Graph:
    """A graph from a partially directed one: its undirected edges along an order, unless that closes a cycle.

    Directed edges that close a cycle with those before them are left out.

    Args:
        edges: bool (n, n), [i, j]: i → j.
        undirected: bool (n, n), symmetric.
        order: of all variables, causes first.
    """
    n = len(order)
    position = np.argsort(order)
    along = position[:, None] < position[None, :]
    adjacency = strongest_acyclic(np.zeros((n, n)), edges & ~undirected).adjacency.copy()
    for cause, effect in np.argwhere(undirected & along):
        reaches = Graph(adjacency).ancestors()
        if reaches[effect, cause]:
            cause, effect = effect, cause
        adjacency[cause, effect] = True
    return Graph(adjacency)
