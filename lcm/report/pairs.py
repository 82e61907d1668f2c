"""Pairs of observations as arrows from before to after the intervention."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray

from lcm.report.style import BLUE, GREY, INK, clean, new_figure, save_figure

_MAX_POINTS = 3000


def draw_pairs(path: str | Path, x: ArrayLike, x_tilde: ArrayLike, n_arrows: int = 60) -> None:
    """Write a figure of the first `n_arrows` pairs that differ, as arrows x -> x̃ over the cloud of all x.

    x and x̃ are (N, d), or images (N, …); with more than two dimensions, it shows the first two principal
    components of x. Raises ValueError for shapes that differ, or fewer than two rows.
    """
    before = np.asarray(x, dtype=np.float64).reshape(len(np.asarray(x)), -1)
    after = np.asarray(x_tilde, dtype=np.float64).reshape(len(np.asarray(x_tilde)), -1)
    if before.shape != after.shape or len(before) < 2:
        raise ValueError(f"Expected two or more pairs of one shape; got x {before.shape} and x_tilde {after.shape}.")
    before, after = before[:_MAX_POINTS], after[:_MAX_POINTS]
    plane, names = _plane(before)
    start, end = before @ plane, after @ plane
    changed = np.flatnonzero(np.linalg.norm(end - start, axis=1) > 1e-3 * start.std())[:n_arrows]
    figure = new_figure(5.6, 5.0)
    ax = clean(figure.subplots())
    before_x, before_y = start[changed].T
    after_x, after_y = end[changed].T
    ax.scatter(start[:, 0], start[:, 1], s=5, color=GREY, alpha=0.35, linewidths=0, label="$x$, all pairs")
    ax.scatter(before_x, before_y, s=10, color=INK, zorder=3, label="$x$, before")
    ax.scatter(after_x, after_y, s=14, color=BLUE, marker="D", linewidths=0, zorder=3, label=r"$\tilde{x}$, after")
    ax.quiver(
        before_x,
        before_y,
        after_x - before_x,
        after_y - before_y,
        angles="xy",
        scale_units="xy",
        scale=1.0,
        color=BLUE,
        alpha=0.6,
        width=0.003,
    )
    ax.set(xlabel=names[0], ylabel=names[1])
    figure.legend(loc="outside upper center", ncols=3, frameon=False, fontsize=9)
    save_figure(figure, path)


def _plane(x: NDArray[np.float64]) -> tuple[NDArray[np.float64], tuple[str, str]]:
    """Two directions (d, 2) to look at x (N, d) along, and the names of the axes."""
    d = x.shape[1]
    if d == 1:
        return np.array([[1.0, 0.0]]), ("$x_0$", "")
    if d == 2:
        return np.eye(2), ("$x_0$", "$x_1$")
    directions = np.linalg.svd(x - x.mean(0), full_matrices=False)[2]
    return directions[:2].T, ("first principal component of $x$", "second principal component of $x$")


def draw_posterior(
    path: str | Path, probability: ArrayLike, true_sets: ArrayLike, labels: Sequence[str] | None = None
) -> None:
    """Write a figure of the mean posterior p(I | x, x̃) of the pairs of each true target set.

    Args:
        path: file to write.
        probability: (N, K), rows sum to 1, columns in the order of the true sets.
        true_sets: (N,), the 0-based index of each pair's true set, in 0..K-1.
        labels: names of the K sets; by default the empty set, then the atomic ones.

    Raises:
        ValueError: shapes that do not fit, an index out of range, or another number of labels.
    """
    table, index = np.asarray(probability, dtype=np.float64), np.asarray(true_sets)
    if table.ndim != 2 or index.shape != (len(table),):
        raise ValueError(f"Expected probability (N, K) and true_sets (N,); got {table.shape} and {index.shape}.")
    k = table.shape[1]
    if index.size and not (index.min() >= 0 and index.max() < k):
        raise ValueError(f"Expected true sets in 0..{k - 1}; got {index.min()} to {index.max()}.")
    names = [r"$\emptyset$", *(f"$z_{{{i}}}$" for i in range(k - 1))] if labels is None else list(labels)
    if len(names) != k:
        raise ValueError(f"Expected {k} labels; got {len(names)}.")
    member = index[:, None] == np.arange(k)
    mean = (member.T.astype(np.float64) @ table) / np.maximum(member.sum(0), 1)[:, None]
    size = 3.2 + 0.22 * k
    figure = new_figure(size + 0.8, size)
    ax = figure.subplots()
    image = ax.imshow(mean, cmap="Blues", vmin=0.0, vmax=1.0)
    figure.colorbar(image, ax=ax, label="mean posterior", shrink=0.8)
    if k <= 12:
        for row, column in np.ndindex(k, k):
            ink = "white" if mean[row, column] > 0.5 else INK
            ax.text(column, row, f"{mean[row, column]:.2f}", ha="center", va="center", fontsize=8, color=ink)
    ax.set_xticks(range(k), names)
    ax.set_yticks(range(k), names)
    ax.tick_params(length=0, labelsize=10 if k <= 12 else 6)
    ax.set(xlabel="inferred target set", ylabel="true target set")
    save_figure(figure, path)
