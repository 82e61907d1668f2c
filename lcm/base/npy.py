"""Arrays in .npy and .npz files: only those asked for, never unpickled, never larger than what the file holds."""

from __future__ import annotations

import math
import warnings
import zipfile
from collections.abc import Container, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, NamedTuple, NoReturn

import numpy as np
from numpy.typing import NDArray

from lcm.base.files import existing_file
from lcm.base.memory import available_bytes

_HEADERS = {
    (1, 0): np.lib.format.read_array_header_1_0,
    (2, 0): np.lib.format.read_array_header_2_0,
}
_ENCRYPTED = 0x1
_UNSUSPICIOUS, _MOST_COMPRESSED = 1 << 28, 200
"""A compressed array above 256 MiB that is more than 200 times as large as what the file holds of it is refused."""


class ArrayHeader(NamedTuple):
    """Shape, order and type of an array, and where its bytes start."""

    shape: tuple[int, ...]
    fortran_order: bool
    dtype: np.dtype[Any]
    start: int


def read_npz(path: str | Path, names: Container[str] | None = None) -> dict[str, NDArray[Any]]:
    """The arrays of an .npz archive with these names, or all; others are not read.

    Raises:
        ValueError: the file is missing, truncated or no archive, or an array is encrypted, corrupt, larger than its
            file or the memory at hand, or holds pickled objects.
    """
    with opened_archive(path) as archive:
        found = {}
        for info in archive.infolist():
            name = info.filename.removesuffix(".npy")
            if names is None or name in names:
                with named_errors(f"{path}: {name}", "a plain array"), opened_member(archive, info) as file:
                    found[name] = _read_body(file, read_header(file), info.file_size, _most_bytes(info))
    return found


def read_npy(path: str | Path) -> NDArray[Any]:
    """The array of an .npy file.

    Raises:
        ValueError: the file is missing, truncated or corrupt, claims more than it holds, or holds pickled objects.
    """
    size = existing_file(path).stat().st_size
    with named_errors(str(path), "a whole .npy array"), Path(path).open("rb") as file:
        return _read_body(file, read_header(file), size, size)


@contextmanager
def opened_archive(path: str | Path) -> Iterator[zipfile.ZipFile]:
    """An open .npz archive. Raises ValueError for another file, or one that is truncated."""
    existing_file(path)
    try:
        archive = zipfile.ZipFile(path)
    except Exception as error:
        raise ValueError(f"{path}: Expected a whole .npz archive; got a truncated or unreadable one") from error
    with archive:
        yield archive


@contextmanager
def opened_member(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> Iterator[IO[bytes]]:
    """A member of an archive, open for reading. Raises ValueError for an encrypted one."""
    if info.flag_bits & _ENCRYPTED:
        raise ValueError("an encrypted one")
    with archive.open(info) as file:
        yield file


@contextmanager
def named_errors(where: str, expected: str) -> Iterator[None]:
    """Turn whatever zipfile, its decompressors and numpy's parser raise on bad bytes into one ValueError."""
    try:
        yield
    except Exception as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        said = reason if reason.startswith("Expected ") else f"Expected {expected}; got {reason}"
        raise ValueError(f"{where}: {said}") from error


def read_header(file: IO[bytes]) -> ArrayHeader:
    """The header of an array. Raises ValueError for another version, size or type than numpy writes for numbers."""
    version = np.lib.format.read_magic(file)
    if version not in _HEADERS:
        raise ValueError(f"version {version[0]} of the .npy format")
    with warnings.catch_warnings():
        # numpy warns of headers that Python 2 wrote, and reads them all the same
        warnings.simplefilter("ignore")
        shape, fortran_order, dtype = _HEADERS[version](file)
    if any(length < 0 for length in shape):
        raise ValueError(f"shape {shape}")
    return ArrayHeader(shape, fortran_order, dtype, file.tell())


def _read_body(file: IO[bytes], header: ArrayHeader, size: int, most: int) -> NDArray[Any]:
    """The array behind its header, in a file that says that it has `size` bytes, and has at most `most`."""
    if header.dtype.hasobject:
        raise ValueError("pickled objects, which are not read")
    claimed = math.prod(header.shape) * header.dtype.itemsize
    if claimed > min(size, most) - header.start:
        refuse_claim(claimed, min(size, most) - header.start)
    array = np.empty(header.shape, header.dtype, order="F" if header.fortran_order else "C")
    view = memoryview(array.reshape(-1, order="A").view(np.uint8).data) if array.size else memoryview(b"")
    done = 0
    while done < len(view):
        count = file.readinto(view[done:])  # type: ignore[attr-defined]
        if not count:
            raise ValueError(f"{done:,} bytes of {len(view):,}")
        done += count
    # at its end an archive checks the sum of the bytes
    file.read(1)
    return array


def refuse_claim(claimed: int, held: int) -> NoReturn:
    """Raise ValueError for an array that claims more bytes than there can be."""
    raise ValueError(f"a header that claims {claimed:,} bytes, where there are at most {max(held, 0):,}")


def _most_bytes(info: zipfile.ZipInfo) -> int:
    """The most bytes that a member can have: those in the file, or, compressed, what data are ever compressed from."""
    if info.compress_type == zipfile.ZIP_STORED:
        return info.compress_size
    return min(available_bytes(), max(_UNSUSPICIOUS, _MOST_COMPRESSED * info.compress_size))
