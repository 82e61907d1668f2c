"""Figures: `draw_graph` draws on axes that it is given, the others write a file.

They go through matplotlib's Figure objects and touch neither pyplot nor any global setting. Each is imported when it is
first used: some need parts of scipy that a fit does without.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lcm.report.comparison import draw_comparison
    from lcm.report.graph import draw_edge_strengths, draw_evidence, draw_graph, draw_one_graph, draw_two_graphs
    from lcm.report.images import draw_image_figures
    from lcm.report.pairs import draw_pairs, draw_posterior
    from lcm.report.training import draw_training
    from lcm.report.variables import draw_variables

__all__ = [
    "draw_comparison",
    "draw_edge_strengths",
    "draw_evidence",
    "draw_graph",
    "draw_image_figures",
    "draw_one_graph",
    "draw_pairs",
    "draw_posterior",
    "draw_training",
    "draw_two_graphs",
    "draw_variables",
]

_HOMES = {
    "draw_comparison": "lcm.report.comparison",
    "draw_edge_strengths": "lcm.report.graph",
    "draw_evidence": "lcm.report.graph",
    "draw_graph": "lcm.report.graph",
    "draw_image_figures": "lcm.report.images",
    "draw_pairs": "lcm.report.pairs",
    "draw_posterior": "lcm.report.pairs",
    "draw_training": "lcm.report.training",
    "draw_one_graph": "lcm.report.graph",
    "draw_two_graphs": "lcm.report.graph",
    "draw_variables": "lcm.report.variables",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
