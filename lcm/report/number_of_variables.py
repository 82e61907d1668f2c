"""Figure of the evidence for the number of variables: directions of x, what few of them explain, and fits."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter

from lcm.data.intrinsic_dimension import Spectrum
from lcm.data.variable_count import DimensionEvidence
from lcm.report.style import BLUE, GREY, INK, PALE, RED, clean, new_figure, save_figure

_MOST = 20
_LEAST = 1e-16


def draw_number_of_variables(
    path: str | Path, found: Spectrum, evidence: DimensionEvidence, tried: Sequence[tuple[int, float]] = ()
) -> None:
    """Write a figure of the evidence for n; plausible numbers are shaded, and the estimate is a line.

    Left: the variance of each principal direction of x, filled where x̃ shares it. Middle: the share of the shared
    variation that the first k directions do not explain, over all others and of the worst. Right, if several numbers
    were `tried`: the held-out negative log-likelihood of each (n, nats per pair).
    """
    figure = new_figure(3.2 * (3 if tried else 2), 3.1)
    axes = figure.subplots(1, 3 if tried else 2)
    _draw_directions(axes[0], found)
    _draw_unexplained(axes[1], found)
    for ax in axes[:2]:
        _mark(ax, evidence)
    if tried:
        numbers, scores = zip(*tried, strict=True)
        axes[2].plot(numbers, scores, "o-", color=BLUE)
        _label(axes[2], "number of variables of a fit", "negative log-likelihood\nof held-out pairs (nats)")
    handles = [Line2D([], [], color=GREY, linewidth=1.0, label="estimate"), Patch(color=PALE, label="plausible")]
    figure.legend(handles=handles, loc="outside lower center", ncols=2, frameon=False, fontsize=8)
    save_figure(figure, path)


def _draw_directions(ax: Axes, found: Spectrum) -> None:
    variances = np.maximum(found.variances[:_MOST], _LEAST)
    places = np.arange(1, len(variances) + 1)
    shared = places <= max(found.shared.dependent, found.shared.correlated)
    ax.semilogy(places, variances, "o", color=GREY, markerfacecolor="white")
    ax.semilogy(places[shared], variances[shared], "o", color=BLUE)
    ax.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0) if variances.max() < 1e3 * variances.min() else (1.0,)))
    ax.yaxis.set_major_formatter("{x:g}")
    ax.yaxis.set_minor_formatter(NullFormatter())
    _label(ax, "principal direction of x", "variance\n(filled: more than noise)")


def _draw_unexplained(ax: Axes, found: Spectrum) -> None:
    numbers = range(1, min(found.shared.correlated, _MOST))
    each = [found.variation.unexplained(k) for k in numbers]
    ax.plot(numbers, [share.mean for share in each], "o-", color=BLUE, label="all others")
    ax.plot(numbers, [share.largest for share in each], "o--", color=RED, markerfacecolor="white", label="worst")
    ax.set_ylim(0.0, 1.1 * max([share.largest for share in each], default=1.0))
    _label(ax, "leading directions", "share of variation common to\nx and x̃ not explained")
    if each:
        ax.legend(frameon=False, fontsize=8)
    else:
        ax.text(0.5, 0.5, "too few directions", transform=ax.transAxes, ha="center", color=INK, fontsize=8)


def _mark(ax: Axes, evidence: DimensionEvidence) -> None:
    ax.axvspan(evidence.plausible[0] - 0.4, evidence.plausible[-1] + 0.4, color=PALE, zorder=0)
    ax.axvline(evidence.estimate, color=GREY, linewidth=1.0, zorder=0)


def _label(ax: Axes, x: str, y: str) -> None:
    clean(ax).xaxis.set_major_locator(MaxNLocator(integer=True))
    ax.set_xlabel(x, fontsize=9, color=INK)
    ax.set_ylabel(y, fontsize=9, color=INK)
