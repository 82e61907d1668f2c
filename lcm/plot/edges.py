"""Edge strengths with error bars, the strongest first."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from matplotlib.axes import Axes

from lcm.discovery import GraphEvidence
from lcm.graph import Graph
from lcm.plot.graph import draw_graph
from lcm.plot.style import BLUE, GREY, INK, PALE, clean, new_figure, save_figure

_MAX_SHOWN = 30
_SMALLEST = 1e-15


def draw_evidence(path: str | Path, evidence: GraphEvidence, graph: Graph) -> None:
    """Write a figure of a graph and, beside it, of the strengths of its edges with their intervals.

    Raises ValueError for a graph of another number of variables.
    """
    if graph.n != evidence.n:
        raise ValueError(f"Expected a graph of {evidence.n} variables; got {graph.n}.")
    size = min(7.0, 3.4 + 0.16 * max(0, graph.n - 4))
    shown = len(_listed(evidence, graph))
    figure = new_figure(size + 3.6, max(size, 1.0 + 0.22 * shown))
    axes = figure.subplots(1, 2, width_ratios=[size, 3.4])
    draw_graph(axes[0], graph.adjacency, evidence.edge_strength, title="learned graph, edge strengths")
    draw_edge_strengths(axes[1], evidence, graph)
    save_figure(figure, path)


def draw_edge_strengths(ax: Axes, evidence: GraphEvidence, graph: Graph) -> Axes:
    """Draw the strength of every edge with its 95 % interval and p-value; returns the axes.

    Edges of the graph come first, the strongest on top; candidates that were not accepted follow in grey, the
    likeliest first. At most 30 in all.
    """
    edges = _listed(evidence, graph)
    interval = evidence.strength_interval()
    reach = 0.0
    for row, (i, j) in enumerate(edges):
        strength, (low, high) = evidence.edge_strength[i, j], interval[i, j]
        color = BLUE if graph.adjacency[i, j] else GREY
        ax.errorbar(
            strength,
            row,
            xerr=[[strength - low], [high - strength]],
            color=color,
            marker="o",
            markersize=4,
            capsize=2.5,
        )
        reach = max(reach, float(high))
    top = max(reach, 1e-3)
    for row, (i, j) in enumerate(edges):
        p_value = evidence.edge_p_value[i, j]
        text = "< 1e-15" if p_value < _SMALLEST else f"{p_value:.1g}"
        ax.text(1.08 * top, row, text, va="center", fontsize=7.5, color=INK)
    if edges:
        ax.text(1.08 * top, -0.9, "p-value", va="center", fontsize=8, color=INK)
    else:
        ax.text(0.5 * top, 0.0, "no edge and no candidate", ha="center", va="center", fontsize=9, color=GREY)
    ax.set_yticks(range(len(edges)), [rf"$z_{{{i}}} \to z_{{{j}}}$" for i, j in edges])
    ax.set(xlim=(0.0, 1.36 * top), ylim=(max(len(edges), 1) - 0.4, -1.4))
    clean(ax).grid(axis="x", color=PALE, linewidth=0.6)
    ax.set_xlabel("edge strength, 95 % interval over pairs", fontsize=9)
    ax.set_title("edges (grey: not accepted)", fontsize=11)
    return ax


def _listed(evidence: GraphEvidence, graph: Graph) -> list[tuple[int, int]]:
    edges = sorted(graph.edges(), key=lambda edge: -evidence.edge_strength[edge])
    others = np.argwhere((evidence.edge_p_value < 1.0) & evidence.forward() & ~graph.adjacency).tolist()
    rest = sorted(((int(i), int(j)) for i, j in others), key=lambda edge: evidence.edge_p_value[edge])
    return [*edges, *rest][:_MAX_SHOWN]
