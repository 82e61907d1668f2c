"""What columns of x tell of how they were measured: codes of missing values, clipped sensors, few levels, noise."""

from __future__ import annotations

from typing import Any, NamedTuple, final

import numpy as np
from numpy.typing import NDArray

from lcm.base.ranks import column_ranks
from lcm.base.rows import take_rows

_ROWS = 20_000
_RELATED_ROWS = 5_000
_LEAST_LEVELS = 20
_CODE_ROWS, _CODE_GAP = 3, 3.0
_CLIPPED_SHARE = 5e-3
_REPEATED = 0.5
_CHANGES, _UNRELATED, _CHANCE = 0.99, 0.05, 4.0
_DIRECTIONS, _MOST_CHANCE = 20, 0.05


@final
class MissingCode(NamedTuple):
    """A value that stands for a missing one: its column, the value, its first row and how many rows of x hold it.

    low, high: 5th and 95th percentile of the other values."""

    column: int
    value: float
    row: int
    n_rows: int
    low: float
    high: float


@final
class ColumnSigns(NamedTuple):
    """What columns (0-based) tell of how they were measured.

    clipped: for each column that is likely clipped, its extreme value and the share of rows at it, in [0, 1].
    few_levels: columns of at most 20 values.
    rounded: for each other column of values that repeat on an even grid, its step, and that over the standard
        deviation of the column.
    """

    clipped: tuple[tuple[int, float, float], ...]
    few_levels: tuple[int, ...]
    rounded: tuple[tuple[int, float, float], ...] = ()


def column_signs(x: NDArray[Any]) -> ColumnSigns:
    """Read the signs from up to 20,000 evenly spaced rows of x (N, d).

    A column of over 20 values is likely clipped if at least 0.5 % of rows hold its largest or smallest one, which is
    over 20 times as many as hold its values in the median. It is rounded if it has at most half as many values as rows,
    all whole steps apart.
    """
    clipped, few, rounded = [], [], []
    for column, (values, counts) in enumerate(_levels(_spaced(x, _ROWS))):
        if len(values) <= _LEAST_LEVELS:
            # of so few rows, nothing can be told
            few += [column] if counts.sum() > _LEAST_LEVELS else []
            continue
        usual = np.median(counts)
        for end in (0, -1):
            share = counts[end] / counts.sum()
            if share >= _CLIPPED_SHARE and counts[end] > _LEAST_LEVELS * usual:
                clipped.append((column, float(values[end]), float(share)))
        step = _step(values) if len(values) <= _REPEATED * counts.sum() else 0.0
        if step > 0.0:
            spread = np.sqrt(np.cov(values, fweights=counts))
            rounded.append((column, step, float(step / spread)))
    return ColumnSigns(tuple(clipped), tuple(few), tuple(rounded))


def _step(values: NDArray[Any]) -> float:
    """The step of the even grid on which all values (K,), ascending, lie but for their own precision; 0 without one."""
    exact = values.astype(np.float64)
    step = float(np.diff(exact).min())
    error = 4.0 * float(np.abs(exact).max()) * float(np.finfo(values.dtype).eps if values.dtype.kind == "f" else 0.0)
    if not step > 10.0 * error:
        return 0.0
    # the smallest gap is one step, as far as the precision of values tells; the whole range tells it better
    count = round((exact[-1] - exact[0]) / step)
    step = (exact[-1] - exact[0]) / count
    away = np.abs((exact - exact[0]) / step - np.round((exact - exact[0]) / step)) * step
    return step if float(away.max()) <= 2.0 * error + 1e-9 * step else 0.0


