"""Where the variables and the arrows of a drawn graph lie: on a circle, causes first, clockwise from the left."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from lcm.model.graph import Graph

Points = NDArray[np.float64]


def circle(truth: NDArray[np.bool_], order: Sequence[int] | None) -> tuple[Points, float]:
    """Positions (n, 2) on the unit circle, clockwise from the left in the given order; the nodes' radius."""
    n = len(truth)
    if order is None:
        order = _causes_first(truth)
    if n == 1:
        return np.zeros((1, 2)), 0.22
    angle = np.pi - 2.0 * np.pi * np.arange(n) / n
    points = np.empty((n, 2))
    points[list(order)] = np.column_stack([np.cos(angle), np.sin(angle)])
    return points, float(min(0.2, 0.5 * np.sin(np.pi / n)))


def _causes_first(adjacency: NDArray[np.bool_]) -> Sequence[int]:
    try:
        return Graph(adjacency).order()
    except ValueError:
        # a learned graph with a cycle has no order
        return range(len(adjacency))


def curves_of(points: Points, edges: NDArray[np.int64]) -> Points:
    """Quadratic Bézier curves (m, 3, 2) of the edges (m, 2).

    From five variables on, they bend towards the centre to avoid the nodes between their ends. The two arrows of a
    2-cycle bend apart.
    """
    start, end = points[edges[:, 0]], points[edges[:, 1]]
    control = 0.5 * (start + end) * (0.6 if len(points) > 4 else 1.0)
    left = np.column_stack([start[:, 1] - end[:, 1], end[:, 0] - start[:, 0]])
    listed = set(map(tuple, edges.tolist()))
    both_ways = np.array([(target, source) in listed for source, target in edges.tolist()], dtype=np.bool_)
    return np.stack([start, control + 0.15 * both_ways[:, None] * left, end], axis=1)


def along(curve: Points, times: NDArray[np.float64]) -> Points:
    """Points (k, 2) of one Bézier curve (3, 2) at times in [0, 1]."""
    weights = np.column_stack([np.square(1.0 - times), 2.0 * times * (1.0 - times), np.square(times)])
    positions: Points = weights @ curve
    return positions


def _between(curve: Points, first: float, last: float) -> Points:
    """The piece (3, 2) of a Bézier curve between two times."""
    blossom = [(1 - first) * (1 - last), first * (1 - last) + last * (1 - first), first * last]
    start, end = along(curve, np.array([first, last]))
    return np.stack([start, np.array(blossom) @ curve, end])


def trimmed(curve: Points, start: float, end: float) -> Points:
    """The piece (3, 2) of a Bézier curve that is farther than `start` from its first and `end` from its last point."""
    times = np.linspace(0.0, 1.0, 401)
    positions = along(curve, times)
    first = times[np.argmax(np.linalg.norm(positions - curve[0], axis=1) > start)]
    last = times[::-1][np.argmax(np.linalg.norm(positions[::-1] - curve[2], axis=1) > end)]
    return _between(curve, float(first), float(last))


def label_spots(curves: Points, named: NDArray[np.int64]) -> Points:
    """A place (m, 2) on each of m `named` curves of (k, 3, 2), far from the other curves and places."""
    times = np.linspace(0.0, 1.0, 51)
    middle = slice(14, 37)
    tracks = np.stack([along(curve, times) for curve in curves]) if len(curves) else np.empty((0, 51, 2))
    placed = np.empty((0, 2))
    for index in named:
        spots = tracks[index, middle]
        room = np.minimum(0.4, _distance(spots, np.delete(tracks, index, axis=0)))
        room = np.minimum(room, _distance(spots, placed) - 0.15)
        # of equally free spots, the one nearest to the middle
        spot = spots[np.argmax(room - 0.25 * np.abs(times[middle] - 0.5))]
        placed = np.vstack([placed, spot])
    return placed


def _distance(spots: Points, others: Points) -> NDArray[np.float64]:
    """Distance of each spot (k, 2) to the nearest of the others (…, 2), infinite where there are none."""
    apart = np.linalg.norm(spots[:, None] - others.reshape(-1, 2), axis=2)
    least: NDArray[np.float64] = apart.min(axis=1, initial=np.inf)
    return least
