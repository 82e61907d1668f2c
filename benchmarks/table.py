"""The tables of a run, for a terminal and in Markdown."""

from __future__ import annotations

from collections.abc import Iterable

from benchmarks.record import Record
from benchmarks.row import Row
from lcm.report.tables import to_markdown, to_text

HEADINGS = ["case", "figure", "median", "min–max", "unit", "repeats", "note"]


def shown(value: float | None) -> str:
    """A number to three significant digits, without an exponent where it is large; "–" for none."""
    if value is None:
        return "–"
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def row_cells(row: Row) -> list[str]:
    """The texts of one row under `HEADINGS`."""
    span = "–" if row.median is None else f"{shown(row.min)}–{shown(row.max)}"
    case = row.case if row.at is None else f"{row.case}, {row.axis} = {row.at:,g}"
    return [case, row.quantity, shown(row.median), span, row.unit, str(row.repeats), row.note]


def suites_of(rows: Iterable[Row]) -> list[str]:
    """The suites of some rows, in the order in which they first appear."""
    return list(dict.fromkeys(row.suite for row in rows))


def table_text(rows: Iterable[Row]) -> str:
    """Rows for a terminal."""
    return to_text([HEADINGS, *map(row_cells, rows)])


def markdown(record: Record) -> str:
    """Everything in a run: what it was made on and with, and a table for each suite."""
    parts = [_header(record)]
    for suite in suites_of(record.rows):
        rows = [row_cells(row) for row in record.rows if row.suite == suite]
        parts.append(f"### {suite}\n\n{to_markdown([HEADINGS, *rows])}")
    return "\n".join(parts)


def _header(record: Record) -> str:
    header = record.header
    memory = header["machine"]["memory_bytes"]
    gibibytes = "unknown memory" if memory is None else f"{memory / 2**30:.0f} GiB of memory"
    listed = {
        "machine": "{processor}, {cores} cores, {system}".format(**header["machine"]) + f", {gibibytes}",
        "threads": header["machine"]["threads"],
        "versions": ", ".join(f"{name} {version}" for name, version in header["versions"].items()),
        "commit": header["commit"] or "unknown",
        "date": header["date"],
        "seeds": ", ".join(f"{name} {seed}" for name, seed in header["seeds"].items()),
        "sizes": "quick" if header["settings"]["quick"] else "full",
        "repeats": f"{header['settings']['repeats']}, after one that is not counted",
        "load when it began": header.get("load", "unknown"),
        "duration": f"{sum(record.seconds.values()) / 60:.1f} minutes",
        "processor time": f"{sum(record.cpu_seconds.values()) / 60:.1f} minutes",
    }
    return "".join(f"- {key}: {value}\n" for key, value in listed.items())
