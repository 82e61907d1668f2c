"""Pairs of images side by side: before, after, and what changed."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from lcm.data.encode import encode_pairs
from lcm.data.pairs import PairData
from lcm.model.image import ImageModel
from lcm.model.latent_causal_model import LatentCausalModel
from lcm.report.style import BLUE, INK, PALE, clean, new_figure, save_figure, variable_names

_LOOKED_AT = 2_000
_INCHES = 0.95
_QUANTILES = (0.02, 0.98)
_GAIN = 3.0
_ENCODED = 2_000
_SHOWN = 8
_NAMES = ("traversals", "counterfactuals", "samples", "targets")


def draw_contact_sheet(path: str | Path, data: PairData, rows: int = 12) -> None:
    """Write pairs of images (N, H, W, C) before and after, their difference, and the variable intervened on.

    If targets are known, the rows show every target in turn. Differences are tripled and grey where nothing changed.
    Raises ValueError for data that are not images.
    """
    if not data.is_images:
        raise ValueError(f"x: Expected images (N, H, W, C); got shape {data.x.shape}.")
    some = data.first(_LOOKED_AT)
    chosen = _rows_of_every_target(some, min(rows, len(some)))
    before, after = some.x[chosen], some.x_tilde[chosen]
    images = np.stack([before, after, difference(before, after)], axis=1)
    draw_image_grid(path, images, [_label(some, row) for row in chosen], ["x", "x̃", CHANGE])


def _rows_of_every_target(data: PairData, count: int) -> NDArray[np.int64]:
    """Row numbers (count,) that cycle through the target sets, the pairs of each set in the order of the data."""
    if data.targets is None:
        return np.arange(count)
    _, label = np.unique(data.targets, axis=0, return_inverse=True)
    turn = np.array([np.sum(label[:row] == label[row]) for row in range(len(label))])
    return np.lexsort((label, turn))[:count]


def _label(data: PairData, row: int) -> str:
    if data.targets is None:
        return str(row)
    found = np.flatnonzero(data.targets[row])
    names: list[Any] = json.loads(data.metadata.get("variables", "[]"))
    shown = [str(names[index]) if index < len(names) else f"$z_{{{index}}}$" for index in found]
    return " + ".join(shown) or "none"


Images = NDArray[np.uint8]
CHANGE = f"{_GAIN:g} (x̃ − x)"
"""The heading of a column of results of `difference`."""


def difference(before: Images, after: Images) -> Images:
    """The change, tripled, as images; no change is mid-grey."""
    change = 127.5 + _GAIN * (after.astype(np.float32) - before)
    return np.asarray(np.clip(change, 0, 255).astype(np.uint8))


def draw_image_grid(
    path: str | Path,
    images: Images,
    rows: Sequence[str],
    columns: Sequence[str],
    title: str = "",
    bars: NDArray[np.floating[Any]] | None = None,
    bar_labels: Sequence[str] = (),
) -> None:
    """Write a figure of images (R, C, H, W, 3) with a label for each row and column.

    `bars` (R, K) in [0, 1] are drawn beside each row, labelled once, at the bottom. Raises ValueError for labels of
    another number than rows and columns.
    """
    if images.shape[:2] != (len(rows), len(columns)):
        raise ValueError(f"Expected images (R, C, …) of {len(rows)} rows, {len(columns)} columns; got {images.shape}.")
    count = len(columns) + (bars is not None)
    wide = 1.6 if bars is not None else 0.0
    figure = new_figure(_INCHES * len(columns) + wide + 0.5, _INCHES * len(rows) + 0.7)
    engine = figure.get_layout_engine()
    if engine is not None:
        engine.set(w_pad=0.02, h_pad=0.02)  # type: ignore[call-arg]
    ratios = [1.0] * len(columns) + ([wide / _INCHES] if bars is not None else [])
    axes = figure.subplots(len(rows), count, squeeze=False, width_ratios=ratios)
    for r, row in enumerate(rows):
        for c in range(len(columns)):
            ax = axes[r, c]
            ax.imshow(images[r, c].squeeze(), cmap="gray", vmin=0, vmax=255)
            ax.set(xticks=[], yticks=[])
            ax.spines[:].set_visible(False)
            if r == 0:
                ax.set_title(columns[c], fontsize=8, color=INK)
        axes[r, 0].set_ylabel(row, rotation=0, ha="right", va="center", fontsize=9, color=INK)
        if bars is not None:
            ax = clean(axes[r, -1])
            ax.bar(range(bars.shape[1]), bars[r], color=BLUE)
            ax.set(ylim=(0, 1), yticks=[0, 1], xticks=range(bars.shape[1]), xticklabels=[])
            ax.set_facecolor("white")
            ax.grid(axis="y", color=PALE)
            if r == len(rows) - 1:
                ax.set_xticklabels(bar_labels, fontsize=8)
            if r == 0:
                ax.set_title("p(target | pair)", fontsize=8, color=INK)
    if title:
        figure.suptitle(title, fontsize=10, color=INK)
    save_figure(figure, path)


def draw_traversals(
    path: str | Path, model: ImageModel, image: Images, z: NDArray[np.floating[Any]], act: bool = False, steps: int = 8
) -> None:
    """Write a grid of one image (H, W, C) with one row per variable, which runs through its range.

    Each variable runs from the 2nd to the 98th percentile of z (N, n) in the data. The other variables stay fixed or,
    with `act`, change as effects: the counterfactual under do(z_i = v). Raises NotImplementedError for a model without
    mechanisms.
    """
    import torch

    from lcm.model.do import Do

    low, high = np.quantile(z, _QUANTILES, axis=0)
    base = torch.from_numpy(image[None])
    rows = []
    with torch.no_grad():
        here = model.causal_model().encode(model.autoencoder.encode(base)).z
        for variable in range(model.n):
            values = np.linspace(low[variable], high[variable], steps)
            if act:
                found = [model.counterfactual(base, Do({variable: float(value)})) for value in values]
            else:
                changed = here.repeat(steps, 1)
                changed[:, variable] = torch.from_numpy(values).to(changed)
                found = list(model.decode(changed).split(1))
            rows.append(torch.cat([base, *found]).numpy())
    names = variable_names(model.n)
    labels = [f"do({name}=v)" if act else name for name in names]
    title = (
        "Counterfactuals of one image: each variable set in turn"
        if act
        else "One image, each variable changed on its own"
    )
    columns = ["x", "2 %", *[""] * (steps - 2), "98 %"]
    draw_image_grid(path, np.stack(rows), labels, columns, title)


def draw_sampled_pairs(path: str | Path, x: Images, x_tilde: Images, sampled: Images, sampled_tilde: Images) -> None:
    """Write pairs of the data beside pairs sampled from a model: images (R, H, W, C) each."""
    images = np.stack([x, x_tilde, sampled, sampled_tilde], axis=1)
    columns = ["data: x", "x̃", "model: x", "x̃"]
    draw_image_grid(path, images, [""] * len(x), columns, "Pairs of the data and pairs sampled from the model")


def draw_uncertain_pairs(
    path: str | Path,
    x: Images,
    x_tilde: Images,
    decoded: Images,
    probability: NDArray[np.floating[Any]],
    labels: Sequence[str],
) -> None:
    """Write pairs (R, H, W, C) with the model's reconstruction of x and the posterior (R, K) over target sets."""
    images = np.stack([x, decoded, x_tilde, difference(x, x_tilde)], axis=1)
    title = "Which variable was intervened on: pairs from most to least certain"
    columns = ["x", "x decoded", "x̃", CHANGE]
    draw_image_grid(path, images, [""] * len(x), columns, title, probability, labels)


