"""True against learned causal variables, one panel a pair of variables."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import ArrayLike, NDArray

from lcm.isomorphism.matching import correlation_matrix, paired_columns
from lcm.report.style import BLUE, GREY, INK, PALE, clean, new_figure, save_figure, variable_names

_MAX_PANELS = 10
_MAX_POINTS = 600


def draw_variables(path: str | Path, true: ArrayLike, learned: ArrayLike) -> None:
    """Write a figure of every learned variable against every true one.

    A model that recovered the variables shows curves on the diagonal, and off it what the dependence between
    the true variables themselves gives. Up to 10 variables are scatter plots with their |Spearman|, more are
    the table of |Spearman| alone.

    Args:
        path: file to write.
        true: (N, n).
        learned: (N, n), aligned: column i is the match of true variable i.

    Raises:
        ValueError: tables that are not finite, or of different shape.
    """
    true_table, learned_table = paired_columns(true, learned)
    if true_table.shape != learned_table.shape:
        raise ValueError(f"Expected learned variables of shape {true_table.shape}; got {learned_table.shape}.")
    spearman = correlation_matrix(true_table, learned_table)
    n = len(spearman)
    if n <= _MAX_PANELS:
        figure = _draw_panels(true_table[:_MAX_POINTS], learned_table[:_MAX_POINTS], spearman)
    else:
        figure = _draw_table(spearman)
    save_figure(figure, path)


def _draw_panels(true: NDArray[np.float64], learned: NDArray[np.float64], spearman: NDArray[np.float64]) -> Figure:
    n = len(spearman)
    size = max(1.0, 2.2 - 0.15 * n)
    figure = new_figure(size * n + 0.7, size * n + 0.7)
    axes = figure.subplots(n, n, squeeze=False, sharex="col", sharey="row")
    for row in range(n):
        for column in range(n):
            ax = axes[row, column]
            _draw_panel(ax, true[:, column], learned[:, row], spearman[column, row], row == column)
    for index, (name, learned_name) in enumerate(
        zip(variable_names(n), variable_names(n, symbol=r"\hat{z}"), strict=True)
    ):
        axes[-1, index].set_xlabel(name, fontsize=11)
        axes[index, 0].set_ylabel(learned_name, fontsize=11)
    figure.supxlabel("true variable", fontsize=10, color=INK)
    figure.supylabel("learned variable (matched)", fontsize=10, color=INK)
    return figure


def _draw_panel(
    ax: Axes, true: NDArray[np.float64], learned: NDArray[np.float64], spearman: float, matched: bool
) -> None:
    ax.scatter(true, learned, s=3, color=BLUE if matched else GREY, alpha=0.5, linewidths=0, rasterized=True)
    ax.set_xticks([])
    ax.set_yticks([])
    ax.spines[:].set_color(BLUE if matched else PALE)
    ax.spines[:].set_linewidth(1.6 if matched else 0.8)
    ax.set_title(
        f"{spearman:.3f}" if matched else f"{spearman:.2f}",
        fontsize=8,
        pad=2,
        color=BLUE if matched else GREY,
    )


def _draw_table(spearman: NDArray[np.float64]) -> Figure:
    n = len(spearman)
    figure = new_figure(6.5, 5.6)
    ax = clean(figure.subplots())
    image = ax.imshow(spearman.T, cmap="cividis", vmin=0.0, vmax=1.0)
    figure.colorbar(image, ax=ax, label="|Spearman|", shrink=0.8)
    step = max(1, n // 15)
    ax.set_xticks(range(0, n, step), variable_names(n)[::step])
    ax.set_yticks(range(0, n, step), variable_names(n, symbol=r"\hat{z}")[::step])
    ax.set(xlabel="true variable", ylabel="learned variable (matched)")
    ax.set_title(f"mean on the diagonal: {np.diagonal(spearman).mean():.4f}", fontsize=10)
    return figure
