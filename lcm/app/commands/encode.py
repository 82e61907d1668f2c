"""`lcm encode`: the learned variables of every pair."""

from __future__ import annotations

import argparse

from lcm.app.commands.common import add_pairs_arguments, check_output, open_model, pairs_of

HELP = "write the learned variables of every pair"
DESCRIPTION = """\
Encode pairs: learned causal variables, their noise, and which variable each intervention changed.

FILE holds, for N pairs and n learned variables, float32
  z, z_tilde            (N, n)      causal variables before and after
  noise, noise_tilde    (N, n)      their noise; noise_tilde is the noise that the unintervened model gives z_tilde
  target_probability    (N, n + 1)  column 0: nothing was intervened on; column k + 1: learned variable k was
and the JSON list of the columns' target sets under the metadata key target_sets; a fit whose sets have several
targets has a column for each set, in that order. A .csv or .parquet file has a column for each variable instead:
z0, z0_tilde, noise0, noise0_tilde, probability_none, probability_z0, and so on; an .npz file has no metadata.
"""
EPILOG = """\
examples:
  lcm encode run data/toy2d/test.safetensors --out encoded.safetensors
  lcm encode run before.csv after.csv --out encoded.csv
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of the command."""
    parser.add_argument("run_folder", metavar="RUN", help="run folder of lcm fit, or a model file")
    add_pairs_arguments(parser)
    parser.add_argument("--out", metavar="FILE", required=True, help=".safetensors, .npz, .csv or .parquet file")
    parser.add_argument("--float64", action="store_true", help="compute in double precision")


def run(arguments: argparse.Namespace) -> None:
    """Run the command."""
    from lcm.data.pairs import WRITTEN_SUFFIXES

    out = check_output(arguments.out, WRITTEN_SUFFIXES, arguments.data, arguments.after, arguments.run_folder)
    data = pairs_of(arguments)

    from lcm.data.encode import write_encoding

    model = open_model(arguments.run_folder, arguments.float64).model
    out.parent.mkdir(parents=True, exist_ok=True)
    write_encoding(out, model, data, str(arguments.run_folder))
    if not arguments.quiet:
        print(f"Encoded {len(data):,} pairs in {model.n} variables: {out}")
