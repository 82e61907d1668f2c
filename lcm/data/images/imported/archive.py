"""Members of .npz archives: plain arrays, and arrays of byte strings that are read one by one and never unpickled."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from lcm.data.images.imported.pickled_bytes import pickled_bytes
from lcm.files import existing_file

_BAD_ARCHIVE = (OSError, EOFError, ValueError, NotImplementedError, RuntimeError, zipfile.BadZipFile, zlib.error)


class BytesHeader(NamedTuple):
    """Of an array of byte strings: its shape, its type (of fixed width, or object), and where its body begins."""

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    start: int


def members(path: Path) -> set[str]:
    """The names of the arrays in an archive.

    Raises:
        ValueError: no such file, or not a whole archive.
    """
    with _archive(path) as archive:
        return {name.removesuffix(".npy") for name in archive.namelist() if name.endswith(".npy")}


def read_array(path: Path, name: str) -> NDArray[Any]:
    """A plain array.

    Raises:
        ValueError: it is truncated, or holds pickled objects.
    """
    with _archive(path) as archive, _named(path, name), archive.open(f"{name}.npy") as file:
        return np.lib.format.read_array(file, allow_pickle=False)


def read_bytes_header(path: Path, name: str) -> BytesHeader:
    """What an array of byte strings says of itself.

    Raises:
        ValueError: it is truncated, of another type, or in Fortran order.
    """
    with _archive(path) as archive, _named(path, name), archive.open(f"{name}.npy") as file:
        return _header(file)


def read_bytes(path: Path, name: str, first: int = 0) -> Iterator[bytes]:
    """The byte strings of an array in its order, from number `first` on, each read when it is asked for.

    They are of fixed width, less the zeros at their ends, or objects, which numpy pickles: that stream is looked at,
    and never carried out.

    Raises:
        ValueError: the array is truncated, or holds something else.
    """
    with _archive(path) as archive, _named(path, name), archive.open(f"{name}.npy") as file:
        header = _header(file)
        count = int(np.prod(header.shape))
        if header.dtype == object:
            with archive.open(f"{name}.npy") as again:
                for number, item in enumerate(pickled_bytes(file, again, count)):
                    if number >= first:
                        yield item
            return
        width = header.dtype.itemsize
        file.seek(header.start + first * width)
        for number in range(first, count):
            item = file.read(width)
            if len(item) < width:
                raise ValueError(f"Expected {count} byte strings; got {number}")
            yield item.rstrip(b"\0")


def _header(file: IO[bytes]) -> BytesHeader:
    version = np.lib.format.read_magic(file)
    if version not in ((1, 0), (2, 0)):
        raise ValueError(f"Expected version 1 or 2 of the .npy format; got {version[0]}")
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, fortran_order, dtype = read(file)
    if dtype.kind not in "SO" or dtype.itemsize == 0:
        raise ValueError(f"Expected byte strings; got dtype {dtype}")
    if fortran_order:
        raise ValueError("Expected byte strings in C order; got Fortran order")
    return BytesHeader(shape, dtype, file.tell())


@contextmanager
def _archive(path: Path) -> Iterator[zipfile.ZipFile]:
    try:
        archive = zipfile.ZipFile(existing_file(path))
    except zipfile.BadZipFile as error:
        raise ValueError(f"{path}: Expected a whole .npz archive; got a truncated or unreadable one") from error
    with archive:
        yield archive


@contextmanager
def _named(path: Path, name: str) -> Iterator[None]:
    """Let every error about an array name it."""
    try:
        yield
    except _BAD_ARCHIVE as error:
        raise ValueError(f"{path}: {name}: {' '.join(str(error).split())}") from error
