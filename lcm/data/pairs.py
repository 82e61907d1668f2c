"""Pairs of observations before and after an unknown intervention: the container."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, final

import numpy as np
from numpy.typing import NDArray

from lcm.base.rows import row_blocks, take_rows
from lcm.base.stamp import FileStamp
from lcm.data.intrinsic_dimension import Spectrum, bent_directions, dimension, spectrum
from lcm.data.measurement import unrelated_columns
from lcm.data.outliers import ColumnScales, Outlier, describe_outlier, farthest_values, outlying_rows
from lcm.data.table import (
    frame_table,
    is_frame,
    joined,
)
from lcm.data.validation import TENSORS, validate_pairs
from lcm.data.variable_count import DimensionEvidence, dimension_evidence

Array = NDArray[Any]
_SHOWN = 6
_OF_ROWS = tuple(name for name in TENSORS if name != "adjacency")


@final
@dataclass(frozen=True, eq=False, repr=False)
class PairData:
    """A data set of N pairs, with the truth if it is known.

    Build it with `load_pairs` or `PairData.from_arrays`, which validate the data. The constructor does not.

    Attributes:
        x, x_tilde: observations before and after the intervention, float32 (N, d), or float64 where float32 is too
            coarse for a column; or uint8 (N, H, W, C).
        z, z_tilde: true causal variables, float32 (N, n). The truth, from here to adjacency, is for scores only.
        noise, noise_tilde: s⁻¹(z) and s⁻¹(z_tilde), both in the model without intervention, float32 (N, n).
        targets: bool (N, n), whether the variable was a target.
        adjacency: uint8 (n, n), `adjacency[i, j]` is 1 iff i -> j.
        metadata: program that made the data, seed, package version.
        source: file of the data, which errors name; "" for arrays.
        after: file of x_tilde, if it is another one; else "". mark: of its columns in one table, if it was given.
        columns: names of the columns of x, if a table gave them.
        frame: the DataFrame of x, without its columns; None for other sources.
        stamps: of the files that the data were read from.

    Example:
        >>> import lcm
        >>> pairs = lcm.load_pairs("data/sample.safetensors")
        >>> pairs
        <PairData: 2,000 pairs of 3 columns, float32; truth: z, noise, targets, adjacency; from data/sample.safetensors>
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
    mark: str = ""

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
        drawn: bool = False,
    ) -> PairData:
        """Build pairs from numpy arrays or torch tensors with the shapes above. A ValueError names a bad array.

        Only pairs that a model has `drawn` may have constant columns.

        Arrays of the right type are kept, not copied. Two DataFrames x and x_tilde are aligned by the names of their
        columns and rows.
        """
        if is_frame(x) and is_frame(x_tilde):
            before = frame_table(x, "x")
            (x, x_tilde), columns = joined(before, frame_table(x_tilde, "x_tilde")), before.names
        given = dict(zip(TENSORS, (x, x_tilde, z, z_tilde, noise, noise_tilde, targets, adjacency), strict=True))
        arrays = {key: _as_numpy(value, key) for key, value in given.items() if value is not None}
        names = tuple(columns)
        return cls(**validate_pairs(arrays, "", names, drawn=drawn), metadata=dict(metadata or {}), columns=names)

    def __len__(self) -> int:
        return len(self.x)

    def __repr__(self) -> str:
        named = ", ".join([*self.columns[:_SHOWN], *(["…"] if len(self.columns) > _SHOWN else [])])
        of_columns = f"{self.x.shape[-1]} columns{f' ({named})' if named else ''}, {self.x.dtype}"
        of_images = f"images of {' x '.join(map(str, self.x.shape[1:]))}"
        known = [name for name in self.tensors() if not name.startswith("x") and not name.endswith("_tilde")]
        truth = f"; truth: {', '.join(known)}" if known else ""
        source = f"; from {self.source}" if self.source else ""
        count = f"{len(self):,} pair{'' if len(self) == 1 else 's'}"
        return f"<PairData: {count} of {of_images if self.is_images else of_columns}{truth}{source}>"

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
        # as constants, since they tell nothing of what is near
        related = np.where(self.unrelated, 0.0, self.x) if self.unrelated.any() else self.x
        return dimension_evidence(self.spectrum, related, self.estimated_n)

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
