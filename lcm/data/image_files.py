"""Files of images: a folder that appears whole or not at all, a resumable writer, and images in several files."""

from __future__ import annotations

import errno
import glob
import hashlib
import json
import os
import re
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import accumulate
from pathlib import Path
from typing import Any, final

import numpy as np
from numpy.typing import NDArray

from lcm.base.atomic import NoRoomError, leftovers
from lcm.base.files import read_json, write_json
from lcm.base.lock import lock_beside, locked
from lcm.base.rows import Array, release, take_rows

_IDENTITY_FILE = "identity.json"
_TYPES = {"float32": "F32", "uint8": "U8", "bool": "BOOL"}
_DONE_FILE = "{name}.done.json"
_PER_PAIR = ("z", "z_tilde", "noise", "noise_tilde", "targets")


@final
class FinishedBefore(Exception):
    """The folder was finished by a process that was killed before it ended; nothing is left to do."""


@final
class DiskFull(ValueError):
    """A full disk; what was written before is kept."""


@contextmanager
def partial_folder(out: Path, identity: Mapping[str, str]) -> Iterator[Path]:
    """Yield a folder `.NAME.partial` beside `out`. It becomes `out` at the end, and stays after an error.

    The content that an interrupted block left is kept if the identity is the same, and deleted otherwise. No other
    process writes to it while the block runs.

    Raises:
        ValueError: `out` is a file, a folder that is not empty, or one that another process is writing to.
        FinishedBefore: the same work was finished, but for the end of its process.
    """
    require_new(out)
    target, partial = out.resolve(), partial_path(out)
    target.parent.mkdir(parents=True, exist_ok=True)
    work = hashlib.sha256(json.dumps(dict(identity), sort_keys=True).encode()).hexdigest()
    with locked(lock_beside(target), out, work) as claim:
        if claim == (True, work) and _holds_files(target):
            (target / _IDENTITY_FILE).unlink(missing_ok=True)
            raise FinishedBefore
        _require_new(out)
        for left in leftovers(target.parent, glob.escape(target.name), folders=True):
            shutil.rmtree(left, ignore_errors=True)
        if partial.is_symlink() or _identity(partial) != dict(identity):
            remove_partial(out)
            partial.mkdir()
            write_json(partial / _IDENTITY_FILE, dict(identity))
        for left in leftovers(partial, "*"):
            left.unlink()
        yield partial
        # the finished folder must not be lost if something else took its place in the meantime
        _require_new(out)
        partial.rename(target)
        (target / _IDENTITY_FILE).unlink()


def partial_path(out: Path) -> Path:
    """The folder in which `out` is prepared."""
    target = out.resolve()
    return target.parent / f".{target.name}.partial"


def remove_partial(out: Path) -> None:
    """Remove the folder in which `out` is prepared."""
    partial = partial_path(out)
    if partial.is_symlink():
        partial.unlink()
    shutil.rmtree(partial, ignore_errors=True)


def require_new(folder: Path) -> None:
    """Raise ValueError unless `folder` is new or empty, or a process at work on it, or killed there, has left its lock.

    In that case `partial_folder` decides.
    """
    if not (_holds_files(folder) and lock_beside(folder.resolve()).exists()):
        _require_new(folder)


def _require_new(folder: Path) -> None:
    if folder.is_file():
        raise ValueError(f"{folder}: Expected a folder to write to; got a file.")
    if folder.is_symlink() and not folder.exists():
        raise ValueError(f"{folder}: Expected a folder to write to; got a link to nothing.")
    if _holds_files(folder):
        raise ValueError(f"{folder}: Expected a new or empty folder to write to; got a folder that holds files.")


def _holds_files(folder: Path) -> bool:
    return folder.is_dir() and any(folder.iterdir())


def _identity(partial: Path) -> object:
    """The identity that is written in the folder; None if there is none."""
    try:
        return read_json(partial / _IDENTITY_FILE)
    except ValueError:
        return None


SHARD_BYTES = 1_000_000_000
"""The most bytes of images in one file; larger data sets are split over several files."""


