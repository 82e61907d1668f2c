"""The figure of `unpaired`: MCC and SHD against observations, a column for each kind of nature and each n."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from lcm.report.style import BLUE, GREEN, GREY, INK, ORANGE, PALE, RED, SKY, clean, new_figure, save_figure

_STYLES = {
    "linear": (BLUE, "o", "paired: linear"),
    "flow": (SKY, "s", "paired: flow"),
    "score, normal": (RED, "^", "unpaired: score, normal"),
    "score, waves": (ORANGE, "v", "unpaired: score, waves"),
    "contrastive": (GREEN, "D", "unpaired: contrastive"),
}
_SCORES = {"mcc": "MCC", "shd": "SHD"}
_APART = 1.09


def draw_unpaired(path: str | Path, records: Sequence[Mapping[str, Any]]) -> None:
    """Write the figure: medians over seeds with their range.

    Args:
        path: file to write.
        records: cells with kind, n, observations, method, mcc and shd; at least one.
    """
    panels = list(dict.fromkeys((record["kind"], record["n"]) for record in records))
    figure = new_figure(2.6 * len(panels) + 0.6, 5.0)
    axes = figure.subplots(2, len(panels), squeeze=False, sharex=True)
    for column, (kind, n) in enumerate(panels):
        own = [record for record in records if (record["kind"], record["n"]) == (kind, n)]
        for row, score in enumerate(_SCORES):
            _draw(axes[row, column], own, score)
        axes[0, column].set_title(f"{kind}, n = {n}", fontsize=9, color=INK)
        axes[1, column].set_xlabel("observations", fontsize=9, color=INK)
    for row, name in enumerate(_SCORES.values()):
        axes[row, 0].set_ylabel(name, fontsize=9, color=INK)
    shown = [style for method, style in _STYLES.items() if any(record["method"] == method for record in records)]
    handles = [Line2D([], [], color=color, marker=marker, markersize=5, label=label) for color, marker, label in shown]
    figure.legend(handles=handles, loc="outside lower center", ncols=len(handles), frameon=False, fontsize=8)
    save_figure(figure, path)


def _draw(ax: Axes, records: Sequence[Mapping[str, Any]], score: str) -> None:
    methods = [method for method in _STYLES if any(record["method"] == method for record in records)]
    for place, method in enumerate(methods):
        color, marker, _ = _STYLES[method]
        known = [each for each in records if each["method"] == method and each[score] is not None]
        sizes = sorted({each["observations"] for each in known})
        values = [[each[score] for each in known if each["observations"] == size] for size in sizes]
        # side by side, so that ranges do not cover each other
        at = np.array(sizes, dtype=np.float64) * _APART ** (place - (len(methods) - 1) / 2)
        ax.vlines(at, [min(each) for each in values], [max(each) for each in values], color=color, linewidth=1.0)
        ax.plot(at, [np.median(each) for each in values], color=color, marker=marker, markersize=4.5, linewidth=1.2)
    ax.set_xscale("log")
    if score == "mcc":
        ax.axhline(1.0, color=GREY, linewidth=0.6)
        ax.set_ylim(0.45, 1.03)
    else:
        ax.set_ylim(-0.4, None)
    clean(ax).grid(axis="y", color=PALE, linewidth=0.6)
