"""Pairs with a value far outside the scale of its column: single ones are left out of fits, whatever their cause."""

from __future__ import annotations

from typing import Any, NamedTuple, final

import numpy as np
from numpy.typing import NDArray

from lcm.base.rows import row_blocks, take_rows

Array = NDArray[np.float64]
_SCALE_ROWS = 2_000
_PERCENTS = (5, 50, 95)
_MOST_SHARE, _TAIL_ROWS = 1e-3, 50
_LEAST_GAP, _CHANCE = 3.0, 1e-6


@final
class ColumnScales(NamedTuple):
    """Median, 5th and 95th percentile, and width of each column of x, each (d,)."""

    centre: Array
    low: Array
    high: Array
    width: Array

    @classmethod
    def of(cls, x: NDArray[Any]) -> ColumnScales:
        """Those of evenly spaced rows of x (N, d)."""
        rows = take_rows(x, np.arange(0, len(x), -(-len(x) // _SCALE_ROWS))).astype(np.float64)
        low, centre, high = np.percentile(rows, _PERCENTS, axis=0)
        width = high - low
        for column in np.flatnonzero(width == 0.0):
            # nine in ten are equal: the width of the others
            others = np.abs(rows[:, column] - centre[column])
            others = others[others > 0.0]
            width[column] = np.median(others) if len(others) else 1.0
        return cls(centre, low, high, width)

    def distances(self, rows: NDArray[Any]) -> Array:
        """How many widths each value (M, d) lies from the median of its column."""
        return np.asarray(np.abs(rows.astype(np.float64) - self.centre) / self.width)


@final
class Outlier(NamedTuple):
    """A value that lies apart from all others of its column: its row, "x" or "x_tilde", its column, and itself."""

    row: int
    observation: str
    column: int
    value: float


def farthest_values(x: NDArray[Any], x_tilde: NDArray[Any], scales: ColumnScales) -> Array:
    """(N,) how far out the farthest value of each pair (N, d) lies, in widths of its column."""
    blocks = row_blocks(x, x_tilde)
    return np.concatenate([np.maximum(*(scales.distances(part).max(1) for part in pair)) for pair in blocks])


def outlying_rows(distances: Array) -> NDArray[np.int64]:
    """The pairs that lie apart: at most one in a thousand, beyond a gap that the tail of the others does not explain.

    In a tail of index α, α m log(d_m / d_{m+1}) of the m-th and the next largest distances is exponential (Rényi). The
    index is Hill's, of the next 50. So heavy tails keep their largest values, and a gap is at least a factor of 3.

    Args:
        distances: (N,), from `farthest_values`.
    """
    most = max(1, int(_MOST_SHARE * len(distances)))
    if len(distances) <= most + _TAIL_ROWS:
        return np.zeros(0, np.int64)
    chosen = np.argpartition(distances, -(most + _TAIL_ROWS + 1))[-(most + _TAIL_ROWS + 1) :]
    order = chosen[np.argsort(-distances[chosen], kind="stable")]
    logarithms = np.log(distances[order].clip(min=np.finfo(np.float64).tiny))
    count = np.arange(1, most + 1)
    following = np.lib.stride_tricks.sliding_window_view(logarithms[1:], _TAIL_ROWS)[:most]
    heaviness = (following - following[:, -1:]).sum(1) / (_TAIL_ROWS - 1)
    gaps = logarithms[:most] - logarithms[1 : most + 1]
    unlikely = gaps * count > -np.log(_CHANCE / most) * heaviness
    found = np.flatnonzero(unlikely & (gaps > np.log(_LEAST_GAP)))
    return np.sort(order[: found[-1] + 1]) if found.size else np.zeros(0, np.int64)


def describe_outlier(x: NDArray[Any], x_tilde: NDArray[Any], row: int, scales: ColumnScales) -> Outlier:
    """The farthest value of the pair in a row."""
    values = np.concatenate([take_rows(part, np.array([row])) for part in (x, x_tilde)])
    side, column = np.unravel_index(int(scales.distances(values).argmax()), values.shape)
    return Outlier(row, ("x", "x_tilde")[side], int(column), float(values[side, column]))
