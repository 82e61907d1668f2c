"""Causal graphs as arrows on a circle, causes first, clockwise: no arrow runs through a third variable."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.patches import Circle, FancyArrowPatch, Rectangle
from matplotlib.path import Path as BezierPath
from numpy.typing import ArrayLike, NDArray

from lcm.model.graph import Graph, square_bool
from lcm.readout.evidence import GraphEvidence
from lcm.report.style import BLUE, GREY, INK, PALE, RED, clean, new_figure, save_figure, variable_names

_MAX_LABELLED_EDGES = 16
_MAX_SHOWN = 30
_SMALLEST = 1e-15
Points = NDArray[np.float64]


def draw_graph(
    ax: Axes,
    adjacency: ArrayLike,
    strength: ArrayLike | None = None,
    labels: Sequence[str] | None = None,
    title: str | None = None,
    true_adjacency: ArrayLike | None = None,
    order: Sequence[int] | None = None,
) -> Axes:
    """Draw a graph; returns the axes.

    Args:
        ax: axes to draw on.
        adjacency: (n, n) of 0 and 1, [i, j]: i -> j; cycles are drawn as they are.
        strength: (n, n), at least 0; the width of the arrow, and its label where there are few.
        labels: names of the n variables; what follows a line break stands beside the node.
        title: above the graph.
        true_adjacency: (n, n), same variables; arrows that it lacks get another colour, its arrows that are
            missing are dashed.
        order: the variables clockwise from the left; causes first by default.

    Raises:
        ValueError: an adjacency that is not square, or another number of labels.
    """
    edges = square_bool(adjacency)
    truth = edges if true_adjacency is None else square_bool(true_adjacency)
    points, radius = _circle(truth, order)
    drawn = np.argwhere(edges | truth)
    curves = _curves(points, drawn)
    widths = None if strength is None else np.asarray(strength, dtype=np.float64)
    top = 1.0 if widths is None else max(widths[edges].max(initial=0.0), 1e-12)
    for (source, target), curve in zip(drawn, curves, strict=True):
        present, right = edges[source, target], truth[source, target]
        share = 0.5 if widths is None else float(np.clip(widths[source, target] / top, 0.0, 1.0))
        color, width = ((BLUE if right else RED), 0.8 + 2.2 * share) if present else (GREY, 1.2)
        _draw_arrow(ax, curve, radius, color=color, width=width, dashed=not present)
    if widths is not None and edges.sum() <= _MAX_LABELLED_EDGES:
        named = edges[drawn[:, 0], drawn[:, 1]]
        _label_edges(ax, curves, np.flatnonzero(named), widths[drawn[:, 0], drawn[:, 1]])
    _draw_nodes(ax, points, radius, variable_names(len(edges), labels))
    ax.set(aspect="equal", xlim=(-1.3, 1.3), ylim=(-1.3, 1.3))
    ax.set_title(title or "", fontsize=11)
    ax.set_axis_off()
    return ax


def draw_one_graph(
    path: str | Path,
    adjacency: ArrayLike,
    strength: ArrayLike,
    title: str = "learned graph, edge strengths",
    labels: Sequence[str] | None = None,
) -> None:
    """Write a figure of a learned graph (n, n) with the strengths (n, n) of its edges; errors as of `draw_graph`."""
    edges = square_bool(adjacency)
    size = min(7.0, 3.4 + 0.16 * max(0, len(edges) - 4))
    figure = new_figure(size, size)
    draw_graph(figure.subplots(), edges, strength, labels, title)
    save_figure(figure, path)


def draw_two_graphs(
    path: str | Path,
    true_adjacency: ArrayLike,
    learned_adjacency: ArrayLike,
    strength: ArrayLike | None = None,
) -> None:
    """Write a figure of the true and the learned graph side by side, and of all edge strengths where given.

    Both adjacencies (n, n) and the learned `strength` (n, n) are in the order of the true variables.
    Raises ValueError for adjacencies that are not square or of different size.
    """
    truth, learned = square_bool(true_adjacency), square_bool(learned_adjacency)
    if truth.shape != learned.shape:
        raise ValueError(f"Expected a learned graph of {len(truth)} variables, as the true one; got {len(learned)}.")
    size = min(7.0, 3.4 + 0.16 * max(0, len(truth) - 4))
    panels = 2 if strength is None else 3
    figure = new_figure(size * panels, size + 0.5)
    axes = figure.subplots(1, panels)
    draw_graph(axes[0], truth, title="true graph")
    draw_graph(axes[1], learned, strength, title="learned graph, numbered as the truth", true_adjacency=truth)
    if strength is not None:
        _draw_strengths(axes[2], np.asarray(strength, dtype=np.float64), truth, learned)
    handles = [
        Line2D([], [], color=BLUE, linewidth=2, label="edge"),
        Line2D([], [], color=RED, linewidth=2, label="learned only"),
        Line2D([], [], color=GREY, linewidth=1.2, linestyle=(0, (4, 3)), label="missed"),
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=3, frameon=False, fontsize=9)
    save_figure(figure, path)


def _circle(truth: NDArray[np.bool_], order: Sequence[int] | None) -> tuple[Points, float]:
    """Positions (n, 2) on the unit circle, clockwise from the left in the given order; the nodes' radius."""
    n = len(truth)
    if order is None:
        order = _causes_first(truth)
    if n == 1:
        return np.zeros((1, 2)), 0.22
    angle = np.pi - 2.0 * np.pi * np.arange(n) / n
    points = np.empty((n, 2))
    points[list(order)] = np.column_stack([np.cos(angle), np.sin(angle)])
    return points, float(min(0.2, 0.5 * np.sin(np.pi / n)))


