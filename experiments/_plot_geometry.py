"""The magnification of decoders over their two-dimensional latent spaces, with geodesics."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import final

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import QuadMesh
from matplotlib.colors import LogNorm
from matplotlib.lines import Line2D
from matplotlib.patheffects import Normal, Stroke
from matplotlib.ticker import NullLocator
from numpy.typing import NDArray

from lcm.report.style import GREY, INK, clean, new_figure, save_figure, variable_names

_COLUMNS = 5
_MAX_POINTS = 400
_COLOURS = "viridis"
_CURVE, _DOT = "#FFFFFF", "#111111"

Array = NDArray[np.float64]


@final
@dataclass(frozen=True, eq=False)
class MagnificationPanel:
    """What is drawn of one decoder.

    Attributes:
        title: a line or two.
        grid: the values of z_0 (A,) and of z_1 (B,), increasing.
        magnification: √det G (A, B) > 0 on the grid.
        encodings: (N, 2) of data; the first 400 are drawn.
        geodesics, straight: (P, T, 2), curves and the straight lines between the same ends.
        symbol: of the latent variables.
    """

    title: str
    grid: tuple[Array, Array]
    magnification: Array
    encodings: Array
    geodesics: Array
    straight: Array
    symbol: str = "z"

    def __post_init__(self) -> None:
        """Raises ValueError for tables of another shape, and for a magnification that is not positive."""
        shape = tuple(len(axis) for axis in self.grid)
        if self.magnification.shape != shape:
            raise ValueError(f"Expected a magnification of shape {shape}; got {self.magnification.shape}.")
        if not (np.isfinite(self.magnification).all() and (self.magnification > 0).all()):
            raise ValueError("Expected a magnification that is positive and finite everywhere; got one that is not.")
        if self.encodings.ndim != 2 or self.encodings.shape[1] != 2:
            raise ValueError(f"Expected encodings of shape (N, 2); got {self.encodings.shape}.")
        if self.geodesics.shape != self.straight.shape or self.geodesics.ndim != 3 or self.geodesics.shape[2] != 2:
            raise ValueError(
                f"Expected curves of equal shape (P, T, 2); got {self.geodesics.shape} and {self.straight.shape}."
            )


def draw_magnification(path: str | Path, panels: Sequence[MagnificationPanel]) -> None:
    """Write a figure of the magnification √det G over the latent spaces of several decoders, side by side.

    Colours are on a logarithmic scale that all panels share. Encodings of data are dots, geodesics are curves, and
    the straight lines between their ends are dashed.

    Raises:
        ValueError: no panels.
    """
    if not panels:
        raise ValueError("Expected at least one panel; got none.")
    columns = min(len(panels), _COLUMNS)
    rows = -(-len(panels) // columns)
    figure = new_figure(2.5 * columns + 0.9, 2.65 * rows + 0.4)
    axes = figure.subplots(rows, columns, squeeze=False)
    norm = _shared_norm(panels)
    for ax, panel in zip(axes.flat, panels, strict=False):
        image = _draw_panel(ax, panel, norm)
    for ax in axes.flat[len(panels) :]:
        ax.remove()
    bar = figure.colorbar(image, ax=list(axes.flat[: len(panels)]), shrink=0.9, aspect=22, pad=0.015, extend="both")
    ticks = _ticks(norm)
    bar.set_ticks(ticks, labels=[f"{tick:g}" for tick in ticks])
    bar.ax.yaxis.set_minor_locator(NullLocator())
    bar.ax.tick_params(colors=INK, labelsize=8)
    bar.set_label("magnification √det G", fontsize=9, color=INK)
    figure.legend(handles=_legend(), loc="outside lower center", ncols=3, fontsize=8, frameon=False)
    save_figure(figure, path)


def _shared_norm(panels: Sequence[MagnificationPanel]) -> LogNorm:
    """From the smallest to the largest magnification at the data of any panel, but for a hundredth at either end."""
    ends = [np.quantile(_at_encodings(panel), (0.01, 0.99)) for panel in panels]
    low, high = min(end[0] for end in ends), max(end[1] for end in ends)
    # a scale needs some width where the magnification is the same everywhere
    return LogNorm(low, high) if high > 1.05 * low else LogNorm(low / 1.5, high * 1.5)


def _at_encodings(panel: MagnificationPanel) -> Array:
    """The magnification at the grid point next to each encoding."""
    cells = [
        np.clip(np.searchsorted(axis, column), 0, len(axis) - 1)
        for axis, column in zip(panel.grid, panel.encodings.T, strict=True)
    ]
    return panel.magnification[cells[0], cells[1]]


def _ticks(norm: LogNorm) -> list[float]:
    """1, 2 and 5 times powers of ten, or powers of ten alone where those would be many."""
    low, high = float(norm.vmin or 0.0), float(norm.vmax or 0.0)
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    digits = (1, 2, 5) if high < 300 * low else (1,)
    return [tick for power in powers for digit in digits if low <= (tick := float(f"{digit}e{power}")) <= high]


def _draw_panel(ax: Axes, panel: MagnificationPanel, norm: LogNorm) -> QuadMesh:
    image = ax.pcolormesh(
        *panel.grid, panel.magnification.T, norm=norm, cmap=_COLOURS, shading="gouraud", rasterized=True
    )
    dots = panel.encodings[:_MAX_POINTS]
    ax.scatter(dots[:, 0], dots[:, 1], s=1.5, color=_DOT, alpha=0.35, linewidths=0, rasterized=True)
    for curve, line in zip(panel.geodesics, panel.straight, strict=True):
        ax.add_line(_straight(line))
        ax.add_line(_geodesic(curve))
        ax.plot(*curve[[0, -1]].T, "o", color=_CURVE, markersize=3.2, markeredgecolor=INK, markeredgewidth=0.5)
    first, second = variable_names(2, symbol=panel.symbol)
    ax.set(xlim=panel.grid[0][[0, -1]], ylim=panel.grid[1][[0, -1]], box_aspect=1)
    ax.set_xlabel(first, fontsize=10, color=INK)
    ax.set_ylabel(second, fontsize=10, color=INK, labelpad=1)
    ax.set_title(panel.title, fontsize=10, color=INK)
    clean(ax)
    return image


def _geodesic(curve: Array) -> Line2D:
    # an edge of ink keeps white lines visible on the lightest colours, and in the legend
    edge = [Stroke(linewidth=2.1, foreground=INK), Normal()]
    return Line2D(*curve.T, color=_CURVE, linewidth=1.3, path_effects=edge, label="geodesic")


def _straight(line: Array) -> Line2D:
    edge = [Stroke(linewidth=1.2, foreground=INK), Normal()]
    dashes = (0, (3, 2))
    return Line2D(*line.T, color=_CURVE, linewidth=0.7, linestyle=dashes, path_effects=edge, label="straight line")


def _legend() -> list[Line2D]:
    dots = Line2D([], [], color=GREY, marker="o", markersize=3, linestyle="none", label="encoded data")
    return [_geodesic(np.empty((0, 2))), _straight(np.empty((0, 2))), dots]
