"""Arrays in .npz archives: plain ones, and byte strings that are read one by one without unpickling."""

from __future__ import annotations

import math
import pickletools
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, final

from numpy.typing import NDArray

from lcm.base.npy import ArrayHeader, named_errors, opened_archive, opened_member, read_header, read_npz

_STRINGS = ("SHORT_BINUNICODE", "BINUNICODE")
_PUTS = ("BINPUT", "LONG_BINPUT")
_GETS = ("BINGET", "LONG_BINGET")
_GLOBALS = ("GLOBAL", "STACK_GLOBAL")
_STRUCTURE = (
    *("PROTO", "MARK", "TUPLE", "TUPLE1", "TUPLE2", "TUPLE3", "NONE", "NEWTRUE", "NEWFALSE"),
    *("BININT", "BININT1", "BININT2", "REDUCE", "BUILD", "STOP"),
)

_IN_LIST = ("MARK", "APPEND", "APPENDS")
_CALLED = (
    "numpy.core.multiarray _reconstruct",
    "numpy._core.multiarray _reconstruct",
    "numpy ndarray",
    "numpy dtype",
)


def members(path: Path) -> set[str]:
    """The names of the arrays in an archive.

    Raises:
        ValueError: no such file, or an incomplete archive.
    """
    with opened_archive(path) as archive:
        return {name.removesuffix(".npy") for name in archive.namelist() if name.endswith(".npy")}


def read_array(path: Path, name: str) -> NDArray[Any]:
    """A plain array.

    Raises:
        ValueError: the array is truncated, or holds pickled objects.
    """
    return read_npz(path, (name,))[name]


def read_bytes_header(path: Path, name: str) -> ArrayHeader:
    """The header of an array of byte strings.

    Raises:
        ValueError: the array is truncated, of another type, or in Fortran order.
    """
    with _opened(path, name) as (file, _):
        return _header(file)


def read_bytes(path: Path, name: str, first: int = 0) -> Iterator[bytes]:
    """The byte strings of an array in order, from number `first` on, each read when it is needed.

    They have a fixed width, with trailing zeros removed, or are objects, which numpy pickles. That pickle is parsed and
    never executed.

    Raises:
        ValueError: the array is truncated, or holds something else.
    """
    with _opened(path, name) as (file, archive):
        header = _header(file)
        count = math.prod(header.shape)
        if header.dtype == object:
            with opened_member(archive, archive.getinfo(f"{name}.npy")) as again:
                for number, item in enumerate(_pickled_bytes(file, again, count)):
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


def _header(file: IO[bytes]) -> ArrayHeader:
    header = read_header(file)
    if header.dtype.kind not in "SO" or header.dtype.itemsize == 0:
        raise ValueError(f"Expected byte strings; got dtype {header.dtype}")
    if header.fortran_order:
        raise ValueError("Expected byte strings in C order; got Fortran order")
    return header


@contextmanager
def _opened(path: Path, name: str) -> Iterator[tuple[IO[bytes], zipfile.ZipFile]]:
    """A member, and its archive; the name of the array is put into every error about it."""
    with (
        opened_archive(path) as archive,
        named_errors(f"{path}: {name}", "an array of byte strings"),
        opened_member(archive, archive.getinfo(f"{name}.npy")) as file,
    ):
        yield file, archive


_BYTES = {"SHORT_BINBYTES": 1, "BINBYTES": 4, "BINBYTES8": 8}
"""Operations that hold a byte string, and how many bytes its length takes."""


def _pickled_bytes(stream: IO[bytes], again: IO[bytes], count: int) -> Iterator[bytes]:
    """The byte strings of a pickled array of `count` objects, in order; no part of the pickle is executed.

    Only the stream that numpy writes for such an array is accepted: a call of its own reconstruction, and one list.

    Args:
        stream: at the start of the pickle.
        again: the same file, opened again; it gives byte strings that the pickle refers back to.

    Raises:
        ValueError: any other operation or call, objects that are not byte strings, a wrong number of objects, or a
            truncated stream.
    """
    walk = _Walk(again)
    found = 0
    for operation, argument, place in pickletools.genops(stream):
        item = walk.step(operation.name, argument, place or 0)
        if item is not None:
            found += 1
            yield item
    if found != count:
        raise ValueError(f"Expected {count} byte strings; got {found}")


@final
class _Walk:
    """The state of a pickle up to one of its operations."""

    def __init__(self, again: IO[bytes]) -> None:
        self._again = again
        # strings, and the positions of byte strings, which together would be as large as the file
        self._memo: dict[int, str | tuple[int, int] | None] = {}
        self._last: str | tuple[int, int] | None = None
        self._strings: list[str] = []
        self._list = "before"

    def step(self, name: str, argument: Any, place: int) -> bytes | None:
        """Process one operation; return the byte string that it adds to the list, if any."""
        if name == "FRAME":
            # may stand between an object and the operation that remembers it
            return None
        if name == "MEMOIZE" or name in _PUTS:
            self._memo[len(self._memo) if name == "MEMOIZE" else argument] = self._last
            return None
        if name in _GETS:
            return self._again_there(argument)
        if name in _BYTES:
            self._last = (place + 1 + _BYTES[name], len(argument))
            return argument if self._list == "inside" else None
        if self._list == "inside" and name != "TUPLE":
            self._last = None
            if name not in _IN_LIST:
                raise ValueError(f"Expected an array of byte strings; got other objects (pickled by {name})")
            return None
        self._outside(name, argument)
        return None

    def _outside(self, name: str, argument: Any) -> None:
        """An operation before or after the list."""
        self._last = None
        if name in _STRINGS:
            self._last = argument
            self._strings.append(argument)
        elif name in _GLOBALS:
            called = argument if name == "GLOBAL" else " ".join(self._strings[-2:])
            if called not in _CALLED:
                raise ValueError(f"Expected an array of byte strings; got a pickle that would call {called}")
        elif name == "EMPTY_LIST" and self._list == "before":
            self._list = "inside"
        elif name == "TUPLE" and self._list == "inside":
            self._list = "behind"
        elif name not in _STRUCTURE:
            raise ValueError(f"Expected an array of byte strings; got other objects (pickled by {name})")

    def _again_there(self, key: int) -> bytes | None:
        known = self._memo.get(key)
        self._last = known
        if isinstance(known, str):
            self._strings.append(known)
        if self._list != "inside":
            return None
        if not isinstance(known, tuple):
            raise ValueError("Expected an array of byte strings; got a reference to another object")
        start, length = known
        self._again.seek(start)
        return self._again.read(length)
