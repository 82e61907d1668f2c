"""Rows of large arrays: memory-mapped tensors, passes in blocks and chunks, and freed memory.

A mapped page is resident from when it is read until it is released. A pass over a whole tensor goes block by block and
releases each block, so that its memory does not grow with the file.
"""

from __future__ import annotations

import ctypes
import json
import mmap
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, final

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
_WHOLE_ROWS = 131_072
_BLOCK_ROWS = 16_384
_BLOCK_ENTRIES = 1 << 22
_RESIDENT_BYTES = 1 << 24


# a system that reads one page of a file maps up to 16 pages around it
_BYTES_PER_READ = 1 << 16
_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3
_KEPT_BYTES, _LARGEST_KEPT_ARRAY = 1 << 30, 32 << 20
_TYPES: dict[str, str] = {
    "BOOL": "?",
    **{f"{kind}{8 * size}": f"<{code}{size}" for kind, code in (("U", "u"), ("I", "i")) for size in (1, 2, 4, 8)},
    **{f"F{8 * size}": f"<f{size}" for size in (2, 4, 8)},
}


@final
class MappedFile(mmap.mmap):
    """A whole file, mapped for reading, that knows its path."""

    path: str

    @staticmethod
    def of(path: str | Path) -> MappedFile:
        """Map a file that is not empty."""
        with Path(path).open("rb") as file:
            mapped = MappedFile(file.fileno(), 0, access=mmap.ACCESS_READ)
        mapped.path = str(path)
        return mapped

    def require_whole(self) -> None:
        """Raise ValueError if the file has become shorter; reading past its end would kill the process."""
        size = self.size()
        if size < len(self):
            raise ValueError(
                f"{self.path}: Expected a file that stays as it is while it is used; "
                f"got {size} bytes, where there were {len(self)}"
            )


def map_tensors(path: str | Path) -> dict[str, Array]:
    """The tensors of a whole safetensors file (`lcm.base.files` checks it), read-only views of the mapped file.

    Raises:
        ValueError: a tensor of a type that numpy lacks.
    """
    mapped = MappedFile.of(path)
    start = 8 + int.from_bytes(mapped[:8], "little")
    header = json.loads(mapped[8:start])
    header.pop("__metadata__", None)
    return {name: _view(mapped, start, name, entry) for name, entry in header.items()}


def _view(mapped: MappedFile, start: int, name: str, entry: dict[str, Any]) -> Array:
    if entry["dtype"] not in _TYPES:
        raise ValueError(f"{mapped.path}: {name}: Expected numbers or booleans; got dtype {entry['dtype']}")
    dtype, first, shape = np.dtype(_TYPES[entry["dtype"]]), start + entry["data_offsets"][0], tuple(entry["shape"])
    count = int(np.prod(shape, dtype=np.int64))
    if count == 0:
        return np.empty(shape, dtype)
    flat: Array = np.frombuffer(mapped, dtype, count, first)
    # other writers may store a tensor at an address that is not aligned for its type
    return (flat if flat.flags.aligned else flat.copy()).reshape(shape)


def mapped_file(array: Array) -> MappedFile | None:
    """The mapped file that an array is a view of; None for another array."""
    base: Any = array
    while isinstance(base, np.ndarray):
        base = base.base
    base = base.obj if isinstance(base, memoryview) else base
    return base if isinstance(base, MappedFile) else None


def release(array: Array) -> None:
    """Release the memory of a view of a mapped file; its pages are read again on the next use."""
    mapped = mapped_file(array)
    if mapped is None or array.size == 0:
        return
    origin = np.frombuffer(mapped, np.uint8).ctypes.data
    first = array.ctypes.data - origin
    low = first - first % mmap.PAGESIZE
    if hasattr(mapped, "madvise"):
        mapped.madvise(mmap.MADV_DONTNEED, low, min(first + array.nbytes, len(mapped)) - low)


def writable(values: Any) -> Any:
    """A value that torch takes without a warning: a read-only array is copied, anything else is returned as it is."""
    return values.copy() if isinstance(values, np.ndarray) and not values.flags.writeable else values


def row_blocks(*arrays: Array) -> Iterator[tuple[Array, ...]]:
    """Arrays of equal length in blocks of rows; a mapped block is released when the next one is requested.

    Up to 131,072 rows are one block; longer arrays come in blocks of 16,384. A block has at most 4 million entries,
    unless a single row has more.

    Raises:
        ValueError: a mapped file became shorter.
    """
    widest = max(int(np.prod(array.shape[1:])) for array in arrays)
    rows = _WHOLE_ROWS if len(arrays[0]) <= _WHOLE_ROWS else _BLOCK_ROWS
    size = max(1, min(rows, _BLOCK_ENTRIES // max(1, widest)))
    for start in range(0, len(arrays[0]), size):
        blocks = tuple(array[start : start + size] for array in arrays)
        for block in blocks:
            require_whole(block)
        yield blocks
        for array in arrays:
            # also the block before: its end is mapped again around the first page of this one
            release(array[max(0, start - size) : start + size])


def take_rows(array: Array, rows: NDArray[np.int64]) -> Array:
    """Copies (M, ...) of the rows with these numbers (M,), which should be spread over the array.

    Rows of a mapped file are read in file order, and released whenever the resident pages might exceed 16 MiB.

    Raises:
        ValueError: a mapped file became shorter.
    """
    if mapped_file(array) is None:
        return np.asarray(array[rows])
    require_whole(array)
    taken = np.empty((len(rows), *array.shape[1:]), array.dtype)
    resident = min(array.nbytes, len(rows) * _BYTES_PER_READ)
    for places in np.array_split(np.argsort(rows), -(-resident // _RESIDENT_BYTES) or 1):
        ordered = rows[places]
        taken[places] = array[ordered]
        if len(ordered):
            release(array[ordered[0] : ordered[-1] + 1])
    return taken


def require_whole(array: Array) -> None:
    """Raise ValueError if the array is a view of a mapped file that has become shorter."""
    mapped = mapped_file(array)
    if mapped is not None:
        mapped.require_whole()


def keep_freed_memory() -> None:
    """Let the C library keep the memory that a training step frees, because the next step needs as much again.

    Memory that was returned to the system comes back one page fault at a time, which can cost a quarter of a step.
    Without glibc, nothing happens.
    """
    if sys.platform == "linux":
        option = getattr(ctypes.CDLL(None), "mallopt", None)
        if option is not None:
            option(_MMAP_THRESHOLD, _LARGEST_KEPT_ARRAY)
            option(_TRIM_THRESHOLD, _KEPT_BYTES)


def return_free_memory() -> None:
    """Return to the system the pages that this process has freed and that its C library keeps.

    Between the stages of a fit such pages add up, because a stage cannot always use the holes of the one before.
    Without glibc, nothing happens.
    """
    if sys.platform == "linux":
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
        if trim is not None:
            trim(0)
