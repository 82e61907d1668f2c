"""Pairs of small images that need no simulator: a patch of some brightness, and a spot that moves."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from lcm.data.pairs import PairData

SIZE = 16


def drawn(z: NDArray[np.floating]) -> NDArray[np.uint8]:
    """Images (N, 16, 16, 3) of brightness and place, both in (0, 1): z (N, 2)."""
    rows, columns = np.mgrid[0:SIZE, 0:SIZE]
    patch = np.exp(-((rows - 3.5) ** 2 + (columns - 7.5) ** 2) / 12.0)
    place = 2.0 + 11.0 * z[:, 1, None, None]
    spot = np.exp(-((rows - 11.5) ** 2 + (columns - place) ** 2) / 5.0)
    levels = np.stack([z[:, 0, None, None] * patch, spot, 0.3 * (patch + spot)], -1)
    return np.round(220.0 * np.clip(levels, 0, 1)).astype(np.uint8)


def image_pairs(count: int, seed: int = 0) -> PairData:
    """Pairs of images with their truth: the place z_1 is a cause of the brightness z_0; targets are none, 0 or 1."""
    generator = np.random.default_rng(seed)
    noise, fresh = generator.standard_normal((2, count, 2))
    label = generator.integers(0, 3, count)
    targets = label[:, None] == np.arange(1, 3)

    def solve(imposed: NDArray[np.floating], where: NDArray[np.bool_]) -> NDArray[np.floating]:
        place = np.where(where[:, 1], imposed[:, 1], noise[:, 1])
        brightness = np.where(where[:, 0], imposed[:, 0], 1.5 * np.tanh(place) + 0.7 * noise[:, 0])
        return 1.0 / (1.0 + np.exp(-1.2 * np.stack([brightness, place], 1)))

    z, z_tilde = solve(fresh, np.zeros_like(targets)), solve(fresh, targets)
    adjacency = np.array([[0, 0], [1, 0]], dtype=np.uint8)
    return PairData.from_arrays(drawn(z), drawn(z_tilde), z=z, z_tilde=z_tilde, targets=targets, adjacency=adjacency)
