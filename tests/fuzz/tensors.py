"""Mutators of safetensors files: header, sizes, metadata, and the tensors themselves."""

from __future__ import annotations

import json
import struct
from random import Random
from typing import Any

from .structure import spoil_value

_HEADER_SIZES = (0, 1, 2**20, 2**31, 2**40, 2**63, 2**64 - 1)
_SIZES = (0, 1, -1, 2, 3, 10**6, 2**31, 2**40, 2**63, 2**64, 10**30, 1.5, "3", None)
_DTYPES = ("F64", "F32", "F16", "BF16", "I64", "I32", "U8", "BOOL", "F8_E4M3", "I8", "U64", "X", "", 3)
_VALUES = (float("nan"), float("inf"), -float("inf"), 3e38, -1.0, 0.0, 1e-30)


def spoil_tensors(data: bytes, generator: Random) -> bytes:
    """A safetensors file with one change: of its header's text or size, its metadata, or one of its tensors."""
    size = struct.unpack("<Q", data[:8])[0]
    header, body = json.loads(data[8 : 8 + size]), bytearray(data[8 + size :])
    change = generator.choice((_metadata, _metadata, _entry, _renamed, _values, _values, _reshaped, _text, _size))
    return change(header, body, generator)


def joined(header: str, body: bytes, size: int | None = None) -> bytes:
    """The bytes of a safetensors file, whose header may claim another size than it has."""
    text = header.encode(errors="surrogatepass")
    text += b" " * (-len(text) % 8)
    return struct.pack("<Q", len(text) if size is None else size) + text + bytes(body)


def _metadata(header: dict[str, Any], body: bytearray, generator: Random) -> bytes:
    metadata = header.get("__metadata__") or {"made_by": "nobody"}
    key = generator.choice(list(metadata))
    try:
        value = json.loads(metadata[key])
    except json.JSONDecodeError:
        value = metadata[key]
    if generator.random() < 0.1:
        del metadata[key]
    else:
        metadata[key] = spoil_value(value, generator)
    return joined(json.dumps({**header, "__metadata__": metadata}), body)


def _entry(header: dict[str, Any], body: bytearray, generator: Random) -> bytes:
    """Another type, shape or place of a tensor than its bytes have."""
    entry = header[_tensor(header, generator)]
    field = generator.choice(("dtype", "shape", "data_offsets"))
    if field == "dtype":
        entry["dtype"] = generator.choice(_DTYPES)
    elif generator.random() < 0.2 or not entry[field]:
        entry[field] = generator.choice((None, [], [[]], "x", [generator.choice(_SIZES)] * 3))
    else:
        entry[field][generator.randrange(len(entry[field]))] = generator.choice(_SIZES)
    return joined(json.dumps(header), body)


def _renamed(header: dict[str, Any], body: bytearray, generator: Random) -> bytes:
    """Another name of a tensor, or two tensors with each other's names."""
    first, second = _tensor(header, generator), _tensor(header, generator)
    if first == second:
        header[generator.choice((first + "x", "", "\x1b[31m", "z" * 3000, "__metadata__"))] = header.pop(first)
    else:
        header[first], header[second] = header[second], header[first]
    return joined(json.dumps(header), body)


def _values(header: dict[str, Any], body: bytearray, generator: Random) -> bytes:
    """Another value of an entry of a float tensor, or of all."""
    name = _tensor(header, generator)
    code = {"F32": "<f", "F64": "<d"}.get(header[name]["dtype"], "<B")
    value = generator.choice(_VALUES) if code != "<B" else generator.randrange(256)
    packed = struct.pack(code, value)
    first, last = header[name]["data_offsets"]
    places = range(first, last - len(packed) + 1, len(packed))
    for place in places if generator.random() < 0.3 or not places else [generator.choice(places)]:
        body[place : place + len(packed)] = packed
    return joined(json.dumps(header), body)


def _reshaped(header: dict[str, Any], body: bytearray, generator: Random) -> bytes:
    """A consistent file in which a tensor has another shape or type, or is missing."""
    name = _tensor(header, generator)
    entry = header[name]
    first, last = entry["data_offsets"]
    change = generator.randrange(4)
    if change == 0:
        del header[name]
        rest, removed = body[:first] + body[last:], last - first
    else:
        shape = generator.choice(([last - first], [1, last - first], [0], [], [last - first, 1, 1]))
        length = 1 if not shape else last - first if 0 not in shape else 0
        entry |= {"dtype": "U8", "shape": shape, "data_offsets": [first, first + length]}
        rest, removed = body[: first + length] + body[last:], last - first - length
    for other, found in header.items():
        if other not in (name, "__metadata__") and found["data_offsets"][0] >= last:
            found["data_offsets"] = [place - removed for place in found["data_offsets"]]
    return joined(json.dumps(header), rest)


def _text(header: dict[str, Any], body: bytearray, generator: Random) -> bytes:
    return joined(spoil_value(header, generator), body)


def _size(header: dict[str, Any], body: bytearray, generator: Random) -> bytes:
    return joined(json.dumps(header), body, generator.choice(_HEADER_SIZES))


def _tensor(header: dict[str, Any], generator: Random) -> str:
    return generator.choice([name for name in header if name != "__metadata__"])