def missing_code(x: NDArray[Any]) -> MissingCode | None:
    """A value such as −999 that at least three rows of x (N, d) hold and that lies far outside the others.

    Far is three widths of the others, from their 5th to their 95th percentile. The others have over 20 values.
    """
    for column, (values, counts) in enumerate(_levels(_spaced(x, _ROWS))):
        for end, others in ((0, slice(1, None)), (-1, slice(None, -1))):
            rest = values[others]
            if counts[end] < _CODE_ROWS or len(rest) <= _LEAST_LEVELS:
                continue
            low, high = np.quantile(np.repeat(rest, counts[others]), (0.05, 0.95))
            if np.abs(values[end] - rest[0 if end == 0 else -1]) > _CODE_GAP * (high - low):
                rows = np.flatnonzero(np.asarray(x[:, column]) == values[end])
                return MissingCode(column, float(values[end]), int(rows[0]), len(rows), float(low), float(high))
    return None


def unrelated_columns(x: NDArray[Any], x_tilde: NDArray[Any]) -> NDArray[np.bool_]:
    """Columns (d,) that carry nothing of the variables: they change in every pair, and x̃ has nothing of x.

    Of a column that is a function of the variables, the pairs that leave it still keep x and x̃ rank-correlated. Where
    they are not, x̃ there must also have nothing of the leading directions of all of x, as far as the rows can tell.
    None is unrelated where all are: then pairs are not counterfactual.
    """
    before, after = (_spaced(part, _RELATED_ROWS) for part in (x, x_tilde))
    changes = (before != after).mean(0) > _CHANGES
    found = np.zeros(x.shape[1], np.bool_)
    if not changes.any():
        return found
    ranks = [column_ranks(part[:, changes]) for part in (before, after)]
    first, second = ((part - part.mean(0)) / part.std(0).clip(min=np.finfo(np.float64).tiny) for part in ranks)
    related = np.abs((first * second).mean(0))
    found[changes] = related < max(_UNRELATED, _CHANCE / np.sqrt(len(before)))
    if found.any() and not found.all():
        found[found] = _nothing_of(before, after[:, found])
    return np.zeros_like(found) if found.all() else found


def index_columns(x: NDArray[Any], x_tilde: NDArray[Any]) -> tuple[int, ...]:
    """Columns of vectors that look like an index: distinct whole numbers that x̃ repeats in every pair."""
    # the first rows rule out nearly all
    few, few_tilde = x[:_ROWS], x_tilde[:_ROWS]
    likely = np.flatnonzero(((few == few_tilde) & (few == np.round(few))).all(axis=0)).tolist()
    return tuple(column for column in likely if len(x) > 1 and _counts(x[:, column], x_tilde[:, column]))


def _counts(before: NDArray[Any], after: NDArray[Any]) -> bool:
    """Whether a column (N,) has another whole number in each row, and the same one in x̃."""
    whole = bool(((before == after) & (before == np.round(before))).all())
    return whole and len(np.unique(before)) == len(before)


def _nothing_of(before: NDArray[Any], after: NDArray[Any]) -> NDArray[np.bool_]:
    """Whether columns of x̃ (M, k) have nothing of the leading directions of x (M, d), by a regression of ranks."""
    x, y = (column_ranks(part) for part in (before, after))
    x, y = ((part - part.mean(0)) / part.std(0).clip(min=np.finfo(np.float64).tiny) for part in (x, y))
    directions = np.linalg.svd(x, full_matrices=False)[0][:, :_DIRECTIONS]
    explained = np.square(directions.T @ y).sum(0) / len(y)
    chance = (directions.shape[1] + _CHANCE * np.sqrt(2.0 * directions.shape[1])) / len(y)
    return np.asarray((explained < chance) & (chance < _MOST_CHANCE))


def _spaced(x: NDArray[Any], rows: int) -> NDArray[Any]:
    return take_rows(x, np.arange(0, len(x), -(-len(x) // rows)))


def _levels(rows: NDArray[Any]) -> list[tuple[NDArray[Any], NDArray[np.int64]]]:
    """The values of each column of (M, d), ascending, and how many rows hold each."""
    return [np.unique(column, return_counts=True) for column in np.ascontiguousarray(rows.T)]
