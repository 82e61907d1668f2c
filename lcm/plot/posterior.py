"""What a model believes about the targets of interventions."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike

from lcm.plot.style import INK, new_figure, save_figure


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
