"""Monotone maps between two tables of the same rows: fitted to normal scores, and as fine as the rows allow.

A monotone map of a variable keeps its ranks. Between normal scores it is therefore the identity, however strongly it
bends the variable itself; what is fitted there is only what is left of noise.
"""

from __future__ import annotations

import numpy as np
import torch
from scipy.interpolate import PchipInterpolator
from scipy.optimize import nnls
from scipy.special import ndtr, ndtri

from lcm.base.ranks import column_ranks
from lcm.isomorphism.matching import FloatArray, unit_columns
from lcm.model.elementwise import KnotMap

_ROWS_FOR_TAILS = 2_000
_ROWS_PER_KNOT = 10
_LEAST_GAP = 1e-6
_LEAST_RISE = 1e-5
_LEVELS = np.concatenate([[0.0, 1e-3, 5e-3, 0.02], np.linspace(0.05, 0.95, 25), [0.98, 0.995, 0.999, 1.0]])
_SCORES = np.linspace(-5.0, 5.0, 401)
_ROUNDING = 1e-13


def fit_monotone(source: FloatArray, target: FloatArray) -> KnotMap:
    """Least-squares monotone maps h_i from source_i to target_i, as a float64 map of n variables.

    Each is a spline with knots at quantiles of its source. It rises or falls as the rank correlation does.

    Args:
        source, target: (N, n), finite; column i of `source` is mapped to column i of `target`.
    """
    ranks = [column_ranks(table) for table in (source, target)]
    agreement = (unit_columns(ranks[0]) * unit_columns(ranks[1])).sum(0)
    orientation = np.where(agreement < 0, -1.0, 1.0)
    tables = np.stack([_one_curve(x, y) for x, y in zip(source.T, (target * orientation).T, strict=True)])
    return KnotMap(len(tables), tables.shape[-1], torch.from_numpy(orientation), torch.from_numpy(tables)).double()


def mapped(elementwise: KnotMap, values: FloatArray) -> FloatArray:
    """Values (N, n) under a map, without gradients."""
    images: FloatArray = elementwise(torch.from_numpy(values))[0].numpy()
    return images


def piecewise_linear(values: FloatArray, knots: FloatArray) -> FloatArray:
    """A piecewise-linear basis (N, K − 1): the share of each interval of K knots that lies below the values (N,)."""
    shares: FloatArray = np.clip((values[:, None] - knots[:-1]) / np.diff(knots), 0.0, 1.0)
    return shares


def knots_of(values: FloatArray) -> FloatArray:
    """K strictly increasing knots at quantiles of the values (N,), also for tied values; fewer for few values."""
    few = int(np.clip(len(values) // _ROWS_PER_KNOT, 4, len(_LEVELS)))
    knots = np.quantile(values, _LEVELS if len(values) >= _ROWS_FOR_TAILS else np.linspace(0.0, 1.0, few))
    gap = _LEAST_GAP * max(np.abs(knots).max(), values.std(), 1e-100)
    return knots + gap * np.arange(len(knots))


def _one_curve(x: FloatArray, y: FloatArray) -> FloatArray:
    """Knots, values there and slopes (3, K) of the increasing curve from x to y (N,)."""
    knots = knots_of(x)
    basis = piecewise_linear(x, knots)
    # a constant target gets a map that hardly rises
    scale = max(y.std(), 1e-6 * np.abs(y).max(), 1e-100)
    # rises of polygons are non-negative least squares; the centred columns leave the constant free
    triangle: FloatArray = np.linalg.qr(np.column_stack([basis - basis.mean(0), (y - y.mean()) / scale])).R
    rises = nnls(triangle[:, :-1], triangle[:, -1])[0]
    rises = np.maximum(rises, _LEAST_RISE * np.diff(knots) / max(knots[-1] - knots[0], 1e-300)) * scale
    start = y.mean() - basis.mean(0) @ rises
    values = start + np.concatenate([[0.0], np.cumsum(rises)])
    return _knots_with_slopes(knots, values)


def normal_scores(table: FloatArray) -> FloatArray:
    """Standard-normal quantiles (N, n) of the ranks in each column; ties share their average rank."""
    scores: FloatArray = ndtri((column_ranks(table) - 0.5) / len(table))
    return scores


def scores_among(values: FloatArray, table: FloatArray) -> FloatArray:
    """Normal scores (N, n) of values among the rows of a table (M, n), between its least and greatest row."""
    scores = ndtri((np.arange(len(table)) + 0.5) / len(table))
    columns = zip(values.T, np.sort(table, axis=0).T, strict=True)
    return np.column_stack([np.interp(column, ordered, scores) for column, ordered in columns])


def quantile_map(source: FloatArray, target: FloatArray, between_scores: KnotMap) -> KnotMap:
    """The maps h_i from source_i to target_i (N, n) that `between_scores` is in normal scores; float64.

    Its knots are order statistics of the source, 0.025 of a normal score apart at most where there are so many rows.
    """
    count = len(source)
    rows = np.unique(np.rint(ndtr(_SCORES) * (count - 1)).astype(np.int64))
    scores = np.repeat(ndtri((rows + 0.5) / count)[:, None], source.shape[1], axis=1)
    orientation = between_scores.orientation.numpy()
    reached = ndtr(mapped(between_scores, scores) * orientation) * count - 0.5
    positions = np.sort(source, axis=0)[rows]
    ordered = np.sort(target * orientation, axis=0)
    values = np.column_stack([np.interp(r, np.arange(count), y) for r, y in zip(reached.T, ordered.T, strict=True)])
    return map_through(positions, values * orientation)


def map_through(positions: FloatArray, values: FloatArray) -> KnotMap:
    """The monotone map through K given points (K, n) of each variable, of either orientation; float64."""
    falling = positions[-1] < positions[0]
    positions, values = (np.where(falling, table[::-1], table) for table in (positions, values))
    orientation = np.where(values[-1] < values[0], -1.0, 1.0)
    columns = zip(positions.T, (values * orientation).T, strict=True)
    tables = np.stack([_knots_with_slopes(_increasing(x), _increasing(y)) for x, y in columns])
    return KnotMap(len(tables), tables.shape[-1], torch.from_numpy(orientation), torch.from_numpy(tables)).double()


def _increasing(values: FloatArray) -> FloatArray:
    """Values (K,) moved by a rounding error where they do not increase."""
    gap = _ROUNDING * max(np.abs(values).max(), 1e-100)
    increasing: FloatArray = np.maximum.accumulate(values) + gap * np.arange(len(values))
    return increasing


def _knots_with_slopes(positions: FloatArray, values: FloatArray) -> FloatArray:
    """Knots, values there and slopes (3, K) of an increasing curve through K points."""
    rises = np.diff(values) / np.diff(positions)
    slopes = PchipInterpolator(positions, values)(positions, 1)
    return np.stack([positions, values, np.maximum(slopes, 1e-3 * rises.min())])
