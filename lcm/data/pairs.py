"""Pairs of observations before and after an unknown intervention: the container and its files."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, final

import numpy as np
from numpy.typing import NDArray

from lcm.base.atomic import atomic_write
from lcm.base.files import read_tensors, write_tensors
from lcm.base.npy import read_npz
from lcm.base.rows import row_blocks, take_rows
from lcm.base.stamp import FileStamp
from lcm.data.image_files import ShardedImages, found_shards
from lcm.data.intrinsic_dimension import Spectrum, bent_directions, dimension, spectrum
from lcm.data.measurement import unrelated_columns
from lcm.data.outliers import ColumnScales, Outlier, describe_outlier, farthest_values, outlying_rows
from lcm.data.table import (
    TABLE_SUFFIXES,
    Table,
    frame_table,
    is_frame,
    joined,
    own_layout,
    pair_columns,
    read_table,
    split,
    write_table,
)
from lcm.data.validation import TENSORS, validate_pairs
from lcm.data.variable_count import DimensionEvidence, dimension_evidence

Array = NDArray[Any]
_OF_ROWS = tuple(name for name in TENSORS if name != "adjacency")
WRITTEN_SUFFIXES = (".safetensors", ".npz", *TABLE_SUFFIXES)
MAPPED_FROM = 1 << 26
"""A .safetensors file of at least this size, in bytes, is memory-mapped instead of read."""


@final
@dataclass(frozen=True, eq=False)
class PairData:
    """A data set of N pairs, with the truth if it is known.

    Build it with `load_pairs` or `PairData.from_arrays`, which validate the data. The constructor does not.

    Attributes:
        x, x_tilde: observations before and after the intervention, float32 (N, d) or uint8 (N, H, W, C).
        z, z_tilde: true causal variables, float32 (N, n). The truth, from here to adjacency, is for scores only.
        noise, noise_tilde: s⁻¹(z) and s⁻¹(z_tilde), both in the model without intervention, float32 (N, n).
        targets: bool (N, n), whether the variable was a target.
        adjacency: uint8 (n, n), `adjacency[i, j]` is 1 iff i -> j.
        metadata: program that made the data, seed, package version.
        source: file of the data, which errors name; "" for arrays.
        after: file of x_tilde, if it is another one; else "".
        columns: names of the columns of x, if a table gave them.
        frame: the DataFrame of x, without its columns; None for other sources.
        stamps: of the files that the data were read from.

    Example:
        >>> import lcm
        >>> pairs = lcm.load_pairs("data/sample.safetensors")
        >>> len(pairs), pairs.x.shape, pairs.adjacency is not None
        (2000, (2000, 3), True)
    """

    x: Array
    x_tilde: Array
    z: Array | None = None
    z_tilde: Array | None = None
    noise: Array | None = None
    noise_tilde: Array | None = None
    targets: NDArray[np.bool_] | None = None
    adjacency: NDArray[np.uint8] | None = None
    metadata: Mapping[str, str] = field(default_factory=dict)
    source: str = ""
    columns: tuple[str, ...] = ()
    frame: Any = None
    stamps: tuple[FileStamp, ...] = ()
    after: str = ""

    @classmethod
    def from_arrays(
        cls,
        x: Any,
        x_tilde: Any,
        *,
        z: Any = None,
        z_tilde: Any = None,
        noise: Any = None,
        noise_tilde: Any = None,
        targets: Any = None,
        adjacency: Any = None,
        metadata: Mapping[str, str] | None = None,
        columns: Any = (),
    ) -> PairData:
        """Build pairs from numpy arrays or torch tensors with the shapes above. A ValueError names a bad array.

        Arrays of the right type are kept, not copied. Two DataFrames x and x_tilde are aligned by the names of their
        columns and rows.
        """
        if is_frame(x) and is_frame(x_tilde):
            before = frame_table(x, "x")
            (x, x_tilde), columns = joined(before, frame_table(x_tilde, "x_tilde")), before.names
        given = dict(zip(TENSORS, (x, x_tilde, z, z_tilde, noise, noise_tilde, targets, adjacency), strict=True))
        arrays = {key: _as_numpy(value, key) for key, value in given.items() if value is not None}
        names = tuple(columns)
        return cls(**_valid(arrays, "", names), metadata=dict(metadata or {}), columns=names)

    def __len__(self) -> int:
        return len(self.x)

    @property
    def is_images(self) -> bool:
        """Whether the observations are uint8 images (N, H, W, C)."""
        return self.x.ndim == 4

    @property
    def n_dimensions(self) -> int:
        """The number of entries of one observation: d, or H·W·C."""
        return int(np.prod(self.x.shape[1:]))

    @cached_property
    def scales(self) -> ColumnScales:
        """Medians and widths of the columns of vectors x."""
        return ColumnScales.of(self.x)

    @cached_property
    def farthest_values(self) -> NDArray[np.float64]:
        """(N,) how far out the farthest value of each pair of vectors lies, in widths of its column."""
        return farthest_values(self.x, self.x_tilde, self.scales)

    @cached_property
    def outliers(self) -> tuple[Outlier, ...]:
        """Pairs of vectors that lie apart from all others (`lcm.data.outliers`), each by its farthest value."""
        if self.is_images:
            return ()
        rows = outlying_rows(self.farthest_values)
        return tuple(describe_outlier(self.x, self.x_tilde, int(row), self.scales) for row in rows)

    @cached_property
    def without_outliers(self) -> PairData:
        """The pairs that a fit learns from: all but the outliers; these data themselves where there are none."""
        if not self.outliers:
            return self
        kept = np.setdiff1d(np.arange(len(self)), [outlier.row for outlier in self.outliers])
        parts: dict[str, Any] = {
            name: take_rows(part, kept) for name in _OF_ROWS if (part := getattr(self, name)) is not None
        }
        return replace(self, **parts, frame=None if self.frame is None else self.frame.iloc[kept])

    @cached_property
    def unrelated(self) -> NDArray[np.bool_]:
        """Columns (d,) of vectors that carry nothing of the variables (`lcm.data.measurement`)."""
        return unrelated_columns(self.x, self.x_tilde)

    def column_name(self, column: int) -> str:
        """A column of x as messages name it: its name in quotes, or its 0-based index."""
        return repr(self.columns[column]) if self.columns else str(column)

    @cached_property
    def spectrum(self) -> Spectrum:
        """The principal components of vectors x and x̃ together, of all columns but unrelated ones, computed once."""
        return spectrum(self.x, self.x_tilde, self.unrelated)

    @cached_property
    def estimated_n(self) -> int:
        """The estimated number of variables of vectors x (`lcm.data.intrinsic_dimension`), computed once."""
        return dimension(self.spectrum, self.x, self.x_tilde)

    @cached_property
    def dimension_evidence(self) -> DimensionEvidence:
        """Evidence for the number of variables of vectors x (`lcm.data.variable_count`), computed once."""
        return dimension_evidence(self.spectrum, self.x, self.estimated_n)

    def directions(self, n: int) -> int:
        """How many principal directions of vectors x a curved sheet of n dimensions may need, at least n."""
        return max(n, bent_directions(self.spectrum))

    def first(self, rows: int) -> PairData:
        """The first `rows` pairs with their truth, or all pairs if there are fewer."""
        parts = {name: getattr(self, name) for name in _OF_ROWS}
        frame = None if self.frame is None else self.frame.iloc[:rows]
        return replace(self, **{name: part[:rows] for name, part in parts.items() if part is not None}, frame=frame)

    def require_unchanged(self) -> None:
        """Raise ValueError if a file that the data were read from is no longer what it was."""
        for stamp in self.stamps:
            stamp.require_unchanged()

    def tensors(self) -> dict[str, Array]:
        """The tensors of the data set, by their names in the file format."""
        return {key: getattr(self, key) for key in TENSORS if getattr(self, key) is not None}


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


def _valid(arrays: Mapping[str, Any], source: str, columns: Sequence[str] = (), after: str = "") -> dict[str, Any]:
    return dict(validate_pairs(arrays, source, columns, after))


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
            return PairData(**_valid(own[0], first.source, own[1]), source=first.source, columns=own[1])
        before, after = split(first, mark)
    else:
        before, after = tables
    x, x_tilde = joined(before, after)
    source, *elsewhere = [""] if frame is not None else [table.source for table in tables]
    valid = _valid({"x": x, "x_tilde": x_tilde}, source, before.names, "".join(elsewhere))
    return PairData(**valid, source=source, after="".join(elsewhere), columns=before.names, frame=frame)


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
    columns = tuple(json.loads(metadata["columns"])) if "columns" in metadata else ()
    return PairData(**_valid(arrays, str(path), columns), metadata=metadata, source=str(path), columns=columns)


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


def data_hash(data: PairData, with_targets: bool = False) -> str:
    """SHA-256 (64 hex digits) of the types, shapes and bytes of x, x_tilde and, with_targets, the targets."""
    digest = hashlib.sha256()
    seen = (data.x, data.x_tilde, *([data.targets] if with_targets and data.targets is not None else []))
    for array in seen:
        digest.update(f"{array.dtype} {array.shape};".encode())
        for (block,) in row_blocks(array):
            digest.update(np.ascontiguousarray(block).data)
    return digest.hexdigest()


def _as_numpy(value: Any, key: str) -> Array:
    if np.ma.is_masked(value):
        rows = np.flatnonzero(np.ma.getmaskarray(value).reshape(len(value), -1).any(axis=1))
        masked = int(np.ma.count_masked(value))
        raise ValueError(f"{key}: Expected values without a mask; got {masked} masked entries, first in row {rows[0]}")
    # Duck typing accepts tensors without an import of torch.
    try:
        return np.asarray(value.detach().cpu().numpy() if hasattr(value, "detach") else value)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{key}: Expected an array of numbers; got {type(value).__name__} ({error})") from error
