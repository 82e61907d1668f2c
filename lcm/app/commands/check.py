"""`lcm check`: describe pairs before a fit."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from lcm.app.commands.common import add_pairs_arguments, check_output, pairs_of

if TYPE_CHECKING:
    from lcm.data.pairs import PairData

HELP = "describe pairs before a fit"
DESCRIPTION = """\
Describe pairs before a fit: shapes, duplicates, rank, the share of unchanged pairs, an estimate of n, and whether the
differences look as if one variable changed at a time. --figure draws some pairs: arrows, or images before and after.
"""
EPILOG = """\
examples:
  lcm check data/toy2d/train.safetensors
  lcm check before.csv after.csv --json check.json
  lcm check data/circuit/train.safetensors --figure pairs.png
  lcm check before.csv after.csv --evidence n.png
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    add_pairs_arguments(parser)
    parser.add_argument("--json", metavar="FILE", help=".json file to write the numbers to")
    parser.add_argument("--evidence", metavar="FILE", help=".png file to draw the evidence for n to")
    parser.add_argument("--figure", metavar="FILE", help=".png file to draw some pairs to")


def run(arguments: argparse.Namespace) -> None:
    """Run the command."""
    out = check_output(arguments.json, ".json", arguments.data, arguments.after) if arguments.json else None
    figure = check_output(arguments.figure, ".png", arguments.data, arguments.after) if arguments.figure else None
    evidence = check_output(arguments.evidence, ".png", arguments.data, arguments.after) if arguments.evidence else None
    data = pairs_of(arguments)
    if evidence and data.is_images:
        raise ValueError("--evidence: Expected vectors; got images.")

    from lcm.base.files import write_json
    from lcm.run.check import check_pairs

    report = check_pairs(data)
    if out:
        out.parent.mkdir(parents=True, exist_ok=True)
        write_json(out, report.numbers)
    if figure:
        figure.parent.mkdir(parents=True, exist_ok=True)
        draw_some_pairs(figure, data)
    if evidence:
        evidence.parent.mkdir(parents=True, exist_ok=True)
        draw_evidence_for_n(evidence, data)
    if not arguments.quiet:
        print(report)
        if figure:
            print(f"figure: {figure}")
        if evidence:
            print(f"evidence for n: {evidence}")


def draw_evidence_for_n(path: Path, data: PairData) -> None:
    """Draw what the number of variables of vectors is estimated from."""
    from lcm.report import draw_number_of_variables

    core = data.without_outliers
    draw_number_of_variables(path, core.spectrum, core.dimension_evidence)


def draw_some_pairs(path: Path, data: PairData) -> None:
    """Draw some pairs: images before and after, or arrows between vectors."""
    if data.is_images:
        from lcm.report.images import draw_contact_sheet

        draw_contact_sheet(path, data)
        return
    from lcm.report import draw_pairs

    draw_pairs(path, data.x, data.x_tilde)
