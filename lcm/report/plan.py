"""Figure of a plan: what further pairs are expected to decide, and the recommended targets beside those so far."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, MaxNLocator, PercentFormatter

from lcm.readout.pair_plan import PairPlan
from lcm.report.style import BLUE, GREY, INK, LINES, PALE, clean, literal, new_figure, save_figure

_AXIS = {
    "power": "power of the test of the edge",
    "width": "width of the 95 % interval",
}
_TALL = 8


def draw_plan(path: str | Path, plan: PairPlan) -> None:
    """Write a figure of a plan.

    Left: the power of the test of each undecided edge, or the width of each interval, against the further pairs; solid
    by the plan, dashed with equal shares of all targets; lines mark the aim, what the plan needs, and the budget.
    Right: the share of each variable among the targets so far, and the recommended share.
    """
    figure = new_figure(9.2, 3.6 + 0.14 * max(0, plan.n - _TALL))
    left, right = figure.subplots(1, 2, width_ratios=(1.45, 1.0))
    _draw_curves(left, plan)
    _draw_shares(right, plan)
    save_figure(figure, path)


def _draw_curves(ax: Axes, plan: PairPlan) -> None:
    for color, curve in zip(LINES, plan.curves, strict=False):
        ax.plot(plan.steps, curve.planned, color=color, linewidth=1.6, label=_symbols(curve.label))
        ax.plot(plan.steps, curve.uniform, color=color, linewidth=1.1, linestyle="--")
    ax.axhline(plan.aim, color=GREY, linewidth=0.9, linestyle=":", zorder=0, label="aim")
    if plan.total > 0.0:
        ax.axvline(plan.total, color=GREY, linewidth=0.9, zorder=0, label="needed by the plan")
    if plan.budget is not None:
        ax.axvline(sum(plan.pairs), color=INK, linewidth=0.9, linestyle="-.", zorder=0, label="budget")
    if plan.curve_kind == "power":
        ax.set_ylim(0.0, 1.03)
        ax.yaxis.set_major_formatter(PercentFormatter(1.0))
    else:
        finite = [value for curve in plan.curves for value in curve.planned if np.isfinite(value)]
        ax.set_ylim(0.0, 1.08 * min(max([plan.aim, *finite]), 10.0 * plan.aim))
    ax.xaxis.set_major_locator(MaxNLocator(5))
    ax.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
    ax.set_xlim(0.0, plan.steps[-1])
    ax.set_xlabel("further pairs (solid: plan; dashed: equal shares)", fontsize=9, color=INK)
    ax.set_ylabel(_AXIS[plan.curve_kind], fontsize=9, color=INK)
    clean(ax).grid(axis="y", color=PALE, linewidth=0.6)
    if plan.curves:
        ax.legend(frameon=False, fontsize=8, loc="lower right" if plan.curve_kind == "power" else "upper right")


def _symbols(text: str) -> str:
    """The text with z0, z1, … as formulas."""
    return re.sub(r"\bz(\d+)\b", r"$z_{\1}$", text)


def _draw_shares(ax: Axes, plan: PairPlan) -> None:
    places = np.arange(plan.n)
    ax.barh(places - 0.2, plan.past_shares, height=0.36, color=PALE, edgecolor=GREY, linewidth=0.6, label="so far")
    ax.barh(places + 0.2, plan.shares, height=0.36, color=BLUE, label="recommended")
    ax.axvline(1.0 / plan.n, color=GREY, linewidth=0.9, linestyle=":", zorder=0, label="equal shares")
    ax.set_yticks(places, [_symbols(literal(label)) for label in plan.labels])
    ax.set_ylim(plan.n - 0.4, -0.6)
    ax.set_xlim(0.0, 1.25 * max(*plan.shares, *plan.past_shares))
    ax.xaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
    ax.set_xlabel("share of single targets", fontsize=9, color=INK)
    clean(ax).legend(frameon=False, fontsize=8, loc="upper right")
