"""Pairs of observations before and after an unknown intervention: the container and its files."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, final

import numpy as np
from numpy.typing import NDArray

from lcm.base.files import read_npz, read_tensors, write_tensors
from lcm.base.rows import row_blocks
from lcm.data.image_files import ShardedImages, found_shards
from lcm.model.graph import validate_adjacency

Array = NDArray[Any]


PAIRS_PER_TARGET_SET = 50
OBSERVATIONS = ("x", "x_tilde")
VARIABLES = ("z", "z_tilde", "noise", "noise_tilde")
TENSORS = (*OBSERVATIONS, *VARIABLES, "targets", "adjacency")
MAPPED_FROM = 1 << 26
"""Size, in bytes, from which on a .safetensors file is memory-mapped instead of read."""


@final
@dataclass(frozen=True, eq=False)
class PairData:
    """A data set of N pairs, with the truth about it where it is known.

    Build it by `load_pairs` or `PairData.from_arrays`, which validate; the constructor does not.

    Attributes:
        x, x_tilde: observations before and after the intervention, float32 (N, d) or uint8 (N, H, W, C).
        z, z_tilde: causal variables, float32 (N, n). Truth, for scoring only, as everything below.
        noise, noise_tilde: s⁻¹(z) and s⁻¹(z_tilde), both by the unintervened model, float32 (N, n).
        targets: bool (N, n), whether a variable was intervened on.
        adjacency: uint8 (n, n), `adjacency[i, j]` is 1 iff i -> j.
        metadata: what made the data, the seed, the package version.
        source: the file that the data came from, which errors about them name; "" for arrays.
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
    ) -> PairData:
        """Validate numpy arrays or torch tensors, of the shapes of the class; ValueError names a bad one.

        Arrays that already have the right type are kept, not copied.
        """
        given = dict(zip(TENSORS, (x, x_tilde, z, z_tilde, noise, noise_tilde, targets, adjacency), strict=True))
        arrays = {key: _as_numpy(value, key) for key, value in given.items() if value is not None}
        return cls(**validate_pairs(arrays, source=""), metadata=dict(metadata or {}), source="")

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

    def first(self, rows: int) -> PairData:
        """The first pairs, at most `rows` of them, with their truth."""
        names = ("x", "x_tilde", "z", "z_tilde", "noise", "noise_tilde", "targets")
        parts = {name: getattr(self, name) for name in names}
        return replace(self, **{name: part[:rows] for name, part in parts.items() if part is not None})

    def tensors(self) -> dict[str, Array]:
        """The tensors that are present, by the names of the file format."""
        return {key: getattr(self, key) for key in TENSORS if getattr(self, key) is not None}


def load_pairs(path: str | Path) -> PairData:
    """Read pairs from a .safetensors or .npz file; nothing is ever unpickled.

    A .safetensors file of 64 MiB or more is memory-mapped: float32 tensors in it are not copied, cannot be written to,
    and are read from the file whenever they are used. The file must stay as it is meanwhile (docs/method.md, Memory).

    A data set in several parts, NAME-00001-of-00003.safetensors and so on, is read by the name it would have as one.

    Raises ValueError, one line that names the file and the key, for a file that is missing, truncated or of
    another type, and for tensors that are missing, of a wrong type or shape, not finite, constant, or (a
    graph) cyclic.
    """
    suffix = Path(path).suffix
    if suffix == ".safetensors":
        parts = found_shards(path)
        if parts:
            return _joined([load_pairs(part) for part in parts], str(path))
        arrays, metadata = read_tensors(path, map_from=MAPPED_FROM)
    elif suffix == ".npz":
        arrays, metadata = read_npz(path), {}
    else:
        raise ValueError(f"{path}: Expected a .safetensors or .npz file; got the suffix {suffix!r}")
    return PairData(**validate_pairs(arrays, source=str(path)), metadata=metadata, source=str(path))


def _joined(parts: list[PairData], source: str) -> PairData:
    """Parts of one data set of images, as one."""
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


def save_pairs(path: str | Path, data: PairData) -> None:
    """Write pairs to a .safetensors file, atomically; equal data give equal bytes.

    Raises ValueError if `path` has another suffix.
    """
    if Path(path).suffix != ".safetensors":
        raise ValueError(f"{path}: Expected a .safetensors file to write to; got the suffix {Path(path).suffix!r}")
    write_tensors(path, data.tensors(), data.metadata)


def require_enough_pairs(data: PairData, n: int) -> None:
    """Raise ValueError where there are fewer than 50 (n + 1) pairs to fit `n` variables on."""
    needed = PAIRS_PER_TARGET_SET * (n + 1)
    if len(data) < needed:
        raise ValueError(f"{_at(data, 'x')}: Expected at least {needed} pairs, 50 (n + 1) for n = {n}; got {len(data)}")


def require_enough_dimensions(data: PairData, n: int) -> None:
    """Raise ValueError where the observations have fewer dimensions than the `n` variables."""
    if data.n_dimensions < n:
        raise ValueError(f"{_at(data, 'x')}: Expected at least n = {n} dimensions; got {data.n_dimensions}")


