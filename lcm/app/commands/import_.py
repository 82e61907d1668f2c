"""`lcm import`: convert existing image sets to files of pairs."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

from lcm.app.commands.common import check_writable

HELP = "convert existing images to pairs: published sets, or a folder"
DESCRIPTION = """\
Read an image set and write it as pairs of images, uint8 (N, S, S, 3), together with the truth that the set gives.

KIND is one of
  causalcircuit   DIR holds train.npz (or train-0.npz and so on), val.npz, test.npz, as downloaded from
                  https://developer.qualcomm.com/software/ai-datasets/causalcircuit (see the licence there).
                  Truth: z, z_tilde, noise, targets, and the adjacency of red, green, blue and arm. The set does not
                  give noise_tilde, the noise that the model without intervention maps to z_tilde.
  causal3dident   DIR holds trainset and testset, unpacked from https://zenodo.org/record/4784282 (CC BY 4.0).
                  The set has single images. Each image of one object is an x. To find its x_tilde, one of its ten
                  latents is drawn again, and x_tilde is the image with the nearest latents. Truth: z and z_tilde, the
                  latents of both images, and targets, the latent that was drawn again. The other latents differ too,
                  and by much, since the set has only 36,000 images for ten latents. The graph is not known.
  folder          DIR is a CSV with the header before,after or before,after,target, or a .json file with a list of
                  mappings with these keys, or a folder with such a pairs.csv or pairs.json. Paths are relative to this
                  file. The target is the 0-based variable of the intervention, or empty (null in JSON) if there was no
                  intervention. Truth: targets, if the file gives them.

All images of a set must be square, of one size, and at least S pixels wide. They are reduced to S pixels by averages
over areas. Greyscale becomes RGB, and transparent pixels become black. The command never unpickles a file.

The command writes OUT/train.safetensors and so on (folder: OUT/data.safetensors), and splits a file above 1 GB into
parts. OUT appears whole or not at all. After an interruption or a full disk, run the same command again to continue.
"""
EPILOG = """\
examples:
  lcm import causalcircuit downloads/causalcircuit --out data/causalcircuit
  lcm import causal3dident downloads/causal3dident --out data/hare --object 1 --size 128
  lcm import folder photographs/pairs.csv --out data/photographs
  lcm import folder photographs/pairs.json --out data/photographs
"""

_KINDS = ("causalcircuit", "causal3dident", "folder")
_ONLY_FOR = {
    "object_class": ("--object", "causal3dident"),
    "seed": ("--seed", "causal3dident"),
    "n": ("--n", "folder"),
    "allow_outside": ("--allow-outside", "folder"),
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    parser.add_argument("kind", metavar="KIND", choices=_KINDS, help=", ".join(_KINDS))
    parser.add_argument("source", metavar="DIR", help="folder of the set, or the list of KIND folder")
    parser.add_argument("--out", metavar="OUT", required=True, help="new or empty folder")
    parser.add_argument(
        "--size",
        metavar="S",
        type=int,
        default=64,
        help="height and width, a multiple of 16 from 16 to 512; default: 64",
    )
    parser.add_argument(
        "--object", metavar="C", type=int, dest="object_class", help="causal3dident: the object, 0 to 6; default: 0"
    )
    parser.add_argument("--seed", metavar="S", type=int, help="causal3dident: seed for redrawing latents; default: 0")
    parser.add_argument("--n", metavar="N", type=int, help="folder: number of variables; default: largest target + 1")
    parser.add_argument(
        "--allow-outside",
        action="store_true",
        default=None,
        help="folder: take images from outside the folder of the list too; without it, a list from a stranger cannot",
    )
    parser.set_defaults(resumes=_resumes)


def run(arguments: argparse.Namespace) -> None:
    """Run the command."""
    options = _options(arguments)
    check_writable(Path(arguments.out).parent)

    from lcm.data.imported.folder import import_folder
    from lcm.data.imported.published import import_causal3dident, import_causal_circuit

    importers: dict[str, Callable[..., dict[Path, int]]] = {
        "causalcircuit": import_causal_circuit,
        "causal3dident": import_causal3dident,
        "folder": import_folder,
    }
    common = {"size": arguments.size, "threads": arguments.threads, "progress": not arguments.quiet}
    written = importers[arguments.kind](arguments.source, arguments.out, **common, **options)
    if not arguments.quiet:
        _print_written(written, arguments.size)


def _options(arguments: argparse.Namespace) -> dict[str, int]:
    """The options that only one kind takes, by their names as Python arguments."""
    given = {name: value for name in _ONLY_FOR if (value := getattr(arguments, name)) is not None}
    for name in given:
        option, kind = _ONLY_FOR[name]
        if kind != arguments.kind:
            raise ValueError(f"{option}: Expected no such option for {arguments.kind}; got one, which is for {kind}")
    return given


def _print_written(written: dict[Path, int], size: int) -> None:
    print(f"Wrote pairs of images of {size} x {size} pixels:")
    for path, count in written.items():
        print(f"  {path}  {count:,} pairs")
    print(f"Next:\n  lcm fit {next(iter(written))} --out RUN")


def _resumes(arguments: argparse.Namespace) -> str:
    return f"the images written so far are kept, and the same command continues with {arguments.out}"
