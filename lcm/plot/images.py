"""Pairs of images side by side: before, after, and what changed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lcm.data.pairs import PairData
from lcm.plot.image_grid import CHANGE, difference, draw_image_grid

_LOOKED_AT = 2_000


def draw_contact_sheet(path: str | Path, data: PairData, rows: int = 12) -> None:
    """Write pairs of images (N, H, W, C) before and after, their difference, and the variable intervened on.

    The rows show every target in turn, where targets are known; differences are tripled, grey where nothing changed.
    Raises ValueError for data that are no images.
    """
    if not data.is_images:
        raise ValueError(f"x: Expected images (N, H, W, C); got shape {data.x.shape}.")
    some = data.first(_LOOKED_AT)
    chosen = _rows_of_every_target(some, min(rows, len(some)))
    before, after = some.x[chosen], some.x_tilde[chosen]
    images = np.stack([before, after, difference(before, after)], axis=1)
    draw_image_grid(path, images, [_label(some, row) for row in chosen], ["x", "x̃", CHANGE])


def _rows_of_every_target(data: PairData, count: int) -> NDArray[np.int64]:
    """Row numbers (count,) that go round the target sets, the pairs of each in the order of the data."""
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
