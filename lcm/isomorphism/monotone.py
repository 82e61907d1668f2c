"""Monotone curves through two columns of numbers: the h_i of an isomorphism, by least squares in closed form."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.interpolate import PchipInterpolator
from scipy.optimize import nnls

from lcm.elementwise import KnotMap
from lcm.metric.matching import unit_columns

Array = NDArray[np.float64]

_LEVELS = np.concatenate([[0.0, 1e-3, 5e-3, 0.02], np.linspace(0.05, 0.95, 25), [0.98, 0.995, 0.999, 1.0]])
_ROWS_FOR_TAILS = 2_000
_ROWS_PER_KNOT = 10
_LEAST_GAP = 1e-6
_LEAST_RISE = 1e-5


def fit_monotone(source: Array, target: Array) -> KnotMap:
    """The monotone maps h_i of least squares from source_i to target_i, as a float64 map of n variables.

    Each is a spline with knots at quantiles of its source, of the orientation of the rank correlation.

    Args:
        source, target: (N, n), finite; column i of the one belongs to column i of the other.
    """
    ranks = [np.argsort(np.argsort(table, axis=0), axis=0).astype(np.float64) for table in (source, target)]
    agreement = (unit_columns(ranks[0]) * unit_columns(ranks[1])).sum(0)
    orientation = np.where(agreement < 0, -1.0, 1.0)
    tables = np.stack([_one_curve(x, y) for x, y in zip(source.T, (target * orientation).T, strict=True)])
    return KnotMap(len(tables), tables.shape[-1], torch.from_numpy(orientation), torch.from_numpy(tables)).double()


def piecewise_linear(values: Array, knots: Array) -> Array:
    """The shares (N, K − 1) of each interval between K knots that lie below the values (N,): a basis of polygons."""
    shares: Array = np.clip((values[:, None] - knots[:-1]) / np.diff(knots), 0.0, 1.0)
    return shares


def knots_of(values: Array) -> Array:
    """K increasing knots at quantiles of the values (N,), apart even where these are tied; fewer for few values."""
    few = int(np.clip(len(values) // _ROWS_PER_KNOT, 4, len(_LEVELS)))
    knots = np.quantile(values, _LEVELS if len(values) >= _ROWS_FOR_TAILS else np.linspace(0.0, 1.0, few))
    gap = _LEAST_GAP * max(np.abs(knots).max(), values.std(), 1e-300)
    return knots + gap * np.arange(len(knots))


def _one_curve(x: Array, y: Array) -> Array:
    """Knots, values there and slopes (3, K) of the increasing curve from x to y (N,)."""
    knots = knots_of(x)
    basis = piecewise_linear(x, knots)
    # a constant gets a map that hardly rises
    scale = max(y.std(), 1e-6 * np.abs(y).max(), 1e-300)
    # rises of polygons are non-negative least squares; the centred columns leave the constant free
    triangle: Array = np.linalg.qr(np.column_stack([basis - basis.mean(0), (y - y.mean()) / scale])).R
    rises = nnls(triangle[:, :-1], triangle[:, -1])[0]
    rises = np.maximum(rises, _LEAST_RISE * np.diff(knots) / max(knots[-1] - knots[0], 1e-300)) * scale
    start = y.mean() - basis.mean(0) @ rises
    values = start + np.concatenate([[0.0], np.cumsum(rises)])
    slopes = PchipInterpolator(knots, values)(knots, 1)
    return np.stack([knots, values, np.maximum(slopes, 1e-3 * (rises / np.diff(knots)).min())])
