"""Causal3DIdent (von Kügelgen et al. 2021), single images as it is published, made into pairs of neighbours."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from lcm.data.image_files import require_new
from lcm.data.imported.archive import require_size
from lcm.data.imported.source import ImagePairs, PairsOfFiles, identity_of_files, write_image_pairs

Array = NDArray[Any]

URL = "https://zenodo.org/record/4784282"
LICENCE = "CC BY 4.0"
OBJECTS = ("teapot", "hare", "dragon", "cow", "armadillo", "horse", "head")
"""The classes 0 to 6."""

VARIABLES = (
    *("position_0", "position_1", "position_2", "rotation_0", "rotation_1", "rotation_2"),
    *("spotlight", "object_hue", "spotlight_hue", "background_hue"),
)
_SPLITS = {"train": ("trainset", "train"), "test": ("testset", "test")}
_SLACK = 1e-6


class Neighbours(NamedTuple):
    """For each of N images: which image comes after it (N,), and which of n latents was redrawn (N,)."""

    after: NDArray[np.int64]
    redrawn: NDArray[np.int64]


def import_causal3dident(
    folder: str | Path,
    out: str | Path,
    size: int = 64,
    *,
    object_class: int = 0,
    seed: int = 0,
    threads: int | None = None,
    progress: bool = False,
) -> dict[Path, int]:
    """Make train and test.safetensors in the folder `out` of those sets that are there; return their pairs.

    Every image of one object is the x of a pair, whose x_tilde is found by `neighbours`. The truth is z, z_tilde, the
    latents of the two images, and targets, the latent that was redrawn; the others differ too, as far as the nearest
    image is from what was wanted.

    Args:
        folder: holds trainset and testset (or train and test), with raw_latents_0.npy, images_0 and so on.
        size: height and width to average the images down to, a multiple of 16 from 16 to 512.
        object_class: 0 to 6, as `OBJECTS`.
        seed: of what is redrawn, at least 0.
        threads: that decode, by default one a core.
        progress: whether to show progress bars on stderr.

    Raises:
        ValueError: none of the files (the message says where they are), an array of a wrong type, shape or range,
            a missing or bad image, `out` is not new, or the disk is full.
    """
    require_size(size)
    require_new(Path(out))
    if not 0 <= object_class < len(OBJECTS):
        raise ValueError(f"object: Expected a class from 0 to {len(OBJECTS) - 1}; got {object_class}.")
    if seed < 0:
        raise ValueError(f"seed: Expected seed >= 0; got {seed}.")
    found = {split: _folder(Path(folder), names, object_class) for split, names in _SPLITS.items()}
    folders = {split: path for split, path in found.items() if path}
    if not folders:
        got = "none" if Path(folder).is_dir() else "no such folder"
        raise ValueError(
            f"{folder}: Expected trainset or testset with {_latents_name(object_class)} of Causal3DIdent; got {got}. "
            f"Download it from {URL} (licence: {LICENCE})"
        )
    sources = [_pairs(split, path, object_class, seed) for split, path in folders.items()]
    latents = [path / _latents_name(object_class) for path in folders.values()]
    identity = {"source": "causal3dident", "files": identity_of_files(latents)}
    identity |= {"object": str(object_class), "seed": str(seed)}
    return write_image_pairs(Path(out), sources, identity, size, threads=threads, progress=progress)


def neighbours(latents: Array, generator: np.random.Generator) -> Neighbours:
    """Pair each image with that whose latents are nearest to its own with one of them redrawn.

    The redrawn latent is one of the n at random, its value that of another row at random: the distribution that it has
    over all rows. An image is never its own neighbour.

    Args:
        latents: (N, n), N at least 2.
    """
    rows, columns = np.arange(len(latents)), latents.shape[1]
    redrawn = generator.integers(columns, size=len(latents))
    donors = (rows + generator.integers(1, len(latents), size=len(latents))) % len(latents)
    wanted = latents.copy()
    wanted[rows, redrawn] = latents[donors, redrawn]
    nearest = np.asarray(cKDTree(latents).query(wanted, k=2)[1])
    return Neighbours(np.where(nearest[:, 0] == rows, nearest[:, 1], nearest[:, 0]).astype(np.int64), redrawn)


def _pairs(split: str, folder: Path, object_class: int, seed: int) -> ImagePairs:
    latents = _latents(folder / _latents_name(object_class))
    images = _images(folder / f"images_{object_class}", len(latents))
    after, redrawn = neighbours(latents, np.random.default_rng([seed, list(_SPLITS).index(split)]))
    z, z_tilde = latents.astype(np.float32), latents[after].astype(np.float32)
    targets = redrawn[:, None] == np.arange(latents.shape[1])
    change = np.abs(z_tilde - z)
    metadata = {
        "source": "causal3dident",
        "split": split,
        "seed": str(seed),
        "object": OBJECTS[object_class],
        "variables": json.dumps(VARIABLES),
        "mean_change_redrawn": f"{change[targets].mean():.3f}",
        "mean_change_others": f"{change[~targets].mean():.3f}",
        "licence": f"{URL}: {LICENCE}",
    }
    files = [(images[row], images[other]) for row, other in enumerate(after)]
    truth = {"z": z, "z_tilde": z_tilde, "targets": targets}
    return PairsOfFiles(split, truth, metadata, files, str(folder))


def _folder(parent: Path, names: tuple[str, ...], object_class: int) -> Path | None:
    candidates = (parent / name for name in names)
    return next((path for path in candidates if (path / _latents_name(object_class)).is_file()), None)


def _latents_name(object_class: int) -> str:
    return f"raw_latents_{object_class}.npy"


def _latents(path: Path) -> Array:
    try:
        with path.open("rb") as file:
            latents = np.lib.format.read_array(file, allow_pickle=False)
    except (OSError, EOFError, ValueError) as error:
        raise ValueError(f"{path}: Expected a whole .npy array; got {' '.join(str(error).split())}") from error
    if latents.dtype.kind != "f":
        raise ValueError(f"{path}: Expected real numbers; got dtype {latents.dtype}")
    if latents.ndim != 2 or latents.shape[1] != len(VARIABLES) or len(latents) < 2:
        raise ValueError(f"{path}: Expected shape (N, {len(VARIABLES)}), N at least 2; got {latents.shape}")
    if not np.isfinite(latents).all():
        row = int(np.argwhere(~np.isfinite(latents))[0][0])
        raise ValueError(f"{path}: Expected finite numbers; got others, first in row {row}")
    if np.abs(latents).max() > 1.0 + _SLACK:
        got = f"entries from {latents.min():g} to {latents.max():g}"
        raise ValueError(f"{path}: Expected entries in [-1, 1]; got {got}")
    return np.asarray(latents, np.float64)


def _images(folder: Path, count: int) -> list[Path]:
    """The files 0.png, or 00000.png, and so on, in the order of their numbers."""
    files = folder.glob("*.png") if folder.is_dir() else ()
    numbered = {int(path.stem): path for path in files if path.stem.isascii() and path.stem.isdigit()}
    missing = next((number for number in range(count) if number not in numbered), None)
    if missing is not None:
        width = len(str(count - 1))
        raise ValueError(
            f"{folder}: Expected an image for each of {count} rows of latents; got no {missing:0{width}d}.png"
        )
    if len(numbered) > count:
        raise ValueError(f"{folder}: Expected an image for each of {count} rows of latents; got {len(numbered)} images")
    return [numbered[number] for number in range(count)]
