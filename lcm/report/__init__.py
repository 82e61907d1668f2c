"""Figures, tables and their style: every `draw_` function writes a file, or draws on the axes that it is given.

`turn_figure` shows a figure in three dimensions from all sides. All draw on matplotlib's Figure objects and touch
neither pyplot nor any global setting. A figure's module is imported when the figure is first used, since it needs parts
of scipy that a fit does without.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

_HOMES = {
    "draw_answer": "effects",
    "draw_comparison": "variables",
    "draw_evidence": "graph",
    "draw_graph": "graph",
    "draw_image_figures": "images",
    "draw_number_of_variables": "number_of_variables",
    "draw_one_graph": "graph",
    "draw_pairs": "variables",
    "draw_plan": "plan",
    "draw_refits": "refits",
    "draw_training": "training",
    "draw_two_graphs": "graph",
    "draw_variables": "variables",
    "graph_labels": "graph",
    "turn_figure": "turned",
}

__all__ = list(_HOMES)


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
