"""Figures of pairs and of variables: x to x̃, true against learned variables, and two models side by side."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure
from numpy.typing import ArrayLike, NDArray

from lcm.isomorphism.matching import FloatArray, correlation_matrix, paired_columns
from lcm.report.graph import draw_graph
from lcm.report.style import (
    BLUE,
    GREY,
    INK,
    PALE,
    clean,
    figure_names,
    literal,
    new_figure,
    save_figure,
    variable_names,
)

if TYPE_CHECKING:
    from lcm.isomorphism import Comparison
    from lcm.model.graph import Graph

_MAX_PANELS = 10
_MAX_CURVES = 12
_CURVES_IN_A_ROW = 6
_MAX_WRITTEN = 8
_POINTS_IN_A_PANEL = 600
_POINTS_IN_A_CLOUD = 3000


def draw_variables(path: str | Path, true: ArrayLike, learned: ArrayLike, names: Sequence[str] | None = None) -> None:
    """Write a figure of every learned variable against every true one.

    If the model recovered the variables, the diagonal shows curves, and the other panels show only the dependence
    between the true variables. Up to 10 variables give scatter plots with their `|Spearman|`; more give only the table
    of `|Spearman|`.

    Args:
        path: file to write.
        true: (N, n).
        learned: (N, n), aligned: column i is the match of true variable i.
        names: of the learned variables, aligned too.

    Raises:
        ValueError: tables that are not finite, or of different shape.
    """
    true_table, learned_table = paired_columns(true, learned)
    if true_table.shape != learned_table.shape:
        raise ValueError(f"Expected learned variables of shape {true_table.shape}; got {learned_table.shape}.")
    spearman = correlation_matrix(true_table, learned_table)
    n = len(spearman)
    if n <= _MAX_PANELS:
        true_rows, learned_rows = true_table[:_POINTS_IN_A_PANEL], learned_table[:_POINTS_IN_A_PANEL]
        figure = _draw_panels(true_rows, learned_rows, spearman, _learned_names(n, names))
    else:
        figure = _draw_table(spearman, _learned_names(n, names))
    save_figure(figure, path)


def _learned_names(n: int, names: Sequence[str] | None) -> list[str]:
    return variable_names(n, None if names is None else figure_names(names), symbol=r"\hat{z}")


def _draw_panels(true: FloatArray, learned: FloatArray, spearman: FloatArray, names: list[str]) -> Figure:
    n = len(spearman)
    size = max(1.0, 2.2 - 0.15 * n)
    figure = new_figure(size * n + 0.7, size * n + 0.7)
    axes = figure.subplots(n, n, squeeze=False, sharex="col", sharey="row")
    for row in range(n):
        for column in range(n):
            ax = axes[row, column]
            _draw_panel(ax, true[:, column], learned[:, row], spearman[column, row], row == column)
    for index, (name, learned_name) in enumerate(zip(variable_names(n), names, strict=True)):
        axes[-1, index].set_xlabel(name, fontsize=11)
        axes[index, 0].set_ylabel(learned_name, fontsize=11)
    figure.supxlabel("true variable", fontsize=10, color=INK)
    figure.supylabel("learned variable (matched)", fontsize=10, color=INK)
    return figure


def _draw_panel(ax: Axes, true: FloatArray, learned: FloatArray, spearman: float, matched: bool) -> None:
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


def _draw_table(spearman: FloatArray, names: list[str]) -> Figure:
    n = len(spearman)
    figure = new_figure(6.5, 5.6)
    ax = clean(figure.subplots())
    image = ax.imshow(spearman.T, cmap="cividis", vmin=0.0, vmax=1.0)
    figure.colorbar(image, ax=ax, label="|Spearman|", shrink=0.8)
    step = max(1, n // 15)
    ax.set_xticks(range(0, n, step), variable_names(n)[::step])
    ax.set_yticks(range(0, n, step), names[::step])
    ax.set(xlabel="true variable", ylabel="learned variable (matched)")
    ax.set_title(f"mean on the diagonal: {np.diagonal(spearman).mean():.4f}", fontsize=10)
    return figure


def draw_pairs(
    path: str | Path, x: ArrayLike, x_tilde: ArrayLike, n_arrows: int = 60, columns: Sequence[str] = ()
) -> None:
    """Write a figure of the first `n_arrows` pairs that differ, as arrows x -> x̃ over the cloud of all x.

    x and x̃ are (N, d), or images (N, …); with more than two dimensions, it shows the first two principal components of
    x, of columns in units of their standard deviations. `columns` names the columns of x.

    Raises:
        ValueError: shapes that differ, or fewer than two rows.
    """
    before = np.asarray(x, dtype=np.float64).reshape(len(np.asarray(x)), -1)
    after = np.asarray(x_tilde, dtype=np.float64).reshape(len(np.asarray(x_tilde)), -1)
    if before.shape != after.shape or len(before) < 2:
        raise ValueError(f"Expected two or more pairs of one shape; got x {before.shape} and x_tilde {after.shape}.")
    before, after = before[:_POINTS_IN_A_CLOUD], after[:_POINTS_IN_A_CLOUD]
    if np.asarray(x).ndim == 2 and before.shape[1] > 2:
        # columns may have any units
        center, spread = before.mean(0), np.maximum(before.std(0), 1e-300)
        before, after = (before - center) / spread, (after - center) / spread
    plane, names = _plane(before, "standardised $x$" if np.asarray(x).ndim == 2 else "$x$")
    names = (literal(columns[0]), literal(columns[1])) if len(columns) == 2 else names
    start, end = before @ plane, after @ plane
    changed = np.flatnonzero(np.linalg.norm(end - start, axis=1) > 1e-3 * start.std())[:n_arrows]
    figure = new_figure(5.6, 5.0)
    ax = clean(figure.subplots())
    before_x, before_y = start[changed].T
    after_x, after_y = end[changed].T
    ax.scatter(start[:, 0], start[:, 1], s=5, color=GREY, alpha=0.35, linewidths=0, label="$x$, all pairs")
    ax.scatter(before_x, before_y, s=10, color=INK, zorder=3, label="$x$, before")
    ax.quiver(
        before_x,
        before_y,
        after_x - before_x,
        after_y - before_y,
        angles="xy",
        scale_units="xy",
        scale=1.0,
        color=BLUE,
        width=0.003,
        headwidth=6.0,
        headlength=7.0,
        headaxislength=6.0,
        zorder=2.5,
        label=r"$\tilde{x}$, after (head)",
    )
    ax.set(xlabel=names[0], ylabel=names[1])
    figure.legend(loc="outside upper center", ncols=3, frameon=False, fontsize=9)
    save_figure(figure, path)


def _plane(x: FloatArray, name: str) -> tuple[FloatArray, tuple[str, str]]:
    """Two directions (d, 2) to look at x (N, d) along, and the names of the axes, for more than two with that of x."""
    d = x.shape[1]
    if d == 1:
        return np.array([[1.0, 0.0]]), ("$x_0$", "")
    if d == 2:
        return np.eye(2), ("$x_0$", "$x_1$")
    directions = np.linalg.svd(x - x.mean(0), full_matrices=False)[2]
    return directions[:2].T, (f"first principal component of {name}", f"second principal component of {name}")


def draw_comparison(
    path: str | Path,
    found: Comparison,
    z: tuple[ArrayLike, ArrayLike],
    graphs: tuple[Graph, Graph] | None = None,
    names: tuple[str, str] = ("A", "B"),
    variables: tuple[Sequence[str], Sequence[str]] | None = None,
) -> None:
    """Write a figure of two compared models.

    The upper part shows up to 12 variables of B against their matches in A, with h_i as a curve. The lower part shows
    both graphs in A's numbering and the matrix of leakage.

    Args:
        path: file to write.
        found: the result of `find_isomorphism`.
        z: (N, n) causal variables by A and by B, each in its own numbering.
        graphs: of A and of B, each in its own numbering; None if either model has no graph.
        names: of the two models.
        variables: their names by A and by B, each in its own numbering.

    Raises:
        ValueError: tables with another number of variables than were compared.
    """
    n = len(found.permutation)
    first, second = (np.asarray(table, dtype=np.float64) for table in z)
    if first.shape != second.shape or first.shape[1] != n:
        raise ValueError(f"Expected two tables of {n} variables; got shapes {first.shape} and {second.shape}.")
    labels = (
        variable_names(n, variables and figure_names(variables[0])),
        variable_names(n, variables and figure_names(variables[1], "z'"), symbol="z'"),
    )
    shown = min(n, _MAX_CURVES)
    rows = -(-shown // _CURVES_IN_A_ROW)
    figure = new_figure(10.5, 2.2 * rows + 3.9)
    figure.suptitle(f"{names[0]} and {names[1]}: {found.verdict}", fontsize=12)
    above, below = figure.subfigures(2, 1, height_ratios=(2.2 * rows, 3.5), squeeze=False)[:, 0]
    _draw_curves(above, found, first, second[:, list(found.permutation)], shown, rows, names, labels)
    axes = below.subplots(1, 1 if graphs is None else 3, squeeze=False)[0]
    if graphs is not None:
        _draw_graphs(axes, found, graphs, names, labels)
    _draw_leakage(axes[-1], below, found, names, labels)
    save_figure(figure, path)


def _draw_curves(
    figure: SubFigure,
    found: Comparison,
    first: FloatArray,
    second: FloatArray,
    shown: int,
    rows: int,
    names: tuple[str, str],
    labels: tuple[list[str], list[str]],
) -> None:
    import torch

    columns = -(-shown // rows)
    dots = np.stack([first[:_POINTS_IN_A_PANEL], second[:_POINTS_IN_A_PANEL]])
    axes = figure.subplots(rows, columns, squeeze=False).ravel()
    for i, ax in enumerate(axes):
        if i >= shown:
            ax.set_axis_off()
            continue
        ax.scatter(*dots[:, :, i], s=4, color=GREY, alpha=0.5, linewidths=0)
        grid = torch.linspace(float(first[:, i].min()), float(first[:, i].max()), 200, dtype=torch.float64)
        curve = found.variable_map(grid[:, None], torch.tensor([i]))[0][:, 0]
        ax.plot(grid.numpy(), curve.numpy(), color=BLUE, linewidth=1.4)
        clean(ax).set_title(f"R² {found.r2[i]:.4f}", fontsize=9)
        ax.set_xlabel(f"{labels[0][i]} of {names[0]}", fontsize=9)
        ax.set_ylabel(f"{labels[1][found.permutation[i]]} of {names[1]}", fontsize=9)


def _draw_graphs(
    axes: NDArray[np.object_],
    found: Comparison,
    graphs: tuple[Graph, Graph],
    names: tuple[str, str],
    labels: tuple[list[str], list[str]],
) -> None:
    permutation = list(found.permutation)
    second = graphs[1].adjacency[np.ix_(permutation, permutation)]
    draw_graph(axes[0], graphs[0].adjacency, labels=labels[0], title=f"graph of {names[0]}")
    second_labels = [labels[1][j] for j in permutation]
    title = f"graph of {names[1]}" + ("" if found.graphs_equal else "\n(red: only here; dashed: missing)")
    draw_graph(axes[1], second, labels=second_labels, title=title, true_adjacency=graphs[0].adjacency)


def _draw_leakage(
    ax: Axes, figure: SubFigure, found: Comparison, names: tuple[str, str], labels: tuple[list[str], list[str]]
) -> None:
    """Shares of the variance of each z′: explained by its match on the diagonal, by other variables elsewhere."""
    n = len(found.permutation)
    shares = found.leakage_matrix.copy()
    shares[np.diag_indices(n)] = np.clip(found.r2, 0.0, 1.0)
    picture = ax.imshow(np.log10(np.maximum(shares, 1e-4)), cmap="cividis", vmin=-4.0, vmax=0.0)
    bar = figure.colorbar(picture, ax=ax, shrink=0.8, ticks=[-4, -3, -2, -1, 0])
    bar.ax.set_yticklabels(["≤ 0.0001", "0.001", "0.01", "0.1", "1"], fontsize=8)
    step = max(1, n // 15)
    ax.set_xticks(range(0, n, step), labels[0][::step], fontsize=8)
    targets = [labels[1][j] for j in found.permutation]
    ax.set_yticks(range(0, n, step), targets[::step], fontsize=8)
    ax.set(xlabel=f"explained by variable of {names[0]}", ylabel=f"variable of {names[1]}")
    ax.set_title("share of variance explained:\ndiagonal: match, others: leakage", fontsize=10)
    if n <= _MAX_WRITTEN:
        for i, j in np.ndindex(n, n):
            dark = shares[i, j] < 0.03
            text = f"{shares[i, j]:.3f}" if shares[i, j] >= 5e-4 else "0"
            ax.text(j, i, text, ha="center", va="center", fontsize=7, color=PALE if dark else "black")
