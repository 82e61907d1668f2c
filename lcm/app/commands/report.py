"""`lcm report`: write the page of a run, for pairs that the caller chooses."""

from __future__ import annotations

import argparse

from lcm.app.commands.common import add_mark_argument, open_pairs

HELP = "write the page of a run, report.html"
DESCRIPTION = """\
Write RUN/report.html: one file that opens in a browser without a network, with the graph, the variables, the
interventions, the certificate, the course of the fit, and the command that repeats it. Every fit writes this page from
its own pairs; this command writes it again, for runs of earlier versions or from other pairs.

With DATA, the page shows these pairs; if they hold a truth, it also has scores, and learned against true variables.
Without DATA, it shows pairs that the model draws.
"""
EPILOG = """\
examples:
  lcm report run
  lcm report run data/toy2d/test.safetensors
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    parser.add_argument("run_folder", metavar="RUN", help="run folder of lcm fit")
    parser.add_argument(
        "data", metavar="DATA", nargs="?", help=".safetensors, .npz, .csv or .parquet file of pairs to show"
    )
    parser.add_argument("after", metavar="AFTER", nargs="?", help=".csv or .parquet file with x_tilde")
    add_mark_argument(parser)


def run(arguments: argparse.Namespace) -> None:
    """Run the command."""
    data = open_pairs(arguments.data, arguments.after, mark=arguments.after_mark) if arguments.data else None

    from lcm.run.pages import rewrite_page

    page = rewrite_page(arguments.run_folder, data)
    if not arguments.quiet:
        print(f"page: {page}")
