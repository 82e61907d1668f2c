"""Measurements other than fits and scores: each is made once, and its record is kept in a file."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from lcm.base.files import read_json, write_json


def run_once(path: Path, settings: Mapping[str, Any], compute: Callable[[], Mapping[str, Any]]) -> dict[str, Any]:
    """Read the record of a measurement from its file; without the file, compute and write the record atomically.

    Args:
        path: the JSON file of the record.
        settings: what the record depends on, as JSON values; they are part of the record.
        compute: computes the rest of the record; called only if the file is missing.

    Raises:
        ValueError: the file holds the record of other settings.
    """
    wanted = dict(settings)
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        write_json(path, {**wanted, **compute()})
    record: dict[str, Any] = read_json(path)
    different = [key for key, value in wanted.items() if key not in record or record[key] != value]
    if different:
        key = different[0]
        raise ValueError(
            f"{path}: Expected {key} = {wanted[key]!r}; got {record.get(key)!r}. Choose another --out, or delete it."
        )
    return record
