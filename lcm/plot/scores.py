"""Scores of many fits against one number that differs between them, such as the number of variables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from lcm.plot.style import BLUE, PALE, clean, new_figure, save_figure

_PERFECT_SPAN = 0.02


def draw_scores(
    path: str | Path,
    records: Sequence[Mapping[str, Any]],
    against: str,
    panels: Mapping[str, str],
    shares: Sequence[str] = (),
) -> None:
    """Write a figure of scores against a number: a dot for each record, a line through the medians.

    Args:
        path: file to write.
        records: one for each fit; null scores are left out.
        against: the key on the horizontal axis, a number.
        panels: the keys of the scores, one panel each, with their titles.
        shares: those of them of which 1 is perfect; their axis ends there, and begins at 0.98 or below.

    Raises:
        ValueError: no records, or no panels.
    """
    if not records or not panels:
        raise ValueError(f"Expected one or more records and panels; got {len(records)} and {len(panels)}.")
    figure = new_figure(2.7 * len(panels), 2.9)
    axes = figure.subplots(1, len(panels), squeeze=False)[0]
    for ax, (key, title) in zip(axes, panels.items(), strict=True):
        known = [(record[against], record[key]) for record in records if record.get(key) is not None]
        _draw_panel(ax, np.array(known, dtype=np.float64).reshape(-1, 2))
        clean(ax).grid(axis="y", color=PALE, linewidth=0.6)
        ax.set_title(title, fontsize=10)
        ax.set_xlabel(against)
        ax.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
        if key in shares:
            _limit_to_one(ax, [value for _, value in known])
        else:
            ax.set_ylim(0.0, max(1.0, ax.get_ylim()[1]))
    save_figure(figure, path)


def _draw_panel(ax: Axes, points: NDArray[np.float64]) -> None:
    places = np.unique(points[:, 0])
    medians = [np.median(points[points[:, 0] == place, 1]) for place in places]
    ax.plot(places, medians, color=BLUE, linewidth=1.5, zorder=2)
    ax.scatter(points[:, 0], points[:, 1], s=22, color=BLUE, alpha=0.45, linewidths=0, zorder=3)


def _limit_to_one(ax: Axes, values: Sequence[float]) -> None:
    span = max(1.0 - min(values, default=1.0), _PERFECT_SPAN)
    ax.set_ylim(1.0 - 1.08 * span, 1.0 + 0.08 * span)
