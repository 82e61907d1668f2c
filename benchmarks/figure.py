"""Log-log plots of the scalings of a run."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

from benchmarks.record import Record
from benchmarks.row import Row
from benchmarks.table import suites_of
from lcm.report.style import BLUE, GREEN, INK, ORANGE, PALE, PURPLE, RED, SKY, clean, new_figure, save_figure

_COLOURS = (BLUE, ORANGE, GREEN, RED, PURPLE, SKY, INK)
_MARKERS = "osD^vPX"
_WIDE = 18
_WORDS = {"s": "seconds", "steps/s": "steps a second", "× one model": "time, in times that of one model"}


def draw_scalings(record: Record, folder: Path, stem: str) -> list[Path]:
    """Write one figure for each suite that varies something, `stem`-SUITE.png; returns the files."""
    files = []
    for suite in suites_of(record.rows):
        rows = [row for row in record.rows if row.suite == suite and row.at is not None and row.median]
        if len({row.at for row in rows}) > 1:
            files.append(folder / f"{stem}-{suite}.png")
            draw_scaling(rows, files[-1])
    return files


def draw_scaling(rows: Sequence[Row], path: Path) -> None:
    """Write the figure of one suite: a panel for each unit and axis, a line for each figure, its range as a band."""
    panels = list(dict.fromkeys((row.unit, row.axis) for row in rows))
    figure = new_figure(4.4 * len(panels), 3.6)
    first: dict[str, Axes] = {}
    for ax, panel in zip(figure.subplots(1, len(panels), squeeze=False)[0], panels, strict=True):
        if panel[0] in first:
            ax.sharey(first[panel[0]])
        first.setdefault(panel[0], ax)
        _draw_panel(ax, [row for row in rows if (row.unit, row.axis) == panel])
    save_figure(figure, path)


def _draw_panel(ax: Axes, rows: Sequence[Row]) -> None:
    names = list(dict.fromkeys((row.case, row.quantity) for row in rows))
    labels = _labels(names)
    for number, (case, quantity) in enumerate(names):
        line = sorted(
            (row for row in rows if (row.case, row.quantity) == (case, quantity)), key=lambda row: row.at or 0
        )
        at, middle, low, high = np.array([(row.at, row.median, row.min, row.max) for row in line], dtype=float).T
        colour, marker = _COLOURS[number % len(_COLOURS)], _MARKERS[number % len(_MARKERS)]
        ax.plot(at, middle, linewidth=1.4, markersize=4, label=labels[number], color=colour, marker=marker)
        ax.fill_between(at, low, high, color=colour, alpha=0.2, linewidth=0)
    _scale(ax, sorted({row.at for row in rows if row.at is not None}))
    ax.set_xlabel(rows[0].axis or "", fontsize=9)
    ax.set_ylabel(_WORDS.get(rows[0].unit, rows[0].unit), fontsize=9)
    clean(ax).grid(which="major", color=PALE, linewidth=0.6)
    columns = 1 if max(map(len, labels)) > _WIDE else 2
    ax.legend(fontsize=7, frameon=False, loc="lower left", bbox_to_anchor=(0.0, 1.0), ncols=columns)


def _labels(names: Sequence[tuple[str, str]]) -> list[str]:
    """The quantity of each line, with the beginning of its case where quantities alone would be equal."""
    quantities = [quantity for _, quantity in names]
    if len(set(quantities)) == len(names):
        return quantities
    return [f"{quantity}: {case.partition(',')[0]}" for case, quantity in names]


def _scale(ax: Axes, places: Sequence[float]) -> None:
    ax.set_xscale("log")
    ax.set_yscale("log")
    ax.set_xticks(places)
    ax.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    for axis in (ax.xaxis, ax.yaxis):
        axis.set_minor_locator(NullLocator())
        axis.set_major_formatter(FuncFormatter(lambda value, _: _tick(value)))


def _tick(value: float) -> str:
    if value < 1000:
        return f"{value:g}"
    exponent = int(np.floor(np.log10(value)))
    digits = value / 10**exponent
    return f"$10^{{{exponent}}}$" if digits == 1 else f"${digits:g}\\cdot 10^{{{exponent}}}$"
