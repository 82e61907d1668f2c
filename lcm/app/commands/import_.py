"""`lcm import`: image sets that exist already, as files of pairs."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

from lcm.app.commands.common import check_writable

HELP = "make data sets of images that exist already: published ones, or a folder"
DESCRIPTION = """\
Read an image set and write it as data sets of pairs, uint8 (N, S, S, 3), with what is known of the truth beside them.

KIND is one of
  causalcircuit   DIR holds train.npz (or train-0.npz and so on), val.npz, test.npz, as downloaded from
                  https://developer.qualcomm.com/software/ai-datasets/causalcircuit (see the licence there).
                  Truth: z, z_tilde, noise, targets, adjacency of red, green, blue and arm. There is no noise_tilde:
                  the set does not say what noise the unintervened model gives z_tilde.
  causal3dident   DIR holds trainset and testset, unpacked from https://zenodo.org/record/4784282 (CC BY 4.0).
                  These are single images. Each image of one object is x; x_tilde is the image whose ten latents are
                  nearest to those of x with one of them redrawn. Truth: z and z_tilde, the latents of the images
                  found, and targets, the latent redrawn. The other latents differ too, by what the nearest image is
                  off: with 36,000 images of ten latents that is much, and no graph is known.
  folder          DIR is a CSV with the header before,after or before,after,target, or a folder that holds it as
                  pairs.csv. Paths are relative to the CSV; target is the 0-based variable that was intervened on, or
                  empty for none. Truth: targets, where there is that column.

Images must be square, of one size in a set, and at least S pixels wide. They are averaged down to S over areas;
greyscale becomes RGB, and what is transparent becomes black. Nothing is ever unpickled.

Writes OUT/train.safetensors and so on (folder: OUT/data.safetensors), in several files above 1 GB. OUT appears whole
or not at all. What was interrupted, or found the disk full, goes on when the same command is given again.
"""
EPILOG = """\
examples:
  lcm import causalcircuit downloads/causalcircuit --out data/causalcircuit
  lcm import causal3dident downloads/causal3dident --out data/hare --object 1 --size 128
  lcm import folder photographs/pairs.csv --out data/photographs
"""

_KINDS = ("causalcircuit", "causal3dident", "folder")
_ONLY_FOR = {"object_class": ("--object", "causal3dident"), "seed": ("--seed", "causal3dident"), "n": ("--n", "folder")}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of the command."""
    parser.add_argument("kind", metavar="KIND", choices=_KINDS, help=", ".join(_KINDS))
    parser.add_argument("source", metavar="DIR", help="folder of the set; folder: the CSV, or the folder of pairs.csv")
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
    parser.add_argument("--seed", metavar="S", type=int, help="causal3dident: of what is redrawn; default: 0")
    parser.add_argument("--n", metavar="N", type=int, help="folder: variables; default: one more than the last target")
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
    """What was asked for of a single kind, by the names of the Python calls."""
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
    return f"what was written is kept: the same command goes on with {arguments.out}"
