"""What of one model's variable the *other* variables of a second model explain: the mixing that is left."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri
from scipy.stats import rankdata

Array = NDArray[np.float64]

_RIDGE = 1e-6


class Leakage(NamedTuple):
    """Shares of variance, held out and at least 0: total (n,), and by source (n, n), [i, j]: from z_j into z′_π(i)."""

    total: Array
    by_source: Array


def leakage(residuals: Array, variables: Array, train: NDArray[np.bool_]) -> Leakage:
    """Regress what is left of each variable on the others, alone and in interplay with its own source.

    The regressors of z_j are Hermite polynomials of its normal score up to degree 3, times those of z_i up to degree
    2; what z_i itself explains of the residual is taken out first. A regression on all j gives the total, one on each
    j its share.

    Args:
        residuals: (N, n), z′_π(i) − h_i(z_i) in standard deviations of z′_π(i).
        variables: (N, n), the z_i.
        train: (N,) rows to fit on; the others are held out.
    """
    n = residuals.shape[1]
    hermite = _hermite(ndtri((rankdata(variables, axis=0) - 0.5) / len(variables)))
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


def _hermite(scores: Array) -> Array:
    """Orthonormal Hermite polynomials of degree 0 to 3 of normal scores (N, n): (N, n, 4)."""
    s = scores
    return np.stack([np.ones_like(s), s, (s**2 - 1.0) / np.sqrt(2.0), (s**3 - 3.0 * s) / np.sqrt(6.0)], axis=-1)


def _held_out_loss(design: Array, response: Array, train: NDArray[np.bool_]) -> float:
    """Mean squared error on the rows that are not in `train`, of a least-squares fit on those that are."""
    rows = design[train]
    gram = rows.T @ rows
    gram.flat[:: len(gram) + 1] += _RIDGE * len(rows)
    weights = np.linalg.solve(gram, rows.T @ response[train])
    return float(np.mean(np.square(response[~train] - design[~train] @ weights)))
