"""Figure of the agreement of refits: a band around each variable."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from textwrap import fill

import numpy as np
from numpy.typing import NDArray

from lcm.report.style import BLUE, INK, clean, figure_names, new_figure, save_figure, variable_names

_COLUMNS, _NOTHING, _WIDEST = 4, 1e-5, 22


def draw_refits(
    path: str | Path,
    centres: NDArray[np.float64],
    half_widths: NDArray[np.float64],
    names: Sequence[str] | None = None,
) -> None:
    """Write a figure with one panel for each variable: the band of all refits around the fit, in standard deviations.

    centres, half_widths: (n, B), of the band, in the units of the variables. names: of the variables.

    Where a panel is flat and thin, halves of the data agree on what the variable is.
    """
    n = len(centres)
    labels = variable_names(n, None if names is None else figure_names(names))
    columns = min(n, _COLUMNS)
    figure = new_figure(2.6 * columns, 2.4 * -(-n // columns))
    axes = np.atleast_1d(figure.subplots(-(-n // columns), columns, squeeze=False)).ravel()
    for i, ax in enumerate(axes[:n]):
        spread = max(float(centres[i].std()), 1e-300)
        width = half_widths[i] / spread
        ax.fill_between(centres[i] / spread, -width, width, color=BLUE, alpha=0.3, linewidth=0)
        ax.axhline(0.0, color=INK, linewidth=0.8)
        if width.max() < _NOTHING:
            ax.set_ylim(-1.0, 1.0)
            ax.text(0.5, 0.6, f"below {_NOTHING:g}", transform=ax.transAxes, ha="center", color=INK)
        # on lines of their own, since a long name is wider than a panel
        ax.set_xlabel(f"{fill(labels[i], _WIDEST)}\n(standard deviations)")
        clean(ax)
    axes[0].set_ylabel("refits minus fit (sd),\nnine in ten rows")
    for ax in axes[n:]:
        ax.set_visible(False)
    save_figure(figure, path)
