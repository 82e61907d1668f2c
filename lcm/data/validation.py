"""Validate the tensors of a data set: types, shapes, finite values, columns that vary, an acyclic graph."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lcm.base.rows import row_blocks
from lcm.base.text import shown
from lcm.model.graph import validate_adjacency

OBSERVATIONS = ("x", "x_tilde")
VARIABLES = ("z", "z_tilde", "noise", "noise_tilde")
TENSORS = (*OBSERVATIONS, *VARIABLES, "targets", "adjacency")

_Array = NDArray[Any]
_COARSE = 1e-5
_MOST_LISTED = 10


def validate_pairs(
    arrays: Mapping[str, _Array], source: str, columns: Sequence[str] = (), after: str = "", drawn: bool = False
) -> dict[str, Any]:
    """Check the tensors of a data set and return them in the types of `lcm.PairData`; or raise ValueError.

    `arrays` must have "x" and "x_tilde": real (N, d), returned as float32, or float64 where columns are too far
    from zero for float32 to tell their values apart; or uint8 (N, H, W, C). It may have "z",
    "z_tilde", "noise", "noise_tilde": real (N, n), returned as float32; "targets": (N, n) of 0 and 1, returned as bool;
    and "adjacency": (n, n), acyclic, returned as uint8. Other names are dropped. Each message begins with `source`.
    `columns` are the names of the columns of x, for messages; () where they have none. `after` is the source of
    x_tilde, if it is another one. Columns may be constant where a model has `drawn` them: it gives the mean of those
    that its fit left out.
    """
    where = {key: f"{source}: {key}" if source else key for key in TENSORS}
    if after:
        where["x_tilde"] = f"{after}: x_tilde"
    require_observations(arrays, source)
    valid = {key: _observation(arrays[key], where[key], columns) for key in OBSERVATIONS}
    if any(valid[key].dtype == np.float64 for key in OBSERVATIONS):
        valid = {key: array.astype(np.float64, copy=False) for key, array in valid.items()}
    if valid["x"].shape != valid["x_tilde"].shape:
        raise ValueError(
            f"{where['x_tilde']}: Expected the shape of x, {valid['x'].shape}; got {valid['x_tilde'].shape}"
        )
    _require_names(columns, valid["x"], where["x"])
    if not drawn:
        _require_varying_columns(valid["x"], where["x"], columns)
    for key in VARIABLES:
        if key in arrays:
            valid[key] = _real(arrays[key], where[key], "(N, n)")
    if "targets" in arrays:
        valid["targets"] = _targets(arrays["targets"], where["targets"])
    if "adjacency" in arrays:
        valid["adjacency"] = _adjacency(arrays["adjacency"], where["adjacency"])
    _require_equal_sizes(valid, where)
    return valid


def _require_names(columns: Sequence[str], x: _Array, where: str) -> None:
    """Raise ValueError unless there are no names of columns, or one for each column of x, no two of them equal."""
    if not columns:
        return
    width = x.shape[1] if x.ndim == 2 else 0
    if len(columns) != width:
        raise ValueError(f"{where}: Expected {width} names of columns; got {len(columns)}")
    if twice := [name for k, name in enumerate(columns) if name in columns[:k]]:
        raise ValueError(f"{where}: Expected names of columns that differ; got {shown(twice[0])} twice")


def require_observations(names: Iterable[str], source: str) -> None:
    """Raise ValueError unless x and x_tilde are among the names of the tensors."""
    found = sorted(names)
    for key in OBSERVATIONS:
        if key not in found:
            where = f"{source}: {key}" if source else key
            raise ValueError(f"{where}: Expected the tensors x and x_tilde; got {', '.join(found) or 'none'}")


def _observation(array: _Array, where: str, columns: Sequence[str]) -> _Array:
    if array.dtype == np.uint8 and array.ndim == 4 and array.size:
        return np.ascontiguousarray(array)
    values = _real(array, where, "(N, d), or uint8 (N, H, W, C) for images", columns)
    return np.ascontiguousarray(array, np.float64) if _too_coarse(array) else values


def _too_coarse(array: _Array) -> bool:
    """Whether rounding to float32 is noticeable beside the spread of a column, as of time stamps."""
    if array.dtype.itemsize < 4 or array.dtype == np.float32:
        return False
    shift = array[0].astype(np.float64)
    total, squares = np.zeros(array.shape[1]), np.zeros(array.shape[1])
    for (block,) in row_blocks(array):
        values = block.astype(np.float64)
        total += (values - shift).sum(0)
        squares += np.square(values - shift).sum(0)
    spread = np.sqrt(np.maximum(squares / len(array) - np.square(total / len(array)), 0.0))
    middle = np.abs(shift + total / len(array))
    return bool((np.finfo(np.float32).eps * middle > _COARSE * spread).any())


def _real(array: _Array, where: str, shape: str, columns: Sequence[str] = ()) -> NDArray[np.float32]:
    if array.dtype.kind not in "iuf":
        raise ValueError(f"{where}: Expected real numbers; got dtype {array.dtype}")
    if array.ndim != 2:
        raise ValueError(f"{where}: Expected shape {shape}; got {array.dtype} {array.shape}")
    if array.size == 0:
        raise ValueError(f"{where}: Expected at least one row and one column; got shape {array.shape}")
    return _finite_float32(array, where, columns)


def _finite_float32(array: _Array, where: str, columns: Sequence[str]) -> NDArray[np.float32]:
    with np.errstate(over="ignore"):
        values = np.ascontiguousarray(array, dtype=np.float32)
    if not all(np.isfinite(block).all() for (block,) in row_blocks(values)):
        raise ValueError(f"{where}: Expected finite numbers; got {_not_finite(values, columns)}")
    return values


def _not_finite(values: NDArray[np.float32], columns: Sequence[str]) -> str:
    n_nan = n_infinite = n_rows = 0
    first = None
    bad = np.zeros(values.shape[1], dtype=np.bool_)
    for (block,) in row_blocks(values):
        n_nan += int(np.isnan(block).sum())
        n_infinite += int(np.isinf(block).sum())
        rows = np.flatnonzero(~np.isfinite(block).all(axis=1))
        if first is None and rows.size:
            first = n_rows + int(rows[0])
        bad |= ~np.isfinite(block).all(axis=0)
        n_rows += len(block)
    return f"{n_nan} NaN and {n_infinite} infinite entries, first in row {first} (columns: {_listed(bad, columns)})"


def _listed(chosen: NDArray[np.bool_], columns: Sequence[str]) -> str:
    """The chosen columns by their names or, where they have none, their 0-based indices."""
    found = np.flatnonzero(chosen).tolist()
    shown = ", ".join(repr(columns[i]) if columns else str(i) for i in found[:_MOST_LISTED])
    return shown + (", …" if len(found) > _MOST_LISTED else "")


def _require_varying_columns(x: _Array, where: str, columns: Sequence[str]) -> None:
    # A single row, as in the encoding of one observation, has constant columns; so do images with black corners.
    if len(x) == 1 or x.ndim == 4:
        return
    least, most = zip(*((block.min(axis=0), block.max(axis=0)) for (block,) in row_blocks(x)), strict=True)
    constant = np.min(least, axis=0) == np.max(most, axis=0)
    if constant.any():
        by = "" if columns else " (0-based index)"
        got = f"{constant.sum()} constant{by}: {_listed(constant, columns)}"
        raise ValueError(f"{where}: Expected columns that vary; got {got}")


def _targets(array: _Array, where: str) -> NDArray[np.bool_]:
    _require_binary_type(array, where)
    if array.ndim != 2:
        raise ValueError(f"{where}: Expected shape (N, n); got {array.shape}")
    if array.dtype.kind != "b" and array.size and not np.isin(array, (0, 1)).all():
        raise ValueError(f"{where}: Expected entries 0 and 1; got entries from {array.min()} to {array.max()}")
    return np.ascontiguousarray(array, dtype=np.bool_)


def _adjacency(array: _Array, where: str) -> NDArray[np.uint8]:
    # a matrix of 0.0 and 1.0 is what most libraries give; other numbers are refused by their values
    if array.dtype.kind != "f":
        _require_binary_type(array, where)
    try:
        return validate_adjacency(array).astype(np.uint8)
    except ValueError as error:
        raise ValueError(f"{where}: {error}") from error


def _require_binary_type(array: _Array, where: str) -> None:
    if array.dtype.kind not in "biu":
        raise ValueError(f"{where}: Expected booleans, or integers 0 and 1; got dtype {array.dtype}")


def _require_equal_sizes(valid: Mapping[str, _Array], where: Mapping[str, str]) -> None:
    n_rows, n, first = len(valid["x"]), None, ""
    for key in (*VARIABLES, "targets", "adjacency"):
        if key not in valid:
            continue
        rows, columns = valid[key].shape
        if key != "adjacency" and rows != n_rows:
            raise ValueError(f"{where[key]}: Expected {n_rows} rows, as x has; got {rows}")
        if n is not None and columns != n:
            raise ValueError(f"{where[key]}: Expected n = {n} variables, as {first} has; got {columns}")
        n, first = columns, first or key
