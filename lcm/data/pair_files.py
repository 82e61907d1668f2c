"""Files, tables and arrays of pairs: read and write them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lcm.base.atomic import atomic_write
from lcm.base.files import read_tensor_names, read_tensors, write_tensors
from lcm.base.npy import opened_archive, read_npz
from lcm.base.stamp import FileStamp
from lcm.base.text import shown
from lcm.data.image_files import ShardedImages, found_shards
from lcm.data.pairs import PairData
from lcm.data.table import (
    TABLE_SUFFIXES,
    Table,
    frame_table,
    is_frame,
    joined,
    own_layout,
    pair_columns,
    read_heading,
    read_table,
    split,
    write_table,
)
from lcm.data.validation import TENSORS, require_observations, validate_pairs

Array = NDArray[Any]
WRITTEN_SUFFIXES = (".safetensors", ".npz", *TABLE_SUFFIXES)
MAPPED_FROM = 1 << 26
"""A .safetensors file of at least this size, in bytes, is memory-mapped instead of read."""


def load_pairs(x: Any, x_tilde: Any = None, *, mark: str | None = None) -> PairData:
    """Load pairs from files, arrays or DataFrames. No file is unpickled.

    Args:
        x: both observations: a .safetensors or .npz file with `x` and `x_tilde`; or a .csv file, a .parquet file or a
            DataFrame with the columns of x and x̃. If `x_tilde` is given, x alone: a .csv file, a .parquet file, a
            DataFrame, an array or tensor (N, d), or images (N, H, W, C) of uint8. A `PairData` is returned as it is.
        x_tilde: x̃, in the same form as x. DataFrames and named columns are aligned by their column and row names.
        mark: prefix or suffix of the columns of x̃, if one table holds both (`lcm.data.table.split`).

    A .safetensors file of 64 MiB or more is memory-mapped. Its float32 tensors are not copied, are read-only, and are
    read from the file at each use. Do not change the file meanwhile (docs/method.md, Memory). To read a data set in
    parts, NAME-00001-of-00003.safetensors and so on, give NAME.safetensors.

    Raises:
        ValueError: a file that is missing, truncated or of another type; values that are missing, of a wrong type or
            shape, not finite or constant; or a cyclic graph. The message is one line with the file and the key or
            column.
        ImportError: a Parquet file without the extra `parquet`.

    Example:
        >>> import numpy as np, lcm
        >>> x = np.random.default_rng(0).normal(size=(100, 2))
        >>> len(lcm.load_pairs(x, x + [[1.0, 0.0]]))
        100
    """
    if isinstance(x, PairData):
        return x
    if x is None:
        raise ValueError("x: Expected pairs; got None")
    # before they are read, so that a change meanwhile is noticed
    stamps = _stamps(x, x_tilde)
    return replace(_loaded(x, x_tilde, mark), stamps=stamps)


def _stamps(*sources: Any) -> tuple[FileStamp, ...]:
    paths = [path for source in sources if _is_path(source) for path in (found_shards(source) or [Path(source)])]
    return tuple(FileStamp.of(path) for path in paths if path.is_file())


def _loaded(x: Any, x_tilde: Any, mark: str | None) -> PairData:
    if _is_path(x) and Path(x).suffix not in TABLE_SUFFIXES:
        if x_tilde is not None:
            raise ValueError(f"{x}: Expected a .csv or .parquet file with x alone; got the suffix {Path(x).suffix!r}")
        return _load_tensors(x)
    tables = [_as_table(part, key) for part, key in ((x, "x"), (x_tilde, "x_tilde")) if part is not None]
    if None in tables:
        return PairData.from_arrays(x, x_tilde)
    return _from_tables([table for table in tables if table is not None], mark, x.iloc[:, :0] if is_frame(x) else None)


def _is_path(value: Any) -> bool:
    return isinstance(value, str | Path)


def _as_table(part: Any, key: str) -> Table | None:
    """The table in a file or a DataFrame; None for an array."""
    if _is_path(part):
        if Path(part).suffix not in TABLE_SUFFIXES:
            raise ValueError(f"{part}: Expected a .csv or .parquet file; got the suffix {Path(part).suffix!r}")
        return read_table(part)
    return frame_table(part, key) if is_frame(part) else None


def _from_tables(tables: Sequence[Table], mark: str | None, frame: Any) -> PairData:
    """Pairs from one table with both observations, or from two tables."""
    first = tables[0]
    if len(tables) == 1:
        own = own_layout(first)
        if own is not None:
            return PairData(**validate_pairs(own[0], first.source, own[1]), source=first.source, columns=own[1])
        before, after = split(first, mark)
    else:
        before, after = tables
    x, x_tilde = joined(before, after)
    source, *elsewhere = [""] if frame is not None else [table.source for table in tables]
    valid = validate_pairs({"x": x, "x_tilde": x_tilde}, source, before.names, "".join(elsewhere))
    given = (mark or "") if len(tables) == 1 else ""
    return PairData(**valid, source=source, after="".join(elsewhere), mark=given, columns=before.names, frame=frame)


def _load_tensors(path: str | Path) -> PairData:
    suffix = Path(path).suffix
    if suffix == ".safetensors":
        parts = found_shards(path)
        if parts:
            return _joined([_load_tensors(part) for part in parts], str(path))
        arrays, metadata = read_tensors(path, map_from=MAPPED_FROM)
    elif suffix == ".npz":
        arrays, metadata = read_npz(path, TENSORS), {}
    else:
        raise ValueError(f"{path}: Expected a .safetensors, .npz, .csv or .parquet file; got the suffix {suffix!r}")
    columns = _noted_columns(metadata, path)
    return PairData(**validate_pairs(arrays, str(path), columns), metadata=metadata, source=str(path), columns=columns)


def _noted_columns(metadata: Mapping[str, str], path: str | Path) -> tuple[str, ...]:
    """The names of the columns of x that a file of tensors notes; () where it notes none."""
    if "columns" not in metadata:
        return ()
    try:
        found = json.loads(metadata["columns"])
    except ValueError:
        found = None
    if not isinstance(found, list) or not all(isinstance(name, str) for name in found):
        raise ValueError(f"{path}: columns: Expected a JSON list of names; got {shown(metadata['columns'])}")
    return tuple(found)


def _joined(parts: list[PairData], source: str) -> PairData:
    """Join the parts of a data set of images."""
    first = parts[0]
    for part in parts:
        if not part.is_images or part.tensors().keys() != first.tensors().keys():
            raise ValueError(f"{part.source}: Expected images with the tensors of the first part; got others")
        if not np.array_equal(np.asarray(part.adjacency), np.asarray(first.adjacency)):
            raise ValueError(f"{part.source}: adjacency: Expected that of the first part; got another")
    joined: dict[str, Any] = {
        key: np.concatenate([getattr(part, key) for part in parts])
        for key in first.tensors()
        if key not in ("x", "x_tilde", "adjacency")
    }
    try:
        joined |= {key: ShardedImages([getattr(part, key) for part in parts]) for key in ("x", "x_tilde")}
    except ValueError as error:
        raise ValueError(f"{source}: {error}") from error
    metadata = {key: value for key, value in first.metadata.items() if key != "part"}
    return replace(first, **joined, metadata=metadata, source=source)


def save_pairs(path: str | Path, data: Any, x_tilde: Any = None) -> None:
    """Write pairs to a file, whole or not at all. Equal data give equal bytes.

    Args:
        path: .safetensors, .npz, .csv or .parquet file. A table holds vectors and their truth, but no graph.
        data, x_tilde: anything that `load_pairs` takes.

    Raises:
        ValueError: another suffix, images for a table, or data that `load_pairs` refuses.
        ImportError: a Parquet file without the extra `parquet`.

    Example:
        >>> import lcm, tempfile
        >>> pairs = lcm.load_pairs("data/sample.safetensors")
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     lcm.save_pairs(f"{folder}/pairs.csv", pairs)
        ...     lcm.load_pairs(f"{folder}/pairs.csv").targets.shape
        (2000, 3)
    """
    data = load_pairs(data, x_tilde)
    if Path(path).suffix in TABLE_SUFFIXES and data.is_images:
        raise ValueError(f"{path}: Expected a .safetensors or .npz file for images; got {Path(path).suffix!r}")
    named = {"columns": json.dumps(data.columns)} if data.columns else {}
    write_arrays(path, data.tensors(), {**data.metadata, **named}, data.columns)


def write_arrays(
    path: str | Path,
    tensors: Mapping[str, Array],
    metadata: Mapping[str, str],
    columns: Sequence[str] = (),
    table: Mapping[str, Array] | None = None,
) -> None:
    """Write tensors to a file by its suffix, whole or not at all.

    Args:
        path: .safetensors, .npz, .csv or .parquet file.
        metadata: metadata of a .safetensors file.
        columns: names of the columns of x in a table.
        table: all columns of a table; default: those of `lcm.data.table.pair_columns`.

    Raises:
        ValueError: another suffix.
    """
    suffix = Path(path).suffix
    if suffix == ".safetensors":
        write_tensors(path, tensors, metadata)
    elif suffix == ".npz":
        with atomic_write(path) as temporary:
            np.savez(temporary, **dict(tensors))  # type: ignore[arg-type]
    elif suffix in TABLE_SUFFIXES:
        write_table(path, pair_columns(tensors, columns) if table is None else table)
    else:
        listed = ", ".join(WRITTEN_SUFFIXES)
        raise ValueError(f"{path}: Expected a file to write to with one of the suffixes {listed}; got {suffix!r}")


def columns_of_file(path: str | Path) -> tuple[str, ...]:
    """The names of the columns of x in a file with x and x_tilde; () where they have none. No row is read.

    Raises:
        ValueError: a file that is missing, unreadable or of another type, or without x or x_tilde.
        ImportError: a Parquet file without the extra `parquet`.
    """
    suffix = Path(path).suffix
    if suffix in TABLE_SUFFIXES:
        heading = read_heading(path)
        own = own_layout(heading)
        return split(heading)[0].names if own is None else own[1]
    if suffix == ".safetensors":
        names, metadata = read_tensor_names(path)
    elif suffix == ".npz":
        with opened_archive(path) as archive:
            names, metadata = [name.removesuffix(".npy") for name in archive.namelist()], {}
    else:
        raise ValueError(f"{path}: Expected a .safetensors, .npz, .csv or .parquet file; got the suffix {suffix!r}")
    require_observations(names, str(path))
    return _noted_columns(metadata, path)
