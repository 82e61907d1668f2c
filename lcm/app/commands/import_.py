"""`lcm import`: convert existing images and measurements to files of pairs."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from lcm.app.commands.common import check_writable

HELP = "convert existing images or measurements to pairs: published sets, or a folder"
DESCRIPTION = """\
Read a set of images or measurements and write it as pairs, together with the truth that the set gives. Images are
uint8 (N, S, S, 3).

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
  chamber         DIR is a data set of the causal chambers from https://github.com/juangamella/causal-chamber (CC BY
                  4.0), or the CSV of one experiment. Rows 1 and 2 are a pair, rows 3 and 4, and so on. At most one
                  actuator may change in a pair, and it is the target. With --protocol, the rows are those of lcm
                  protocol, and targets come from there: descendants of a target change too. x and x_tilde are sensors,
                  or images with --images. Truth: z and z_tilde, the values of the actuators, targets and, with
                  --protocol, adjacency.
  grid            DIR is an .npz file with images uint8 (N, H, H, 3), one for each combination of levels of some
                  factors, the last factor fastest, such as MPI3D (CC BY 4.0) from
                  https://github.com/rr-learning/disentanglement_dataset, or an .npy file, or a folder with one of
                  these. The model of --nature draws the pairs. Each variable drives one factor, cut into equally
                  probable levels. Truth: z, z_tilde, noise, noise_tilde, targets and adjacency. A pair whose levels do
                  not change shows no change.

All images of a set must be square, of one size, and at least S pixels wide. They are reduced to S pixels by averages
over areas. Greyscale becomes RGB, and transparent pixels become black. The command never unpickles a file.

The command writes OUT/train.safetensors and so on (folder and chamber: OUT/data.safetensors), and splits a file of
images above 1 GB into parts. OUT appears whole or not at all. After an interruption or a full disk, run the same
command again to continue.
"""
EPILOG = """\
examples:
  lcm import causalcircuit downloads/causalcircuit --out data/causalcircuit
  lcm import causal3dident downloads/causal3dident --out data/hare --object 1 --size 128
  lcm import folder photographs/pairs.csv --out data/photographs
  lcm import folder photographs/pairs.json --out data/photographs
  lcm import chamber measured.csv --protocol protocol.json --out data/tunnel
  lcm import chamber downloads/my_set --experiment walk --actuators red pol_1 --images --out data/tunnel
  lcm import grid downloads/mpi3d_real.npz --factors 6,6,2,3,3,40,40 --drives 5,6 --nature two.yaml --out data/mpi3d
