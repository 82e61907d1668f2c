"""`lcm sample`: draw pairs from a fitted model, intervene, and compute counterfactuals."""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from lcm.app.commands.common import add_mark_argument, check_output, open_model, open_pairs

if TYPE_CHECKING:
    from lcm.app.commands.common import Opened
    from lcm.data.pairs import PairData
    from lcm.run.refits import Refits

_MOST_LISTED = 10
HELP = "draw pairs from a fit, intervene, compute counterfactuals"
DESCRIPTION = """\
Draw pairs from a fitted model.

Without --do, the pairs come from the model's own p(x, x_tilde). With --do, x is a new sample or, with --from, the x of
DATA, and x_tilde is the counterfactual of x under all given interventions at once.

With --interval, FILE also holds x_tilde_low, x_tilde_high and x_tilde_error: an interval of x_tilde at the given level
and its standard error, from the refits of `lcm refit`. Values beyond the data of the fit are answered with a warning.

FILE holds x, x_tilde, z, z_tilde, noise, noise_tilde, targets and, unless it is a table, adjacency. The columns of x
have the names that the fit remembers, and else those of DATA. If the model was fitted to images, x and x_tilde are
images.
"""
EPILOG = """\
examples:
  lcm sample run --n 1000 --out pairs.safetensors
  lcm sample run --n 1000 --do 0=1.5 2=-1 --out intervened.safetensors
  lcm sample run --from data/toy2d/test.safetensors --do 0=1.5 --out counterfactuals.safetensors
  lcm sample run --from data/toy2d/test.safetensors --do 0=1.5 --interval 0.9 --out intervals.safetensors
  lcm sample run --from before.csv after.csv --do light=1.5 --out counterfactuals.csv
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    parser.add_argument("run_folder", metavar="RUN", help="run folder of lcm fit, or a model file")
    parser.add_argument("--out", metavar="FILE", required=True, help=".safetensors, .npz, .csv or .parquet file")
    parser.add_argument("--n", metavar="N", type=int, help="number of pairs; with --from, the first N (default: all)")
    parser.add_argument(
        "--do",
        metavar="VARIABLE=VALUE",
        nargs="+",
        action="extend",
        default=[],
        help="set a learned variable, by its 0-based number or its name, to VALUE, in the units of z",
    )
    parser.add_argument(
        "--from",
        dest="source",
        metavar="DATA",
        nargs="+",
        help="one or two files of pairs, whose x is used; needs --do",
    )
    parser.add_argument(
        "--interval",
        metavar="LEVEL",
        type=float,
        help="level of an interval of x_tilde, such as 0.9; needs lcm refit",
    )
    add_mark_argument(parser)
    parser.add_argument("--seed", metavar="S", type=int, default=0, help="seed of the sample; default: 0")


def run(arguments: argparse.Namespace) -> None:
    """Run the command."""
    _check_usage(arguments)
    from lcm.data.pair_files import WRITTEN_SUFFIXES, save_pairs

    files = arguments.source or []
    out = check_output(arguments.out, WRITTEN_SUFFIXES, arguments.run_folder, *files)
    source = open_pairs(*files, mark=arguments.after_mark) if files else None

    from lcm.data.named_columns import in_order_of, with_columns_of
    from lcm.data.sample import sample_counterfactuals, sample_pairs

    opened = open_model(arguments.run_folder)
    values = parse_interventions(arguments.do, opened.names)
    source = source and in_order_of(source, opened.run)
    refits = _refits(arguments) if arguments.interval is not None else None
    if values:
        pairs = sample_counterfactuals(opened.model, values, source, n=arguments.n, seed=arguments.seed)
        _warn(opened, pairs, values, refits is not None)
    else:
        pairs = sample_pairs(opened.model, arguments.n, seed=arguments.seed)
    pairs = with_columns_of(pairs, (opened.run.columns if opened.run else ()) or pairs.columns)
    out.parent.mkdir(parents=True, exist_ok=True)
    if refits is None:
        save_pairs(out, pairs)
    else:
        _write_answers(out, pairs, refits, values, arguments.interval)
    if not arguments.quiet:
        print(f"Drew {len(pairs):,} pairs: {out}")


def _refits(arguments: argparse.Namespace) -> Refits:
    from lcm.run.refitting import load_refits

    folder = Path(arguments.run_folder)
    found = load_refits(folder) if folder.is_dir() else None
    if found is None:
        raise ValueError(f"{folder}: Expected a run with refits for --interval; got one without (lcm refit RUN DATA)")
    return found


def _warn(opened: Opened, pairs: PairData, values: dict[int, float], interval: bool) -> None:
    """Print what lies beyond the data of the fit, and what an interval does not count."""
    from lcm.model.do import Do
    from lcm.run.support import beyond_data, not_in_intervals

    if opened.run is not None:
        result = opened.run.result()
        texts = beyond_data(result, pairs.x, Do(dict(values))) + (not_in_intervals(result) if interval else [])
        for text in texts:
            print(f"Warning: {text}", file=sys.stderr)


def _write_answers(path: Path, pairs: PairData, refits: Refits, values: dict[int, float], level: float) -> None:
    from lcm.model.do import Do
    from lcm.run.answers import write_answers

    write_answers(path, pairs, refits, Do(dict(values)), level)


def parse_interventions(texts: Sequence[str], names: Sequence[str]) -> dict[int, float]:
    """Parse each "I=VALUE" or "NAME=VALUE" into a variable and its value, given the names of the variables.

    Raises:
        ValueError: another form, a value that is not a finite number, or a repeated variable.
    """
    from lcm.model.names import variable_of

    values: dict[int, float] = {}
    for text in texts:
        name, equals, number = text.partition("=")
        variable = variable_of(name, names)
        if not equals or variable is None:
            known = ", ".join(names[:_MOST_LISTED]) + (", …" if len(names) > _MOST_LISTED else "")
            raise ValueError(
                f"--do: Expected I=VALUE or NAME=VALUE, I a 0-based variable, NAME one of {known}; got {text!r}"
            )
        try:
            value = float(number)
        except ValueError:
            value = math.nan
        if not math.isfinite(value):
            raise ValueError(f"--do: Expected a finite number as VALUE; got {text!r}")
        if variable in values:
            raise ValueError(f"--do: Expected each variable once; got {name} again")
        values[variable] = value
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
    if arguments.interval is not None and not arguments.do:
        raise ValueError("--interval: Expected --do with it; got none")
    if arguments.interval is not None and not 0.0 < arguments.interval < 1.0:
        raise ValueError(f"--interval: Expected a level strictly between 0 and 1; got {arguments.interval:g}")
    if arguments.seed < 0:
        raise ValueError(f"--seed: Expected at least 0; got {arguments.seed}")
