"""Images of several files, read as one array."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate
from pathlib import Path
from typing import Any, final

import numpy as np
from numpy.typing import NDArray

from lcm.data.mapped import release, take_rows

Array = NDArray[Any]

SHARD_BYTES = 1_000_000_000
"""The most bytes of images in one file; more come in several, each a data set of its own."""


@final
class ShardedImages:
    """Images (N, H, W, C) of several arrays one after the other; what is read of them is a copy.

    It answers to what the package asks of an array of observations: shape, dtype, len, and rows by slice or number.
    """

    def __init__(self, parts: Sequence[Array]) -> None:
        """`parts` of equal shape but for their lengths, such as mapped files.

        Raises:
            ValueError: no parts, or images of another size or type in one of them.
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
        """Of every part."""
        return self.parts[0].dtype

    @property
    def ndim(self) -> int:
        """4."""
        return len(self.shape)

    @property
    def nbytes(self) -> int:
        """Of all parts."""
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
    """The files of a data set that is written in `count` parts: the file itself, or NAME-00001-of-00003 and so on."""
    file = Path(path)
    if count == 1:
        return [file]
    return [file.with_name(f"{file.stem}-{index:05d}-of-{count:05d}{file.suffix}") for index in range(1, count + 1)]


def found_shards(path: str | Path) -> list[Path]:
    """The files that a data set which is not itself a file lies in; none where there are none.

    Raises:
        ValueError: some of them are missing, or there are sets of several counts.
    """
    file = Path(path)
    found = sorted(file.parent.glob(f"{file.stem}-?????-of-?????{file.suffix}"))
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
