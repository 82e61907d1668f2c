"""`lcm graph`: print the graph of a run, at a given false discovery rate or by another search."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lcm.app.commands.common import add_mark_argument, check_output, open_pairs
from lcm.peer.search.config import METHODS, RATED_METHODS

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from lcm.model.graph import Graph
    from lcm.readout.evidence import GraphEvidence
    from lcm.run.runs import Run

Described = tuple[dict[str, Any], list[str]]
"""A graph as numbers for JSON and as lines for a terminal."""

_DRAWN, _EXPORTED = (".png", ".svg"), (".dot", ".graphml")

HELP = "print the graph of a fit, at a given false discovery rate or by another search"
DESCRIPTION = """\
Print the graph of a finished fit at the false discovery rate Q: the expected share of false edges is at most Q
(Benjamini, Krieger and Yekutieli). Each edge has a strength (how much the effect changes, in standard deviations and
without a sign, for a change of the cause by one), its 95 % interval over pairs, and the p-value of "there is no edge".
The fit of a peer has no p-values. Its edges have the strengths that its graph search measured.

With --method, the command encodes the first 50,000 pairs of DATA and searches for the graph over these variables
(docs/graph-search.md). If DATA holds the true graph, it also prints the structural Hamming distance from the truth.

The model is not fitted again, and RUN does not change. The graph has no cycles, and a larger Q never removes an edge.
"""
EPILOG = """\
examples:
  lcm graph run --fdr 0.05
  lcm graph run --fdr 0.1 --json graph.json
  lcm graph run --export graph.dot
  lcm graph run --method enco --data data/toy2d/test.safetensors --figure enco.png
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    methods = ", ".join(METHODS)
    parser.add_argument("run_folder", metavar="RUN", help="run folder of lcm fit")
    parser.add_argument("--fdr", metavar="Q", type=_rate, help="false discovery rate; default: that of the fit")
    parser.add_argument("--method", metavar="M", choices=METHODS, help=f"search for the graph on DATA by {methods}")
    parser.add_argument("--data", metavar="DATA", nargs="+", help="one or two files of pairs, for --method")
    add_mark_argument(parser)
    parser.add_argument("--seed", metavar="S", type=int, default=0, help="seed of the search; default: 0")
    parser.add_argument("--json", metavar="FILE", help=".json file to write the graph and its numbers to")
    parser.add_argument("--figure", metavar="FILE", help=".png or .svg file to draw the graph to")
    parser.add_argument(
        "--export", metavar="FILE", help=".dot (Graphviz) or .graphml file to write the graph to, with names, strengths"
    )


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
        raise ValueError("--data: Expected pairs, on which --method searches for the graph; got none")
    if arguments.data and not arguments.method:
        raise ValueError("--method: Expected a method, which searches for the graph on --data; got none")
    if arguments.fdr is not None and arguments.method not in (None, *RATED_METHODS):
        expected = f"no rate except for the methods {' and '.join(RATED_METHODS)}"
        raise ValueError(f"--fdr: Expected {expected}; got one for {arguments.method}")
    json, figure, export = _outputs(arguments)

    from lcm.base.files import write_json
    from lcm.run.runs import load_run

    found = load_run(arguments.run_folder)
    numbers, lines = _sought(found, arguments) if arguments.method else _found(found, arguments.fdr)
    if json:
        json.parent.mkdir(parents=True, exist_ok=True)
        write_json(json, numbers)
    if export:
        _write_graph(export, numbers)
    if figure:
        from lcm.report import draw_one_graph, graph_labels

        figure.parent.mkdir(parents=True, exist_ok=True)
        labels = graph_labels(found.names)
        draw_one_graph(figure, numbers["adjacency"], numbers["edge_strength"], lines[0], labels)
    if not arguments.quiet:
        print("\n".join(lines))


