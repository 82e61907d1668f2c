"""Pairs of image files that a CSV or a JSON index lists, and the checks that both have in common."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

IMAGES, TARGET = ("before", "after"), "target"
MOST_VARIABLES = 1000


class ListedPair(NamedTuple):
    """A pair: its images, and the variable that was intervened on; None without or if unknown."""

    before: Path
    after: Path
    target: int | None


class Listing(NamedTuple):
    """What a file lists.

    Attributes:
        path: of the file.
        unit: what the file calls a pair in errors, "row" or "entry".
        has_targets: whether it says what was intervened on.
        pairs: in the order of the file.
    """

    path: Path
    unit: str
    has_targets: bool
    pairs: Sequence[ListedPair]


def require_inside(folder: Path, image: Path, where: str) -> None:
    """Raise ValueError for a file outside a folder, also by a link: the list may come from a stranger."""
    if not image.resolve().is_relative_to(folder.resolve()):
        raise ValueError(
            f"{where}: Expected a file inside {folder}; got {image} (--allow-outside takes files from anywhere)"
        )


def require_files(listing: Listing) -> None:
    """Raise ValueError for an image that is not there."""
    for number, pair in enumerate(listing.pairs):
        for name, image in zip(IMAGES, (pair.before, pair.after), strict=True):
            if not image.is_file():
                where = f"{listing.path}: {listing.unit} {number}: {name}"
                raise ValueError(f"{where}: Expected an image; got no such file: {image}")


def target_masks(listing: Listing, n: int | None) -> NDArray[np.bool_]:
    """Masks of the targets (N, n); by default n is one more than the largest target.

    Raises:
        ValueError: no target and no n, or a target that is not below n.
    """
    path, unit, _, pairs = listing
    known = [pair.target for pair in pairs if pair.target is not None]
    if not known and n is None:
        raise ValueError(f"{path}: {TARGET}: Expected n, the number of variables, as no {unit} has a target; got none")
    columns = max(known) + 1 if n is None else n
    beyond = next((number for number, pair in enumerate(pairs) if (pair.target or 0) >= columns), None)
    if beyond is not None:
        expected = f"a number below n = {columns}"
        raise ValueError(f"{path}: {unit} {beyond}: {TARGET}: Expected {expected}; got {pairs[beyond].target}")
    numbers = np.array([-1 if pair.target is None else pair.target for pair in pairs])
    return np.asarray(numbers[:, None] == np.arange(columns))
