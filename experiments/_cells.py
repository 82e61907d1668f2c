"""Cells of an experiment: a piece of work whose record is kept in a file, so that it is done once."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from lcm.base.files import read_json, write_json


def run_once(path: Path, settings: Mapping[str, Any], compute: Callable[[], Mapping[str, Any]]) -> dict[str, Any]:
    """The record of a cell: read where the file is there, else computed and written, whole or not at all.

    Args:
        path: the JSON file of the cell.
        settings: what the record depends on, as JSON values; they are kept in it.
        compute: what else the record holds; called only where the file is missing.

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
