"""The results of a sweep as a pivot table and a figure: median and range of a score over seeds."""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import Any, final

import numpy as np

from lcm.base.files import existing_file
from lcm.base.json_text import parse_json, read_text
from lcm.base.text import shown
from lcm.report.style import BLUE, GREEN, ORANGE, PALE, PURPLE, RED, SKY, clean, new_figure, save_figure
from lcm.report.tables import Column, summarise, table_cells

_RESULTS = "results.csv"
_SEEDS = ("seed", "data.seed")
_FIRST_SCORE = "n_variables"
_TEXTS = ("cell", "status", "error", "key", "lcm", "data")
_COLOURS = (BLUE, ORANGE, GREEN, RED, PURPLE, SKY)
_MARKERS = "osD^vP"
_WIDTH = 0.6
DEFAULT_SCORES = ("mcc", "dci_disentanglement", "intervention_accuracy", "shd", "edge_f1", "fit_seconds")
"""The scores that are shown by default."""


@final
@dataclass(frozen=True)
class Results:
    """The rows of a table of results, the columns that are settings, and all columns."""

    rows: list[dict[str, Any]]
    settings: tuple[str, ...]
    columns: tuple[str, ...]

    @property
    def finished(self) -> list[dict[str, Any]]:
        """The rows with scores."""
        return [row for row in self.rows if row["status"] == "finished"]

    def require(self, option: str, keys: Sequence[str]) -> None:
        """Raise ValueError, with the name of the option, for a key that is not a column."""
        for key in keys:
            if key not in self.columns:
                raise ValueError(f"{option}: Expected one of {', '.join(self.columns)}; got {key!r}")

    def varied(self) -> list[str]:
        """The settings that differ between finished cells, without seeds; the name of the data if none differs."""
        finished = self.finished
        found = [key for key in self.settings if len({json.dumps(row[key]) for row in finished}) > 1]
        found = [key for key in found if key not in _SEEDS]
        told = any(key.startswith("data.") for key in self.settings)
        return [key for key in found if key != "data" or not told] or ["data"]


@final
@dataclass(frozen=True)
class Pivot:
    """Scores summarised by `lcm.report.tables.summarise`: a row for each combination of `rows`, and columns."""

    rows: tuple[str, ...]
    columns: tuple[Column, ...]
    body: list[dict[str, Any]]

    def cells(self) -> list[list[str]]:
        """The text of the table, headings first."""
        return table_cells(self.body, {key: key for key in self.rows}, self.columns)


def read_results(path: str | Path) -> Results:
    """Read the results.csv in the folder of a sweep, or a file like it.

    Raises:
        ValueError: no such file, one that is not CSV, one without the columns cell, status and n_variables, a column
            twice, or a row of another length than the heading.
    """
    file = Path(path) / _RESULTS if Path(path).is_dir() else Path(path)
    text = read_text(existing_file(file), "CSV")
    try:
        head, *lines = [line for line in csv.reader(StringIO(text, newline=""), strict=True) if line] or [[]]
    except csv.Error as error:
        raise ValueError(f"{file}: Expected CSV; got a table that cannot be read ({error})") from error
    columns = tuple(head)
    missing = [key for key in ("cell", "status", _FIRST_SCORE) if key not in columns]
    if missing:
        raise ValueError(f"{file}: Expected the table of a sweep; got one without the column {missing[0]}")
    twice = [key for index, key in enumerate(head) if key in head[:index]]
    if twice:
        raise ValueError(f"{file}: Expected each column once; got {shown(twice[0])} again")
    for number, line in enumerate(lines, 1):
        if len(line) != len(columns):
            raise ValueError(f"{file}: row {number}: Expected {len(columns)} cells, as in the heading; got {len(line)}")
    rows = [{key: _read(key, cell) for key, cell in zip(columns, line, strict=True)} for line in lines]
    return Results(rows, columns[columns.index("status") + 1 : columns.index(_FIRST_SCORE)], columns)


