"""Published data sets: CausalCircuit (Brehmer et al. 2022) and Causal3DIdent (von Kügelgen et al. 2021).

CausalCircuit holds pairs of a robot arm, three buttons and three lights. Causal3DIdent holds single images, which are
made into pairs of neighbours.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import NamedTuple, final

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from lcm.base.npy import read_npy
from lcm.base.rows import Array
from lcm.data.image_files import require_new
from lcm.data.imported.archive import members, read_array, read_bytes, read_bytes_header
from lcm.data.imported.source import (
    Block,
    EncodedImage,
    PairsOfFiles,
    PairSource,
    identity_of_files,
    require_size,
    write_image_pairs,
)

_CIRCUIT_URL = "https://developer.qualcomm.com/software/ai-datasets/causalcircuit"
_CIRCUIT_LICENCE = "see the licence there"
_CIRCUIT_SPLITS = ("train", "val", "test")
_RED, _GREEN, _BLUE, _ARM = range(4)
_EDGES = ((_ARM, _RED), (_ARM, _GREEN), (_ARM, _BLUE), (_GREEN, _RED), (_BLUE, _RED))
_SHAPES: dict[str, tuple[int, ...]] = {
    "original_latents": (2, 4),
    "epsilon": (2, 4),
    "pressed": (2, 3),
    "intervention_labels": (),
    "intervention_masks": (4,),
}
"""The shapes of the plain arrays, without the axis of rows."""

_LARGEST = {"original_latents": 10.0, "epsilon": 1000.0}
"""Bounds of plausible values: the lights and the arm lie in [0, 1], the noise is roughly standard normal."""

_CIRCUIT_SLACK = 1e-3
_IDENT_URL = "https://zenodo.org/record/4784282"
_IDENT_LICENCE = "CC BY 4.0"
_OBJECTS = ("teapot", "hare", "dragon", "cow", "armadillo", "horse", "head")
"""The classes 0 to 6."""

LATENTS = (
    *("position_0", "position_1", "position_2", "rotation_0", "rotation_1", "rotation_2"),
    *("spotlight", "object_hue", "spotlight_hue", "background_hue"),
)
_IDENT_SPLITS = {"train": ("trainset", "train"), "test": ("testset", "test")}
_IDENT_SLACK = 1e-6


class _Part(NamedTuple):
    """One file: its plain arrays, and the images in it."""

    path: Path
    arrays: Mapping[str, Array]

    @property
    def rows(self) -> int:
        """Number of pairs."""
        return len(self.arrays["original_latents"])


@final
class _Split(PairSource):
    """A data set of CausalCircuit in one or several archives."""

    def __init__(self, name: str, parts: Sequence[_Part]) -> None:
        def whole(key: str) -> Array:
            return np.concatenate([part.arrays[key] for part in parts])

        latents = whole("original_latents").astype(np.float32)
        # no noise_tilde: epsilon after the intervention need not be the noise of z_tilde in the unintervened model
        truth = {
            "z": latents[:, 0],
            "z_tilde": latents[:, 1],
            "noise": whole("epsilon")[:, 0].astype(np.float32),
            "targets": whole("intervention_masks").astype(np.bool_),
            "adjacency": _adjacency(),
        }
        about = {"variables": '["red", "green", "blue", "arm"]', "licence": f"{_CIRCUIT_URL}: {_CIRCUIT_LICENCE}"}
        super().__init__(name, truth, {"source": "causalcircuit", "split": name, **about})
        self._parts = parts

    def __len__(self) -> int:
        return sum(part.rows for part in self._parts)

    def read(self, blocks: Sequence[tuple[int, int]]) -> Iterator[Block]:
        row = blocks[0][0] if blocks else 0
        images = self._from(row)
        for start, stop in blocks:
            yield list(islice(images, start - row, stop - row))
            row = stop

    def _from(self, start: int) -> Iterator[tuple[EncodedImage, EncodedImage]]:
        first = 0
        for part in self._parts:
            begin, first = max(0, start - first), first + part.rows
            if begin < part.rows:
                items = read_bytes(part.path, "imgs", 2 * begin)
                for row, (before, after) in enumerate(zip(items, items, strict=True), start=begin):
                    where = f"{part.path}: imgs: row {row}"
                    yield EncodedImage(f"{where}, before", before), EncodedImage(f"{where}, after", after)


def import_causal_circuit(
    folder: str | Path, out: str | Path, size: int = 64, *, threads: int | None = None, progress: bool = False
) -> dict[Path, int]:
    """Write train, val and test.safetensors to `out`, from the archives that exist; return files and numbers of pairs.

    The truth is z, z_tilde, the noise before the intervention, targets and the graph of red, green, blue and arm.

    Args:
        folder: holds train.npz, or train-0.npz and so on, val.npz and test.npz.
        size: height and width of the written images, a multiple of 16 from 16 to 512; larger images are averaged.
        threads: the number of threads that decode, by default one per core.
        progress: whether to show progress bars on stderr.

    Raises:
        ValueError: no such files (the message says where to get them), an array of a wrong type, shape or range, a
            bad image, `out` is not new, or the disk is full.
    """
    require_size(size)
    require_new(Path(out))
    files = {split: _files(Path(folder), split) for split in _CIRCUIT_SPLITS}
    if not any(files.values()):
        got = "none" if Path(folder).is_dir() else "no such folder"
        raise ValueError(
            f"{folder}: Expected train.npz, or train-0.npz and so on, val.npz or test.npz of CausalCircuit; got {got}. "
            f"Download it from {_CIRCUIT_URL} ({_CIRCUIT_LICENCE})"
        )
    splits = [_Split(name, [_read(path) for path in paths]) for name, paths in files.items() if paths]
    found = identity_of_files(path for paths in files.values() for path in paths)
    identity = {"source": "causalcircuit", "files": found}
    return write_image_pairs(Path(out), splits, identity, size, threads=threads, progress=progress)


def _files(folder: Path, split: str) -> list[Path]:
    """The archives of a split: one, or several with numbers."""
    names = sorted(path.name for path in folder.glob(f"{split}*.npz"))
    matches = [match for name in names if (match := re.fullmatch(rf"{split}[-_]?(\d+)\.npz", name))]
    numbered = {int(match[1]): match[0] for match in matches}
    whole = folder / f"{split}.npz"
    if whole.is_file() and numbered:
        raise ValueError(f"{folder}: Expected {whole.name} or numbered files; got it and {numbered[min(numbered)]}")
    if len(numbered) < len(matches):
        raise ValueError(f"{folder}: Expected one file of each number; got {', '.join(match[0] for match in matches)}")
    if not numbered:
        return [whole] if whole.is_file() else []
    first = min(1, *numbered)
    missing = [number for number in range(first, max(numbered)) if number not in numbered]
    if missing:
        raise ValueError(f"{folder}: Expected {split} files without a gap; got none of number {missing[0]}")
    return [folder / numbered[number] for number in sorted(numbered)]


def _read(path: Path) -> _Part:
    """Check the arrays of an archive and read the plain ones."""
    missing = {*_SHAPES, "imgs"} - members(path)
    if missing:
        raise ValueError(f"{path}: {min(missing)}: Expected this array of CausalCircuit; got none")
    arrays = {name: read_array(path, name) for name in _SHAPES}
    count = len(arrays["original_latents"]) if arrays["original_latents"].ndim else 0
    shapes = {name: array.shape for name, array in arrays.items()} | {"imgs": read_bytes_header(path, "imgs").shape}
    for name, rest in (_SHAPES | {"imgs": (2,)}).items():
        if shapes[name] != (count, *rest) or count == 0:
            expected = ("N", *rest) if count == 0 or name == "original_latents" else (count, *rest)
            written = "(" + ", ".join(map(str, expected)) + ("," if len(expected) == 1 else "") + ")"
            raise ValueError(f"{path}: {name}: Expected shape {written}; got {shapes[name]}")
    for name, array in arrays.items():
        _require_values(array, name, f"{path}: {name}")
    _require_consistent(arrays["intervention_labels"], arrays["intervention_masks"], f"{path}: intervention_labels")
    return _Part(path, arrays)


def _require_values(array: Array, name: str, where: str) -> None:
    kinds = "f" if name in _LARGEST else "biuf"
    if array.dtype.kind not in kinds:
        raise ValueError(f"{where}: Expected {'real numbers' if kinds == 'f' else 'numbers'}; got dtype {array.dtype}")
    values = array.astype(np.float64)
    if not np.isfinite(values).all():
        row = int(np.argwhere(~np.isfinite(values))[0][0])
        raise ValueError(f"{where}: Expected finite numbers; got others, first in row {row}")
    got = f"entries from {values.min():g} to {values.max():g}"
    if name == "intervention_masks" and not np.isin(values, (0.0, 1.0)).all():
        raise ValueError(f"{where}: Expected entries 0 and 1; got {got}")
    if name == "intervention_labels" and not ((values >= 0.0) & (values == np.round(values))).all():
        raise ValueError(f"{where}: Expected whole numbers from 0 on; got {got}")
    if name in _LARGEST and np.abs(values).max() > _LARGEST[name]:
        raise ValueError(f"{where}: Expected entries of size at most {_LARGEST[name]:g}; got {got}")
    if name == "original_latents":
        lights = values[:, :, :_ARM]
        if lights.min() < -_CIRCUIT_SLACK or lights.max() > 1.0 + _CIRCUIT_SLACK:
            got = f"entries from {lights.min():g} to {lights.max():g}"
            raise ValueError(f"{where}: Expected intensities of the lights, columns 0 to 2, in [0, 1]; got {got}")


def _require_consistent(labels: Array, masks: Array, where: str) -> None:
    """Each label must go with one mask, and each mask with one label."""
    both = np.unique(np.column_stack([labels.astype(np.int64), masks.astype(np.int64)]), axis=0)
    if not len(both) == len(np.unique(both[:, 0])) == len(np.unique(both[:, 1:], axis=0)):
        counts = f"{len(np.unique(both[:, 0]))} labels and {len(np.unique(both[:, 1:], axis=0))} masks"
        raise ValueError(
            f"{where}: Expected one row of intervention_masks for each label; got {counts} in {len(both)} combinations"
        )


def _adjacency() -> NDArray[np.uint8]:
    adjacency = np.zeros((4, 4), np.uint8)
    adjacency[tuple(np.array(_EDGES).T)] = 1
    return adjacency


class Neighbours(NamedTuple):
    """For each of N images: the number of the image after it (N,), and which of the n latents was redrawn (N,)."""

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
    """Write train and test.safetensors to `out`, from the sets that exist; return the files and numbers of pairs.

    Every image of one object is the x of a pair; `neighbours` finds its x_tilde. The truth is z and z_tilde, the
    latents of the two images, and targets, the latent that was redrawn. The other latents change too, because the
    nearest image is not exactly the one wanted.

    Args:
        folder: holds trainset and testset (or train and test), with raw_latents_0.npy, images_0 and so on.
        size: height and width of the written images, a multiple of 16 from 16 to 512; larger images are averaged.
        object_class: 0 to 6, of teapot, hare, dragon, cow, armadillo, horse and head.
        seed: decides what is redrawn; at least 0.
        threads: the number of threads that decode, by default one per core.
        progress: whether to show progress bars on stderr.

    Raises:
        ValueError: an object class or a seed out of range, no such files (the message says where to get them), an array
            of a wrong type, shape or range, a missing or bad image, `out` is not new, or the disk is full.
    """
    require_size(size)
    require_new(Path(out))
    if not 0 <= object_class < len(_OBJECTS):
        raise ValueError(f"object: Expected a class from 0 to {len(_OBJECTS) - 1}; got {object_class}.")
    if seed < 0:
        raise ValueError(f"seed: Expected seed >= 0; got {seed}.")
    found = {split: _folder(Path(folder), names, object_class) for split, names in _IDENT_SPLITS.items()}
    folders = {split: path for split, path in found.items() if path}
    if not folders:
        got = "none" if Path(folder).is_dir() else "no such folder"
        raise ValueError(
            f"{folder}: Expected trainset or testset with {_latents_name(object_class)} of Causal3DIdent; got {got}. "
            f"Download it from {_IDENT_URL} (licence: {_IDENT_LICENCE})"
        )
    sources = [_pairs(split, path, object_class, seed) for split, path in folders.items()]
    latents = [path / _latents_name(object_class) for path in folders.values()]
    identity = {"source": "causal3dident", "files": identity_of_files(latents)}
    identity |= {"object": str(object_class), "seed": str(seed)}
    return write_image_pairs(Path(out), sources, identity, size, threads=threads, progress=progress)


def neighbours(latents: Array, generator: np.random.Generator) -> Neighbours:
    """Pair each image with the one whose latents are nearest to its own after one latent is redrawn.

    The redrawn latent is one of the n at random. Its value is that of another random row, so that it follows the
    latent's distribution over all rows. An image is never its own neighbour.

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


