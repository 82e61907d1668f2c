"""The results of an experiment, as JSON and Markdown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from lcm.base.files import write_json, write_text
from lcm.report.tables import (
    RESULTS_JSON,
    RESULTS_MARKDOWN,
    Column,
    Record,
    summarise,
    table_cells,
    to_markdown,
    to_text,
)


def write_report(
    folder: str | Path,
    title: str,
    records: Sequence[Record],
    by: Mapping[str, str],
    columns: Sequence[Column],
    settings: Record,
) -> str:
    """Write results.json and results.md into `folder`, each whole or not at all; returns the table as plain text.

    Args:
        folder: an existing folder.
        title: the heading.
        records: one for each cell, of values that JSON holds.
        by: the keys that make a row, with their headings.
        columns: what is summarised.
        settings: how the cells were run; part of both files.

    Raises:
        ValueError: a record without a key of `by`, or with values that JSON lacks, NaN among them.
    """
    rows = summarise(records, list(by), [column.key for column in columns])
    table = table_cells(rows, by, columns)
    content = {"title": title, "settings": dict(settings), "summary": rows, "cells": [dict(r) for r in records]}
    write_json(Path(folder) / RESULTS_JSON, content)
    listed = "".join(f"- {key}: {value}\n" for key, value in settings.items())
    note = "Median over the cells, range (min–max) in brackets."
    write_text(Path(folder) / RESULTS_MARKDOWN, f"# {title}\n\n{note}\n\n{to_markdown(table)}\n{listed}")
    return to_text(table)
