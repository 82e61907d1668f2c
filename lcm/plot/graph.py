"""Causal graphs as arrows on a circle, causes first, clockwise: no arrow runs through a third variable."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.patches import Circle, FancyArrowPatch, Rectangle
from numpy.typing import ArrayLike, NDArray

from lcm.graph import Graph, square_bool
from lcm.plot.style import BLUE, GREY, INK, PALE, RED, new_figure, save_figure, variable_names

_MAX_LABELLED_EDGES = 16

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
        labels: names of the n variables.
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
    widths = None if strength is None else np.asarray(strength, dtype=np.float64)
    for source, target in np.argwhere(edges | truth):
        present, right = edges[source, target], truth[source, target]
        share = 0.5 if widths is None else widths[source, target] / max(widths[edges].max(initial=0.0), 1e-12)
        _draw_arrow(
            ax,
            points[source],
            points[target],
            radius,
            color=(BLUE if right else RED) if present else GREY,
            width=0.8 + 2.2 * float(np.clip(share, 0.0, 1.0)) if present else 1.2,
            dashed=not present,
        )
    if widths is not None and edges.sum() <= _MAX_LABELLED_EDGES:
        _label_edges(ax, points, np.argwhere(edges), widths[edges])
    _draw_nodes(ax, points, radius, variable_names(len(edges), labels))
    ax.set(
        aspect="equal",
        xlim=(-1.3, 1.3),
        ylim=(-1.3, 1.3) if len(edges) > 2 else (-0.6, 0.6),
        title=title or "",
    )
    ax.set_axis_off()
    return ax


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
        raise ValueError(
            f"Expected a learned graph of {len(truth)} variables, as the true one; got {len(learned)}."
        )
    size = 3.4 + 0.16 * max(0, len(truth) - 4)
    panels = 2 if strength is None else 3
    figure = new_figure(size * panels, size + 0.5)
    axes = figure.subplots(1, panels)
    draw_graph(axes[0], truth, title="true graph")
    draw_graph(axes[1], learned, strength, title="learned graph", true_adjacency=truth)
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
    return points, float(min(0.2, 0.62 * np.sin(np.pi / n)))


def _causes_first(adjacency: NDArray[np.bool_]) -> Sequence[int]:
    try:
        return Graph(adjacency).order()
    except ValueError:
        # A learned graph may have a cycle, and then no order.
        return range(len(adjacency))


def _draw_arrow(
    ax: Axes, start: Points, end: Points, radius: float, *, color: str, width: float, dashed: bool
) -> None:
    direction = (end - start) / np.linalg.norm(end - start)
    ax.add_patch(
        FancyArrowPatch(
            tuple(start + radius * direction),
            tuple(end - 1.08 * radius * direction),
            arrowstyle="-|>",
            mutation_scale=(6.0 + 2.0 * width) * (radius / 0.2) ** 0.5,
            shrinkA=0.0,
            shrinkB=0.0,
            linewidth=width,
            linestyle=(0, (4, 3)) if dashed else "solid",
            color=color,
            zorder=1,
        )
    )


def _draw_nodes(ax: Axes, points: Points, radius: float, names: list[str]) -> None:
    for point, name in zip(points, names, strict=True):
        ax.add_patch(Circle(tuple(point), radius, facecolor="white", edgecolor=INK, linewidth=1.2, zorder=3))
        size = 13.0 * (radius / 0.2) ** 0.6
        ax.text(point[0], point[1], name, ha="center", va="center", fontsize=size, color=INK, zorder=4)


def _label_edges(ax: Axes, points: Points, edges: NDArray[np.int64], values: NDArray[np.float64]) -> None:
    """Write each value on its arrow, there where it is farthest from the other arrows and labels."""
    shares = np.linspace(0.28, 0.72, 23)
    placed = np.empty((0, 2))
    for index, (source, target) in enumerate(edges):
        spots = points[source] + shares[:, None] * (points[target] - points[source])
        room = np.minimum(0.4, _distance_to_edges(spots, points, np.delete(edges, index, axis=0)))
        if len(placed):
            room = np.minimum(room, np.linalg.norm(spots[:, None] - placed, axis=2).min(1) - 0.15)
        # Among equally free spots, the one nearest to the middle.
        spot = spots[np.argmax(room - 0.1 * np.abs(shares - 0.5))]
        placed = np.vstack([placed, spot])
        box = {"boxstyle": "round,pad=0.12", "facecolor": "white", "edgecolor": "none", "alpha": 0.9}
        text = f"{values[index]:.2f}"
        ax.text(spot[0], spot[1], text, ha="center", va="center", fontsize=7.5, color=INK, bbox=box, zorder=2)


def _distance_to_edges(spots: Points, points: Points, edges: NDArray[np.int64]) -> NDArray[np.float64]:
    """Distance of each spot (k, 2) to the nearest of the arrows `edges` (m, 2); infinite where there is none."""
    start, span = points[edges[:, 0]], points[edges[:, 1]] - points[edges[:, 0]]
    offset = spots[:, None] - start
    along = np.clip((offset * span).sum(2) / np.square(span).sum(1), 0.0, 1.0)
    nearest = np.linalg.norm(offset - along[..., None] * span, axis=2)
    least: NDArray[np.float64] = nearest.min(axis=1, initial=np.inf)
    return least


def _draw_strengths(
    ax: Axes, strength: NDArray[np.float64], truth: NDArray[np.bool_], learned: NDArray[np.bool_]
) -> None:
    """Draw the matrix of strengths, rows the causes; true edges are framed, learned ones have a dot."""
    n = len(strength)
    shown = np.where(np.eye(n, dtype=np.bool_), np.nan, strength)
    top = max(float(np.nanmax(shown, initial=0.0)), 1e-12)
    ax.imshow(shown, cmap="Greys", vmin=0.0, vmax=1.6 * top)
    for row, column in np.argwhere(truth):
        ax.add_patch(
            Rectangle((column - 0.44, row - 0.44), 0.88, 0.88, fill=False, edgecolor=BLUE, linewidth=1.6)
        )
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
    ax.set(xlabel="effect", ylabel="cause", title="edge strength (framed: true edge, dot: learned)")
    ax.title.set_fontsize(9)
