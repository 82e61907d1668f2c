"""CausalCircuit (Brehmer et al. 2022), as it is published: a robot arm, three buttons and three lights."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple, final

import numpy as np
from numpy.typing import NDArray

from lcm.data.image_files import require_new
from lcm.data.imported.archive import EncodedImage, members, read_array, read_bytes, read_bytes_header, require_size
from lcm.data.imported.source import Block, ImagePairs, identity_of_files, write_image_pairs

Array = NDArray[Any]

URL = "https://developer.qualcomm.com/software/ai-datasets/causalcircuit"
LICENCE = "see the licence there"
_SPLITS = ("train", "val", "test")
_RED, _GREEN, _BLUE, _ARM = range(4)
_EDGES = ((_ARM, _RED), (_ARM, _GREEN), (_ARM, _BLUE), (_GREEN, _RED), (_BLUE, _RED))
_SHAPES: dict[str, tuple[int, ...]] = {
    "original_latents": (2, 4),
    "epsilon": (2, 4),
    "pressed": (2, 3),
    "intervention_labels": (),
    "intervention_masks": (4,),
}
"""Of the plain arrays, without the rows."""

_LARGEST = {"original_latents": 10.0, "epsilon": 1000.0}
"""Bounds on what can be meant: the lights and the arm lie in [0, 1], the noise is about standard."""

_SLACK = 1e-3


class _Part(NamedTuple):
    """One file: its plain arrays, and the images in it."""

    path: Path
    arrays: Mapping[str, Array]

    @property
    def rows(self) -> int:
        """Number of pairs."""
        return len(self.arrays["original_latents"])


@final
class _Split(ImagePairs):
    """A data set in one or several archives."""

    def __init__(self, name: str, parts: Sequence[_Part]) -> None:
        def whole(key: str) -> Array:
            return np.concatenate([part.arrays[key] for part in parts])

        latents = whole("original_latents").astype(np.float32)
        # epsilon after the intervention need not be what the unintervened model gives z_tilde: no noise_tilde
        truth = {
            "z": latents[:, 0],
            "z_tilde": latents[:, 1],
            "noise": whole("epsilon")[:, 0].astype(np.float32),
            "targets": whole("intervention_masks").astype(np.bool_),
            "adjacency": _adjacency(),
        }
        about = {"variables": '["red", "green", "blue", "arm"]', "licence": f"{URL}: {LICENCE}"}
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
    """Make train, val and test.safetensors in the folder `out` of those archives that are there; return their pairs.

    The truth is z, z_tilde, the noise before the intervention, targets and the graph, of red, green, blue and arm.

    Args:
        folder: holds train.npz, or train-0.npz and so on, val.npz and test.npz.
        size: height and width to average the images down to, a multiple of 16 from 16 to 512.
        threads: that decode, by default one a core.
        progress: whether to show progress bars on stderr.

    Raises:
        ValueError: none of the files (the message says where they are), an array of a wrong type, shape or range,
            a bad image, `out` is not new, or the disk is full.
    """
    require_size(size)
    require_new(Path(out))
    files = {split: _files(Path(folder), split) for split in _SPLITS}
    if not any(files.values()):
        got = "none" if Path(folder).is_dir() else "no such folder"
        raise ValueError(
            f"{folder}: Expected train.npz, or train-0.npz and so on, val.npz or test.npz of CausalCircuit; got {got}. "
            f"Download it from {URL} ({LICENCE})"
        )
    splits = [_Split(name, [_read(path) for path in paths]) for name, paths in files.items() if paths]
    found = identity_of_files(path for paths in files.values() for path in paths)
    identity = {"source": "causalcircuit", "files": found}
    return write_image_pairs(Path(out), splits, identity, size, threads=threads, progress=progress)


def _files(folder: Path, split: str) -> list[Path]:
    """The archives of a split: one, or several that are numbered."""
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
    """The plain arrays of an archive, checked, and the header of its images."""
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
        if lights.min() < -_SLACK or lights.max() > 1.0 + _SLACK:
            got = f"entries from {lights.min():g} to {lights.max():g}"
            raise ValueError(f"{where}: Expected intensities of the lights, columns 0 to 2, in [0, 1]; got {got}")


def _require_consistent(labels: Array, masks: Array, where: str) -> None:
    """Whatever the labels number: each goes with one mask, and each mask with one label."""
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
