"""`lcm generate`: draw a ground truth and pairs from it."""

from __future__ import annotations

import argparse
from pathlib import Path

from lcm.app.commands.common import check_writable, find_config

HELP = "draw a ground truth and pairs from it"
DESCRIPTION = """\
Draw a ground truth (a "nature") from a config, and draw pairs from it. Each file of pairs also holds their truth.

The command writes DIR/{train,val,test}.safetensors, DIR/nature.safetensors (the model itself) and DIR/config.yaml (all
settings, with defaults). DIR appears whole or not at all. The same config and seed give the same bytes.
"""
EPILOG = """\
examples:
  lcm generate paper_configs/toy2d.yaml --out data/toy2d
  lcm generate paper_configs/circuit.yaml --out data/circuit        # images; needs the extra `images`
  lcm generate paper_configs/light_tunnel.yaml --out data/tunnel    # a real instrument; needs the extra `chamber`

a config, here for linear models with a random rotation as decoder:
  nature: {n: 4}
  pairs: {train: 100000, val: 10000, test: 10000}
  seed: 0

DIR/config.yaml shows the other keys of nature: graph, mechanism, noise, intervention, decoder, thickness. Each part
but thickness has a kind, and the keys of that kind.
With `scene: {kind: circuit}`, `{kind: objects}` or `{kind: light-tunnel}`, the variables drive a scene, and x and
x_tilde are its images. DIR/pairs.png shows some of them. After an interruption, run the same command again to continue.
A config from a stranger is safe to open: with scene: {kind: FILE.py:CLASS}, code runs only with --allow-code.
The configs of paper_configs/ come with the package, and are found from any folder.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    parser.add_argument("config", metavar="CONFIG", help="YAML file")
    parser.add_argument("--out", metavar="DIR", required=True, help="new or empty folder")
    parser.add_argument("--seed", metavar="S", type=int, help="seed; overrides that of the config")
    parser.add_argument(
        "--processes", metavar="K", type=int, help="processes that draw images; default: one for each core"
    )
    parser.add_argument("--allow-code", action="store_true", help="run the Python file that scene.kind names")
    parser.set_defaults(resumes=_resumes)


def run(arguments: argparse.Namespace) -> None:
    """Run the command."""
    config_file = find_config(arguments.config)
    check_writable(Path(arguments.out).parent)

    from lcm.base.config import load_config
    from lcm.data.data_set import GenerateConfig, generate
    from lcm.data.scene.scene import require_allowed
    from lcm.report.images import draw_contact_sheet

    if arguments.processes is not None and arguments.processes < 1:
        raise ValueError(f"--processes: Expected at least 1; got {arguments.processes}")
    config = load_config(config_file, GenerateConfig)
    require_allowed(config.scene, str(config_file), arguments.allow_code)
    options = {"processes": arguments.processes, "progress": not arguments.quiet}
    generate(config, arguments.out, arguments.seed, draw=draw_contact_sheet, **options)
    if not arguments.quiet:
        out, pairs = Path(arguments.out), config.pairs
        print(f"Drew a ground truth of {config.nature.n} variables and these pairs from it:")
        for split in ("train", "val", "test"):
            print(f"  {out / f'{split}.safetensors'}  {getattr(pairs, split):,} pairs")
        if config.scene is not None:
            print(f"Some pairs, before and after: {out / 'pairs.png'}")
        print(f"Next:\n  lcm fit {out / 'train.safetensors'} --out RUN")


def _resumes(arguments: argparse.Namespace) -> str:
    from lcm.data.image_files import partial_path

    if not partial_path(Path(arguments.out)).exists():
        return "nothing was written"
    return f"the images drawn so far are kept, and the same command continues with {arguments.out}"
