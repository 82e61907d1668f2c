"""Growth exponents: how the time of a job grows with what a suite varies."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.special import stdtrit

from benchmarks.row import Row

UNIT = "exponent"
_LEAST_POINTS = 3


def with_exponents(rows: Sequence[Row]) -> list[Row]:
    """The rows that were measured, and one more for each time that was measured at three or more values of an axis."""
    measured = [row for row in rows if row.unit != UNIT]
    lines: dict[tuple[str, str, str, str | None], list[Row]] = {}
    for row in measured:
        if row.at is not None and row.median and (row.unit == "s" or row.unit.endswith("/s")):
            lines.setdefault((row.suite, row.case, row.quantity, row.axis), []).append(row)
    return measured + [_exponent(line) for line in lines.values() if len({row.at for row in line}) >= _LEAST_POINTS]


def _exponent(line: Sequence[Row]) -> Row:
    """The slope of log time against the logarithm of the axis, by least squares, with its 95 % interval."""
    first, last = (edge(line, key=_place) for edge in (min, max))
    at = np.log([_place(row) for row in line])
    time = np.log([row.median for row in line if row.median]) * (1.0 if first.unit == "s" else -1.0)
    centred = at - at.mean()
    slope = float(centred @ time / (centred @ centred))
    left = time - time.mean() - slope * centred
    freedom = len(line) - 2
    reach = float(stdtrit(freedom, 0.975) * np.sqrt(left @ left / freedom / (centred @ centred)))
    quantity = f"{first.quantity}: growth of time with {first.axis}"
    note = f"{first.axis} from {_place(first):,g} to {_place(last):,g}; range: 95 % interval of a straight line"
    return Row(first.suite, first.case, quantity, UNIT, slope, slope - reach, slope + reach, len(line), note=note)


def _place(row: Row) -> float:
    assert row.at is not None
    return row.at
