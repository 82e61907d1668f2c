"""Calibration: predicted probabilities against frequencies, and stated error rates against those observed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import FixedLocator, NullLocator, PercentFormatter

from lcm.metric.intervention import Reliability
from lcm.report.style import BLUE, GREY, INK, ORANGE, PALE, clean, new_figure, save_figure

_COLORS = (BLUE, ORANGE)
_FEW = 20


def draw_calibration(path: str | Path, rows: Sequence[Mapping[str, Any]], curves: Mapping[str, Reliability]) -> None:
    """Write a figure of false discoveries and power against the stated rate, and of reliability curves.

    Args:
        path: file to write.
        rows: one for each mixing, relation and level, with the keys mixing, relation, level, fdr, power and their
            intervals.
        curves: of the intervention posterior, by mixing; at most two.
    """
    figure = new_figure(11.5, 3.7)
    axes = figure.subplots(1, 3)
    _draw_rates(axes[0], rows, "fdr", "a", "false among those declared")
    levels = sorted({float(row["level"]) for row in rows})
    axes[0].plot([0.0, 1.1 * levels[-1]], [0.0, 1.1 * levels[-1]], color=GREY, linewidth=1.0, linestyle="--", zorder=1)
    _draw_rates(axes[1], rows, "power", "b", "found of those that exist")
    # As far as the rates themselves, or the distance from them would not show.
    axes[0].set_ylim(0.0, max(1.1 * levels[-1], axes[0].get_ylim()[1]))
    axes[1].set_ylim(0.0, 1.0)
    _draw_reliability(axes[2], curves)
    save_figure(figure, path)


def _draw_rates(ax: Axes, rows: Sequence[Mapping[str, Any]], key: str, letter: str, title: str) -> None:
    kinds = list(dict.fromkeys((row["mixing"], row["relation"]) for row in rows))
    mixings = list(dict.fromkeys(mixing for mixing, _ in kinds))
    levels = sorted({float(row["level"]) for row in rows})
    shift = 0.016 * levels[-1]
    for number, (mixing, relation) in enumerate(kinds):
        own = [row for row in rows if (row["mixing"], row["relation"]) == (mixing, relation)]
        values = np.array([[row["level"], row[key], *row[f"{key}_interval"]] for row in own])
        reach = np.abs(values[:, 2:].T - values[:, 1])
        # Beside each other, so that no interval hides another.
        place = values[:, 0] + shift * (number - 0.5 * (len(kinds) - 1))
        ax.errorbar(
            place,
            values[:, 1],
            yerr=reach,
            color=_COLORS[mixings.index(mixing) % 2],
            marker="o" if relation == "edges" else "s",
            markerfacecolor=None if relation == "edges" else "white",
            markersize=4.5,
            linewidth=1.2 if relation == "edges" else 0.8,
            linestyle="-" if relation == "edges" else ":",
            capsize=2.0,
            label=f"{relation}, {mixing} mixing",
        )
    ax.xaxis.set_major_locator(FixedLocator(levels))
    ax.xaxis.set_minor_locator(NullLocator())
    ax.xaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
    ax.yaxis.set_major_formatter(PercentFormatter(1.0))
    ax.set_xlabel("stated false discovery rate q", fontsize=9)
    _name(ax, letter, title)
    clean(ax).grid(axis="y", color=PALE, linewidth=0.6)
    ax.set_ylim(bottom=0.0)
    ax.legend(frameon=False, fontsize=7.5, loc="upper left" if key == "fdr" else "lower right")


def _draw_reliability(ax: Axes, curves: Mapping[str, Reliability]) -> None:
    ax.plot([0.0, 1.0], [0.0, 1.0], color=GREY, linewidth=1.0, linestyle="--", zorder=1)
    for color, (mixing, curve) in zip(_COLORS, curves.items(), strict=False):
        known = curve.number > 0
        count = curve.number[known].astype(np.float64)
        predicted, observed = curve.predicted[known] / count, curve.observed[known] / count
        error = 1.96 * np.sqrt(np.maximum(observed * (1.0 - observed), 1.0 / count) / count)
        ends = np.clip([observed - error, observed + error], 0.0, 1.0)
        faint = np.where(count < _FEW, 0.3, 1.0)
        for place in range(len(count)):
            ax.errorbar(
                predicted[place],
                observed[place],
                yerr=np.abs(ends[:, [place]] - observed[place]),
                color=color,
                alpha=float(faint[place]),
                marker="o",
                markersize=4.5,
                capsize=2.0,
                linewidth=1.0,
            )
        ax.plot(
            predicted,
            observed,
            color=color,
            linewidth=1.2,
            label=f"{mixing} mixing, error {curve.error():.4f}",
            zorder=2,
        )
        for x, y, number in zip(predicted, observed, curve.number[known], strict=True):
            side = -1.0 if color == _COLORS[0] else 1.0
            ax.annotate(
                f"{number:,}", (x, y), (6.0 * -side, 7.0 * side), textcoords="offset points", fontsize=5.5, color=color
            )
    ax.set(xlim=(-0.03, 1.03), ylim=(-0.03, 1.03), aspect="equal")
    ax.set_xlabel("predicted probability of a target set", fontsize=9)
    _name(ax, "c", "how often it comes true")
    clean(ax).legend(frameon=False, fontsize=7.5, loc="upper left")


def _name(ax: Axes, letter: str, title: str) -> None:
    ax.set_title(f"$\\bf{{{letter}}}$  {title}", fontsize=10.5, color=INK, loc="left")
