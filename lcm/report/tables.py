"""Result tables: the records of an experiment's cells, summarised over seeds, as JSON, Markdown and plain text."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any, final

Record = Mapping[str, Any]

RESULTS_JSON, RESULTS_MARKDOWN = "results.json", "results.md"


@final
@dataclass(frozen=True)
class Column:
    """A column of a table: the key of a record, its heading, and the decimals that are shown.

    Attributes:
        key: numbers, booleans, or null for a cell without a value.
        heading: shown above the column.
        decimals: 0 for counts.
    """

    key: str
    heading: str
    decimals: int = 4


def summarise(records: Sequence[Record], by: Sequence[str], keys: Sequence[str]) -> list[dict[str, Any]]:
    """One row for each combination of the keys `by`, in the order in which it first appears.

    A row holds the values of `by`, "cells" (how many records it summarises) and, for every one of `keys`,
    {"median", "min", "max"} of its numbers, {"true", "of"} of its booleans, or None where no record has a value.

    Raises:
        ValueError: a record lacks a key of `by`.
    """
    groups: dict[str, list[Record]] = {}
    for record in records:
        missing = [key for key in by if key not in record]
        if missing:
            raise ValueError(f"Expected records with the keys {', '.join(by)}; got one without {missing[0]}.")
        # as text, since a setting may be a list
        groups.setdefault(json.dumps([record[key] for key in by], default=str), []).append(record)
    return [
        {
            **{key: members[0][key] for key in by},
            "cells": len(members),
            **{key: _summary([member.get(key) for member in members]) for key in keys},
        }
        for members in groups.values()
    ]


def _summary(values: Sequence[Any]) -> dict[str, float | int] | None:
    known = [value for value in values if value is not None]
    if not known:
        return None
    if all(isinstance(value, bool) for value in known):
        return {"true": sum(known), "of": len(known)}
    return {"median": median(known), "min": min(known), "max": max(known)}


def table_cells(rows: Sequence[Record], by: Mapping[str, str], columns: Sequence[Column]) -> list[list[str]]:
    """The text of a table, the headings first: the keys `by` with their headings, the cells, then `columns`.

    Numbers are "median (min–max)", or the number alone where all are equal; booleans are "3 of 5"; no value is "–".
    """
    head = [*by.values(), "cells", *(column.heading for column in columns)]
    body = [
        [
            *(str(row[key]) for key in by),
            str(row["cells"]),
            *(_shown(row[column.key], column.decimals) for column in columns),
        ]
        for row in rows
    ]
    return [head, *body]


def _shown(summary: Mapping[str, float] | None, decimals: int) -> str:
    if summary is None:
        return "–"
    if "of" in summary:
        return f"{summary['true']} of {summary['of']}"
    middle, low, high = (_number(summary[key], decimals) for key in ("median", "min", "max"))
    return middle if low == high else f"{middle} ({low}–{high})"


def _number(value: float, decimals: int) -> str:
    # the median of an even number of counts may lie halfway between two
    half = decimals == 0 and not float(value).is_integer()
    return f"{value:.{1 if half else decimals}f}"


def to_markdown(table: Sequence[Sequence[str]]) -> str:
    """A table of texts, headings first, in Markdown, numbers to the right."""
    head, *body = table
    rule = ["---:" if right else ":---" for right in _numeric(table)]
    return "".join(f"| {' | '.join(line)} |\n" for line in [list(head), rule, *map(list, body)])


def to_text(table: Sequence[Sequence[str]]) -> str:
    """A table of texts, headings first, for a terminal: aligned columns, numbers to the right, no frame."""
    widths, numeric = [max(map(len, column)) for column in zip(*table, strict=True)], _numeric(table)
    lines = [
        "  ".join(
            text.rjust(width) if right else text.ljust(width)
            for text, width, right in zip(line, widths, numeric, strict=True)
        )
        for line in table
    ]
    return "".join(f"{line.rstrip()}\n" for line in lines)


def _numeric(table: Sequence[Sequence[str]]) -> list[bool]:
    """Whether a column holds numbers, or nothing, below its heading."""
    columns = zip(*table[1:], strict=True)
    numeric = [all(text[:1] in "0123456789-–" for text in column) for column in columns]
    return numeric or [True] * len(table[0])
