"""Gaussian kernels, and ridge regressions with them, set by leave-one-out errors in closed form."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy.spatial.distance import cdist

from lcm.isomorphism.matching import FloatArray

# Eigenvalues of a Gaussian kernel are at least 0 but for rounding.
_LEAST_EIGENVALUE = 1e-10


class KernelFit(NamedTuple):
    """A ridge regression of each of t responses with a kernel exp(−γ d²).

    gamma, ridge: (t,) γ and the penalty of each response. weights: (N, t), of the kernels of the fitted rows.
    residuals: (N, t), leave-one-out residuals, each of a fit to all other rows.
    """

    gamma: FloatArray
    ridge: FloatArray
    weights: FloatArray
    residuals: FloatArray

    def predicted(self, fitted: FloatArray, rows: FloatArray) -> FloatArray:
        """Predictions (M, t) at `rows` (M, k), where `fitted` (N, k) are the inputs of the fit."""
        squared = squared_distances(rows, fitted)
        found = np.empty((len(rows), len(self.gamma)))
        for gamma in np.unique(self.gamma):
            chosen = self.gamma == gamma
            found[:, chosen] = np.exp(-gamma * squared) @ self.weights[:, chosen]
        return found


def squared_distances(first: FloatArray, second: FloatArray) -> FloatArray:
    """Squared Euclidean distances (N, M) of rows (N, k) and (M, k)."""
    squared: FloatArray = cdist(first, second, "sqeuclidean")
    return squared


def median_gamma(squared: FloatArray) -> float:
    """γ = 1 / (2 median) of squared distances between rows (N, N), the diagonal left out (Gretton et al. 2012); 1 where
    the median is 0."""
    median = float(np.median(squared[~np.eye(len(squared), dtype=np.bool_)])) if len(squared) > 1 else 0.0
    return 1.0 / (2.0 * median) if median > 0 else 1.0


def fit_kernel_ridge(
    inputs: FloatArray, responses: FloatArray, gammas: Sequence[float], ridges: Sequence[float]
) -> KernelFit:
    """Fit each response with the γ and the ridge of its smallest leave-one-out error.

    A fit minimises the squared error plus ridge times the squared norm in the kernel's space, without a constant. The
    leave-one-out residuals are G⁻¹y / diag(G⁻¹), G = K + ridge (Rasmussen & Williams 2006, section 5.4.2).

    Args:
        inputs: (N, k), N >= 2.
        responses: (N, t), centred.
        gammas, ridges: positive numbers to choose from.
    """
    squared, (rows, count) = squared_distances(inputs, inputs), responses.shape
    least = np.full(count, np.inf)
    chosen = KernelFit(np.empty(count), np.empty(count), np.empty((rows, count)), np.empty((rows, count)))
    for gamma in gammas:
        values, vectors = np.linalg.eigh(np.exp(-gamma * squared))
        rotated = vectors.T @ responses
        values = values.clip(_LEAST_EIGENVALUE)
        for ridge in ridges:
            weights = vectors @ (rotated / (values + ridge)[:, None])
            residuals = weights / (np.square(vectors) @ (1.0 / (values + ridge)))[:, None]
            error = np.square(residuals).mean(0)
            better = error < least
            least[better], chosen.gamma[better], chosen.ridge[better] = error[better], gamma, ridge
            chosen.weights[:, better], chosen.residuals[:, better] = weights[:, better], residuals[:, better]
    return chosen
