"""Causal graphs as arrows between variables on a circle, causes first, so that no arrow crosses a third variable."""

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
from lcm.report.layout import Points, circle, curves_of, label_spots, trimmed
from lcm.report.style import (
    BLUE,
    GREY,
    INK,
    PALE,
    RED,
    clean,
    figure_names,
    literal,
    new_figure,
    save_figure,
    variable_names,
)

_MAX_LABELLED_EDGES = 16
_MAX_SHOWN = 30
_LONGEST_INSIDE = 6
_SMALLEST = 1e-15


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
        adjacency: (n, n) of 0 and 1, [i, j]: i -> j; it may have cycles.
        strength: (n, n), at least 0; the width of the arrow and, for few edges, its label.
        labels: names of the n variables; what follows a line break stands beside the node.
        title: above the graph.
        true_adjacency: (n, n), same variables; edges that are not in it have another colour, and missing edges are
            dashed.
        order: the variables clockwise from the left; causes first by default.

    Raises:
        ValueError: an adjacency that is not square, or another number of labels.
    """
    edges = square_bool(adjacency)
    truth = edges if true_adjacency is None else square_bool(true_adjacency)
    points, radius = circle(truth, order)
    drawn = np.argwhere(edges | truth)
    curves = curves_of(points, drawn)
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
    # room for names beside the nodes, below the title
    reach = 1.5 if any("\n" in name for name in labels or ()) else 1.3
    ax.set(aspect="equal", xlim=(-reach, reach), ylim=(-reach, reach))
    ax.set_title(title or "", fontsize=11)
    ax.set_axis_off()
    return ax


def graph_labels(names: Sequence[str], below: Sequence[str] = ()) -> list[str]:
    """Labels of nodes: a short name inside; z0 with a long name beside it, or with what `below` says of it."""
    labels = []
    for i, (name, inside) in enumerate(zip(names, figure_names(names), strict=True)):
        long = len(name) > _LONGEST_INSIDE
        beside = name if long else (below[i] if below and name == f"z{i}" else "")
        labels.append((f"$z_{{{i}}}$" if long else inside) + (f"\n{literal(beside)}" if beside else ""))
    return labels


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
    draw_graph(axes[1], learned, strength, title="learned graph, in the true numbering", true_adjacency=truth)
    if strength is not None:
        _draw_strengths(axes[2], np.asarray(strength, dtype=np.float64), truth, learned)
    handles = [
        Line2D([], [], color=BLUE, linewidth=2, label="edge"),
        Line2D([], [], color=RED, linewidth=2, label="learned only"),
        Line2D([], [], color=GREY, linewidth=1.2, linestyle=(0, (4, 3)), label="missed"),
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=3, frameon=False, fontsize=9)
    save_figure(figure, path)


def _draw_arrow(ax: Axes, curve: Points, radius: float, *, color: str, width: float, dashed: bool) -> None:
    # the mitred tip of the head reaches a little further than the border of the node
    path = BezierPath(trimmed(curve, radius, 1.08 * radius), [BezierPath.MOVETO, *[BezierPath.CURVE3] * 2])
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
        size *= 1.0 if inside.startswith("$") else min(1.0, 3.0 / len(inside))
        ax.text(point[0], point[1], inside, ha="center", va="center", fontsize=size, color=INK, zorder=4)
        if below:
            # away from the middle, where the arrows are
            x, y = point * (1.0 + 1.25 * radius / max(float(np.hypot(*point)), radius))
            side = "center" if abs(point[0]) < radius else ("right" if point[0] < 0 else "left")
            ax.text(x, y, below, ha=side, va="bottom" if point[1] > 0 else "top", fontsize=8, color=INK, zorder=4)


def _label_edges(ax: Axes, curves: Points, named: NDArray[np.int64], values: NDArray[np.float64]) -> None:
    """Write values (m,) on the `named` curves of (m, 3, 2)."""
    for index, spot in zip(named, label_spots(curves, named), strict=True):
        box = {"boxstyle": "round,pad=0.12", "facecolor": "white", "edgecolor": "none"}
        text = f"{values[index]:.2f}"
        ax.text(spot[0], spot[1], text, ha="center", va="center", fontsize=7.5, color=INK, bbox=box, zorder=2)


def _draw_strengths(
    ax: Axes, strength: NDArray[np.float64], truth: NDArray[np.bool_], learned: NDArray[np.bool_]
) -> None:
    """Draw the matrix of strengths with causes as rows; true edges have a frame, learned edges a dot."""
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
    """Write a figure of a graph beside the strengths of its edges with their intervals.

    Raises ValueError for a graph of another number of variables, or another number of labels.
    """
    if graph.n != evidence.n:
        raise ValueError(f"Expected a graph of {evidence.n} variables; got {graph.n}.")
    size = min(7.0, 3.4 + 0.16 * max(0, graph.n - 4))
    shown = len(_listed(evidence, graph))
    figure = new_figure(size + 3.6, max(size, 1.0 + 0.22 * shown))
    axes = figure.subplots(1, 2, width_ratios=[size, 3.4])
    draw_graph(axes[0], graph.adjacency, evidence.edge_strength, labels, "learned graph, edge strengths")
    _draw_edge_strengths(axes[1], evidence, graph, labels)
    save_figure(figure, path)


def _draw_edge_strengths(ax: Axes, evidence: GraphEvidence, graph: Graph, labels: Sequence[str] | None) -> Axes:
    """Draw the strength of every edge with its 95 % interval and p-value; returns the axes.

    Edges of the graph come first, strongest on top. Candidates that were not accepted follow in grey, those with the
    smallest p-value first. At most 30 are shown.
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
        ax.text(0.5 * top, 0.0, "no edges and no candidates", ha="center", va="center", fontsize=9, color=GREY)
    names = [label.partition("\n")[0] for label in variable_names(graph.n, labels)]
    ax.set_yticks(range(len(edges)), [rf"{names[i]} $\to$ {names[j]}" for i, j in edges])
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