def _causes_first(adjacency: NDArray[np.bool_]) -> Sequence[int]:
    try:
        return Graph(adjacency).order()
    except ValueError:
        # A learned graph may have a cycle, and then no order.
        return range(len(adjacency))


def _curves(points: Points, edges: NDArray[np.int64]) -> Points:
    """Quadratic Bézier curves (m, 3, 2) of the edges (m, 2).

    From five variables on they bend towards the centre and so keep clear of the nodes between their ends; the
    two arrows of variables that are joined both ways bend apart.
    """
    start, end = points[edges[:, 0]], points[edges[:, 1]]
    control = 0.5 * (start + end) * (0.6 if len(points) > 4 else 1.0)
    left = np.column_stack([start[:, 1] - end[:, 1], end[:, 0] - start[:, 0]])
    listed = set(map(tuple, edges.tolist()))
    both_ways = np.array([(target, source) in listed for source, target in edges.tolist()], dtype=np.bool_)
    return np.stack([start, control + 0.15 * both_ways[:, None] * left, end], axis=1)


def _along(curve: Points, times: NDArray[np.float64]) -> Points:
    """Points (k, 2) of one Bézier curve (3, 2) at times in [0, 1]."""
    weights = np.column_stack([np.square(1.0 - times), 2.0 * times * (1.0 - times), np.square(times)])
    positions: Points = weights @ curve
    return positions


def _between(curve: Points, first: float, last: float) -> Points:
    """The piece (3, 2) of a Bézier curve between two times."""
    blossom = [(1 - first) * (1 - last), first * (1 - last) + last * (1 - first), first * last]
    start, end = _along(curve, np.array([first, last]))
    return np.stack([start, np.array(blossom) @ curve, end])


def _draw_arrow(ax: Axes, curve: Points, radius: float, *, color: str, width: float, dashed: bool) -> None:
    times = np.linspace(0.0, 1.0, 401)
    positions = _along(curve, times)
    # From border to border of the two nodes; the head's tip is mitred and reaches a little further.
    first = times[np.argmax(np.linalg.norm(positions - curve[0], axis=1) > radius)]
    last = times[::-1][np.argmax(np.linalg.norm(positions[::-1] - curve[2], axis=1) > 1.08 * radius)]
    path = BezierPath(_between(curve, float(first), float(last)), [BezierPath.MOVETO, *[BezierPath.CURVE3] * 2])
    arrow = FancyArrowPatch(
        path=path,
        arrowstyle="-|>",
        mutation_scale=(6.0 + 2.0 * width) * (radius / 0.2) ** 0.5,
        linewidth=width * (radius / 0.2) ** 0.3,
        linestyle=(0, (4, 3)) if dashed else "solid",
        facecolor=color,
        edgecolor=color,
        # What is wrong lies on top of what is right.
        zorder=1.0 if color == BLUE else 1.5,
    )
    ax.add_patch(arrow)


