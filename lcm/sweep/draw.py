"""A figure of a sweep: one score against one setting, a line for each combination of others."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from lcm.plot.style import BLUE, GREEN, ORANGE, PALE, PURPLE, RED, SKY, clean, new_figure, save_figure
from lcm.sweep.table import text_of

_COLOURS = (BLUE, ORANGE, GREEN, RED, PURPLE, SKY)
_MARKERS = "osD^vP"


def draw_lines(
    path: str | Path, records: Sequence[Mapping[str, Any]], lines: Sequence[str], against: str, value: str
) -> None:
    """Write a figure of a score: a dot for each cell, lines through the medians.

    Args:
        path: file to write.
        records: the cells; those without the score or the setting are left out.
        lines: keys whose combinations are the lines.
        against: the setting on the horizontal axis; values that are not all numbers stand side by side.
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
    figure = new_figure(5.2, 3.4)
    ax = clean(figure.subplots())
    for number, (name, points) in enumerate(groups.items()):
        colour, marker = _COLOURS[number % len(_COLOURS)], _MARKERS[number // len(_COLOURS) % len(_MARKERS)]
        x, y = np.array(points).T
        middle = [np.median(y[x == place]) for place in np.unique(x)]
        ax.plot(np.unique(x), middle, color=colour, marker=marker, markersize=4, linewidth=1.5, label=name)
        ax.scatter(x, y, s=14, color=colour, alpha=0.4, linewidths=0)
    if _are_words([record[against] for record in known]) or len(places) <= 8:
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
    """Where each value stands, by its text."""
    if _are_words(values):
        return {text: float(place) for place, text in enumerate(dict.fromkeys(map(text_of, values)))}
    return {text_of(value): float(value) for value in sorted(values)}
