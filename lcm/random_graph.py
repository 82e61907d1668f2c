"""Random directed acyclic graphs, always with a variable order drawn from the generator.

A fixed order (causes at small indices) would hide every bug that confuses an index with a position in the
order.
"""

from __future__ import annotations

import numpy as np

from lcm.graph import BoolArray, Graph


def erdos_renyi(
    n: int,
    generator: np.random.Generator,
    edge_probability: float | None = None,
    expected_degree: float | None = None,
) -> Graph:
    """Each pair of variables is joined independently, with one probability, along a random order.

    Args:
        n: number of variables, at least 1.
        generator: source of the edges and of the order.
        edge_probability: probability in [0, 1] that a pair is joined.
        expected_degree: expected number of edges at a variable, in and out together, at least 0; the edge
            probability is expected_degree / (n - 1), at most 1. Exactly one of the two is given.

    Raises:
        ValueError: a number is out of its range, or not exactly one of the two is given.
    """
    _check_at_least_one("n", n)
    if edge_probability is not None and expected_degree is None:
        probability = edge_probability
    elif edge_probability is None and expected_degree is not None:
        if not expected_degree >= 0:
            raise ValueError(f"Expected expected_degree >= 0; got {expected_degree}.")
        probability = min(1.0, expected_degree / max(n - 1, 1))
    else:
        raise ValueError(
            "Expected exactly one of edge_probability and expected_degree; "
            f"got {edge_probability} and {expected_degree}."
        )
    if not 0 <= probability <= 1:
        raise ValueError(f"Expected edge_probability in [0, 1]; got {probability}.")
    # random() lies in [0, 1), so that probability 1 joins every pair and probability 0 none.
    return _in_random_order(generator.random((n, n)) < probability, generator)


def scale_free(n: int, generator: np.random.Generator, edges_per_node: int) -> Graph:
    """Preferential attachment along a random order, edges from early to late: the hubs come early.

    Each variable in turn gets min(edges_per_node, number of earlier variables) distinct parents among the
    earlier ones, drawn with weight one plus the number of edges a candidate already has (after Barabási &
    Albert 1999).

    Args:
        n: number of variables, at least 1.
        generator: source of the edges and of the order.
        edges_per_node: parents of a variable, at least 1.

    Raises:
        ValueError: n or edges_per_node is less than 1.
    """
    _check_at_least_one("n", n)
    _check_at_least_one("edges_per_node", edges_per_node)
    along_order = np.zeros((n, n), dtype=np.bool_)
    weights = np.ones(n)
    for late in range(1, n):
        candidates = weights[:late] / weights[:late].sum()
        parents = generator.choice(late, size=min(edges_per_node, late), replace=False, p=candidates)
        along_order[parents, late] = True
        weights[parents] += 1
        weights[late] += len(parents)
    return _in_random_order(along_order, generator)


def chain(n: int, generator: np.random.Generator) -> Graph:
    """A single path through all n >= 1 variables in a random order; ValueError for n < 1."""
    _check_at_least_one("n", n)
    return _in_random_order(np.eye(n, k=1, dtype=np.bool_), generator)


def full(n: int, generator: np.random.Generator) -> Graph:
    """Every pair of n >= 1 variables is joined, along a random order; ValueError for n < 1."""
    _check_at_least_one("n", n)
    return _in_random_order(np.ones((n, n), dtype=np.bool_), generator)


def empty(n: int) -> Graph:
    """No edges between n >= 1 variables; there is no order to draw. ValueError for n < 1."""
    _check_at_least_one("n", n)
    return Graph(np.zeros((n, n), dtype=np.bool_))


def _in_random_order(along_order: BoolArray, generator: np.random.Generator) -> Graph:
    """The graph above the diagonal of `along_order` (n, n), its variables relabelled at random."""
    return Graph(np.triu(along_order, k=1)).permuted(generator.permutation(len(along_order)))


def _check_at_least_one(name: str, value: int) -> None:
    if value < 1:
        raise ValueError(f"Expected {name} >= 1; got {value}.")
