"""Two models side by side: the maps h_i, what leaks where, and both graphs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import SubFigure
from numpy.typing import ArrayLike, NDArray

from lcm.report.graph import draw_graph
from lcm.report.style import BLUE, GREY, PALE, clean, new_figure, save_figure, variable_names

if TYPE_CHECKING:
    from lcm.isomorphism import Comparison
    from lcm.model.graph import Graph

_MAX_CURVES = 12
_MAX_POINTS = 500
_CURVES_IN_A_ROW = 6
_MAX_WRITTEN = 8

Array = NDArray[np.float64]


def draw_comparison(
    path: str | Path,
    found: Comparison,
    z: tuple[ArrayLike, ArrayLike],
    graphs: tuple[Graph, Graph] | None = None,
    names: tuple[str, str] = ("A", "B"),
) -> None:
    """Write a figure of two compared models.

    Above, up to 12 variables of B against their matches of A, with h_i as a curve; below, both graphs in A's numbering
    and the matrix of what leaks where.

    Args:
        path: file to write.
        found: what `find_isomorphism` found.
        z: (N, n) causal variables by A and by B, each in its own numbering.
        graphs: of A and of B, each in its own numbering; None where one has none.
        names: of the two models.

    Raises:
        ValueError: variables of another number than were compared.
    """
    n = len(found.permutation)
    first, second = (np.asarray(table, dtype=np.float64) for table in z)
    if first.shape != second.shape or first.shape[1] != n:
        raise ValueError(f"Expected two tables of {n} variables; got shapes {first.shape} and {second.shape}.")
    shown = min(n, _MAX_CURVES)
    rows = -(-shown // _CURVES_IN_A_ROW)
    figure = new_figure(10.5, 2.2 * rows + 3.9)
    verdict = "isomorphic" if found.isomorphic else "not isomorphic"
    figure.suptitle(f"{names[0]} and {names[1]}: {verdict}", fontsize=12)
    above, below = figure.subfigures(2, 1, height_ratios=(2.2 * rows, 3.5), squeeze=False)[:, 0]
    _draw_curves(above, found, first, second[:, list(found.permutation)], shown, rows, names)
    axes = below.subplots(1, 1 if graphs is None else 3, squeeze=False)[0]
    if graphs is not None:
        _draw_graphs(axes, found, graphs, names)
    _draw_leakage(axes[-1], below, found, names)
    save_figure(figure, path)


def _draw_curves(
    figure: SubFigure, found: Comparison, first: Array, second: Array, shown: int, rows: int, names: tuple[str, str]
) -> None:
    import torch

    columns = -(-shown // rows)
    axes = figure.subplots(rows, columns, squeeze=False).ravel()
    labels = variable_names(len(found.permutation)), variable_names(len(found.permutation), symbol="z'")
    for i, ax in enumerate(axes):
        if i >= shown:
            ax.set_axis_off()
            continue
        ax.scatter(first[:_MAX_POINTS, i], second[:_MAX_POINTS, i], s=4, color=GREY, alpha=0.5, linewidths=0)
        grid = torch.linspace(float(first[:, i].min()), float(first[:, i].max()), 200, dtype=torch.float64)
        curve = found.variable_map(grid[:, None], torch.tensor([i]))[0][:, 0]
        ax.plot(grid.numpy(), curve.numpy(), color=BLUE, linewidth=1.4)
        clean(ax).set_title(f"R² {found.r2[i]:.4f}", fontsize=9)
        ax.set_xlabel(f"{labels[0][i]} of {names[0]}", fontsize=9)
        ax.set_ylabel(f"{labels[1][found.permutation[i]]} of {names[1]}", fontsize=9)


def _draw_graphs(
    axes: NDArray[np.object_], found: Comparison, graphs: tuple[Graph, Graph], names: tuple[str, str]
) -> None:
    permutation = list(found.permutation)
    second = graphs[1].adjacency[np.ix_(permutation, permutation)]
    draw_graph(axes[0], graphs[0].adjacency, title=f"graph of {names[0]}")
    labels = [f"$z'_{{{j}}}$" for j in permutation]
    title = f"graph of {names[1]}" + ("" if found.graphs_equal else "\n(red: there only; dashed: missing)")
    draw_graph(axes[1], second, labels=labels, title=title, true_adjacency=graphs[0].adjacency)


def _draw_leakage(ax: Axes, figure: SubFigure, found: Comparison, names: tuple[str, str]) -> None:
    """Shares of the variance of each z′: by its match on the diagonal, by others beyond it elsewhere."""
    n = len(found.permutation)
    shares = found.leakage_matrix.copy()
    shares[np.diag_indices(n)] = np.clip(found.r2, 0.0, 1.0)
    picture = ax.imshow(np.log10(np.maximum(shares, 1e-4)), cmap="cividis", vmin=-4.0, vmax=0.0)
    bar = figure.colorbar(picture, ax=ax, shrink=0.8, ticks=[-4, -3, -2, -1, 0])
    bar.ax.set_yticklabels(["≤ 0.0001", "0.001", "0.01", "0.1", "1"], fontsize=8)
    step = max(1, n // 15)
    ax.set_xticks(range(0, n, step), variable_names(n)[::step], fontsize=8)
    targets = [variable_names(n, symbol="z'")[j] for j in found.permutation]
    ax.set_yticks(range(0, n, step), targets[::step], fontsize=8)
    ax.set(xlabel=f"explained by, of {names[0]}", ylabel=f"variable of {names[1]}")
    ax.set_title("share of variance:\nthe match, and what leaks", fontsize=10)
    if n <= _MAX_WRITTEN:
        for i, j in np.ndindex(n, n):
            dark = shares[i, j] < 0.03
            text = f"{shares[i, j]:.3f}" if shares[i, j] >= 5e-4 else "0"
            ax.text(j, i, text, ha="center", va="center", fontsize=7, color=PALE if dark else "black")