@final
class ShardedImages:
    """Images (N, H, W, C) of several arrays, one after the other; reading returns copies.

    It offers what the package needs of an array of observations: shape, dtype, len, and rows by slice or number.
    """

    def __init__(self, parts: Sequence[Array]) -> None:
        """`parts` are arrays of equal shape but for their lengths, such as mapped files.

        Raises:
            ValueError: no parts, or parts with images of different sizes or types.
        """
        if not parts:
            raise ValueError("Expected at least one array of images; got none")
        for part in parts:
            if part.shape[1:] != parts[0].shape[1:] or part.dtype != parts[0].dtype:
                expected = f"{parts[0].dtype} {parts[0].shape[1:]}"
                raise ValueError(f"Expected images of one size and type, {expected}; got {part.dtype} {part.shape[1:]}")
        self.parts = list(parts)
        self._ends = list(accumulate(len(part) for part in parts))

    @property
    def shape(self) -> tuple[int, ...]:
        """(N, H, W, C)."""
        return (self._ends[-1], *self.parts[0].shape[1:])

    @property
    def dtype(self) -> np.dtype[Any]:
        """The data type of every part."""
        return self.parts[0].dtype

    @property
    def ndim(self) -> int:
        """Number of axes, 4."""
        return len(self.shape)

    @property
    def nbytes(self) -> int:
        """Bytes of all parts."""
        return sum(part.nbytes for part in self.parts)

    @property
    def size(self) -> int:
        """Number of entries."""
        return sum(part.size for part in self.parts)

    def __len__(self) -> int:
        return self._ends[-1]

    def __getitem__(self, rows: slice | NDArray[np.int64]) -> Array:
        if not isinstance(rows, slice):
            return self._gather(np.asarray(rows))
        start, stop, step = rows.indices(len(self))
        if step != 1:
            return self._gather(np.arange(start, stop, step))
        found = np.empty((max(0, stop - start), *self.shape[1:]), self.dtype)
        first = 0
        for part, end in zip(self.parts, self._ends, strict=True):
            low, high = max(start, first), min(stop, end)
            if low < high:
                piece = part[low - first : high - first]
                found[low - start : high - start] = piece
                release(piece)
            first = end
        return found

    def _gather(self, rows: NDArray[np.int64]) -> Array:
        found = np.empty((len(rows), *self.shape[1:]), self.dtype)
        of_part = np.searchsorted(self._ends, rows, side="right")
        for index, part in enumerate(self.parts):
            places = np.flatnonzero(of_part == index)
            if places.size:
                first = self._ends[index] - len(part)
                found[places] = take_rows(part, rows[places] - first)
        return found


def shard_files(path: str | Path, count: int) -> list[Path]:
    """The files of a data set in `count` parts: the file itself, or NAME-00001-of-00003 and so on."""
    file = Path(path)
    if count == 1:
        return [file]
    return [file.with_name(f"{file.stem}-{index:05d}-of-{count:05d}{file.suffix}") for index in range(1, count + 1)]


def found_shards(path: str | Path) -> list[Path]:
    """The files of a data set that is split over several; an empty list if `path` is a file or no parts exist.

    Raises:
        ValueError: some parts are missing, or there are sets of different counts.
    """
    file = Path(path)
    part = re.compile(rf"{re.escape(file.stem)}-[0-9]{{5}}-of-[0-9]{{5}}{re.escape(file.suffix)}")
    # any other name, such as that of a copy, is no part
    found = sorted(each for each in _listed(file.parent) if part.fullmatch(each.name))
    if not found or file.exists():
        return []
    counts = {int(each.stem.rpartition("-")[2]) for each in found}
    if len(counts) > 1:
        raise ValueError(f"{file}: Expected one set of parts; got parts of sets of {sorted(counts)}")
    expected = shard_files(file, counts.pop())
    missing = [each.name for each in expected if each not in found]
    if missing:
        raise ValueError(f"{file}: Expected {len(expected)} parts; got {len(found)}, without {missing[0]}")
    return expected


def _listed(folder: Path) -> list[Path]:
    return list(folder.iterdir()) if folder.is_dir() else []


