"""A figure of the scores of many fits against a number, such as the number of variables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from lcm.report.style import BLUE, LINES, PALE, clean, new_figure, save_figure

_PERFECT_SPAN = 0.02


def draw_scores(
    path: str | Path,
    records: Sequence[Mapping[str, Any]],
    against: str,
    panels: Mapping[str, str],
    shares: Sequence[str] = (),
    by: str | None = None,
    logarithmic: Sequence[str] = (),
    label: str | None = None,
) -> None:
    """Write a figure of scores against a number: a dot for each record, a line through the medians.

    Args:
        path: file to write.
        records: one for each fit; null scores are left out.
        against: the key on the horizontal axis, a number.
        panels: the keys of the scores, one panel each, with their titles.
        shares: the scores whose best value is 1; their axis ends there and begins at 0.98 or below.
        by: a key of the records; each of its values has a line and a colour.
        logarithmic: keys with a logarithmic axis, `against` or panels.
        label: label of the horizontal axis; by default its key.

    Raises:
        ValueError: no records, or no panels.
    """
    if not records or not panels:
        raise ValueError(f"Expected one or more records and panels; got {len(records)} and {len(panels)}.")
    names = [""] if by is None else list(dict.fromkeys(str(record[by]) for record in records))
    figure = new_figure(2.7 * len(panels), 2.9 if by is None else 3.4)
    axes = figure.subplots(1, len(panels), squeeze=False)[0]
    for ax, (key, title) in zip(axes, panels.items(), strict=True):
        known = [record for record in records if record.get(key) is not None]
        for index, name in enumerate(names):
            own = [record for record in known if by is None or str(record[by]) == name]
            points = np.array([(record[against], record[key]) for record in own], dtype=np.float64).reshape(-1, 2)
            _draw_line(ax, points, BLUE if by is None else LINES[index % len(LINES)], name)
        clean(ax).grid(axis="y", color=PALE, linewidth=0.6)
        ax.set_title(title, fontsize=10)
        ax.set_xlabel(label or against)
        _set_horizontal(ax, [record[against] for record in known], against in logarithmic)
        _set_vertical(ax, [record[key] for record in known], key in shares, key in logarithmic)
    if by is not None:
        figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=4, frameon=False)
    save_figure(figure, path)


def _draw_line(ax: Axes, points: NDArray[np.float64], color: str, name: str) -> None:
    places = np.unique(points[:, 0])
    medians = [np.median(points[points[:, 0] == place, 1]) for place in places]
    ax.plot(places, medians, color=color, linewidth=1.5, zorder=2, label=name)
    ax.scatter(points[:, 0], points[:, 1], s=22, color=color, alpha=0.45, linewidths=0, zorder=3)


def _set_horizontal(ax: Axes, places: Sequence[float], logarithmic: bool) -> None:
    if logarithmic:
        ax.set_xscale("log")
    else:
        whole = all(float(place).is_integer() for place in places)
        ax.xaxis.set_major_locator(MaxNLocator("auto", integer=whole, min_n_ticks=1))


def _set_vertical(ax: Axes, values: Sequence[float], share: bool, logarithmic: bool) -> None:
    if logarithmic:
        ax.set_yscale("log")
    elif share:
        _limit_to_one(ax, values)
    else:
        ax.set_ylim(0.0, max(1.0, ax.get_ylim()[1]))


def _limit_to_one(ax: Axes, values: Sequence[float]) -> None:
    span = max(1.0 - min(values, default=1.0), _PERFECT_SPAN)
    ax.set_ylim(1.0 - 1.08 * span, 1.0 + 0.08 * span)
