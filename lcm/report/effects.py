"""Figure of what an intervention does: the graph, the variables, and x."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from numpy.typing import NDArray

from lcm.report.answer import Answer
from lcm.report.graph import draw_graph, graph_labels
from lcm.report.style import BLUE, GREY, INK, PALE, RED, clean, figure_names, new_figure, save_figure

Array = NDArray[Any]
_MOST_COLUMNS = 30
_NOTHING = 1e-9


def draw_answer(path: str | Path, answer: Answer) -> None:
    """Write a figure: the graph with what changes, the variables before and after, and x before and after."""
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
    moved = np.abs(answer.x_after - answer.x)
    usual = answer.usual
    width = np.ones_like(moved) if usual is None else np.maximum(usual[1] - usual[0], _NOTHING)
    # in the order of the columns; of too many, those that change most
    kept = np.sort(np.argsort(-moved / width, kind="stable")[:_MOST_COLUMNS])
    names = [str(answer.columns[i]) for i in kept]
    if usual is not None:
        ax.barh(np.arange(len(kept)), usual[1, kept] - usual[0, kept], left=usual[0, kept], color=PALE, height=0.8)
    _draw_changes(ax, names, answer.x[kept], answer.x_after[kept])
    if answer.low is not None and answer.high is not None:
        ax.hlines(np.arange(len(kept)) + 0.3, answer.low[kept], answer.high[kept], color=INK, linewidth=1.2)
    left_out = f", {len(kept)} of {len(moved)} columns" if len(kept) < len(moved) else ""
    ax.set_title(f"x (grey: nine in ten rows{left_out})", fontsize=10)


def _draw_changes(ax: Axes, names: Sequence[str], before: Array, after: Array) -> None:
    rows = np.arange(len(names))
    colors = [BLUE if end >= start else RED for start, end in zip(before, after, strict=True)]
    ax.hlines(rows, before, after, color=colors, linewidth=3.0, alpha=0.6)
    ax.scatter(before, rows, s=26, facecolors="white", edgecolors=GREY, zorder=3, label="before")
    ax.scatter(after, rows, s=26, color=colors, zorder=4, label="after")
    ax.set_yticks(rows, names)
    ax.set_ylim(len(names) - 0.4, -0.6)
    clean(ax).grid(axis="x", color=PALE, linewidth=0.6)
