"""`lcm encode`: write the learned variables of every pair."""

from __future__ import annotations

import argparse

from lcm.app.commands.common import add_pairs_arguments, check_output, open_model, pairs_of

HELP = "write the learned variables of every pair"
DESCRIPTION = """\
Encode pairs: write the learned causal variables, their noise, and the probability of each intervention target.

For N pairs and n learned variables, FILE holds these float32 tensors:
  z, z_tilde            (N, n)      causal variables before and after the intervention
  noise, noise_tilde    (N, n)      their noise; the model without intervention maps noise_tilde to z_tilde
  target_probability    (N, n + 1)  column 0: no intervention; column k + 1: learned variable k is the target

If a target set of the fit has several targets, target_probability has one column for each target set instead. The
metadata key target_sets lists the target set of each column, as JSON. An .npz file has no metadata.

A .csv or .parquet file has one column for each variable: z0, z0_tilde, noise0, noise0_tilde, probability_none,
probability_z0, and so on. Variables that `lcm name` has named stand with their names: red, red_tilde, noise_red,
noise_red_tilde, probability_red. The metadata key names lists all names.
"""
EPILOG = """\
examples:
  lcm encode run data/toy2d/test.safetensors --out encoded.safetensors
  lcm encode run before.csv after.csv --out encoded.csv
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    parser.add_argument("run_folder", metavar="RUN", help="run folder of lcm fit, or a model file")
    add_pairs_arguments(parser)
    parser.add_argument("--out", metavar="FILE", required=True, help=".safetensors, .npz, .csv or .parquet file")
    parser.add_argument("--float64", action="store_true", help="compute in double precision")


def run(arguments: argparse.Namespace) -> None:
    """Run the command."""
    from lcm.data.pair_files import WRITTEN_SUFFIXES

    out = check_output(arguments.out, WRITTEN_SUFFIXES, arguments.data, arguments.after, arguments.run_folder)
    data = pairs_of(arguments)

    from lcm.data.encode import write_encoding
    from lcm.data.named_columns import in_order_of

    model, run = open_model(arguments.run_folder, arguments.float64)
    data = in_order_of(data, run)
    out.parent.mkdir(parents=True, exist_ok=True)
    write_encoding(out, model, data, str(arguments.run_folder), run.names if run else None)
    if not arguments.quiet:
        print(f"Encoded {len(data):,} pairs in {model.n} variables: {out}")
