"""Figures of the theorem, both ways: equal densities, power against neighbours, likelihood against distance."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.ticker import NullFormatter, PercentFormatter

from lcm.report.style import BLUE, GREEN, GREY, INK, ORANGE, PALE, PURPLE, SKY, clean, new_figure, save_figure

Record = Mapping[str, Any]

_NATURE_COLORS = (BLUE, ORANGE, GREEN, PURPLE, SKY)
_LEAST_DISTANCE = 1e-5


def draw_power(path: str | Path, records: Sequence[Record], columns: int = 4) -> None:
    """Write a figure of the share of neighbours that two tests reject against the number of pairs, one panel a kind.

    Args:
        path: file to write.
        records: one for each kind and strength, with `kind`, `strength`, `sizes`, `power` of the likelihood ratio, and
            `mmd_sizes` and `mmd_power` of the two-sample test, empty where there is none.
        columns: panels in a row.

    Raises:
        ValueError: no records.
    """
    if not records:
        raise ValueError("Expected one or more records; got none.")
    kinds = list(dict.fromkeys(record["kind"] for record in records))
    strengths = sorted({record["strength"] for record in records})
    shades = matplotlib.colormaps["viridis"](np.linspace(0.9, 0.05, len(strengths)))
    colors = dict(zip(strengths, shades, strict=True))
    columns = min(columns, len(kinds))
    rows = -(-len(kinds) // columns)
    figure = new_figure(max(9.5, 2.55 * columns), 2.3 * rows + 0.6)
    axes = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False).ravel()
    for ax, kind in zip(axes, kinds, strict=False):
        for record in (record for record in records if record["kind"] == kind):
            line = {"color": colors[record["strength"]], "markersize": 3.5, "linewidth": 1.5}
            ax.plot(record["sizes"], record["power"], "-o", zorder=3, **line)
            ax.plot(record["mmd_sizes"], record["mmd_power"], "--s", zorder=2, **{**line, "linewidth": 1.1})
        _finish_power(ax, kind)
    for index, ax in enumerate(axes[: len(kinds)]):
        if index + columns >= len(kinds):
            ax.set_xlabel("pairs", fontsize=9)
            ax.tick_params(labelbottom=True)
        if index % columns == 0:
            ax.set_ylabel("rejected at level 0.01", fontsize=9)
    for ax in axes[len(kinds) :]:
        ax.set_axis_off()
    handles = _power_handles(colors)
    figure.legend(
        handles=handles, loc="outside lower center", ncols=len(handles), frameon=False, fontsize=9, columnspacing=1.4
    )
    save_figure(figure, path)


def _finish_power(ax: Axes, kind: str) -> None:
    clean(ax).set_title(kind, fontsize=10)
    ax.set_xscale("log")
    ax.set_ylim(-0.03, 1.03)
    ax.yaxis.set_major_formatter(PercentFormatter(1.0))
    ax.xaxis.set_minor_formatter(NullFormatter())
    ax.grid(axis="y", color=PALE, linewidth=0.6)


def _power_handles(colors: Mapping[float, Any]) -> list[Line2D]:
    sizes = colors.items()
    return [
        Line2D([], [], color=INK, linestyle="-", marker="o", markersize=3.5, label="likelihood ratio"),
        Line2D([], [], color=INK, linestyle="--", marker="s", markersize=3.5, label="two-sample (MMD)"),
        Line2D([], [], linestyle="", label="size of the change:"),
        *(Line2D([], [], color=color, linewidth=2.5, label=f"{size:g}") for size, color in sizes),
    ]


def draw_equal_densities(
    path: str | Path, counts: Sequence[Sequence[int]], span: tuple[float, float, int], p_values: Sequence[float]
) -> None:
    """Write a figure of |difference of log p| between models and their images, and of two-sample p-values.

    Args:
        path: file to write.
        counts: histograms of log10 of the differences, one for each model; they are added up.
        span: lower end, upper end and number of bins of the histograms.
        p_values: of each model, in (0, 1].

    Raises:
        ValueError: no models, or histograms of another number of bins.
    """
    if not counts or not p_values or any(len(row) != span[2] for row in counts):
        raise ValueError(f"Expected one or more histograms of {span[2]} bins, and p-values; got others.")
    figure = new_figure(7.4, 2.9)
    left, right = figure.subplots(1, 2)
    edges = np.logspace(*span[:2], span[2] + 1)
    total = np.sum(counts, axis=0)
    left.bar(edges[:-1], total / total.sum(), width=np.diff(edges), align="edge", color=BLUE, edgecolor="white", lw=0.3)
    left.set_xscale("log")
    if total[0]:
        top = edges[0], total[0] / total.sum()
        left.annotate("0", top, (2, 2), textcoords="offset points", fontsize=8, color=INK)
    left.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
    left.set_xlabel(r"$|\log p_{M} - \log p_{M'}|$, nats a pair", fontsize=9)
    left.set_title(f"Densities of {len(counts)} models and their images", fontsize=10)
    left.set_ylabel("share of pairs", fontsize=9)
    ordered = np.sort(p_values)
    right.plot([0.0, 1.0], [0.0, 1.0], color=GREY, linewidth=1.0, linestyle="--", label="uniform")
    right.step(
        [0.0, *ordered, 1.0], [0.0, *(np.arange(1, len(ordered) + 1) / len(ordered)), 1.0], where="post", color=BLUE
    )
    right.set_xlabel("two-sample p-value", fontsize=9)
    right.set_ylabel("share of models up to it", fontsize=9)
    right.set_title("Their samples, compared by MMD", fontsize=10)
    right.legend(frameon=False, fontsize=9, loc="lower right")
    for ax in (left, right):
        clean(ax).grid(axis="y", color=PALE, linewidth=0.6)
        ax.set_axisbelow(True)
    save_figure(figure, path)


def draw_likelihood_against_distance(path: str | Path, records: Sequence[Record]) -> None:
    """Write a figure of the gap in held-out likelihood to nature against the distance from isomorphism, by fits.

    A gap below its standard error is drawn there, with an arrow to the left: it could be zero.

    Args:
        path: file to write.
        records: one for each fit, with `nature`, `budget` (larger points from first to last), `gap` and
            `gap_standard_error` in nats a pair, `distance` in [0, 1], and `isomorphic`.

    Raises:
        ValueError: no records.
    """
    if not records:
        raise ValueError("Expected one or more records; got none.")
    natures, budgets = (list(dict.fromkeys(record[key] for record in records)) for key in ("nature", "budget"))
    colors = {name: _NATURE_COLORS[index % len(_NATURE_COLORS)] for index, name in enumerate(natures)}
    areas = dict(zip(budgets, np.linspace(18, 95, len(budgets)), strict=True))
    figure = new_figure(7.6, 4.3)
    ax = figure.subplots()
    for record in records:
        gap, error = record["gap"], record["gap_standard_error"]
        at = max(gap, error), max(record["distance"], _LEAST_DISTANCE)
        _draw_fit(ax, at, colors[record["nature"]], areas[record["budget"]], bool(record["isomorphic"]))
        if gap > error:
            ax.plot([gap - error, gap + error], [at[1]] * 2, color=colors[record["nature"]], linewidth=0.8, zorder=2)
        else:
            ax.annotate("", (at[0] / 1.5, at[1]), at, arrowprops={"arrowstyle": "->", "color": GREY, "lw": 0.9})
    ax.set_xscale("log")
    ax.set_yscale("log")
    ax.set_xlabel("held-out likelihood below nature's (nats a pair)", fontsize=9)
    ax.set_ylabel("distance from isomorphism", fontsize=9)
    clean(ax).grid(color=PALE, linewidth=0.6)
    ax.set_axisbelow(True)
    figure.legend(handles=_fit_handles(colors, areas), loc="outside right upper", frameon=False, fontsize=8.5)
    save_figure(figure, path)


def _draw_fit(ax: Axes, at: tuple[float, float], color: str, area: float, isomorphic: bool) -> None:
    face = color if isomorphic else "white"
    ax.scatter(*at, s=area, facecolor=face, edgecolor=color, linewidths=1.2, alpha=0.85, zorder=3)


def _fit_handles(colors: Mapping[str, str], areas: Mapping[str, float]) -> list[Line2D]:
    def point(label: str, area: float, color: str, face: str) -> Line2D:
        look = {"markerfacecolor": face, "markeredgecolor": color, "markersize": area**0.5}
        return Line2D([], [], linestyle="", marker="o", label=label, **look)

    return [
        *(point(name, 45, color, color) for name, color in colors.items()),
        Line2D([], [], linestyle="", label=""),
        *(point(name, area, INK, INK) for name, area in areas.items()),
        Line2D([], [], linestyle="", label=""),
        point("isomorphic", 45, INK, INK),
        point("not isomorphic", 45, INK, "white"),
    ]