"""

_DEFAULT_SIZE = 64
_KINDS = ("causalcircuit", "causal3dident", "folder", "chamber", "grid")
_ONLY_FOR: dict[str, tuple[str, tuple[str, ...]]] = {
    "object_class": ("--object", ("causal3dident",)),
    "seed": ("--seed", ("causal3dident", "grid")),
    "n": ("--n", ("folder",)),
    "allow_outside": ("--allow-outside", ("folder", "chamber")),
    "experiment": ("--experiment", ("chamber",)),
    "actuators": ("--actuators", ("chamber",)),
    "sensors": ("--sensors", ("chamber",)),
    "images": ("--images", ("chamber",)),
    "image_folder": ("--image-folder", ("chamber",)),
    "protocol": ("--protocol", ("chamber",)),
    "overlapping": ("--overlapping", ("chamber",)),
    "nature": ("--nature", ("grid",)),
    "factors": ("--factors", ("grid",)),
    "drives": ("--drives", ("grid",)),
    "fixed": ("--fixed", ("grid",)),
}
_COLUMNS = ("actuators", "sensors", "images", "image_folder")
_LICENCES = {
    "chamber": "The data sets of the causal chambers are under CC BY 4.0: name Gamella, Peters and Bühlmann (2025).",
    "grid": "MPI3D is under CC BY 4.0: name Gondal et al. (2019). Another grid has its own licence.",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    parser.add_argument("kind", metavar="KIND", choices=_KINDS, help=", ".join(_KINDS))
    parser.add_argument("source", metavar="DIR", help="folder of the set, or the file that KIND says")
    parser.add_argument("--out", metavar="OUT", required=True, help="new or empty folder")
    parser.add_argument(
        "--size",
        metavar="S",
        type=int,
        help=f"height and width, a multiple of 16 from 16 to 512; default: {_DEFAULT_SIZE}",
    )
    parser.add_argument(
        "--object", metavar="C", type=int, dest="object_class", help="causal3dident: the object, 0 to 6; default: 0"
    )
    parser.add_argument(
        "--seed",
        metavar="S",
        type=int,
        help="causal3dident: seed for redrawing latents, default 0; grid: seed of pairs, default that of the config",
    )
    parser.add_argument("--n", metavar="N", type=int, help="folder: number of variables; default: largest target + 1")
    parser.add_argument(
        "--allow-outside",
        action="store_true",
        default=None,
        help="folder, chamber: take images from outside the folder of the list too; without it, a list from a stranger "
        "cannot",
    )
    _add_chamber(parser.add_argument_group("options of chamber"))
    _add_grid(parser.add_argument_group("options of grid"))
    parser.set_defaults(resumes=_resumes)


def _add_chamber(group: argparse._ArgumentGroup) -> None:
    group.add_argument("--experiment", metavar="NAME", help="the experiment, if DIR holds several")
    group.add_argument(
        "--actuators", metavar="NAME", nargs="+", help="columns of the variables; default: red green blue pol_1 pol_2"
    )
    group.add_argument(
        "--sensors", metavar="NAME", nargs="+", help="columns of x; default: the sensors of the light tunnel, all nine"
    )
    group.add_argument(
        "--images",
        metavar="COLUMN",
        nargs="?",
        const="image_file",
        help="images as x, named by this column; default column: image_file",
    )
    group.add_argument("--image-folder", metavar="NAME", help="their folder, if there is more than one, as images_64")
    group.add_argument("--protocol", metavar="FILE", help=".json file of lcm protocol, by which the rows were measured")
    group.add_argument(
        "--overlapping",
        action="store_true",
        default=None,
        help="pair each row with the next one, so rows are used twice",
    )


def _add_grid(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--nature", metavar="CONFIG", help="YAML as for lcm generate, without decoder: nature, pairs and seed; required"
    )
    group.add_argument(
        "--factors", metavar="K,K,…", help="levels of each factor; default: the array factor_sizes of the .npz file"
    )
    group.add_argument(
        "--drives",
        metavar="F,F,…",
        help="0-based factor of each variable; default: those with the most levels, in order",
    )
    group.add_argument("--fixed", metavar="F=LEVEL", nargs="+", help="levels of other factors; default: 0")


def run(arguments: argparse.Namespace) -> None:
    """Run the command."""
    options = _options(arguments)
    check_writable(Path(arguments.out).parent)

    from lcm.data.imported.chamber import import_chamber
    from lcm.data.imported.folder import import_folder
    from lcm.data.imported.grid import import_grid
    from lcm.data.imported.published import import_causal3dident, import_causal_circuit

    importers: dict[str, Callable[..., dict[Path, int]]] = {
        "causalcircuit": import_causal_circuit,
        "causal3dident": import_causal3dident,
        "folder": import_folder,
        "chamber": import_chamber,
        "grid": import_grid,
    }
    with_images = True
    if arguments.kind == "chamber":
        options, with_images = _chamber_options(options)
        if not with_images and arguments.size is not None:
            raise ValueError(f"--size: Expected none without images; got {arguments.size}")
    if arguments.kind == "grid":
        options = _grid_options(options)
    size = _DEFAULT_SIZE if arguments.size is None else arguments.size
    common = {"size": size, "threads": arguments.threads, "progress": not arguments.quiet}
    written = importers[arguments.kind](arguments.source, arguments.out, **common, **options)
    if not arguments.quiet:
        _print_written(written, f"images of {size} x {size} pixels" if with_images else "sensors")
        if arguments.kind in _LICENCES and arguments.protocol is None:
            print(_LICENCES[arguments.kind])


def _options(arguments: argparse.Namespace) -> dict[str, Any]:
    """The options that only some kinds take, by their names as Python arguments."""
    given = {name: value for name in _ONLY_FOR if (value := getattr(arguments, name)) is not None}
    for name in given:
        option, kinds = _ONLY_FOR[name]
        if arguments.kind not in kinds:
            of = " and ".join(kinds)
            raise ValueError(f"{option}: Expected no such option for {arguments.kind}; got one, which is for {of}")
    return given


def _chamber_options(options: dict[str, Any]) -> tuple[dict[str, Any], bool]:
    """The arguments of `import_chamber`, and whether its pairs are images."""
    from lcm.data.imported.chamber import ChamberColumns

    columns = ChamberColumns(**{name: options.pop(name) for name in _COLUMNS if name in options})
    return options | {"columns": columns}, columns.images is not None


def _grid_options(options: dict[str, Any]) -> dict[str, Any]:
    """The arguments of `import_grid`."""
    from lcm.base.config import load_config
    from lcm.data.data_set import GenerateConfig

    if "nature" not in options:
        raise ValueError("--nature: Expected the config of a causal model for grid; got none")
    parsed: dict[str, Any] = {
        name: _numbers(options[name], f"--{name}") for name in ("factors", "drives") if name in options
    }
    if "fixed" in options:
        parsed["fixed"] = _levels(options["fixed"])
    return options | parsed | {"nature": load_config(options["nature"], GenerateConfig)}


def _numbers(text: str, option: str) -> list[int]:
    parts = [part.strip() for part in text.split(",")]
    if not all(part.isascii() and part.isdigit() and len(part) < 10 for part in parts):
        raise ValueError(f"{option}: Expected whole numbers with commas between them; got {text!r}")
    return [int(part) for part in parts]


def _levels(texts: Sequence[str]) -> dict[int, int]:
    found: dict[int, int] = {}
    for text in texts:
        parts = text.split("=")
        if len(parts) != 2 or not all(part.isascii() and part.isdigit() and len(part) < 10 for part in parts):
            raise ValueError(f"--fixed: Expected FACTOR=LEVEL, both 0-based; got {text!r}")
        if int(parts[0]) in found:
            raise ValueError(f"--fixed: Expected each factor once; got {parts[0]} again")
        found[int(parts[0])] = int(parts[1])
    return found


def _print_written(written: dict[Path, int], what: str) -> None:
    print(f"Wrote pairs of {what}:")
    for path, count in written.items():
        print(f"  {path}  {count:,} pairs")
    print(f"Next:\n  lcm fit {next(iter(written))} --out RUN")


def _resumes(arguments: argparse.Namespace) -> str:
    return f"the images written so far are kept, and the same command continues with {arguments.out}"
