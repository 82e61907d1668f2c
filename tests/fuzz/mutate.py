"""Mutators of bytes: each takes the content of a valid file and a generator, and gives a spoiled one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from random import Random

Mutator = Callable[[bytes, Random], bytes]

_TOKENS = (
    b"\x00", b"\xff" * 8, b"\xef\xbb\xbf", b"\r\n", b"\x1b[2J\x1b]0;name\x07", b"../../", b"NaN", b"1e999", b"-1",
    b"99999999999999999999", b"{", b"[", b'"', b"'", b"\\u0000", b"\xed\xa0\x80", b"!!int _", b"&a", b"*a", b"%s%n",
)  # fmt: skip


def spoil_bytes(data: bytes, generator: Random) -> bytes:
    """One to three changes of bytes: flips, cuts, insertions, deletions, repetitions."""
    for _ in range(generator.choice((1, 1, 1, 2, 3))):
        data = generator.choice(_CHANGES)(data, generator)
    return data


def any_of(*mutators: Mutator) -> Mutator:
    """One of these mutators, drawn anew for each file."""

    def spoil(data: bytes, generator: Random) -> bytes:
        return generator.choice(mutators)(data, generator)

    return spoil


def _flip(data: bytes, generator: Random) -> bytes:
    if not data:
        return b"\x00"
    changed = bytearray(data)
    for _ in range(generator.choice((1, 1, 2, 8))):
        changed[_place(data, generator)] ^= 1 << generator.randrange(8)
    return bytes(changed)


def _replace(data: bytes, generator: Random) -> bytes:
    place = _place(data, generator)
    return data[:place] + bytes([generator.randrange(256)]) + data[place + 1 :]


def _truncate(data: bytes, generator: Random) -> bytes:
    return data[: generator.choice((0, 1, 7, 8, 9, len(data) - 1, _place(data, generator)))]


def _insert(data: bytes, generator: Random) -> bytes:
    place = _place(data, generator)
    return data[:place] + generator.choice((generator.choice(_TOKENS), generator.randbytes(4))) + data[place:]


def _delete(data: bytes, generator: Random) -> bytes:
    first, last = _range(data, generator)
    return data[:first] + data[last:]


def _repeat(data: bytes, generator: Random) -> bytes:
    first, last = _range(data, generator)
    return data[:last] + data[first:last] * generator.choice((1, 1, 3, 20)) + data[last:]


def _blank(data: bytes, generator: Random) -> bytes:
    first, last = _range(data, generator)
    return data[:first] + bytes(last - first) + data[last:]


def _append(data: bytes, generator: Random) -> bytes:
    return data + generator.choice((generator.randbytes(9), b"\x00", b"\n", data[:50]))


_CHANGES: Sequence[Mutator] = (_flip, _replace, _truncate, _insert, _delete, _repeat, _blank, _append)


def _place(data: bytes, generator: Random) -> int:
    """A place in the data, often near its beginning, where headers are."""
    size = max(1, len(data))
    return generator.randrange(min(size, generator.choice((size, size, 16, 200))))


def _range(data: bytes, generator: Random) -> tuple[int, int]:
    first = _place(data, generator)
    return first, min(len(data), first + generator.choice((1, 2, 8, 60, 1000)))
