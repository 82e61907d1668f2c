"""Figures: `draw_graph` draws on axes that it is given, the others write a file.

They go through matplotlib's Figure objects and touch neither pyplot nor any global setting. Each is imported when it is
first used: some need parts of scipy that a fit does without.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lcm.plot.calibration import draw_calibration
    from lcm.plot.comparison import draw_comparison
    from lcm.plot.edges import draw_edge_strengths, draw_evidence
    from lcm.plot.geometry import MagnificationPanel, draw_magnification
    from lcm.plot.graph import draw_graph, draw_one_graph, draw_two_graphs
    from lcm.plot.pairs import draw_pairs
    from lcm.plot.posterior import draw_posterior
    from lcm.plot.scores import draw_scores
    from lcm.plot.training import draw_training
    from lcm.plot.variables import draw_variables

__all__ = [
    "MagnificationPanel",
    "draw_calibration",
    "draw_comparison",
    "draw_edge_strengths",
    "draw_evidence",
    "draw_graph",
    "draw_magnification",
    "draw_one_graph",
    "draw_pairs",
    "draw_posterior",
    "draw_scores",
    "draw_training",
    "draw_two_graphs",
    "draw_variables",
]

_HOMES = {
    "MagnificationPanel": "lcm.plot.geometry",
    "draw_calibration": "lcm.plot.calibration",
    "draw_comparison": "lcm.plot.comparison",
    "draw_edge_strengths": "lcm.plot.edges",
    "draw_evidence": "lcm.plot.edges",
    "draw_graph": "lcm.plot.graph",
    "draw_magnification": "lcm.plot.geometry",
    "draw_pairs": "lcm.plot.pairs",
    "draw_posterior": "lcm.plot.posterior",
    "draw_scores": "lcm.plot.scores",
    "draw_training": "lcm.plot.training",
    "draw_one_graph": "lcm.plot.graph",
    "draw_two_graphs": "lcm.plot.graph",
    "draw_variables": "lcm.plot.variables",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
