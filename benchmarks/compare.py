"""Two runs side by side: the ratio of every figure, and whether the difference stands out of the spread."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

from benchmarks.record import Record, read_record
from benchmarks.row import Row
from benchmarks.table import row_cells, shown
from lcm.report.tables import to_text

_MACHINE = ("processor", "cores", "memory_bytes", "system", "threads")
_HEADINGS = ["suite", "case", "figure", "unit", "A", "B", "B / A", "from–to", "verdict"]


@final
@dataclass(frozen=True)
class Ratio:
    """One figure of two runs.

    Attributes:
        a, b: the rows.
        value: of the medians, B / A; None where one is missing or A is zero.
        low, high: the least and greatest ratio of any repeat of B to any of A; None likewise.
    """

    a: Row
    b: Row
    value: float | None
    low: float | None
    high: float | None

    @property
    def verdict(self) -> str:
        """Which run is better, or "differs"; "overlap" where the ranges of the repeats meet.

        "no spread" where a figure was taken once only, so that nothing says what a difference means; "–" without both.
        """
        a, b = self.a, self.b
        if a.min is None or a.max is None or b.min is None or b.max is None:
            return "–"
        if min(a.repeats, b.repeats) < 2:
            return "no spread"
        if a.min <= b.max and b.min <= a.max:
            return "overlap"
        if not a.better:
            return "differs"
        return "B better" if (b.min > a.max) == (a.better == "higher") else "B worse"


def compare_files(first: Path, second: Path, any_machine: bool = False) -> str:
    """The table of ratios of two runs, with what only one of them holds.

    Raises:
        ValueError: a file that is no run, runs of different machines or threads unless `any_machine`, or runs
            without a figure in common.
    """
    a, b = read_record(first), read_record(second)
    if not any_machine:
        _require_same_machine(a.header["machine"], b.header["machine"])
    ratios = compare_records(a, b)
    if not ratios:
        raise ValueError(f"Expected runs with figures in common; got none in {first} and {second}.")
    lines = [to_text([_HEADINGS, *map(_cells, ratios)])]
    for name, one, other in (("A", a, b), ("B", b, a)):
        keys = {row.key for row in other.rows}
        alone = [row for row in one.rows if row.key not in keys]
        if alone:
            lines.append(
                f"only in {name}: " + ", ".join(dict.fromkeys(f"{row.suite} ({row.case})" for row in alone)) + "\n"
            )
    return "".join(lines)


def compare_records(a: Record, b: Record) -> list[Ratio]:
    """The ratio of every figure that both runs hold, in the order of the first."""
    found = {row.key: row for row in b.rows}
    return [ratio(row, found[row.key]) for row in a.rows if row.key in found]


def ratio(a: Row, b: Row) -> Ratio:
    """The ratio of one figure."""
    if a.median and b.median is not None and a.min and a.max and b.min is not None and b.max is not None:
        return Ratio(a, b, b.median / a.median, b.min / a.max, b.max / a.min)
    return Ratio(a, b, None, None, None)


def _require_same_machine(a: Mapping[str, Any], b: Mapping[str, Any]) -> None:
    for key in _MACHINE:
        if a.get(key) != b.get(key):
            raise ValueError(
                f"{key}: Expected runs of one machine and number of threads; got {a.get(key)} and {b.get(key)}. "
                "--any-machine compares them all the same."
            )


def _cells(found: Ratio) -> list[str]:
    a, b = found.a, found.b
    span = "–" if found.low is None else f"{shown(found.low)}–{shown(found.high)}"
    case, quantity, *_ = row_cells(a)
    return [a.suite, case, quantity, a.unit, shown(a.median), shown(b.median), shown(found.value), span, found.verdict]
