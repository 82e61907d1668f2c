"""Figures: `draw_graph` draws on axes that it is given, the others write a file.

They go through matplotlib's Figure objects and touch neither pyplot nor any global setting.
"""

from __future__ import annotations

from lcm.plot.calibration import draw_calibration
from lcm.plot.comparison import draw_comparison
from lcm.plot.edges import draw_edge_strengths, draw_evidence
from lcm.plot.geometry import MagnificationPanel, draw_magnification
from lcm.plot.graph import draw_graph, draw_two_graphs
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
    "draw_pairs",
    "draw_posterior",
    "draw_scores",
    "draw_training",
    "draw_two_graphs",
    "draw_variables",
]
