"""Data that no fit can make sense of, refused before any training: pairs that hardly differ, and single outliers."""

from __future__ import annotations

from lcm.base.rows import row_blocks
from lcm.data.measurement import missing_code
from lcm.data.outliers import describe_outlier
from lcm.data.pairs import PairData

_LEAST_DIFFERENT = 10
_PAIRS_PER_TARGET_SET = 50
_OUTLYING = 1e6


def require_differences(data: PairData) -> None:
    """Raise ValueError if almost no pair differs: a variable is only seen in the pairs in which it was a target."""
    count = sum(
        int((first != second).reshape(len(first), -1).any(1).sum())
        for first, second in row_blocks(data.x, data.x_tilde)
    )
    if count < _LEAST_DIFFERENT:
        got = "x_tilde equal to x in every row" if count == 0 else f"{count} of {len(data)}"
        raise ValueError(
            f"{_at(data, 'x_tilde')}x_tilde: Expected pairs that differ, at least {_LEAST_DIFFERENT}; got {got}."
        )


def require_enough_pairs(data: PairData, n: int) -> None:
    """Raise ValueError if there are fewer than 50 (n + 1) pairs to fit `n` variables."""
    needed = _PAIRS_PER_TARGET_SET * (n + 1)
    if len(data) < needed:
        raise ValueError(f"{_at(data)}x: Expected at least {needed} pairs, 50 (n + 1) for n = {n}; got {len(data)}")


def require_enough_dimensions(data: PairData, n: int) -> None:
    """Raise ValueError if observations have fewer than `n` dimensions."""
    if data.n_dimensions < n:
        raise ValueError(f"{_at(data)}x: Expected at least n = {n} dimensions; got {data.n_dimensions}")


def require_no_outlier(data: PairData) -> None:
    """Raise ValueError for a value of vectors that is a million times as far out as its column is wide.

    Outliers that are left out of fits do not count. The message names the row, the column and the value.
    """
    if data.is_images:
        return
    distances = data.farthest_values.copy()
    distances[[outlier.row for outlier in data.outliers]] = 0.0
    if distances.max() <= _OUTLYING:
        return
    row, part, column, value = describe_outlier(data.x, data.x_tilde, int(distances.argmax()), data.scales)
    low, high = data.scales.low[column], data.scales.high[column]
    raise ValueError(
        f"{_at(data, part)}{part}: row {row}, column {data.column_name(column)}: Expected values on one scale; got an"
        f" outlier, {value:.3g}, where nine in ten lie from {low:.3g} to {high:.3g} (remove the pair)"
    )


def require_measured(data: PairData) -> None:
    """Raise ValueError for vectors that hold a code for missing values, such as −999; it names the first row."""
    if data.is_images:
        return
    for name, part in (("x", data.x), ("x_tilde", data.x_tilde)):
        code = missing_code(part)
        if code is not None:
            raise ValueError(
                f"{_at(data, name)}{name}: column {data.column_name(code.column)}: Expected measured values; got"
                f" {code.value:.6g} in {code.n_rows} rows, first in row {code.row}, far outside the others, of which"
                f" nine in ten lie from {code.low:.3g} to {code.high:.3g} (if it stands for no value, remove the pairs)"
            )


def _at(data: PairData, part: str = "x") -> str:
    source = data.after if part == "x_tilde" and data.after else data.source
    return f"{source}: " if source else ""