def _pairs(split: str, folder: Path, object_class: int, seed: int) -> PairSource:
    latents = _latents(folder / _latents_name(object_class))
    images = _images(folder / f"images_{object_class}", len(latents))
    after, redrawn = neighbours(latents, np.random.default_rng([seed, list(_IDENT_SPLITS).index(split)]))
    z, z_tilde = latents.astype(np.float32), latents[after].astype(np.float32)
    targets = redrawn[:, None] == np.arange(latents.shape[1])
    change = np.abs(z_tilde - z)
    metadata = {
        "source": "causal3dident",
        "split": split,
        "seed": str(seed),
        "object": _OBJECTS[object_class],
        "variables": json.dumps(LATENTS),
        "mean_change_redrawn": f"{change[targets].mean():.3f}",
        "mean_change_others": f"{change[~targets].mean():.3f}",
        "licence": f"{_IDENT_URL}: {_IDENT_LICENCE}",
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
    latents = read_npy(path)
    if latents.dtype.kind != "f":
        raise ValueError(f"{path}: Expected real numbers; got dtype {latents.dtype}")
    if latents.ndim != 2 or latents.shape[1] != len(LATENTS) or len(latents) < 2:
        raise ValueError(f"{path}: Expected shape (N, {len(LATENTS)}), N at least 2; got {latents.shape}")
    if not np.isfinite(latents).all():
        row = int(np.argwhere(~np.isfinite(latents))[0][0])
        raise ValueError(f"{path}: Expected finite numbers; got others, first in row {row}")
    if np.abs(latents).max() > 1.0 + _IDENT_SLACK:
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
