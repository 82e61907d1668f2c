"""Which learned variable is which true variable, and how well the two agree.

Learned variables come in arbitrary order and sign. `permutation[i] = j` means that true variable i is learned
variable j; -1 marks a true variable without a match (possible only when there are fewer learned variables
than true ones).
"""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import linear_sum_assignment
from scipy.stats import rankdata

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]


def paired_columns(true: ArrayLike, learned: ArrayLike) -> tuple[FloatArray, FloatArray]:
    """Two tables about the same rows, true (N, n) and learned (N, m), as float64.

    Raises:
        ValueError: a table is not two-dimensional, has no row or no column, or has NaN or infinite entries,
            or the numbers of rows differ.
    """
    tables = {"true": np.asarray(true, dtype=np.float64), "learned": np.asarray(learned, dtype=np.float64)}
    for name, table in tables.items():
        if table.ndim != 2 or table.size == 0:
            raise ValueError(f"Expected {name} variables of shape (N, n), N and n >= 1; got shape {table.shape}.")
        finite = np.isfinite(table).all(axis=1)
        if not finite.all():
            raise ValueError(
                f"Expected finite {name} variables; got {np.sum(~finite)} rows that are not, "
                f"the first is row {np.argmin(finite)}."
            )
    if len(tables["true"]) != len(tables["learned"]):
        raise ValueError(
            "Expected as many rows of learned as of true variables; "
            f"got {len(tables['learned'])} and {len(tables['true'])}."
        )
    return tables["true"], tables["learned"]


def unit_columns(table: FloatArray) -> FloatArray:
    """The columns of a finite table (N, n), centred and of unit length; a constant column becomes zero."""
    constant = table.max(axis=0) == table.min(axis=0)
    # Rescaled before squaring, twice: neither huge nor tiny units overflow or vanish.
    centred = table / _nonzero(np.abs(table).max(axis=0))
    centred = centred - centred.mean(axis=0)
    centred = centred / _nonzero(np.abs(centred).max(axis=0))
    unit = centred / _nonzero(np.sqrt(np.square(centred).sum(axis=0)))
    return np.where(constant, 0.0, unit)


def correlation_matrix(
    true: ArrayLike, learned: ArrayLike, kind: Literal["spearman", "pearson"] = "spearman"
) -> FloatArray:
    """Absolute correlation of every true variable with every learned one, (n, m), in [0, 1].

    A constant column has correlation 0 with everything; tied values share their average rank (Spearman).

    Args:
        true: (N, n).
        learned: (N, m).
        kind: "spearman" (invariant under strictly monotone maps of each variable) or "pearson".

    Raises:
        ValueError: bad tables (see `paired_columns`) or an unknown kind.
    """
    true, learned = paired_columns(true, learned)
    if kind not in ("spearman", "pearson"):
        raise ValueError(f"Expected kind 'spearman' or 'pearson'; got {kind!r}.")
    if kind == "spearman":
        true, learned = rankdata(true, axis=0), rankdata(learned, axis=0)
    return np.minimum(np.abs(unit_columns(true).T @ unit_columns(learned)), 1.0)


def match_variables(abs_spearman: ArrayLike) -> IntArray:
    """The permutation (n,) that maximises the sum of matched |Spearman| (n, m), by linear assignment.

    `permutation[i] = j`: true variable i is learned variable j; -1 where unmatched (n > m). At m > n, m - n
    learned variables stay without a match.

    Raises:
        ValueError: the matrix is not two-dimensional or has NaN entries.
    """
    scores = np.asarray(abs_spearman, dtype=np.float64)
    if scores.ndim != 2 or np.isnan(scores).any():
        raise ValueError(f"Expected an (n, m) matrix without NaN; got shape {scores.shape}.")
    permutation = np.full(len(scores), -1, dtype=np.int64)
    matched, matches = linear_sum_assignment(scores, maximize=True)
    permutation[matched] = matches
    return permutation


def mean_correlation(abs_correlation: ArrayLike, permutation: ArrayLike) -> float:
    """Mean correlation coefficient (MCC) over the n true variables, in [0, 1]; an unmatched one counts 0.

    Args:
        abs_correlation: (n, m), Spearman or Pearson, from `correlation_matrix`.
        permutation: (n,), from `match_variables`.

    Raises:
        ValueError: the permutation does not fit the matrix (see `checked_permutation`).
    """
    correlation = np.asarray(abs_correlation, dtype=np.float64)
    permutation = checked_permutation(permutation, *correlation.shape)
    matched = np.flatnonzero(permutation >= 0)
    return float(correlation[matched, permutation[matched]].sum() / len(permutation))


def checked_permutation(permutation: ArrayLike, n: int, m: int) -> IntArray:
    """A matching (n,) of n true variables with m learned ones, as int64.

    Raises:
        ValueError: not n integers in -1..m-1, or a learned variable is matched twice.
    """
    matching = np.asarray(permutation)
    integers = matching.shape == (n,) and matching.dtype.kind in "iu"
    matched = matching[matching >= 0]
    if not integers or not np.isin(matching, np.arange(-1, m)).all() or len(np.unique(matched)) < len(matched):
        raise ValueError(
            f"Expected a permutation of {n} different entries in 0..{m - 1}, or -1; got {matching.tolist()}."
        )
    return matching.astype(np.int64)


def _nonzero(scale: FloatArray) -> FloatArray:
    return np.where(scale > 0, scale, 1.0)