def _draw_nodes(ax: Axes, points: Points, radius: float, names: list[str]) -> None:
    for point, name in zip(points, names, strict=True):
        ax.add_patch(Circle(tuple(point), radius, facecolor="white", edgecolor=INK, linewidth=1.2, zorder=3))
        size = 13.0 * (radius / 0.2) ** 0.6
        inside, _, below = name.partition("\n")
        ax.text(point[0], point[1], inside, ha="center", va="center", fontsize=size, color=INK, zorder=4)
        if below:
            # away from the middle, where the arrows are
            x, y = point * (1.0 + 1.25 * radius / max(float(np.hypot(*point)), radius))
            side = "center" if abs(point[0]) < radius else ("right" if point[0] < 0 else "left")
            ax.text(x, y, below, ha=side, va="bottom" if point[1] > 0 else "top", fontsize=8, color=INK, zorder=4)


def _label_edges(ax: Axes, curves: Points, named: NDArray[np.int64], values: NDArray[np.float64]) -> None:
    """Write values (m,) on the `named` ones of curves (m, 3, 2), each where it is far from the others."""
    times = np.linspace(0.0, 1.0, 51)
    middle = slice(14, 37)
    tracks = np.stack([_along(curve, times) for curve in curves]) if len(curves) else np.empty((0, 51, 2))
    placed = np.empty((0, 2))
    for index in named:
        spots = tracks[index, middle]
        room = np.minimum(0.4, _distance(spots, np.delete(tracks, index, axis=0)))
        room = np.minimum(room, _distance(spots, placed) - 0.15)
        # Among equally free spots, the one nearest to the middle.
        spot = spots[np.argmax(room - 0.25 * np.abs(times[middle] - 0.5))]
        placed = np.vstack([placed, spot])
        box = {"boxstyle": "round,pad=0.12", "facecolor": "white", "edgecolor": "none", "alpha": 0.9}
        text = f"{values[index]:.2f}"
        ax.text(spot[0], spot[1], text, ha="center", va="center", fontsize=7.5, color=INK, bbox=box, zorder=2)


def _distance(spots: Points, others: Points) -> NDArray[np.float64]:
    """Distance of each spot (k, 2) to the nearest of the others (…, 2), infinite where there are none."""
    apart = np.linalg.norm(spots[:, None] - others.reshape(-1, 2), axis=2)
    least: NDArray[np.float64] = apart.min(axis=1, initial=np.inf)
    return least


def _draw_strengths(
    ax: Axes, strength: NDArray[np.float64], truth: NDArray[np.bool_], learned: NDArray[np.bool_]
) -> None:
    """Draw the matrix of strengths, rows the causes; true edges are framed, learned ones have a dot."""
    n = len(strength)
    shown = np.where(np.eye(n, dtype=np.bool_), np.nan, strength)
    top = max(float(np.nanmax(shown, initial=0.0)), 1e-12)
    ax.imshow(shown, cmap="Greys", vmin=0.0, vmax=2.5 * top)
    for row, column in np.argwhere(truth):
        ax.add_patch(Rectangle((column - 0.44, row - 0.44), 0.88, 0.88, fill=False, edgecolor=BLUE, linewidth=1.6))
    rows, columns = np.nonzero(learned)
    with_numbers = n <= 8
    shift = 0.3 if with_numbers else 0.0
    colors = np.where(truth[rows, columns], BLUE, RED)
    ax.scatter(columns + shift, rows - shift, s=14, c=colors, zorder=3)
    if with_numbers:
        for row, column in np.argwhere(~np.eye(n, dtype=np.bool_)):
            ax.text(
                column,
                row + 0.08,
                f"{strength[row, column]:.2f}",
                ha="center",
                va="center",
                fontsize=8,
                color=INK,
            )
    names = variable_names(n)
    size = 10 if n <= 12 else 6
    ax.set_xticks(range(n), names, fontsize=size)
    ax.set_yticks(range(n), names, fontsize=size)
    ax.tick_params(length=0)
    ax.spines[:].set_color(PALE)
    ax.set(xlabel="effect", ylabel="cause")
    ax.set_title("edge strength (frame: true, dot: learned)", fontsize=11)


