"""Data that no fit can make sense of, refused before any training: pairs that hardly differ, and single outliers."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from lcm.base.rows import row_blocks, take_rows
from lcm.data.pairs import PairData

_LEAST_DIFFERENT = 10
_SCALE_ROWS = 2_000
_OUTLYING = 1e6
_PERCENTS = (5, 50, 95)


def require_differences(data: PairData) -> None:
    """Raise ValueError if almost no pair differs: a variable is only seen in the pairs in which it was a target."""
    count = sum(
        int((first != second).reshape(len(first), -1).any(1).sum())
        for first, second in row_blocks(data.x, data.x_tilde)
    )
    if count < _LEAST_DIFFERENT:
        got = "x_tilde equal to x in every row" if count == 0 else f"{count} of {len(data)}"
        raise ValueError(f"{_at(data)}x_tilde: Expected pairs that differ, at least {_LEAST_DIFFERENT}; got {got}.")


def require_no_outlier(data: PairData) -> None:
    """Raise ValueError for a value of vectors that is a million times as far out as its column is wide.

    Such a value decides every moment of the data. The message names the row, the column and the value.
    """
    if data.is_images:
        return
    centre, low, high, width = _scales(data.x)
    for name, part in (("x", data.x), ("x_tilde", data.x_tilde)):
        start = 0
        for (block,) in row_blocks(part):
            distance = np.abs(block.astype(np.float64) - centre) / width
            if distance.max() > _OUTLYING:
                row, column = np.unravel_index(int(distance.argmax()), distance.shape)
                named = repr(data.columns[column]) if data.columns else str(column)
                raise ValueError(
                    f"{_at(data)}{name}: row {start + row}, column {named}: Expected values on one scale; got an"
                    f" outlier, {block[row, column]:.3g}, where nine in ten lie from {low[column]:.3g} to"
                    f" {high[column]:.3g} (remove the pair)"
                )
            start += len(block)


def _scales(x: NDArray[Any]) -> tuple[NDArray[np.float64], ...]:
    """Median, 5th and 95th percentile, and width of each column (d,), of evenly spaced rows."""
    rows = take_rows(x, np.arange(0, len(x), -(-len(x) // _SCALE_ROWS))).astype(np.float64)
    low, centre, high = np.percentile(rows, _PERCENTS, axis=0)
    width = high - low
    for column in np.flatnonzero(width == 0.0):
        # nine in ten are equal: the width of the others
        others = np.abs(rows[:, column] - centre[column])
        others = others[others > 0.0]
        width[column] = np.median(others) if len(others) else 1.0
    return centre, low, high, width


def _at(data: PairData) -> str:
    return f"{data.source}: " if data.source else ""