@final
class PairWriter:
    """Writes x and x_tilde uint8 (N, H, W, C) and the truth into one file, or into several above 1 GB.

    The blocks come in any order. A record of the finished blocks lies beside the file, so that a new writer of the
    same data set resumes; `finish` removes it. Before `finish` the files are incomplete: write them in a folder that
    nothing reads yet.
    """

    def __init__(
        self,
        path: Path,
        count: int,
        image_shape: tuple[int, int, int],
        truth: Mapping[str, Array],
        metadata: Mapping[str, str],
        shard_bytes: int = SHARD_BYTES,
    ) -> None:
        """Make the files at their full sizes, or open those of an interrupted writer.

        Args:
            path: the .safetensors file; several parts have the names `shard_files(path, …)`.
            truth: arrays of N rows, and "adjacency".

        Raises:
            ValueError: the disk has too little space.
        """
        self.path, self.count, self.image_shape = path, count, image_shape
        pair_bytes = 2 * int(np.prod(image_shape))
        shards = max(1, -(-count * pair_bytes // shard_bytes))
        self._bounds = [count * index // shards for index in range(shards + 1)]
        self._files = shard_files(path, shards)
        self._done_path = _done_path(path)
        self.done: set[int] = set(read_json(self._done_path)) if self._done_path.exists() else set()
        _require_room(path, count * pair_bytes * (not self.done))
        # first, because files without this record count as finished
        write_json(self._done_path, sorted(self.done))
        self._starts = [self._make(index, truth, metadata) for index in range(shards)]

    def missing(self, block: int) -> list[tuple[int, int]]:
        """The missing blocks (start, stop), of at most `block` rows each."""
        starts = range(0, self.count, block)
        return [(start, min(start + block, self.count)) for start in starts if start not in self.done]

    def write(self, start: int, x: Array, x_tilde: Array) -> None:
        """Write a block of images (B, H, W, C) before and after, from row `start`.

        Raises:
            ValueError: images of another size or type, or a full disk.
        """
        for name, images in (("x", x), ("x_tilde", x_tilde)):
            if images.shape[1:] != self.image_shape or images.dtype != np.uint8:
                expected = f"uint8 images {self.image_shape}"
                raise ValueError(f"{name}: Expected {expected}; got {images.dtype} {images.shape[1:]}")
        try:
            self._write(start, (x, x_tilde))
            self.done.add(start)
            write_json(self._done_path, sorted(self.done))
        except OSError as error:
            if isinstance(error, NoRoomError) or error.errno in (errno.ENOSPC, errno.EFBIG, errno.EDQUOT):
                raise DiskFull(_full(self.path, len(self.done))) from error
            raise

    def finish(self) -> list[Path]:
        """Flush the files to disk and mark them as finished; return them."""
        for file in self._files:
            descriptor = os.open(file, os.O_RDONLY)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
        # last, because files without this record count as finished
        self._done_path.unlink(missing_ok=True)
        return self._files

    def _write(self, start: int, pair: tuple[Array, Array]) -> None:
        row_bytes, stop = int(np.prod(self.image_shape)), start + len(pair[0])
        for file, first, last, offset in zip(
            self._files, self._bounds[:-1], self._bounds[1:], self._starts, strict=True
        ):
            low, high = max(start, first), min(stop, last)
            if low >= high:
                continue
            with file.open("r+b") as handle:
                for index, images in enumerate(pair):
                    handle.seek(offset + (index * (last - first) + low - first) * row_bytes)
                    handle.write(np.ascontiguousarray(images[low - start : high - start]).data)

    def _make(self, index: int, truth: Mapping[str, Array], metadata: Mapping[str, str]) -> int:
        """Write the header and the truth of a file; return the position of its images."""
        rows = slice(self._bounds[index], self._bounds[index + 1])
        tensors = {key: np.ascontiguousarray(v[rows] if key in _PER_PAIR else v) for key, v in truth.items()}
        ordered = dict(sorted(tensors.items(), key=lambda item: -item[1].dtype.itemsize))
        shape = [rows.stop - rows.start, *self.image_shape]
        known = metadata if len(self._files) == 1 else {**metadata, "part": f"{index + 1} of {len(self._files)}"}
        header: dict[str, Any] = {"__metadata__": dict(sorted(known.items()))}
        end = 0
        for key, value in ordered.items():
            header[key] = _entry(str(value.dtype), list(value.shape), end, value.nbytes)
            end += value.nbytes
        start, size = end, int(np.prod(shape))
        header["x"] = _entry("uint8", shape, end, size)
        header["x_tilde"] = _entry("uint8", shape, end + size, size)
        text = json.dumps(header, ensure_ascii=False, separators=(",", ":")).encode()
        text = text.ljust(-(-len(text) // 8) * 8)
        if not self.done:
            with self._files[index].open("wb") as file:
                file.write(len(text).to_bytes(8, "little") + text)
                for value in ordered.values():
                    file.write(value.data)
                file.truncate(8 + len(text) + start + 2 * size)
        return 8 + len(text) + start


def writer_is_at_work(path: Path) -> bool:
    """Whether the files of this data set are unfinished."""
    return _done_path(path).exists()


def _done_path(path: Path) -> Path:
    return path.with_name(_DONE_FILE.format(name=path.name))


def _entry(dtype: str, shape: list[int], start: int, size: int) -> dict[str, Any]:
    return {"dtype": _TYPES[dtype], "shape": shape, "data_offsets": [start, start + size]}


def _require_room(path: Path, needed: int) -> None:
    free = shutil.disk_usage(path.parent).free
    if free < needed:
        raise ValueError(
            f"{path.parent}: Expected {needed / 1e9:.2f} GB of free disk for {path.name}; got {free / 1e9:.2f} GB"
        )


def _full(path: Path, blocks: int) -> str:
    return (
        f"{path}: Expected free disk space; got a full disk after {blocks} blocks. The same command resumes from there"
    )
