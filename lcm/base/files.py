"""JSON and safetensors files, read without unpickling."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from lcm.base.atomic import atomic_write
from lcm.base.json_text import parse_json, read_text

_UNREADABLE = (SafetensorError, TypeError, ValueError, KeyError, AttributeError, OverflowError, MemoryError)


def write_text(path: str | Path, text: str) -> None:
    """Write `text` to `path` as UTF-8, atomically."""
    with atomic_write(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: str | Path, value: Any) -> None:
    """Write `value` to `path` as JSON, atomically; numpy scalars and arrays become numbers and lists.

    Raises ValueError for NaN and infinite numbers, which JSON does not have, and for types that it lacks.
    """
    try:
        text = json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False, default=_plain)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{path}: Expected finite numbers and plain types for JSON; got: {error}") from error
    write_text(path, text + "\n")


def read_json(path: str | Path) -> Any:
    """Return the content of the JSON file `path`; ValueError naming the file if it is missing or not JSON."""
    return parse_json(read_text(existing_file(path), "JSON"), str(path))


def write_tensors(
    path: str | Path, tensors: Mapping[str, NDArray[Any]], metadata: Mapping[str, str] | None = None
) -> None:
    """Write arrays and string metadata to a safetensors file, atomically.

    Raises ValueError for no arrays, and for arrays of strings, objects or other types that the format lacks.
    """
    if not tensors:
        raise ValueError(f"{path}: Expected at least one tensor to write; got none")
    for name, tensor in tensors.items():
        if tensor.dtype.kind not in "buif":
            raise ValueError(f"{path}: {name}: Expected numbers or booleans; got dtype {tensor.dtype}")
    # The writer reads raw memory: a strided view would be written scrambled.
    contiguous = {name: np.ascontiguousarray(tensor) for name, tensor in tensors.items()}
    with atomic_write(path, sum(tensor.nbytes for tensor in contiguous.values())) as temporary:
        save_file(contiguous, temporary, metadata=dict(metadata or {}))
        _sort_metadata(temporary)


def read_tensors(path: str | Path, map_from: int | None = None) -> tuple[dict[str, NDArray[Any]], dict[str, str]]:
    """Return the arrays and the metadata of a safetensors file.

    A file of at least `map_from` bytes is memory-mapped: its arrays cannot be written to, and are read when used.
    Raises ValueError naming the file if it is missing, truncated, or not a safetensors file.
    """
    with _opened(path) as file:
        metadata = dict(file.metadata() or {})
        if map_from is None or Path(path).stat().st_size < map_from:
            return {name: file.get_tensor(name) for name in file.keys()}, metadata  # noqa: SIM118
    from lcm.base.rows import map_tensors

    return map_tensors(path), metadata


def read_tensor_names(path: str | Path) -> tuple[list[str], dict[str, str]]:
    """Return the names of the tensors and the metadata of a safetensors file, without its content; errors as above."""
    with _opened(path) as file:
        return list(file.keys()), dict(file.metadata() or {})


@contextmanager
def _opened(path: str | Path) -> Iterator[Any]:
    """A safetensors file to read from; errors as `read_tensors` raises them."""
    existing_file(path)
    try:
        with safe_open(path, framework="numpy") as file:
            yield file
    except _UNREADABLE as error:
        _refuse_unreadable(path, "a whole safetensors file", error)


def existing_file(path: str | Path) -> Path:
    """Return `path` as a Path; ValueError if it is not a file."""
    file = Path(path)
    if not file.is_file():
        got = "a folder" if file.is_dir() else "no such file"
        raise ValueError(f"{path}: Expected a file; got {got}")
    return file


def _sort_metadata(path: Path) -> None:
    # The format's writer orders the metadata at random; sorted, equal content gives equal bytes.
    with path.open("r+b") as file:
        length = int.from_bytes(file.read(8), "little")
        header = json.loads(file.read(length))
        header["__metadata__"] = dict(sorted(header.get("__metadata__", {}).items()))
        text = json.dumps(header, ensure_ascii=False, separators=(",", ":")).encode().ljust(length)
        if len(text) == length:
            file.seek(8)
            file.write(text)


def _refuse_unreadable(path: str | Path, expected: str, error: Exception) -> NoReturn:
    reason = " ".join(str(error).split()) or type(error).__name__
    raise ValueError(f"{path}: Expected {expected}; got a truncated or unreadable one ({reason})") from error


def _plain(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        return value.tolist()
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, Path):
        return str(value)
    raise TypeError(f"{type(value).__name__} {value!r}")