def _outputs(arguments: argparse.Namespace) -> list[Path | None]:
    """The files of --json, --figure and --export, where they are given."""
    inputs = arguments.run_folder, *(arguments.data or ())
    asked = ("json", (".json",)), ("figure", _DRAWN), ("export", _EXPORTED)
    found = []
    for option, suffixes in asked:
        path = getattr(arguments, option)
        if path and Path(path).suffix not in suffixes and not Path(path).is_dir():
            rest = ", ".join(f"--{other} writes {' or '.join(each)}" for other, each in asked if other != option)
            expected = f"--{option}: Expected a {' or '.join(suffixes)} file to write to"
            raise ValueError(f"{expected}; got the suffix {Path(path).suffix!r} ({rest})")
        found.append(check_output(path, suffixes, *inputs) if path else None)
    return found


def _write_graph(path: Path, numbers: dict[str, Any]) -> None:
    from lcm.base.files import write_text
    from lcm.model.graph import Graph

    path.parent.mkdir(parents=True, exist_ok=True)
    graph, names, strength = Graph(numbers["adjacency"]), numbers["names"], numbers["edge_strength"]
    if path.suffix == ".dot":
        write_text(path, graph.to_dot(names, strength))
    else:
        graph.to_graphml(path, names, strength)


def _listed(edges: Sequence[str], how: str, order: Sequence[int], names: Sequence[str]) -> list[str]:
    """The lines that every graph prints."""
    count = f"{len(edges) or 'no'} edge{'' if len(edges) == 1 else 's'}"
    causes = f"causes first: {', '.join(names[i] for i in order)}"
    return [f"{count} {how}", *(f"  {edge}" for edge in edges), causes]


def _tested(evidence: GraphEvidence, graph: Graph, rate: float, names: Sequence[str], by: str = "") -> Described:
    from lcm.run.report import edge_lines, evidence_numbers

    how = f"{by}at a false discovery rate of {rate:g}"
    lines = _listed(edge_lines(evidence, graph, names), how, evidence.order, names)
    return evidence_numbers(evidence, graph, rate) | {"names": list(names)}, lines


def _untested(
    graph: Graph, strength: NDArray[np.float64], order: Sequence[int], names: Sequence[str], how: str
) -> Described:
    from lcm.run.report import strength_lines, strength_numbers

    lines = _listed(strength_lines(graph, strength, names), how, order, names)
    return strength_numbers(graph, strength, order) | {"names": list(names)}, lines


def _found(run: Run, rate: float | None) -> Described:
    """The graph of the fit."""
    if run.evidence is None and rate is None:
        return _untested(
            run.model.graph, run.edge_strength, run.order, run.names, f"of {run.config.model}, with strength"
        )
    rate = run.config.readout.false_discovery_rate if rate is None else rate
    return _tested(run.require_evidence(), run.graph_at(rate), rate, run.names)


def _sought(run: Run, arguments: argparse.Namespace) -> Described:
    """The graph that a search finds on the data."""
    from lcm.data.named_columns import in_order_of
    from lcm.peer.search import discover_on_data

    method, pairs = arguments.method, open_pairs(*arguments.data[:2], mark=arguments.after_mark)
    pairs = in_order_of(pairs, run)
    rate = run.config.readout.false_discovery_rate if arguments.fdr is None else arguments.fdr
    config = run.config.graph_search
    sought, distance = discover_on_data(
        run.model, pairs, method, arguments.seed, config=config, false_discovery_rate=rate
    )
    if sought.evidence is None:
        how = f"by {method}, with {'probability' if method == 'enco' else 'strength'}"
        numbers, lines = _untested(sought.graph, sought.edge_strength, sought.order, run.names, how)
    else:
        numbers, lines = _tested(sought.evidence, sought.graph, rate, run.names, f"by {method}, ")
    numbers |= {"method": method, "seconds": sought.seconds, "shd": distance}
    lines += [f"search time: {sought.seconds:.1f} s"]
    return numbers, lines + ([] if distance is None else [f"structural Hamming distance from the truth: {distance}"])
