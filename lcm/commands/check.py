"""`lcm check`: what can be said of pairs before fitting."""

from __future__ import annotations

import argparse

from lcm.commands.common import check_output, open_pairs

HELP = "say what can be said of pairs before fitting"
DESCRIPTION = """\
Describe pairs before a fit: shapes, duplicates, rank, share of unchanged pairs, a guess of n, and whether the
differences look as if one variable changed at a time.
"""
EPILOG = """\
example:
  lcm check data/toy2d/train.safetensors
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of the command."""
    parser.add_argument("data", metavar="DATA", help=".safetensors or .npz file with x and x_tilde")
    parser.add_argument("--json", metavar="FILE", help="write the numbers there")


def run(arguments: argparse.Namespace) -> None:
    """Run the command."""
    out = check_output(arguments.json, ".json", arguments.data) if arguments.json else None
    data = open_pairs(arguments.data)

    from lcm.data.check import check_pairs, format_check
    from lcm.files import write_json

    report = check_pairs(data)
    if out:
        out.parent.mkdir(parents=True, exist_ok=True)
        write_json(out, report)
    if not arguments.quiet:
        print(format_check(report))
