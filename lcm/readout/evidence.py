"""The graph at a given false discovery rate, from a p-value for every edge; it is always acyclic."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from lcm.model.graph import BoolArray, Graph, transitive_closure

FloatArray = NDArray[np.float64]

_CLEAR = 0.01


def rejections(p_values: ArrayLike, false_discovery_rate: float, impossible: int = 0) -> BoolArray:
    """Which hypotheses the two-stage step-up rule of Benjamini, Krieger & Yekutieli (2006) rejects at a rate q.

    The first stage is the rule of Benjamini & Hochberg (1995) at q / (1 + q). The second repeats it with the number of
    hypotheses less those that the first rejected, which are mostly not true. Where few are left, it would reject
    p-values above q, which stay. The expected share of false rejections is at most q for independent p-values. A larger
    rate never rejects less.

    Args:
        p_values: of any shape, each in [0, 1].
        false_discovery_rate: q, strictly between 0 and 1.
        impossible: how many of them do not count as hypotheses, since their p-values are 1 whatever the data.

    Raises:
        ValueError: another rate, or p-values out of range.
    """
    check_rate(false_discovery_rate)
    values = np.asarray(p_values, dtype=np.float64)
    if not ((values >= 0.0) & (values <= 1.0)).all():
        raise ValueError("Expected p-values in [0, 1]; got others.")
    return _below_line(values, _slope(values, false_discovery_rate, impossible)) & (values <= false_discovery_rate)


def _slope(values: FloatArray, rate: float, impossible: int) -> float:
    """The slope of the second stage: the k smallest p-values are rejected if the k-th is at most k slopes."""
    rate, count = rate / (1.0 + rate), max(1, values.size - impossible)
    return rate / max(1, count - int(_below_line(values, rate / count).sum()))


def _below_line(values: FloatArray, slope: float) -> BoolArray:
    ordered = np.sort(values, axis=None)
    below = np.flatnonzero(ordered <= slope * np.arange(1, values.size + 1))
    found: BoolArray = values <= ordered[below[-1]] if len(below) else np.zeros(values.shape, np.bool_)
    return found


def p_value_text(p_value: float) -> str:
    """A p-value as text."""
    return "p < 1e-15" if p_value < 1e-15 else f"p = {p_value:.2g}"


def check_rate(rate: float) -> None:
    """Raise ValueError for a false discovery rate that is not strictly between 0 and 1."""
    if not 0.0 < rate < 1.0:
        raise ValueError(f"Expected a false discovery rate strictly between 0 and 1; got {rate}.")


@final
@dataclass(frozen=True, eq=False)
class GraphEvidence:
    """p-values, strengths and standard errors of all edges and ancestor relations.

    Attributes:
        edge_p_value: (n, n) in [0, 1], [i, j]: of no edge i -> j; 1 where i is not a candidate parent of j.
        ancestor_p_value: (n, n) in [0, 1], [i, j]: of i not being an ancestor of j; 1 on the diagonal.
        edge_strength: (n, n) >= 0, [i, j] for i -> j, in standard deviations of the effect per standard deviation of
            the cause.
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
        """Whether i comes before j in the order, bool (n, n), [i, j]."""
        position = np.argsort(self.order)
        along: BoolArray = position[:, None] < position[None, :]
        return along

    def clear_ancestors(self) -> BoolArray:
        """Ancestor relations (n, n), [i, j], beyond doubt: at a family-wise error rate of 1 %, and what follows."""
        clear = self.forward() & (self.ancestor_p_value <= _CLEAR / max(1, self.n * (self.n - 1)))
        return transitive_closure(clear)

    def graph_at(self, false_discovery_rate: float) -> Graph:
        """The edges whose p-values pass at a false discovery rate among the n (n - 1) possible ones.

        Edges against the order are never accepted, so the graph is always acyclic. They count as hypotheses, but for
        those that a clear ancestor relation excludes. A larger rate never loses an edge.

        Raises:
            ValueError: a rate that is not strictly between 0 and 1.
        """
        return Graph(self._accepted(self.edge_p_value, false_discovery_rate))

    def ancestors_at(self, false_discovery_rate: float) -> BoolArray:
        """The ancestor relations [i, j] that pass, bool (n, n); they need not be transitive.

        Raises:
            ValueError: a rate that is not strictly between 0 and 1.
        """
        return self._accepted(self.ancestor_p_value, false_discovery_rate)

    def strength_interval(self, standard_errors: float = 1.96) -> FloatArray:
        """Interval (n, n, 2) of every edge strength, 95 % by default, truncated at 0."""
        reach = standard_errors * self.edge_strength_error
        ends = [np.maximum(0.0, self.edge_strength - reach), self.edge_strength + reach]
        return np.stack(ends, axis=-1)

    def next_level(self, false_discovery_rate: float) -> float:
        """The p-value in (0, 1) at which one more edge would be accepted at a false discovery rate.

        Raises:
            ValueError: a rate that is not strictly between 0 and 1.
        """
        check_rate(false_discovery_rate)
        values = self.edge_p_value[~np.eye(self.n, dtype=np.bool_)]
        slope = _slope(values, false_discovery_rate, int(self.clear_ancestors().sum()))
        return min(false_discovery_rate, slope * (1.0 + int(_below_line(values, slope).sum())))

    def _accepted(self, p_values: FloatArray, rate: float) -> BoolArray:
        apart = ~np.eye(self.n, dtype=np.bool_)
        accepted = np.zeros((self.n, self.n), dtype=np.bool_)
        accepted[apart] = rejections(p_values[apart], rate, int(self.clear_ancestors().sum()))
        along: BoolArray = accepted & self.forward()
        return along


def strongest_acyclic(strength: NDArray[np.float64], accepted: BoolArray) -> Graph:
    """A graph of the accepted edges, added from the strongest on unless they close a cycle.

    Args:
        strength: (n, n), [i, j] for i → j; ties are broken in row-major order.
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
    """A graph from a partially directed one: undirected edges follow an order unless that closes a cycle.

    Directed edges that close a cycle with earlier ones are left out.

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
    """A graph over variables with the strength of every possible edge, from any method.

    Attributes:
        graph: the edges that were accepted.
        edge_strength: (n, n) ≥ 0, [i, j] for i → j, before thresholding, in the unit of the method.
        order: the variables, causes first.
        evidence: p-values and intervals, or None if the method gives none.
        seconds: run time of the search.
    """

    graph: Graph
    edge_strength: NDArray[np.float64]
    order: tuple[int, ...]
    evidence: GraphEvidence | None = None
    seconds: float = 0.0
