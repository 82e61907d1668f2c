"""Parquet files of numbers, with the labels of the rows that pandas notes in them; they need the extra `parquet`."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from lcm.base.files import existing_file
from lcm.base.memory import available_bytes
from lcm.base.text import shown


def parquet_columns(path: str | Path) -> list[str]:
    """The names of the columns, without that of labels; no row is read. Errors as of `read_parquet`."""
    parquet = require_parquet(path)
    existing_file(path)
    try:
        schema = parquet.ParquetFile(path).schema_arrow
    except Exception as error:
        _refuse_parquet(path, error)
    index = _index(schema, path)
    return [name for name in schema.names if name != index]


def read_parquet(path: str | Path) -> tuple[list[str], NDArray[np.float64], Any]:
    """The names of the columns, their values (N, columns), and the labels of the rows, or None.

    Raises:
        ValueError: a file that is missing, unreadable or larger than the free memory, a cell that is no number, or an
            index of several columns.
        ImportError: without the extra `parquet`.
    """
    parquet = require_parquet(path)
    existing_file(path)
    try:
        _require_memory(parquet.ParquetFile(path).metadata)
        table = parquet.read_table(path)
    except Exception as error:
        _refuse_parquet(path, error)
    index = _index(table.schema, path)
    names = [name for name in table.column_names if name != index]
    columns = []
    for name in names:
        column = table.column(name)
        if column.null_count:
            row = column.is_null().to_pylist().index(True)
            raise ValueError(f"{path}: row {row}, column {name!r}: Expected a number; got an empty cell")
        try:
            columns.append(np.asarray(column.to_numpy(), dtype=np.float64))
        except (TypeError, ValueError, NotImplementedError) as error:
            raise ValueError(f"{path}: column {name!r}: Expected numbers; got {column.type}") from error
    values = np.stack(columns, 1) if columns else np.empty((0, 0))
    labels = table.column(index).to_pylist() if isinstance(index, str) else index
    # a range that a stranger noted may have any length
    labels = labels if labels is None or labels[: len(values) + 1] == labels[: len(values)] else None
    return names, values, labels


def _index(schema: Any, path: str | Path) -> str | range | None:
    """The column, or the numbers, that label the rows, as pandas notes them; None where it does not."""
    try:
        noted = list(json.loads((schema.metadata or {})[b"pandas"])["index_columns"])
    except (KeyError, TypeError, ValueError):
        return None
    if len(noted) > 1:
        raise ValueError(f"{path}: Expected rows with one label each; got an index of {', '.join(map(shown, noted))}")
    for index in noted:
        if isinstance(index, dict):
            return _range(index)
        if index in schema.names:
            return str(index)
    return None


def _range(noted: Mapping[str, Any]) -> range | None:
    """Labels at equal steps; None for 0, 1, 2, …, which are no more than the places of the rows."""
    try:
        labels = range(*(int(noted[key]) for key in ("start", "stop", "step")))
        return None if labels[:1] == range(1) and labels.step == 1 else labels
    except (KeyError, TypeError, ValueError, OverflowError):
        return None


def _refuse_parquet(path: str | Path, error: Exception) -> NoReturn:
    # on bad bytes pyarrow raises errors of many kinds
    reason = " ".join(str(error).split())
    raise ValueError(f"{path}: Expected a whole Parquet file; got an unreadable one ({reason})") from error


def _require_memory(metadata: Any) -> None:
    """Raise ValueError for a file that claims more than fits into free memory, before it is read."""
    claimed = max(
        metadata.num_rows * metadata.num_columns * 8,
        sum(metadata.row_group(group).total_byte_size for group in range(metadata.num_row_groups)),
    )
    free = available_bytes()
    if claimed > free:
        raise ValueError(f"a file that claims {claimed:,} bytes, where {free:,} are free")


def require_parquet(path: str | Path) -> Any:
    """The module pyarrow.parquet; ImportError, which names the extra, where it is not installed."""
    try:
        import pyarrow.parquet
    except ImportError as error:
        message = f"{path}: Expected the extra parquet for a Parquet file: pip install 'latent-causal-models[parquet]'"
        raise ImportError(message) from error
    return pyarrow.parquet
