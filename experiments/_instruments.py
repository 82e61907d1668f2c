"""Instruments: settings in (0, 1) that causal variables drive, and what their sensors read, in SI units.

Each reads more columns than it has settings, and the columns lie on a curved sheet.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import final

import numpy as np
from numpy.typing import NDArray

Values = NDArray[np.float64]


@final
@dataclass(frozen=True)
class Instrument:
    """`read` takes settings (N, n) in (0, 1) to readings (N, d). Different settings give different readings."""

    n: int
    read: Callable[[Values], Values]


def arm(settings: Values) -> Values:
    """Planar arm of three links: x and y of five markers, in m; settings are its joint angles."""
    lengths, ranges, middles = (1.0, 0.8, 0.6), (2.4, 2.0, 1.8), (0.6, 0.5, 0.3)
    angles = np.cumsum((settings - 0.5) * ranges + middles, axis=1)
    links = np.stack([np.cos(angles), np.sin(angles)], 2) * np.array(lengths)[:, None]
    ends = np.cumsum(links, axis=1)
    halfway = ends - 0.5 * links
    return np.concatenate([ends, halfway[:, :2]], 1).reshape(len(settings), -1)


def photodiodes(settings: Values) -> Values:
    """Irradiance of 16 photodiodes on a square of 2 m by 2 m, in W/m²; settings are the place of a lamp of 4π W."""
    side = np.linspace(-1.0, 1.0, 4)
    grid = np.stack(np.meshgrid(side, side, indexing="ij"), 2).reshape(-1, 2)
    place, height = 1.2 * (settings[:, :2] - 0.5), 0.7 + 0.8 * settings[:, 2:]
    squares = np.square(place[:, None] - grid).sum(2) + np.square(height)
    return height / squares**1.5


def tanks(settings: Values) -> Values:
    """Levels of two tanks in a row at six times, in m; settings: inflow, both outlets, level of the first at first."""
    inflow, first_level = 0.5 + settings[:, 0], 0.5 + 1.5 * settings[:, 3]
    outlets = np.stack([0.3 + 0.5 * settings[:, 1], 0.2 + 0.4 * settings[:, 2]], 1)
    levels, step, readings = np.stack([first_level, np.full(len(settings), 0.3)], 1), 0.02, []
    for index in range(1, 601):
        flow = outlets * np.sqrt(np.maximum(levels, 0.0))
        levels = levels + step * np.stack([inflow - flow[:, 0], flow[:, 0] - flow[:, 1]], 1)
        if index % 100 == 0:
            readings.append(levels)
    return np.concatenate(readings, 1)


def polarisers(settings: Values) -> Values:
    """Three lamps, two polarisers, nine sensors: six photocurrents in A, the lamps' current in A, both angles in rad.

    The last two photodiodes are behind both polarisers, of which Malus's law passes cos² of the angle between them.
    """
    lamps, angles = settings[:, :3], np.radians(80.0) * settings[:, 3:] + np.radians([0.0, 95.0])
    response = np.array([[0.90, 0.35, 0.25], [0.50, 1.10, 0.75]])
    one, parallel, crossed = np.array([0.29, 0.30, 0.31]), np.array([0.20, 0.22, 0.18]), np.array([0.03, 0.005, 0.02])
    passed = np.square(np.cos(angles[:, :1] - angles[:, 1:]))
    behind = lamps * (passed * (parallel - crossed) + crossed)
    light = [lamps, 0.25 * one * lamps, 0.11 * behind]
    photocurrents = np.concatenate([each @ response.T for each in light], 1)
    return np.concatenate([photocurrents, 0.3 + lamps @ np.array([[0.31], [0.28], [0.23]]), angles], 1)


INSTRUMENTS: dict[str, Instrument] = {
    "arm": Instrument(3, arm),
    "photodiodes": Instrument(3, photodiodes),
    "tanks": Instrument(4, tanks),
    "polarisers": Instrument(5, polarisers),
}
