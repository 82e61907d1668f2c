"""Tables of the summary that an experiment writes: rows of medians and ranges, and shares of what is true.

    summary FILE KEYS SCORES [KEY=VALUE ...]      a row for each row of the summary
    pivot FILE ROW COLUMN SCORE [KEY=VALUE ...]   one score, for each value of two keys

FILE is a folder of results/ or a JSON file in it. KEYS and SCORES are separated by commas; a score is a key of the
summary with the number of its decimals, such as mcc:3. KEY=VALUE,VALUE keeps the rows of these values.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lcm.base.files import read_json
from lcm.report.tables import to_markdown

HEADINGS = {
    "mcc": "MCC",
    "z_mcc": "MCC",
    "dci_disentanglement": "DCI-D",
    "intervention_accuracy": "accuracy",
    "shd": "SHD",
    "edge_f1": "edge F1",
    "graph_isomorphic": "graph isomorphic",
    "fit_seconds": "fit time (s)",
    "cells": "fits",
    "vae-supervised-interventions": "supervised",
}
"""Headings of keys and of values that become columns; others are headings as they are, with spaces."""


def summary(root: Path, options: Sequence[str]) -> str:
    """A row for each row of the summary, with its keys and scores."""
    file, keys, scores, *wanted = options
    rows = summary_rows(root, file, wanted)
    names, chosen = keys.split(","), [_score(text) for text in scores.split(",")]
    head = [heading(name) for name in (*names, *(key for key, _ in chosen))]
    told = [[_key(row[name]) for name in names] for row in rows]
    scored = [[median_text(row.get(key), digits) for key, digits in chosen] for row in rows]
    body = [[*first, *second] for first, second in zip(told, scored, strict=True)]
    return to_markdown([head, *body])


def pivot(root: Path, options: Sequence[str]) -> str:
    """One score, a row for each value of one key and a column for each value of another."""
    file, down, across, score, *wanted = options
    rows, (key, digits) = summary_rows(root, file, wanted), _score(score)
    columns = list(dict.fromkeys(row[across] for row in rows))
    found = {(row[down], row[across]): median_text(row.get(key), digits) for row in rows}
    body = [
        [_key(name), *(found.get((name, column), "–") for column in columns)]
        for name in dict.fromkeys(row[down] for row in rows)
    ]
    return to_markdown([[heading(down), *(heading(str(column)) for column in columns)], *body])


def summary_rows(root: Path, file: str, wanted: Sequence[str] = ()) -> list[dict[str, Any]]:
    """The rows of the summary in a folder or file of results/, of these values. Raises ValueError if there are none."""
    path = root / "results" / file
    rows = read_json(path / "results.json" if path.is_dir() else path)["summary"]
    for text in wanted:
        key, _, values = text.partition("=")
        rows = [row for row in rows if str(row[key]) in values.split(",")]
    if not rows:
        raise ValueError(f"Expected rows of results/{file} with {' '.join(wanted)}; got none")
    return list(rows)


def _score(text: str) -> tuple[str, int]:
    key, _, digits = text.partition(":")
    return key, int(digits or 0)


def heading(key: str) -> str:
    """The heading of a column of this key or value."""
    return HEADINGS.get(key, key.replace("_", " "))


def _key(value: Any) -> str:
    return HEADINGS.get(str(value), str(value))


def median_text(value: Any, digits: int) -> str:
    """A median with its range, if the range shows at these decimals; "3 of 5" for a share; – for nothing."""
    if value is None:
        return "–"
    if not isinstance(value, dict):
        return f"{value:.{digits}f}" if isinstance(value, float) else str(value)
    if "of" in value:
        return f"{value['true']} of {value['of']}"
    middle, low, high = (f"{value[key]:.{digits}f}" for key in ("median", "min", "max"))
    return middle if low == high else f"{middle} ({low}–{high})"
