"""`lcm encode`: the learned variables of every pair."""

from __future__ import annotations

import argparse

from lcm.app.commands.common import check_output, open_model, open_pairs

HELP = "write the learned variables of every pair"
DESCRIPTION = """\
Encode pairs: learned causal variables, their noise, and which variable each intervention changed.

FILE holds, for N pairs and n learned variables, float32
  z, z_tilde            (N, n)      causal variables before and after
  noise, noise_tilde    (N, n)      their noise; noise_tilde is the noise that the unintervened model gives z_tilde
  target_probability    (N, n + 1)  column 0: nothing was intervened on; column k + 1: learned variable k was
and the JSON list of the columns' target sets under the metadata key target_sets; a fit whose sets have several
targets has a column for each set, in that order.
"""
EPILOG = """\
example:
  lcm encode run data/toy2d/test.safetensors --out encoded.safetensors
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of the command."""
    parser.add_argument("run_folder", metavar="RUN", help="run folder of lcm fit, or a model file")
    parser.add_argument("data", metavar="DATA", help=".safetensors or .npz file with x and x_tilde")
    parser.add_argument("--out", metavar="FILE", required=True, help=".safetensors file to write")
    parser.add_argument("--float64", action="store_true", help="compute in double precision")


def run(arguments: argparse.Namespace) -> None:
    """Run the command."""
    out = check_output(arguments.out, ".safetensors", arguments.data, arguments.run_folder)
    data = open_pairs(arguments.data)

    import json

    from lcm.base import __version__
    from lcm.base.files import write_tensors
    from lcm.data.encode import encode_data, target_columns

    model = open_model(arguments.run_folder, arguments.float64).model
    tensors = encode_data(model, data)
    metadata = {
        "made_by": "lcm encode",
        "version": __version__,
        "model": str(arguments.run_folder),
        "data": data.source,
        "target_sets": json.dumps(target_columns(model)),
    }
    out.parent.mkdir(parents=True, exist_ok=True)
    write_tensors(out, tensors, metadata)
    if not arguments.quiet:
        print(f"Encoded {len(data):,} pairs in {model.n} variables: {out}")
