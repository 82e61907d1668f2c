"""A causal graph as SVG inside a page, with a slider for the false discovery rate."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, final

import numpy as np
from numpy.typing import NDArray

from lcm.model.graph import Graph
from lcm.readout.evidence import GraphEvidence, p_value_text
from lcm.report.layout import Points, circle, curves_of, label_spots, trimmed

RATES = (1e-6, 1e-5, 1e-4, 0.001, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.5)
_SIZE = 200.0
_MAX_LABELLED = 16


@final
@dataclass(frozen=True)
class Node:
    """A variable: its place, its name, and one sentence about it."""

    x: float
    y: float
    name: str
    about: str


@final
@dataclass(frozen=True)
class Arrow:
    """An edge that is drawn at some rate.

    Attributes:
        path: of SVG.
        x, y: the place of its label.
        about: one sentence with all its numbers.
        label: its strength.
        width: of the line, in units of the drawing.
        since: the index in the rates from which on the edge is accepted.
    """

    path: str
    x: float
    y: float
    about: str
    label: str
    width: float
    since: int


@final
@dataclass(frozen=True)
class CausalGraph:
    """A drawn graph.

    Attributes:
        nodes: the variables.
        arrows: all edges that are accepted at one of the rates.
        radius: of a node.
        rates: false discovery rates, ascending; a single 0 where the graph has no p-values.
        chosen: the index of the rate that is shown first.
        half_height: of the drawing.
    """

    nodes: Sequence[Node]
    arrows: Sequence[Arrow]
    radius: float
    rates: Sequence[float]
    chosen: int
    half_height: float
    kind: ClassVar[str] = "graph"

    @property
    def shown(self) -> int:
        """The number of edges at the chosen rate."""
        return sum(arrow.since <= self.chosen for arrow in self.arrows)

    @property
    def labelled(self) -> bool:
        """Whether the strengths are written beside the arrows."""
        return len(self.arrows) <= _MAX_LABELLED


def first_rates(evidence: GraphEvidence, rates: Sequence[float]) -> NDArray[np.int64]:
    """The index (n, n) of the smallest of ascending `rates` at which edge [i, j] is accepted; len(rates) if at none."""
    accepted = np.stack([evidence.graph_at(rate).adjacency for rate in rates])
    found: NDArray[np.int64] = len(rates) - accepted.sum(axis=0)
    return found


def rates_with(rate: float) -> tuple[tuple[float, ...], int]:
    """The rates of the slider, with one more, and its index."""
    rates = tuple(sorted({*RATES, rate}))
    return rates, rates.index(rate)


def drawn_graph(
    graph: Graph,
    edge_strength: NDArray[np.float64],
    names: Sequence[str],
    about: Sequence[str],
    evidence: GraphEvidence | None = None,
    rate: float = 0.0,
) -> CausalGraph:
    """A graph for a page.

    Args:
        graph: over n variables.
        edge_strength: (n, n), [i, j] for i → j, at least 0.
        names: of the n variables.
        about: a sentence for each variable.
        evidence: p-values and intervals; None for a graph without, which then has no slider.
        rate: the false discovery rate of `graph`, with evidence.
    """
    rates, chosen = rates_with(rate) if evidence else ((0.0,), 0)
    since = np.where(graph.adjacency, 0, 1) if evidence is None else first_rates(evidence, rates)
    edges = np.argwhere(since < len(rates))
    points, radius = circle(graph.adjacency, None)
    top = max(float(edge_strength[since < len(rates)].max(initial=0.0)), 1e-12)
    curves = curves_of(points, edges)
    spots = label_spots(curves, np.arange(len(edges)))
    arrows = [
        Arrow(
            _path(curve, radius),
            *_place(spot),
            _about_edge(i, j, names, edge_strength, evidence),
            f"{edge_strength[i, j]:.2f}",
            1.5 + 4.5 * min(1.0, edge_strength[i, j] / top),
            int(since[i, j]),
        )
        for (i, j), curve, spot in zip(edges.tolist(), curves, spots, strict=True)
    ]
    nodes = [Node(*_place(point), name, text) for point, name, text in zip(points, names, about, strict=True)]
    heights = [abs(y) for y in (*(node.y for node in nodes), *(arrow.y for arrow in arrows))]
    return CausalGraph(nodes, arrows, _SIZE * radius, rates, chosen, max(heights) + 1.5 * _SIZE * radius)


def _path(curve: Points, radius: float) -> str:
    """An arrow from border to border of the nodes, for SVG."""
    start, control, end = ("{:.1f} {:.1f}".format(*_place(point)) for point in trimmed(curve, radius, 1.12 * radius))
    return f"M{start} Q{control} {end}"


def _place(point: NDArray[np.float64]) -> tuple[float, float]:
    """From the unit circle to the drawing, whose vertical axis points down."""
    return round(float(_SIZE * point[0]), 1), round(float(-_SIZE * point[1]), 1)


def _about_edge(
    i: int, j: int, names: Sequence[str], strength: NDArray[np.float64], evidence: GraphEvidence | None
) -> str:
    text = f"{names[i]} → {names[j]}: strength {strength[i, j]:.3f}"
    if evidence is None:
        return text
    low, high = evidence.strength_interval()[i, j]
    return f"{text}, 95 % interval {low:.3f} to {high:.3f}, {p_value_text(evidence.edge_p_value[i, j])}"