def draw_evidence(path: str | Path, evidence: GraphEvidence, graph: Graph, labels: Sequence[str] | None = None) -> None:
    """Write a figure of a graph and, beside it, of the strengths of its edges with their intervals.

    Raises ValueError for a graph of another number of variables, or another number of labels.
    """
    if graph.n != evidence.n:
        raise ValueError(f"Expected a graph of {evidence.n} variables; got {graph.n}.")
    size = min(7.0, 3.4 + 0.16 * max(0, graph.n - 4))
    shown = len(_listed(evidence, graph))
    figure = new_figure(size + 3.6, max(size, 1.0 + 0.22 * shown))
    axes = figure.subplots(1, 2, width_ratios=[size, 3.4])
    draw_graph(axes[0], graph.adjacency, evidence.edge_strength, labels, "learned graph, edge strengths")
    _draw_edge_strengths(axes[1], evidence, graph)
    save_figure(figure, path)


def _draw_edge_strengths(ax: Axes, evidence: GraphEvidence, graph: Graph) -> Axes:
    """Draw the strength of every edge with its 95 % interval and p-value; returns the axes.

    Edges of the graph come first, the strongest on top; candidates that were not accepted follow in grey, the
    likeliest first. At most 30 in all.
    """
    edges = _listed(evidence, graph)
    interval = evidence.strength_interval()
    reach = 0.0
    for row, (i, j) in enumerate(edges):
        strength, (low, high) = evidence.edge_strength[i, j], interval[i, j]
        color = BLUE if graph.adjacency[i, j] else GREY
        ax.errorbar(
            strength,
            row,
            xerr=[[strength - low], [high - strength]],
            color=color,
            marker="o",
            markersize=4,
            capsize=2.5,
        )
        reach = max(reach, float(high))
    top = max(reach, 1e-3)
    for row, (i, j) in enumerate(edges):
        p_value = evidence.edge_p_value[i, j]
        text = "< 1e-15" if p_value < _SMALLEST else f"{p_value:.1g}"
        ax.text(1.08 * top, row, text, va="center", fontsize=7.5, color=INK)
    if edges:
        ax.text(1.08 * top, -0.9, "p-value", va="center", fontsize=8, color=INK)
    else:
        ax.text(0.5 * top, 0.0, "no edge and no candidate", ha="center", va="center", fontsize=9, color=GREY)
    ax.set_yticks(range(len(edges)), [rf"$z_{{{i}}} \to z_{{{j}}}$" for i, j in edges])
    ax.set(xlim=(0.0, 1.36 * top), ylim=(max(len(edges), 1) - 0.4, -1.4))
    clean(ax).grid(axis="x", color=PALE, linewidth=0.6)
    ax.set_xlabel("edge strength, 95 % interval over pairs", fontsize=9)
    ax.set_title("edges (grey: not accepted)", fontsize=11)
    return ax


def _listed(evidence: GraphEvidence, graph: Graph) -> list[tuple[int, int]]:
    edges = sorted(graph.edges(), key=lambda edge: -evidence.edge_strength[edge])
    others = np.argwhere((evidence.edge_p_value < 1.0) & evidence.forward() & ~graph.adjacency).tolist()
    rest = sorted(((int(i), int(j)) for i, j in others), key=lambda edge: evidence.edge_p_value[edge])
    return [*edges, *rest][:_MAX_SHOWN]
