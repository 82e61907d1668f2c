"""Figure of what an intervention does: the graph, the variables, and x."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from textwrap import fill
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from numpy.typing import NDArray

from lcm.report.answer import BEYOND, Answer
from lcm.report.graph import draw_graph, graph_labels
from lcm.report.style import BLUE, GREY, INK, PALE, RED, clean, figure_names, literal, new_figure, save_figure

Array = NDArray[Any]
_MOST_COLUMNS, _WIDEST_CAPTION = 30, 54


def draw_answer(path: str | Path, answer: Answer) -> None:
    """Write a figure: the graph with the edges that are cut, the variables before and after, and x before and after."""
    shown = 3 if answer.is_image else min(len(answer.columns), _MOST_COLUMNS)
    height = max(3.6, 1.2 + 0.24 * max(len(answer.names), shown))
    figure = new_figure(11.5, height)
    figure.suptitle(answer.title, fontsize=11, color=INK)
    graph, variables, x = figure.subfigures(1, 3, width_ratios=(3.6, 3.2, 4.7), squeeze=False)[0]
    _draw_effects(graph.subplots(), answer)
    ax = variables.subplots()
    names = figure_names(answer.names)
    _draw_changes(ax, names, answer.z, answer.z_after)
    ax.set_title("variables", fontsize=10)
    if answer.is_image:
        axes = x.subplots(len(answer.x), 2, squeeze=False)
        for row, pair in zip(axes, zip(answer.x, answer.x_after, strict=True), strict=True):
            for each, image in zip(row, pair, strict=True):
                each.imshow(image.squeeze(), cmap="gray", vmin=0, vmax=255)
                each.set(xticks=[], yticks=[])
        axes[0, 0].set_title("x before", fontsize=10)
        axes[0, 1].set_title("x after", fontsize=10)
    else:
        _draw_columns(x.subplots(), answer)
    save_figure(figure, path)


def _draw_effects(ax: Axes, answer: Answer) -> None:
    after = answer.graph.adjacency.copy()
    after[:, list(answer.done)] = False
    draw_graph(ax, after, labels=graph_labels(answer.names), true_adjacency=answer.graph.adjacency)
    named = ", ".join(answer.names[i] for i in answer.done)
    ax.set_title(f"set: {named} (dashed: cut)" if named else "nothing is set", fontsize=10)


def _draw_columns(ax: Axes, answer: Answer) -> None:
    """Each column over its own usual range, because columns may have different units; its numbers at the right."""
    before, after = answer.positions(answer.x), answer.positions(answer.x_after)
    low, high = answer.usual_range
    # in the order of the columns; of too many, those that change most
    moved = np.abs(answer.x_after - answer.x) / (high - low)
    kept = np.sort(np.argsort(-moved, kind="stable")[:_MOST_COLUMNS])
    rows = np.arange(len(kept))
    if answer.usual is not None:
        ax.barh(rows, 1.0, color=PALE, height=0.8)
    off = answer.off_scale(answer.x)[kept], answer.off_scale(answer.x_after)[kept]
    _draw_changes(ax, [literal(answer.columns[i]) for i in kept], before[kept], after[kept], off)
    if answer.low is not None and answer.high is not None:
        low, high = answer.positions(answer.low)[kept], answer.positions(answer.high)[kept]
        ax.hlines(rows + 0.3, low, high, color=INK, linewidth=1.2)
        for ends in (answer.low, answer.high):
            _draw_points(
                ax, answer.positions(ends)[kept], rows + 0.3, answer.off_scale(ends)[kept], INK, INK, dots=False
            )
    for row, i in enumerate(kept):
        value = f"{answer.x[i]:.3g} → {answer.x_after[i]:.3g}"
        ax.annotate(value, (1.02, row), xycoords=("axes fraction", "data"), fontsize=8, va="center", color=INK)
    ax.set_xlim(-1.1 * BEYOND, 1.0 + 1.1 * BEYOND)
    ax.set_xticks([])
    ax.set_xlabel("\n".join(_caption(answer, len(kept))), fontsize=8)
    ax.set_title("x, before → after" + ("" if answer.usual is None else "; grey: nine in ten rows"), fontsize=10)


def _caption(answer: Answer, n_shown: int) -> list[str]:
    """What the marks of x are, a line each."""
    marks = "ring: before; dot: after; triangle: off the scale"
    whiskers = fill(f"black line: {answer.whiskers}", _WIDEST_CAPTION) if answer.whiskers else ""
    n = len(answer.columns)
    few = f"{n_shown} of {n} columns: those that change most" if n_shown < n else ""
    return [text for text in (marks, whiskers, few) if text]


def _draw_changes(
    ax: Axes, names: Sequence[str], before: Array, after: Array, off: tuple[Array, Array] | None = None
) -> None:
    """Rows from before to after. off: on which side each value is beyond the axis, -1, 0 or 1; None for nowhere."""
    rows = np.arange(len(names))
    colors = np.array([BLUE if end >= start else RED for start, end in zip(before, after, strict=True)])
    off_before, off_after = off or (np.zeros(len(rows)), np.zeros(len(rows)))
    ax.hlines(rows, before, after, color=colors, linewidth=3.0, alpha=0.6)
    _draw_points(ax, before, rows, off_before, "white", GREY)
    _draw_points(ax, after, rows, off_after, colors, colors)
    ax.set_yticks(rows, names)
    ax.set_ylim(len(names) - 0.4, -0.6)
    clean(ax).grid(axis="x", color=PALE, linewidth=0.6)


def _draw_points(ax: Axes, x: Array, y: Array, off: Array, face: Any, edge: Any, dots: bool = True) -> None:
    """A dot for each value, or a triangle that points to where it is beyond the axis."""
    for side, marker in ((0, "o"), (-1, "<"), (1, ">")):
        chosen = (off == side) & (dots or side != 0)
        if chosen.any():
            faces, edges = (color[chosen] if isinstance(color, np.ndarray) else color for color in (face, edge))
            ax.scatter(x[chosen], y[chosen], s=26, marker=marker, facecolors=faces, edgecolors=edges, zorder=4)
