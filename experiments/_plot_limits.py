"""Panels on the limits of identifiability: latent spaces, correlations of noise, scores, pairs on a torus."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.patches import Rectangle
from numpy.typing import ArrayLike, NDArray

from lcm.isomorphism.matching import match_variables, paired_columns, unit_columns
from lcm.report.style import BLUE, GREY, INK, ORANGE, PALE, clean, variable_names

_MAX_POINTS = 1500
_VIEW = 3.2

Array = NDArray[np.float64]


def aligned_to(reference: ArrayLike, learned: ArrayLike) -> Array:
    """The columns of `learned` (N, n), standardised, in the order and orientation that fit `reference` (N, n) best.

    That is all that a relabelling with a reversal of each variable can do.

    Raises:
        ValueError: tables that are not finite, or of different shape.
    """
    first, second = paired_columns(reference, learned)
    if first.shape != second.shape:
        raise ValueError(f"Expected two tables of one shape; got {first.shape} and {second.shape}.")
    correlation = unit_columns(first).T @ unit_columns(second)
    matches = match_variables(np.abs(correlation))
    signs = np.where(correlation[np.arange(len(matches)), matches] < 0, -1.0, 1.0)
    aligned: Array = unit_columns(second)[:, matches] * signs * np.sqrt(len(second))
    return aligned


def draw_latent_space(ax: Axes, z: ArrayLike, color: ArrayLike, title: str = "") -> Axes:
    """Draw standardised latent variables z (N, 2), coloured by a true one (N,); returns the axes."""
    points, shade = np.asarray(z)[:_MAX_POINTS], np.asarray(color)[:_MAX_POINTS]
    low, high = np.quantile(shade, [0.02, 0.98])
    ax.scatter(
        points[:, 0], points[:, 1], c=shade, cmap="viridis", vmin=low, vmax=high, s=2.5, linewidths=0, rasterized=True
    )
    ax.set(xlim=(-_VIEW, _VIEW), ylim=(-_VIEW, _VIEW), xticks=[], yticks=[], aspect="equal")
    ax.spines[:].set_color(GREY)
    ax.set_title(title, fontsize=8.5, color=INK, pad=3)
    return ax


def draw_found(ax: Axes, correlation: ArrayLike, blocks: Sequence[Sequence[int]] = (), title: str = "") -> Axes:
    """Draw |Spearman| (n, n) of true noise (rows) and matched learned noise, blocks of neighbours framed."""
    matrix = np.asarray(correlation, dtype=np.float64)
    ax.imshow(matrix, cmap="Blues", vmin=0.0, vmax=1.3)
    for (i, j), value in np.ndenumerate(matrix):
        ax.text(j, i, f"{value:.2f}", ha="center", va="center", fontsize=7, color="white" if value > 0.8 else INK)
    for block in blocks:
        start, size = min(block) - 0.5, len(block)
        ax.add_patch(Rectangle((start, start), size, size, fill=False, edgecolor=ORANGE, linewidth=2.0, clip_on=False))
    n = len(matrix)
    ax.set_xticks(range(n), variable_names(n, symbol=r"\hat{\varepsilon}"), fontsize=9)
    ax.set_yticks(range(n), variable_names(n, symbol=r"\varepsilon"), fontsize=9)
    ax.tick_params(length=0)
    ax.spines[:].set_color(PALE)
    ax.set_title(title, fontsize=8.5, color=INK, pad=3)
    return ax


def draw_strip(ax: Axes, values: Mapping[str, Sequence[float]]) -> Axes:
    """Draw numbers in [0, 1] as dots, a line for each name, with the median as a tick; the axis ends at 0 and 1."""
    for row, numbers in enumerate(values.values()):
        ax.plot([0.0, 1.0], [row, row], color=PALE, linewidth=1.0, zorder=1)
        ax.scatter(numbers, [row] * len(numbers), s=18, color=BLUE, alpha=0.55, linewidths=0, zorder=3, clip_on=False)
        ax.plot([np.median(numbers)] * 2, [row - 0.28, row + 0.28], color=INK, linewidth=1.4, zorder=2, clip_on=False)
    clean(ax).spines["left"].set_visible(False)
    ax.set(xlim=(0.0, 1.0), ylim=(len(values) - 0.5, -0.5), xticks=[0.0, 0.5, 1.0])
    ax.set_yticks(range(len(values)), list(values), fontsize=8)
    ax.tick_params(axis="y", length=0)
    return ax


def draw_torus_pairs(ax: Axes, angles: ArrayLike, changes: ArrayLike, targets: ArrayLike, symbol: str = "z") -> Axes:
    """Draw pairs of angles (N, 2) on the square [−π, π]² with their changes (N, 2), coloured by the target (N, 2) bool.

    A line that leaves the square enters it on the other side.
    """
    start, move = np.asarray(angles, dtype=np.float64), np.asarray(changes, dtype=np.float64)
    mask = np.asarray(targets, dtype=np.bool_)
    turns = 2.0 * np.pi * np.stack(np.meshgrid([-1, 0, 1], [-1, 0, 1]), -1).reshape(-1, 1, 2)
    for target, color in ((0, BLUE), (1, ORANGE)):
        chosen = mask[:, target]
        lines = np.stack([start[chosen], start[chosen] + move[chosen]], axis=1)
        copies = (lines[None] + turns[:, None]).reshape(-1, 2, 2)
        ax.add_collection(LineCollection(list(copies), colors=color, linewidths=1.1, alpha=0.8))
    ax.scatter(start[:, 0], start[:, 1], s=7, color=INK, linewidths=0, zorder=3)
    ticks = [-np.pi, 0.0, np.pi]
    ax.set(xlim=(-np.pi, np.pi), ylim=(-np.pi, np.pi), xticks=ticks, yticks=ticks, aspect="equal")
    ax.set_xticklabels([r"$-\pi$", "0", r"$\pi$"], fontsize=8)
    ax.set_yticklabels([r"$-\pi$", "0", r"$\pi$"], fontsize=8)
    first, second = variable_names(2, [f"${symbol}_0$", f"${symbol}_1$"])
    ax.set_xlabel(first, labelpad=1)
    ax.set_ylabel(second, labelpad=-4)
    ax.spines[:].set_color(GREY)
    return ax