def pivot(
    records: Sequence[Mapping[str, Any]], rows: Sequence[str], columns: str | None, values: Sequence[str]
) -> Pivot:
    """Summarise scores over the settings that are in neither `rows` nor `columns`, such as seeds.

    Args:
        records: the cells.
        rows: keys whose combinations are the rows.
        columns: the key whose values are the columns; None for one column for each of `values`.
        values: the scores; exactly one with `columns`.

    Raises:
        ValueError: no records, several scores with `columns`, or a score that is not a number.
    """
    if not records:
        raise ValueError("Expected finished cells to show; got none")
    _require_numbers(records, values)
    if columns is None:
        shown = tuple(Column(key, key, _decimals(key, records)) for key in values)
        return Pivot(tuple(rows), shown, summarise(records, rows, values))
    if len(values) != 1:
        raise ValueError(f"--value: Expected one score with --columns; got {len(values)}")
    (value,) = values
    headings = list(dict.fromkeys(f"{columns}={text_of(record[columns])}" for record in records))
    spread = [
        {**{key: record[key] for key in rows}, f"{columns}={text_of(record[columns])}": record[value]}
        for record in records
    ]
    shown = tuple(Column(heading, heading, _decimals(value, records)) for heading in headings)
    return Pivot(tuple(rows), shown, summarise(spread, rows, headings))


def text_of(value: Any) -> str:
    """The text of a setting's value in tables."""
    return "-" if value is None else value if isinstance(value, str) else json.dumps(value)


def _require_numbers(records: Sequence[Mapping[str, Any]], values: Sequence[str]) -> None:
    for key in values:
        wrong = [record[key] for record in records if isinstance(record[key], str | list | dict)]
        if wrong:
            raise ValueError(f"--value: Expected a score that is a number; got {key}, such as {shown(wrong[0])}")


def _decimals(key: str, records: Sequence[Mapping[str, Any]]) -> int:
    if key.endswith("seconds"):
        return 1
    return 0 if all(isinstance(record[key], int | None) for record in records) else 4


def _read(key: str, text: str) -> Any:
    if text == "":
        return None
    if key in _TEXTS:
        return text
    try:
        return parse_json(text, key)
    except ValueError:
        return text


def draw_lines(
    path: str | Path, records: Sequence[Mapping[str, Any]], lines: Sequence[str], against: str, value: str
) -> None:
    """Write a figure of a score: a dot for each cell, lines through the medians.

    Where the setting is a word, no line joins the medians, since nothing lies between two words.

    Args:
        path: file to write.
        records: the cells; cells without the score or the setting are left out.
        lines: keys; each combination of their values is a line.
        against: the setting on the horizontal axis; values that are not all numbers are spaced evenly.
        value: the score, a number.

    Raises:
        ValueError: no cell has the score and the setting.
    """
    known = [record for record in records if record[value] is not None and record[against] is not None]
    if not known:
        raise ValueError(f"Expected cells with {value} and {against} to draw; got none")
    places = _places([record[against] for record in known])
    groups: dict[str, list[tuple[float, float]]] = {}
    for record in known:
        name = ", ".join(text_of(record[key]) for key in lines)
        groups.setdefault(name, []).append((places[text_of(record[against])], float(record[value])))
    words = _are_words([record[against] for record in known])
    figure = new_figure(5.2, 3.4)
    ax = clean(figure.subplots())
    for number, (name, points) in enumerate(groups.items()):
        colour, marker = _COLOURS[number % len(_COLOURS)], _MARKERS[number // len(_COLOURS) % len(_MARKERS)]
        x, y = np.array(points).T
        # side by side, since dots above one word would hide each other
        beside = _WIDTH * ((number + 0.5) / len(groups) - 0.5) if words else 0.0
        at = np.unique(x)
        middle = [np.median(y[x == place]) for place in at]
        style = {"linestyle": "", "markersize": 7} if words else {"linewidth": 1.5, "markersize": 4}
        ax.plot(at + beside, middle, color=colour, marker=marker, label=name, **style)
        ax.scatter(x + beside, y, s=14, color=colour, alpha=0.4, linewidths=0)
    if words or len(places) <= 8:
        ax.set_xticks(list(places.values()), list(places))
    ax.grid(axis="y", color=PALE, linewidth=0.6)
    ax.set_xlabel(against)
    ax.set_ylabel(value)
    if lines:
        ax.legend(title=", ".join(lines), fontsize=8, title_fontsize=8, frameon=False)
    save_figure(figure, path)


def _are_words(values: Sequence[Any]) -> bool:
    return not all(isinstance(value, int | float) and not isinstance(value, bool) for value in values)


def _places(values: Sequence[Any]) -> dict[str, float]:
    """The horizontal position of each value, by its text."""
    if _are_words(values):
        return {text: float(place) for place, text in enumerate(dict.fromkeys(map(text_of, values)))}
    return {text_of(value): float(value) for value in sorted(values)}
