"""`lcm graph`: the graph of a run at a stated false discovery rate."""

from __future__ import annotations

import argparse

from lcm.commands.common import check_output

HELP = "the graph of a fit at a stated false discovery rate"
DESCRIPTION = """\
Print the edges of a finished fit whose p-values pass at a false discovery rate: among the edges of the graph, the
expected share of false ones is at most Q (Benjamini and Hochberg). Each comes with its strength, in standard deviations
of the effect for one of the cause, the 95 % interval of that over pairs, and the p-value of its absence.

Nothing is fitted anew. The graph is never cyclic, and a larger Q never loses an edge. The mechanisms of the model in
RUN are those of its own graph, at readout.false_discovery_rate of its config.
"""
EPILOG = """\
examples:
  lcm graph run --fdr 0.05
  lcm graph run --fdr 0.1 --json graph.json
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of the command."""
    parser.add_argument("run_folder", metavar="RUN", help="run folder of lcm fit")
    parser.add_argument("--fdr", metavar="Q", type=_rate, help="false discovery rate; default: that of the fit")
    parser.add_argument("--json", metavar="FILE", help="write adjacency, ancestors, p-values and strengths there")


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
    out = check_output(arguments.json, ".json") if arguments.json else None

    from lcm.files import write_json
    from lcm.fit_report import edge_lines, evidence_numbers
    from lcm.run import load_run

    found = load_run(arguments.run_folder)
    rate = found.config.readout.false_discovery_rate if arguments.fdr is None else arguments.fdr
    evidence, graph = found.require_evidence(), found.graph_at(rate)
    if out:
        out.parent.mkdir(parents=True, exist_ok=True)
        write_json(out, evidence_numbers(evidence, graph, rate))
    if not arguments.quiet:
        lines = edge_lines(evidence, graph)
        print(f"{len(lines) or 'no'} edge{'' if len(lines) == 1 else 's'} at a false discovery rate of {rate:g}")
        for line in lines:
            print(f"  {line}")
        print(f"causes first: {' '.join(f'z{i}' for i in evidence.order)}")
