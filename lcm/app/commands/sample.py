"""`lcm sample`: draw pairs from a fitted model, intervene, and compute counterfactuals."""

from __future__ import annotations

import argparse
import math
from collections.abc import Sequence

from lcm.app.commands.common import add_mark_argument, check_output, open_model, open_pairs

HELP = "draw pairs from a fit, intervene, compute counterfactuals"
DESCRIPTION = """\
Draw pairs from a fitted model.

Without --do, the pairs come from the model's own p(x, x_tilde). With --do, x is a new sample or, with --from, the x of
DATA, and x_tilde is the counterfactual of x under all given interventions at once.

FILE holds x, x_tilde, z, z_tilde, noise, noise_tilde, targets and, unless it is a table, adjacency. If the model was
fitted to images, x and x_tilde are images.
"""
EPILOG = """\
examples:
  lcm sample run --n 1000 --out pairs.safetensors
  lcm sample run --n 1000 --do 0=1.5 2=-1 --out intervened.safetensors
  lcm sample run --from data/toy2d/test.safetensors --do 0=1.5 --out counterfactuals.safetensors
  lcm sample run --from before.csv after.csv --do 0=1.5 --out counterfactuals.csv
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    parser.add_argument("run_folder", metavar="RUN", help="run folder of lcm fit, or a model file")
    parser.add_argument("--out", metavar="FILE", required=True, help=".safetensors, .npz, .csv or .parquet file")
    parser.add_argument("--n", metavar="N", type=int, help="number of pairs; with --from, the first N (default: all)")
    parser.add_argument(
        "--do",
        metavar="I=VALUE",
        nargs="+",
        action="extend",
        default=[],
        help="set learned variable I (0-based) to VALUE, in the units of z",
    )
    parser.add_argument(
        "--from",
        dest="source",
        metavar="DATA",
        nargs="+",
        help="one or two files of pairs, whose x is used; needs --do",
    )
    add_mark_argument(parser)
    parser.add_argument("--seed", metavar="S", type=int, default=0, help="seed of the sample; default: 0")


def run(arguments: argparse.Namespace) -> None:
    """Run the command."""
    values = parse_interventions(arguments.do)
    _check_usage(arguments)
    from lcm.data.pairs import WRITTEN_SUFFIXES, save_pairs

    files = arguments.source or []
    out = check_output(arguments.out, WRITTEN_SUFFIXES, arguments.run_folder, *files)
    source = open_pairs(*files, mark=arguments.after_mark) if files else None

    from lcm.data.sample import sample_counterfactuals, sample_pairs

    model = open_model(arguments.run_folder).model
    if values:
        pairs = sample_counterfactuals(model, values, source, n=arguments.n, seed=arguments.seed)
    else:
        pairs = sample_pairs(model, arguments.n, seed=arguments.seed)
    out.parent.mkdir(parents=True, exist_ok=True)
    save_pairs(out, pairs)
    if not arguments.quiet:
        print(f"Drew {len(pairs):,} pairs: {out}")


def parse_interventions(texts: Sequence[str]) -> dict[int, float]:
    """Parse each "I=VALUE" into a variable and its value.

    Raises:
        ValueError: another form, a value that is not a finite number, or a repeated variable.
    """
    values: dict[int, float] = {}
    for text in texts:
        name, equals, number = text.partition("=")
        if not equals or not (name.isascii() and name.isdigit()):
            raise ValueError(f"--do: Expected I=VALUE, I a 0-based variable; got {text!r}")
        try:
            value = float(number)
        except ValueError:
            value = math.nan
        if not math.isfinite(value):
            raise ValueError(f"--do: Expected a finite number as VALUE; got {text!r}")
        if int(name) in values:
            raise ValueError(f"--do: Expected each variable once; got {int(name)} again")
        values[int(name)] = value
    return values


def _check_usage(arguments: argparse.Namespace) -> None:
    if arguments.source and not arguments.do:
        raise ValueError("--from: Expected --do with it; got none")
    if arguments.source and len(arguments.source) > 2:
        raise ValueError(f"--from: Expected one or two files; got {len(arguments.source)}")
    if arguments.n is None and not arguments.source:
        raise ValueError("--n: Expected a number of pairs, or --from DATA with --do; got neither")
    if arguments.n is not None and arguments.n < 1:
        raise ValueError(f"--n: Expected at least 1 pair; got {arguments.n}")
    if arguments.seed < 0:
        raise ValueError(f"--seed: Expected at least 0; got {arguments.seed}")
