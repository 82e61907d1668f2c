"""Savings of the plan: further pairs against those with equal shares, and the ratio by kind of nature."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import FixedLocator, NullLocator, ScalarFormatter

from lcm.report.style import BLUE, GREEN, GREY, INK, ORANGE, PALE, clean, new_figure, save_figure

_COLORS = {"even": GREEN, "uneven": BLUE, "rare": ORANGE}
_AIM = 0.7


def draw_savings(path: str | Path, rows: Sequence[Mapping[str, Any]], groups: Sequence[Mapping[str, Any]]) -> None:
    """Write a figure: each nature's further pairs by the plan against equal shares, and the ratio of every group.

    Args:
        path: file to write.
        rows: natures, as `experiments._plan_report.row` gives them.
        groups: as `experiments._plan_report.grouped` gives them.
    """
    figure = new_figure(9.4, 3.9)
    left, right = figure.subplots(1, 2, width_ratios=(1.0, 1.1))
    _draw_natures(left, [row for row in rows if row["uniform"] > 0])
    _draw_groups(right, [group for group in groups if group["over uniform"] is not None])
    save_figure(figure, path)


def _draw_natures(ax: Axes, rows: Sequence[Mapping[str, Any]]) -> None:
    ends = [max(1.0, float(row[arm])) for row in rows for arm in ("plan", "uniform")] or [1.0, 10.0]
    line = np.array([0.7 * min(ends), 1.4 * max(ends)])
    ax.plot(line, line, color=GREY, linewidth=1.0)
    ax.plot(line, _AIM * line, color=GREY, linewidth=1.0, linestyle=":")
    for kind, color in _COLORS.items():
        for edges, marker in (("weak", "o"), ("strong", "s")):
            own = [row for row in rows if (row["pilot"], row["edges"]) == (kind, edges)]
            points = np.array([[row["uniform"], max(1, row["plan"])] for row in own]).reshape(-1, 2)
            ax.plot(*points.T, marker, color=color, markersize=5.5, alpha=0.8, label=f"{kind} pilot, {edges} edges")
    ax.set(xscale="log", yscale="log", xlim=line, ylim=line)
    ax.set_xlabel("further pairs with equal shares", fontsize=9, color=INK)
    ax.set_ylabel("further pairs by the plan", fontsize=9, color=INK)
    ax.set_title("$\\bf{a}$  one point a nature; dotted: 0.7", fontsize=10, color=INK, loc="left")
    clean(ax).legend(frameon=False, fontsize=7, loc="upper left")


def _draw_groups(ax: Axes, groups: Sequence[Mapping[str, Any]]) -> None:
    places = np.arange(len(groups))
    for place, group in zip(places, groups, strict=True):
        ax.plot(group["over uniform interval"], [place, place], color=INK, linewidth=1.3)
        ax.plot(group["over uniform"], place, "o", color=BLUE, markersize=6)
    ax.axvline(1.0, color=GREY, linewidth=1.0)
    ax.axvline(_AIM, color=GREY, linewidth=1.0, linestyle=":")
    ax.set_xscale("log")
    ax.xaxis.set_major_locator(FixedLocator([0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 1.0, 1.2, 1.5, 2.0]))
    ax.xaxis.set_minor_locator(NullLocator())
    ax.xaxis.set_major_formatter(ScalarFormatter())
    ax.set_yticks(places, [f"{group['natures of']} ({group['natures'] - group['by the pilot']})" for group in groups])
    ax.set_ylim(len(groups) - 0.5, -0.5)
    ax.set_xlabel("further pairs, plan over equal shares", fontsize=9, color=INK)
    ax.set_title("$\\bf{b}$  geometric mean with 95 % interval", fontsize=10, color=INK, loc="left")
    clean(ax).grid(axis="x", color=PALE, linewidth=0.6)
