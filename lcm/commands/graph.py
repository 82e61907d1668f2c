"""`lcm graph`: the graph of a run, at a stated false discovery rate or by another search."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from lcm.commands.common import check_output, open_pairs
from lcm.graph_search.config import METHODS, RATED_METHODS

if TYPE_CHECKING:
    from lcm.graph_search.result import FoundGraph
    from lcm.run import Run

HELP = "the graph of a fit, at a stated false discovery rate or by another method"
DESCRIPTION = """\
Print the edges of a finished fit whose p-values pass at a false discovery rate: among the edges of the graph, the
expected share of false ones is at most Q (Benjamini and Hochberg). Each comes with its strength, in standard deviations
of the effect for one of the cause, the 95 % interval of that over pairs, and the p-value of its absence. The fit of a
peer has no p-values: its edges are printed with the strengths that its search found.

With --method the graph is sought anew over the variables that the model encodes of the first 50,000 pairs of DATA
(docs/graph-search.md), and its structural Hamming distance from the truth is printed where DATA holds the truth.

Nothing is fitted anew, and RUN is not changed. The graph is never cyclic, and a larger Q never loses an edge.
"""
EPILOG = """\
examples:
  lcm graph run --fdr 0.05
  lcm graph run --fdr 0.1 --json graph.json
  lcm graph run --method enco --data data/toy2d/test.safetensors --figure enco.png
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of the command."""
    methods = ", ".join(METHODS)
    parser.add_argument("run_folder", metavar="RUN", help="run folder of lcm fit")
    parser.add_argument("--fdr", metavar="Q", type=_rate, help="false discovery rate; default: that of the fit")
    parser.add_argument("--method", metavar="M", choices=METHODS, help=f"seek the graph on DATA by one of {methods}")
    parser.add_argument("--data", metavar="DATA", help=".safetensors or .npz file of pairs, for --method")
    parser.add_argument("--seed", metavar="S", type=int, default=0, help="seed of the search; default: 0")
    parser.add_argument("--json", metavar="FILE", help="write adjacency, order, strengths and what else is known there")
    parser.add_argument("--figure", metavar="FILE", help="draw the graph there, a .png file")


def _rate(text: str) -> float:
    try:
        rate = float(text)
    except ValueError:
        rate = 0.0
    if not 0.0 < rate < 1.0:
        raise argparse.ArgumentTypeError(f"Expected a rate strictly between 0 and 1; got {text!r}")
    return rate


def run(arguments: argparse.Namespace) -> None:
    """Run the command."""
    if arguments.method and not arguments.data:
        raise ValueError("--data: Expected the pairs to seek the graph on, for --method; got none")
    if arguments.data and not arguments.method:
        raise ValueError("--method: Expected a method to seek the graph by, for --data; got none")
    if arguments.fdr is not None and arguments.method not in (None, *RATED_METHODS):
        expected = f"no rate for a method other than {' and '.join(RATED_METHODS)}"
        raise ValueError(f"--fdr: Expected {expected}; got one for {arguments.method}")
    json = check_output(arguments.json, ".json") if arguments.json else None
    figure = check_output(arguments.figure, ".png") if arguments.figure else None

    from lcm.files import write_json
    from lcm.run import load_run

    found = load_run(arguments.run_folder)
    if arguments.method:
        numbers, lines = _sought(found, arguments)
    elif found.evidence is None and arguments.fdr is None:
        numbers, lines = _of_peer(found)
    else:
        numbers, lines = _tested(found, arguments.fdr)
    if json:
        json.parent.mkdir(parents=True, exist_ok=True)
        write_json(json, numbers)
    if figure:
        from lcm.plot import draw_one_graph

        figure.parent.mkdir(parents=True, exist_ok=True)
        draw_one_graph(figure, numbers["adjacency"], numbers["edge_strength"], lines[0])
    if not arguments.quiet:
        print("\n".join(lines))


def _listed(edges: Sequence[str], how: str, order: Sequence[int]) -> list[str]:
    """What is printed of any graph."""
    count = f"{len(edges) or 'no'} edge{'' if len(edges) == 1 else 's'}"
    causes = f"causes first: {' '.join(f'z{i}' for i in order)}"
    return [f"{count} {how}", *(f"  {edge}" for edge in edges), causes]


def _tested(found: Run, rate: float | None) -> tuple[dict[str, Any], list[str]]:
    from lcm.fit_report import edge_lines, evidence_numbers

    rate = found.config.readout.false_discovery_rate if rate is None else rate
    evidence, graph = found.require_evidence(), found.graph_at(rate)
    how = f"at a false discovery rate of {rate:g}"
    return evidence_numbers(evidence, graph, rate), _listed(edge_lines(evidence, graph), how, evidence.order)


def _of_peer(found: Run) -> tuple[dict[str, Any], list[str]]:
    from lcm.peer_report import strength_lines, strength_numbers

    graph = found.model.graph
    lines = _listed(strength_lines(graph, found.edge_strength), f"of {found.config.model}, with strength", found.order)
    return strength_numbers(graph, found.edge_strength, found.order), lines


def _sought(found: Run, arguments: argparse.Namespace) -> tuple[dict[str, Any], list[str]]:
    from lcm.graph_search.on_data import discover_on_data

    rate = found.config.readout.false_discovery_rate if arguments.fdr is None else arguments.fdr
    sought, distance = discover_on_data(
        found.model,
        open_pairs(arguments.data),
        arguments.method,
        arguments.seed,
        config=found.config.graph_search,
        false_discovery_rate=rate,
    )
    numbers, lines = _described(sought, arguments.method, rate)
    numbers |= {"method": arguments.method, "seconds": sought.seconds, "shd": distance}
    lines += [f"sought in {sought.seconds:.1f} s"]
    return numbers, lines + ([] if distance is None else [f"structural Hamming distance from the truth: {distance}"])


def _described(sought: FoundGraph, method: str, rate: float) -> tuple[dict[str, Any], list[str]]:
    from lcm.fit_report import edge_lines, evidence_numbers
    from lcm.peer_report import strength_lines, strength_numbers

    if sought.evidence is None:
        lines = strength_lines(sought.graph, sought.edge_strength)
        numbers = strength_numbers(sought.graph, sought.edge_strength, sought.order)
        unit = "probability" if method == "enco" else "strength"
        return numbers, _listed(lines, f"by {method}, with {unit}", sought.order)
    how = f"by {method}, at a false discovery rate of {rate:g}"
    lines = _listed(edge_lines(sought.evidence, sought.graph), how, sought.order)
    return evidence_numbers(sought.evidence, sought.graph, rate), lines
