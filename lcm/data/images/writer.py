"""Pairs of images written to their files block by block, in place, so that a data set need not fit into memory."""

from __future__ import annotations

import errno
import json
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any, final

import numpy as np
from numpy.typing import NDArray

from lcm.data.images.shards import SHARD_BYTES, shard_files
from lcm.files import read_json, write_json

Array = NDArray[Any]

_TYPES = {"float32": "F32", "uint8": "U8", "bool": "BOOL"}
_DONE_FILE = "{name}.done.json"
_PER_PAIR = ("z", "z_tilde", "noise", "noise_tilde", "targets")


@final
class PairWriter:
    """Writes x and x_tilde uint8 (N, H, W, C) into one file, or several above 1 GB, with the truth beside them.

    The blocks come in any order. What is done is kept beside the file, and a writer of the same data set goes on from
    there; `finish` takes that away. The files are whole only then: write them in a folder that nobody looks into yet.
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
        """Make the files, at their full sizes, or find those of an interrupted writer.

        Args:
            path: the .safetensors file; with several parts their names are `shard_files(path, …)`.
            truth: arrays of N rows, and "adjacency".

        Raises:
            ValueError: the disk has too little room.
        """
        self.path, self.count, self.image_shape = path, count, image_shape
        pair_bytes = 2 * int(np.prod(image_shape))
        shards = max(1, -(-count * pair_bytes // shard_bytes))
        self._bounds = [count * index // shards for index in range(shards + 1)]
        self._files = shard_files(path, shards)
        self._done_path = _done_path(path)
        self.done: set[int] = set(read_json(self._done_path)) if self._done_path.exists() else set()
        _require_room(path, count * pair_bytes * (not self.done))
        # before the files are there: without it they would count as finished
        write_json(self._done_path, sorted(self.done))
        self._starts = [self._make(index, truth, metadata) for index in range(shards)]

    def missing(self, block: int) -> list[tuple[int, int]]:
        """The blocks (start, stop) of at most `block` rows that are still to be written."""
        starts = range(0, self.count, block)
        return [(start, min(start + block, self.count)) for start in starts if start not in self.done]

    def write(self, start: int, x: Array, x_tilde: Array) -> None:
        """Write the rows from `start` on, images (B, H, W, C) before and after.

        Raises:
            ValueError: images of another size or type, or the disk is full.
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
            if error.errno == errno.ENOSPC:
                raise ValueError(_full(self.path, len(self.done))) from error
            raise

    def finish(self) -> list[Path]:
        """The finished files."""
        for file in self._files:
            descriptor = os.open(file, os.O_RDONLY)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
        # last: without it they count as finished
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
        """Write the header and the truth of a file, and return where its images begin."""
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
    """Whether the files of this data set are not finished."""
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
        f"{path}: Expected room on the disk; got a full one after {blocks} blocks. The same command goes on from there"
    )
