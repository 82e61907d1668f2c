"""Shared style of all figures: colours for colour-blind readers, plain axes, files written atomically."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine

from lcm.base.atomic import atomic_write
from lcm.base.text import shortened
from lcm.report.palette import BLUE, GREEN, GREY, INK, ORANGE, PALE, PURPLE, RED, SKY

# with the colours, which figures take from here
__all__ = [
    "BLUE",
    "GREEN",
    "GREY",
    "INK",
    "LINES",
    "ORANGE",
    "PALE",
    "PURPLE",
    "RED",
    "SKY",
    "clean",
    "figure_names",
    "literal",
    "new_figure",
    "save_figure",
    "variable_names",
]

LINES = (BLUE, RED, GREEN, ORANGE, PURPLE, SKY, "#333333", "#8C8C8C")

_DOTS_PER_INCH, _LONGEST_NAME = 150, 28


def new_figure(width: float, height: float) -> Figure:
    """An empty figure of `width` by `height` inches with a constrained layout."""
    layout = ConstrainedLayoutEngine(w_pad=0.1, h_pad=0.1)
    return Figure(figsize=(width, height), layout=layout, facecolor="white")


def save_figure(figure: Figure, path: str | Path) -> None:
    """Write a figure, atomically, in the format that the suffix of `path` names."""
    if any(axes.get_aspect() != "auto" for axes in figure.axes):
        # the layout of axes of fixed aspect needs a second pass
        figure.draw_without_rendering()
    with atomic_write(path) as temporary:
        figure.savefig(temporary, dpi=_DOTS_PER_INCH)


def clean(ax: Axes) -> Axes:
    """Keep only the left and bottom spines, in muted colours; returns the axes."""
    ax.spines[["top", "right"]].set_visible(False)
    ax.spines[["left", "bottom"]].set_color(GREY)
    ax.tick_params(colors=INK, labelsize=8)
    return ax


def figure_names(names: Sequence[str], symbol: str = "z") -> list[str]:
    """Names of variables for a figure: z0 as a formula with the symbol, what somebody named as it is."""
    return [f"${symbol}_{{{i}}}$" if name == f"z{i}" else literal(name) for i, name in enumerate(names)]


def literal(text: str) -> str:
    """A name from the data as it is, and not as a formula, cut to what a figure has room for."""
    return shortened(text, _LONGEST_NAME).replace("$", r"\$")


def variable_names(n: int, labels: Sequence[str] | None = None, symbol: str = "z") -> list[str]:
    """The names of n variables: `labels`, or the symbol with the 0-based index.

    Raises ValueError for another number of labels.
    """
    if labels is None:
        return [f"${symbol}_{{{index}}}$" for index in range(n)]
    if len(labels) != n:
        raise ValueError(f"Expected {n} labels; got {len(labels)}.")
    return list(labels)
