"""Rows of one large array in an .npy or .npz file: mapped where they lie in the file, else read once from the front."""

from __future__ import annotations

import math
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, final

import numpy as np
from numpy.typing import NDArray

from lcm.base.files import existing_file
from lcm.base.memory import require_memory
from lcm.base.npy import ArrayHeader, named_errors, opened_archive, opened_member, read_header, refuse_claim
from lcm.base.rows import MappedFile

_LOCAL_HEADER = 30
_AT_ONCE = 1 << 22


@final
@dataclass(frozen=True)
class StoredArray:
    """An array (N, ...) in C order in a file, of which nothing but the header was read.

    Attributes:
        path: of the file.
        name: of the array in an .npz archive; "" in an .npy file.
        shape, dtype: of the array.
        offset: of its first byte in the file; None for a compressed array.
    """

    path: Path
    name: str
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    offset: int | None

    @property
    def where(self) -> str:
        """The array as errors name it."""
        return f"{self.path}: {self.name}" if self.name else str(self.path)

    @property
    def row_bytes(self) -> int:
        """Bytes of one row."""
        return math.prod(self.shape[1:]) * self.dtype.itemsize

    def mapped(self) -> NDArray[Any]:
        """The whole array as a read-only view of the mapped file.

        Raises:
            ValueError: a compressed array, which cannot be mapped; `gathered` reads its rows.
        """
        if self.offset is None:
            raise ValueError(f"{self.where}: Expected an array that is not compressed; got one that is")
        flat: NDArray[Any] = np.frombuffer(MappedFile.of(self.path), self.dtype, math.prod(self.shape), self.offset)
        return flat.reshape(self.shape)

    def gathered(self, rows: NDArray[np.int64]) -> NDArray[Any]:
        """The rows with these numbers (M,), which rise, as (M, ...); a compressed array is read once from the front.

        Raises:
            ValueError: rows that do not fit into memory, or an array that is truncated or corrupt.
        """
        require_memory(len(rows) * self.row_bytes, f"{len(rows):,} rows of {self.where}")
        if self.offset is not None:
            return np.asarray(self.mapped()[rows])
        with (
            opened_archive(self.path) as archive,
            named_errors(self.where, "a plain array"),
            opened_member(archive, archive.getinfo(f"{self.name}.npy")) as file,
        ):
            read_header(file)
            return self._gathered(file, rows)

    def _gathered(self, file: IO[bytes], rows: NDArray[np.int64]) -> NDArray[Any]:
        found = np.empty((len(rows), *self.shape[1:]), self.dtype)
        block = max(1, _AT_ONCE // max(1, self.row_bytes))
        # to the end, where the archive checks the sum of all bytes
        for start in range(0, self.shape[0], block):
            count = min(block, self.shape[0] - start)
            data = file.read(count * self.row_bytes)
            if len(data) < count * self.row_bytes:
                raise ValueError(f"{start + len(data) // self.row_bytes:,} of {self.shape[0]:,} rows")
            first, last = np.searchsorted(rows, (start, start + count))
            part = np.frombuffer(data, self.dtype).reshape(count, *self.shape[1:])
            found[first:last] = part[rows[first:last] - start]
        file.read(1)
        return found


def stored_array(path: str | Path, name: str) -> StoredArray:
    """The array of an .npy file, or the one of this name in an .npz archive.

    Raises:
        ValueError: no such file, another suffix, no such array, or one that is truncated, encrypted, empty, in Fortran
            order or of Python objects.
    """
    file = existing_file(path)
    if file.suffix == ".npy":
        with named_errors(str(file), "a whole .npy array"), file.open("rb") as stream:
            header = _checked(read_header(stream), file.stat().st_size)
        return StoredArray(file, "", header.shape, header.dtype, header.start)
    if file.suffix != ".npz":
        raise ValueError(f"{path}: Expected an .npy or .npz file; got the suffix {file.suffix!r}")
    with opened_archive(file) as archive:
        if f"{name}.npy" not in archive.namelist():
            raise ValueError(f"{path}: {name}: Expected an array of this name; got none")
        info = archive.getinfo(f"{name}.npy")
        with named_errors(f"{path}: {name}", "a plain array"), opened_member(archive, info) as member:
            header = _checked(read_header(member), info.file_size)
            offset = _place(file, info, header) if info.compress_type == zipfile.ZIP_STORED else None
    return StoredArray(file, name, header.shape, header.dtype, offset)


def _checked(header: ArrayHeader, size: int) -> ArrayHeader:
    """The header, in a file that says that it has `size` bytes."""
    if header.dtype.hasobject:
        raise ValueError("pickled objects, which are not read")
    if header.fortran_order:
        raise ValueError("an array in Fortran order")
    claimed = math.prod(header.shape) * header.dtype.itemsize
    if not header.shape or not claimed:
        raise ValueError(f"an array without rows, of shape {header.shape}")
    if claimed > size - header.start:
        refuse_claim(claimed, size - header.start)
    return header


def _place(path: Path, info: zipfile.ZipInfo, header: ArrayHeader) -> int:
    """Where the bytes of an array that is not compressed begin in its archive."""
    with path.open("rb") as file:
        file.seek(info.header_offset)
        local = file.read(_LOCAL_HEADER)
    # behind the local header come the name and the extra field, whose lengths are its last four bytes
    start = info.header_offset + _LOCAL_HEADER + int.from_bytes(local[26:28], "little")
    start += int.from_bytes(local[28:30], "little") + header.start
    claimed = math.prod(header.shape) * header.dtype.itemsize
    if start + claimed > path.stat().st_size:
        refuse_claim(claimed, path.stat().st_size - start)
    return start
