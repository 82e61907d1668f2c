"""Random graphs, and the settings from which a nature draws its graph; every kind but `edges` and `empty` labels the
variables in random order."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Literal, final

import numpy as np

from lcm.base.kinds import KindConfig
from lcm.base.requirement import require, require_at_least
from lcm.model.graph import BoolArray, Graph


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


class GraphConfig(KindConfig, ABC, family=True):
    """Abstract: the causal graph of a nature, a subclass for each kind."""

    default = "erdos-renyi"

    @abstractmethod
    def draw(self, n: int, generator: np.random.Generator) -> Graph:
        """A graph over n variables."""

    def require_fitting(self, n: int) -> None:
        """Raise ValueError where the kind does not suit n variables."""


@final
@dataclass(frozen=True, kw_only=True)
class ErdosRenyiConfig(GraphConfig):
    """Every pair is joined with one probability.

    edge_probability: in [0, 1]; 0.5 unless expected_degree is given.
    expected_degree: instead of it; expected edges at a variable, at least 0.
    """

    kind: Literal["erdos-renyi"] = "erdos-renyi"
    edge_probability: float | None = None
    expected_degree: float | None = None

    def __post_init__(self) -> None:
        if self.edge_probability is not None and self.expected_degree is not None:
            raise ValueError("Expected one of edge_probability and expected_degree; got both.")
        if self.edge_probability is None and self.expected_degree is None:
            object.__setattr__(self, "edge_probability", 0.5)
        require(self, ("edge_probability",), lambda value: 0.0 <= value <= 1.0, "a probability in [0, 1]")
        require_at_least(self, 0.0, "expected_degree")

    def draw(self, n: int, generator: np.random.Generator) -> Graph:
        return erdos_renyi(n, generator, self.edge_probability, self.expected_degree)


@final
@dataclass(frozen=True, kw_only=True)
class ScaleFreeConfig(GraphConfig):
    """Preferential attachment with `edges_per_node` ≥ 1 parents of a variable."""

    kind: Literal["scale-free"] = "scale-free"
    edges_per_node: int = 1

    def __post_init__(self) -> None:
        require_at_least(self, 1, "edges_per_node")

    def draw(self, n: int, generator: np.random.Generator) -> Graph:
        return scale_free(n, generator, self.edges_per_node)


@final
@dataclass(frozen=True, kw_only=True)
class ChainConfig(GraphConfig):
    """A single path through all variables."""

    kind: Literal["chain"] = "chain"

    def draw(self, n: int, generator: np.random.Generator) -> Graph:
        return chain(n, generator)


@final
@dataclass(frozen=True, kw_only=True)
class FullConfig(GraphConfig):
    """Every pair is joined."""

    kind: Literal["full"] = "full"

    def draw(self, n: int, generator: np.random.Generator) -> Graph:
        return full(n, generator)


@final
@dataclass(frozen=True, kw_only=True)
class EmptyConfig(GraphConfig):
    """No edges."""

    kind: Literal["empty"] = "empty"

    def draw(self, n: int, generator: np.random.Generator) -> Graph:
        return empty(n)


@final
@dataclass(frozen=True, kw_only=True)
class EdgesConfig(GraphConfig):
    """The edges [i, j], i → j, exactly as given."""

    kind: Literal["edges"] = "edges"
    edges: tuple[tuple[int, int], ...] = ()

    def draw(self, n: int, generator: np.random.Generator) -> Graph:
        return Graph.from_edges(n, self.edges)

    def require_fitting(self, n: int) -> None:
        try:
            Graph.from_edges(n, self.edges)
        except ValueError as error:
            raise ValueError(f"graph.edges: {error}") from error
