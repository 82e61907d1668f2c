"""Which learned variable is which true variable, and how well the two agree.

Learned variables come in arbitrary order and sign. `permutation[i] = j` means that true variable i is learned
variable j. -1 marks a true variable without a match, which happens only when there are fewer learned variables than
true ones.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import linear_sum_assignment
from scipy.special import ndtri

from lcm.base.ranks import column_ranks

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

_RIDGE = 1e-6
_ROUNDING = 1e-4
_FLOAT32 = float(np.finfo(np.float32).eps)


def paired_columns(true: ArrayLike, learned: ArrayLike) -> tuple[FloatArray, FloatArray]:
    """Two tables of the same rows, true (N, n) and learned (N, m), as float64.

    Raises:
        ValueError: a table is not two-dimensional, has no row or no column, or has NaN or infinite entries,
            or the tables have different numbers of rows.
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
    # rescaled before squaring, twice, so that huge units do not overflow and tiny units do not vanish
    centred = table / _nonzero(np.abs(table).max(axis=0))
    centred = centred - centred.mean(axis=0)
    centred = centred / _nonzero(np.abs(centred).max(axis=0))
    unit = centred / _nonzero(np.sqrt(np.square(centred).sum(axis=0)))
    return np.where(constant, 0.0, unit)


def correlation_matrix(
    true: ArrayLike, learned: ArrayLike, kind: Literal["spearman", "pearson"] = "spearman"
) -> FloatArray:
    """Absolute correlation of every true variable with every learned one, (n, m), in [0, 1].

    A constant column has correlation 0 with everything; tied values share their average rank (Spearman). Where the
    values of a true column repeat, learned values that differ by a ten-thousandth of their spread are tied as well.

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
    if kind == "pearson":
        return np.minimum(np.abs(unit_columns(true).T @ unit_columns(learned)), 1.0)
    found = np.minimum(np.abs(unit_columns(column_ranks(true)).T @ unit_columns(column_ranks(learned))), 1.0)
    for i in np.flatnonzero([_is_discrete(column) for column in true.T]):
        ranks = unit_columns(column_ranks(true[:, [i]])), unit_columns(column_ranks(_without_rounding(learned)))
        found[i] = np.minimum(np.abs(ranks[0].T @ ranks[1])[0], 1.0)
    return found


def _is_discrete(column: FloatArray) -> bool:
    """Whether most values occur more than once."""
    return 2 * len(np.unique(column)) <= len(column)


def _without_rounding(table: FloatArray) -> FloatArray:
    """Values (N, m) in units of rounding errors of an encoding, so that values equal but for these are tied."""
    scaled = table / _nonzero(np.abs(table).max(axis=0))
    rounded: FloatArray = np.rint(scaled / (_ROUNDING * np.maximum(scaled.std(axis=0), _FLOAT32)))
    return rounded


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


class Leakage(NamedTuple):
    """Shares of variance, held out and at least 0: total (n,), and by source (n, n), [i, j]: from z_j into z′_π(i)."""

    total: FloatArray
    by_source: FloatArray


def leakage(residuals: FloatArray, variables: FloatArray, train: NDArray[np.bool_]) -> Leakage:
    """Regress the residual of each variable on the others, alone and in interaction with its own source.

    The regressors of z_j are Hermite polynomials of its normal score up to degree 3, times those of z_i up to degree
    2; the part of the residual that z_i itself explains is removed first. A regression on all j gives the total, a
    regression on each j its share.

    Args:
        residuals: (N, n), z′_π(i) − h_i(z_i) in standard deviations of z′_π(i).
        variables: (N, n), the z_i.
        train: (N,) bool, the rows to fit on; the other rows are held out.
    """
    n = residuals.shape[1]
    hermite = _hermite(ndtri((column_ranks(variables) - 0.5) / len(variables)))
    total, by_source = np.zeros(n), np.zeros((n, n))
    for i in range(n):
        others = [j for j in range(n) if j != i]
        own = np.column_stack([np.ones(len(variables)), hermite[:, i, 1:]])
        crossed = np.einsum("mja,mb->mjab", hermite[:, others, 1:], hermite[:, i, :3]).reshape(len(own), len(others), 9)
        loss = _held_out_loss(own, residuals[:, i], train)
        for index, j in enumerate(others):
            by_source[i, j] = loss - _held_out_loss(np.hstack([own, crossed[:, index]]), residuals[:, i], train)
        if others:
            everything = np.hstack([own, crossed.reshape(len(own), -1)])
            total[i] = loss - _held_out_loss(everything, residuals[:, i], train)
    return Leakage(np.maximum(total, 0.0), np.maximum(by_source, 0.0))


def _hermite(scores: FloatArray) -> FloatArray:
    """Orthonormal Hermite polynomials of degree 0 to 3 of normal scores (N, n): (N, n, 4)."""
    s = scores
    return np.stack([np.ones_like(s), s, (s**2 - 1.0) / np.sqrt(2.0), (s**3 - 3.0 * s) / np.sqrt(6.0)], axis=-1)


def _held_out_loss(design: FloatArray, response: FloatArray, train: NDArray[np.bool_]) -> float:
    """Mean squared error on the rows that are not in `train`, of a least-squares fit on those that are."""
    rows = design[train]
    gram = rows.T @ rows
    gram.flat[:: len(gram) + 1] += _RIDGE * len(rows)
    weights = np.linalg.solve(gram, rows.T @ response[train])
    return float(np.mean(np.square(response[~train] - design[~train] @ weights)))