def data_hash(data: PairData, with_targets: bool = False) -> str:
    """The SHA-256 (64 hex digits) of what a fit sees: types, shapes and bytes of x, x_tilde and, if asked, targets."""
    digest = hashlib.sha256()
    seen = (data.x, data.x_tilde, *([data.targets] if with_targets and data.targets is not None else []))
    for array in seen:
        digest.update(f"{array.dtype} {array.shape};".encode())
        for (block,) in row_blocks(array):
            digest.update(np.ascontiguousarray(block).data)
    return digest.hexdigest()


def _at(data: PairData, key: str) -> str:
    return f"{data.source}: {key}" if data.source else key


def _as_numpy(value: Any, key: str) -> Array:
    # Duck-typed: torch need not be imported to accept its tensors.
    try:
        return np.asarray(value.detach().cpu().numpy() if hasattr(value, "detach") else value)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{key}: Expected an array of numbers; got {type(value).__name__} ({error})") from error


_Array = NDArray[Any]


def validate_pairs(arrays: Mapping[str, _Array], source: str) -> dict[str, _Array]:
    """Return the tensors of a data set in the types of the contract, or raise ValueError.

    `arrays` needs "x" and "x_tilde": real (N, d), returned as float32, or uint8 (N, H, W, C). Optional are
    "z", "z_tilde", "noise", "noise_tilde": real (N, n), returned as float32; "targets": (N, n) of 0 and 1,
    returned as bool; "adjacency": (n, n), acyclic, returned as uint8. Other names are left out. `source`
    opens each message.
    """
    where = {key: f"{source}: {key}" if source else key for key in TENSORS}
    for key in OBSERVATIONS:
        if key not in arrays:
            raise ValueError(f"{where[key]}: Expected the tensors x and x_tilde; got {_names(arrays)}")
    valid = {key: _observation(arrays[key], where[key]) for key in OBSERVATIONS}
    if valid["x"].shape != valid["x_tilde"].shape:
        raise ValueError(
            f"{where['x_tilde']}: Expected the shape of x, {valid['x'].shape}; got {valid['x_tilde'].shape}"
        )
    _require_varying_columns(valid["x"], where["x"])
    for key in VARIABLES:
        if key in arrays:
            valid[key] = _real(arrays[key], where[key], "(N, n)")
    if "targets" in arrays:
        valid["targets"] = _targets(arrays["targets"], where["targets"])
    if "adjacency" in arrays:
        valid["adjacency"] = _adjacency(arrays["adjacency"], where["adjacency"])
    _require_equal_sizes(valid, where)
    return valid


def _observation(array: _Array, where: str) -> _Array:
    if array.dtype == np.uint8 and array.ndim == 4 and array.size:
        return np.ascontiguousarray(array)
    return _real(array, where, "(N, d), or uint8 (N, H, W, C) for images")


def _real(array: _Array, where: str, shape: str) -> NDArray[np.float32]:
    if array.dtype.kind not in "iuf":
        raise ValueError(f"{where}: Expected real numbers; got dtype {array.dtype}")
    if array.ndim != 2:
        raise ValueError(f"{where}: Expected shape {shape}; got {array.dtype} {array.shape}")
    if array.size == 0:
        raise ValueError(f"{where}: Expected at least one row and one column; got shape {array.shape}")
    return _finite_float32(array, where)


def _finite_float32(array: _Array, where: str) -> NDArray[np.float32]:
    with np.errstate(over="ignore"):
        values = np.ascontiguousarray(array, dtype=np.float32)
    if not all(np.isfinite(block).all() for (block,) in row_blocks(values)):
        raise ValueError(f"{where}: Expected finite numbers; got {_not_finite(values)}")
    return values


def _not_finite(values: NDArray[np.float32]) -> str:
    n_nan = n_infinite = n_rows = 0
    first = None
    for (block,) in row_blocks(values):
        n_nan += int(np.isnan(block).sum())
        n_infinite += int(np.isinf(block).sum())
        bad = np.flatnonzero(~np.isfinite(block).all(axis=1))
        if first is None and bad.size:
            first = n_rows + int(bad[0])
        n_rows += len(block)
    return f"{n_nan} NaN and {n_infinite} infinite entries, first in row {first}"


def _require_varying_columns(x: _Array, where: str) -> None:
    # A single row, as in encoding one observation, says nothing of constancy; nor do black corners of images.
    if len(x) == 1 or x.ndim == 4:
        return
    least, most = zip(*((block.min(axis=0), block.max(axis=0)) for (block,) in row_blocks(x)), strict=True)
    constant = np.flatnonzero(np.min(least, axis=0) == np.max(most, axis=0))
    if constant.size:
        listed = ", ".join(map(str, constant[:10])) + (", …" if constant.size > 10 else "")
        raise ValueError(f"{where}: Expected columns that vary; got {constant.size} constant (0-based index): {listed}")


def _targets(array: _Array, where: str) -> NDArray[np.bool_]:
    _require_binary_type(array, where)
    if array.ndim != 2:
        raise ValueError(f"{where}: Expected shape (N, n); got {array.shape}")
    if array.dtype.kind != "b" and array.size and not np.isin(array, (0, 1)).all():
        raise ValueError(f"{where}: Expected entries 0 and 1; got entries from {array.min()} to {array.max()}")
    return np.ascontiguousarray(array, dtype=np.bool_)


def _adjacency(array: _Array, where: str) -> NDArray[np.uint8]:
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


def _names(arrays: Mapping[str, _Array]) -> str:
    return ", ".join(sorted(arrays)) or "none"
