"""The graph at a stated false discovery rate, from a p-value for every edge; never a cyclic one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import false_discovery_control

from lcm.model.graph import BoolArray, Graph

FloatArray = NDArray[np.float64]


def rejections(p_values: ArrayLike, false_discovery_rate: float) -> BoolArray:
    """Which hypotheses the step-up rule of Benjamini & Hochberg (1995) rejects at a false discovery rate.

    A larger rate never rejects less. The expected share of false rejections is at most the rate for p-values that are
    independent or positively dependent (Benjamini & Yekutieli 2001).

    Args:
        p_values: of any shape, each in [0, 1]; every one counts as a hypothesis.
        false_discovery_rate: strictly between 0 and 1.

    Raises:
        ValueError: another rate, or p-values out of range.
    """
    check_rate(false_discovery_rate)
    values = np.asarray(p_values, dtype=np.float64)
    if not ((values >= 0.0) & (values <= 1.0)).all():
        raise ValueError("Expected p-values in [0, 1]; got others.")
    rejected: BoolArray = false_discovery_control(values, axis=None).reshape(values.shape) <= false_discovery_rate
    return rejected


def check_rate(rate: float) -> None:
    """Raise ValueError for a false discovery rate that is not strictly between 0 and 1."""
    if not 0.0 < rate < 1.0:
        raise ValueError(f"Expected a false discovery rate strictly between 0 and 1; got {rate}.")


@final
@dataclass(frozen=True, eq=False)
class GraphEvidence:
    """How sure every edge and every ancestor relation is.

    Attributes:
        edge_p_value: (n, n) in [0, 1], [i, j]: that there is no edge i -> j; 1 where it is no candidate.
        ancestor_p_value: (n, n) in [0, 1], [i, j]: that i is no ancestor of j; 1 on the diagonal.
        edge_strength: (n, n) >= 0, [i, j] for i -> j, in standard deviations of the effect for one of the cause.
        edge_strength_error: (n, n) >= 0, its standard error over pairs.
        order: the variables, causes first.
    """

    edge_p_value: FloatArray
    ancestor_p_value: FloatArray
    edge_strength: FloatArray
    edge_strength_error: FloatArray
    order: tuple[int, ...]

    @property
    def n(self) -> int:
        """Number of variables."""
        return len(self.order)

    def forward(self) -> BoolArray:
        """Which relations [i, j] run along the order, bool (n, n)."""
        position = np.argsort(self.order)
        along: BoolArray = position[:, None] < position[None, :]
        return along

    def graph_at(self, false_discovery_rate: float) -> Graph:
        """The edges whose p-values pass at a false discovery rate among all n (n - 1) possible ones.

        Edges against the order count as hypotheses and are never accepted: the graph is acyclic whatever the
        p-values. A larger rate never loses an edge.

        Raises:
            ValueError: a rate that is not strictly between 0 and 1.
        """
        return Graph(self._accepted(self.edge_p_value, false_discovery_rate))

    def ancestors_at(self, false_discovery_rate: float) -> BoolArray:
        """Likewise the ancestor relations [i, j], bool (n, n); not completed to a transitive relation.

        Raises:
            ValueError: a rate that is not strictly between 0 and 1.
        """
        return self._accepted(self.ancestor_p_value, false_discovery_rate)

    def strength_interval(self, standard_errors: float = 1.96) -> FloatArray:
        """Interval (n, n, 2) of every edge strength, of 95 % by default, cut off at 0."""
        reach = standard_errors * self.edge_strength_error
        ends = [np.maximum(0.0, self.edge_strength - reach), self.edge_strength + reach]
        return np.stack(ends, axis=-1)

    def _accepted(self, p_values: FloatArray, rate: float) -> BoolArray:
        apart = ~np.eye(self.n, dtype=np.bool_)
        accepted = np.zeros((self.n, self.n), dtype=np.bool_)
        accepted[apart] = rejections(p_values[apart], rate)
        along: BoolArray = accepted & self.forward()
        return along


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


@final
@dataclass(frozen=True, eq=False)
class FoundGraph:
    """A graph over variables with the strength of every possible edge, however it was found.

    Attributes:
        graph: the edges that were accepted.
        edge_strength: (n, n) ≥ 0, [i, j] for i → j, before thresholding; its unit is the method's.
        order: the variables, causes first.
        evidence: p-values and intervals, where the method gives them.
        seconds: what the search took.
    """

    graph: Graph
    edge_strength: NDArray[np.float64]
    order: tuple[int, ...]
    evidence: GraphEvidence | None = None
    seconds: float = 0.0