def draw_image_figures(folder: Path, model: ImageModel, data: PairData, seed: int) -> list[Path]:
    """Draw traversals, counterfactuals, sampled pairs and pairs with their posteriors; returns the files.

    A peer without mechanisms gets only the last figure. `data` are the pairs of the fit.
    """

    some = data.first(_ENCODED)
    encoded = encode_pairs(model, some)
    drawn = []
    if isinstance(model.latent, LatentCausalModel):
        z, image = encoded.z.cpu().numpy(), np.array(some.x[:1])[0]
        draw_traversals(folder / "traversals.png", model, image, z)
        draw_traversals(folder / "counterfactuals.png", model, image, z, act=True)
        device = model.latent.thickness.device
        pairs = model.latent.sample_pairs(_SHOWN, torch.Generator(device).manual_seed(seed))
        sampled = [model.autoencoder.decode(part).cpu().numpy() for part in (pairs.x, pairs.x_tilde)]
        draw_sampled_pairs(folder / "samples.png", some.x[:_SHOWN], some.x_tilde[:_SHOWN], *sampled)
        drawn += [folder / f"{name}.png" for name in _NAMES[:3]]
    _draw_targets(folder / "targets.png", model, some, encoded.posterior.cpu().numpy())
    return [*drawn, folder / "targets.png"]


def _draw_targets(path: Path, model: ImageModel, data: PairData, posterior: Any) -> None:
    """Draw pairs from the most to the least certain, evenly spaced."""

    sure = np.argsort(-posterior.max(1), kind="stable")
    rows = sure[np.linspace(0, len(sure) - 1, min(_SHOWN, len(sure))).astype(np.int64)]
    with torch.no_grad():
        code = model.autoencoder.encode(torch.from_numpy(np.array(data.x[rows])))
        decoded = model.autoencoder.decode(code).numpy()
    sets = model.target_distribution.as_lists()
    labels = ["+".join(f"z{i}" for i in targets) or "∅" for targets in sets]
    draw_uncertain_pairs(path, data.x[rows], data.x_tilde[rows], decoded, posterior[rows], labels)
