"""False discoveries of linear natures against the number of pairs: realised over stated rate, null p-values, power."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from lcm.report.style import BLUE, GREY, INK, ORANGE, PALE, clean, new_figure, save_figure

_COLORS = {"graph": BLUE, "nothing negligible": ORANGE, "one stage": GREY}
_AT_MOST = "0.05"
Row = Mapping[str, Any]


def draw_false_discoveries(path: str | Path, rates: Sequence[Row], nulls: Sequence[Row]) -> None:
    """Write a figure of linear natures, against the number of pairs.

    a: the realised false discovery rate over the stated one; from a third to the whole is shaded. b: how often p-values
    of edges between unrelated variables are at most 0.05, over 0.05. c: the power. With intervals over natures.

    Args:
        path: file to write.
        rates, nulls: of `experiments._false_discoveries_report`.
    """
    figure = new_figure(11.5, 3.7)
    axes = figure.subplots(1, 3)
    own = [row for row in rates if row["kind"] == "linear" and row["by"] == "pairs"]
    _draw_rates(axes[0], [row for row in own if row["rule"] != "one stage"])
    _draw_nulls(axes[1], [row for row in nulls if row["kind"] == "linear" and row["pairs"] != "all"])
    _draw_power(axes[2], [row for row in own if row["level"] == min(each["level"] for each in own)])
    pairs = sorted({int(row["value"]) for row in own})
    for ax in axes:
        ax.set_xscale("log")
        ax.xaxis.set_major_locator(FixedLocator(pairs))
        ax.xaxis.set_minor_locator(NullLocator())
        ax.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
        ax.set_xlabel("pairs", fontsize=9, color=INK)
        ax.set_ylim(bottom=0.0)
        clean(ax).grid(axis="y", color=PALE, linewidth=0.6)
        ax.legend(frameon=False, fontsize=7.5)
    save_figure(figure, path)


def _draw_rates(ax: Axes, rows: Sequence[Row]) -> None:
    ax.axhspan(1.0 / 3.0, 1.0, color=PALE, alpha=0.6, linewidth=0.0, zorder=0, label="from q/3 to q")
    for rule in dict.fromkeys(row["rule"] for row in rows):
        for level, style in zip(sorted({row["level"] for row in rows}), ("-", "--"), strict=False):
            found = [row for row in rows if (row["rule"], row["level"]) == (rule, level)]
            scaled = [np.array([row["fdr"], *row["fdr_interval"]]) / level for row in found]
            _line(ax, found, scaled, rule, style, f"{rule}, q = {level:g}")
    ax.set_ylabel("realised rate over q", fontsize=9, color=INK)
    ax.set_title("a  false discoveries", loc="left", fontsize=10)


def _draw_nulls(ax: Axes, rows: Sequence[Row]) -> None:
    ax.axhline(1.0, color=GREY, linewidth=1.0, linestyle=":", label="exact")
    for rule in dict.fromkeys(row["rule"] for row in rows):
        found = [row for row in rows if row["rule"] == rule and row["relation"] == "unrelated"]
        ax.plot(
            [row["pairs"] for row in found], [row[_AT_MOST] for row in found], "o-", color=_COLORS[rule], label=rule
        )
    ax.set_ylabel(f"share of p-values at most {_AT_MOST}, over {_AT_MOST}", fontsize=9, color=INK)
    ax.set_title("b  no edge, unrelated variables", loc="left", fontsize=10)


def _draw_power(ax: Axes, rows: Sequence[Row]) -> None:
    for rule in dict.fromkeys(row["rule"] for row in rows):
        found = [row for row in rows if row["rule"] == rule]
        _line(ax, found, [np.array([row["power"], *row["power_interval"]]) for row in found], rule, "-", rule)
    ax.set_ylabel(f"edges found, q = {rows[0]['level']:g}", fontsize=9, color=INK)
    ax.set_title("c  power", loc="left", fontsize=10)


def _line(ax: Axes, rows: Sequence[Row], values: Sequence[np.ndarray], rule: str, style: str, label: str) -> None:
    """Values with their intervals, (estimate, low, high) each; rules beside each other, so that none hides another."""
    place = np.array([row["value"] for row in rows]) * 1.06 ** list(_COLORS).index(rule)
    middle, low, high = np.array(values).T
    reach = [np.maximum(middle - low, 0.0), np.maximum(high - middle, 0.0)]
    settings = {"marker": "o", "markersize": 4.0, "linewidth": 1.2, "capsize": 2.0}
    ax.errorbar(place, middle, yerr=reach, color=_COLORS[rule], linestyle=style, label=label, **settings)  # type: ignore[arg-type]
