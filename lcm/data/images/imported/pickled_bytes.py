"""The byte strings that numpy pickled for an array of objects, found in the stream without carrying it out."""

from __future__ import annotations

import pickletools
from collections.abc import Iterator
from typing import IO, Any, final

_BYTES = {"SHORT_BINBYTES": 1, "BINBYTES": 4, "BINBYTES8": 8}
"""Operations that hold a byte string, and how many bytes its length takes."""

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


def pickled_bytes(stream: IO[bytes], again: IO[bytes], count: int) -> Iterator[bytes]:
    """The byte strings of a pickled array of `count` objects, in order; nothing of the pickle is ever executed.

    Only the stream that numpy writes for such an array is accepted: a call of its own reconstruction, and one list.

    Args:
        stream: at the start of the pickle.
        again: the same file once more, to read a byte string again that the pickle refers back to.

    Raises:
        ValueError: any other operation or call, objects that are not byte strings, another number of them, or a
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
    """What is known of a pickle up to one of its operations."""

    def __init__(self, again: IO[bytes]) -> None:
        self._again = again
        # strings, and where byte strings lie: these themselves would be the whole file
        self._memo: dict[int, str | tuple[int, int] | None] = {}
        self._last: str | tuple[int, int] | None = None
        self._strings: list[str] = []
        self._list = "before"

    def step(self, name: str, argument: Any, place: int) -> bytes | None:
        """Take in one operation; the byte string, where it puts one into the list."""
        if name == "FRAME":
            # may stand between an object and what remembers it
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
