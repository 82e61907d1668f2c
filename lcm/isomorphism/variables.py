"""The variables of two models, matched, and how far a monotone map of each explains the other."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any, final

import numpy as np
from numpy.typing import NDArray

from lcm.isomorphism.consistency import consistency_of
from lcm.isomorphism.matching import FloatArray, IntArray, correlation_matrix, leakage, match_variables
from lcm.isomorphism.monotone import fit_monotone, knots_of, mapped, normal_scores, piecewise_linear, quantile_map
from lcm.isomorphism.views import View, require_finite
from lcm.model.elementwise import KnotMap

BoolArray = NDArray[np.bool_]


@final
@dataclass(frozen=True, eq=False)
class MatchedVariables:
    """The variables of the same R observations in two models, matched, B's in A's numbering.

    The first N rows are the x of the data, the next N the x̃, and what follows the models drew themselves.

    Attributes:
        permutation: variable i of A is variable permutation[i] of B.
        z_a, z_b: (R, n).
        scores_a, scores_b: (R, n), their normal scores.
        between_scores: the map from scores_a to scores_b.
        n_data: N.
    """

    permutation: IntArray
    z_a: FloatArray
    z_b: FloatArray
    scores_a: FloatArray
    scores_b: FloatArray
    between_scores: KnotMap
    n_data: int

    @staticmethod
    def match(first: View, second: View, n_data: int) -> MatchedVariables:
        """Match the variables of two views whose rows are as described, and fit the map of their normal scores.

        Raises:
            ValueError: encodings of the data that are not finite.
        """
        for part in (first, second):
            require_finite(*(table[: 2 * n_data] for table in part))
        permutation = _match(first, second, n_data)
        z_b = second.z[:, permutation]
        scores = normal_scores(first.z), normal_scores(z_b)
        # on both observations of a pair, so that h is known where interventions alone lead
        fitted = np.concatenate([_fitted(n_data), n_data + _fitted(n_data)])
        between = fit_monotone(scores[0][fitted], scores[1][fitted])
        return MatchedVariables(permutation, first.z, z_b, *scores, between, n_data)

    @property
    def fitted(self) -> IntArray:
        """The rows of the x that maps are fitted on: of every second pair of the data."""
        return _fitted(self.n_data)

    @property
    def held_out(self) -> IntArray:
        """The rows of the x of all other pairs."""
        return 1 + _fitted(self.n_data - 1)

    @cached_property
    def variable_map(self) -> KnotMap:
        """h, in A's numbering."""
        return quantile_map(self.z_a, self.z_b, self.between_scores)

    def numbers(self, mixing: float) -> dict[str, Any]:
        """The attributes of a `Comparison` that need no more than variables, in normal scores but for the consistency.

        Args:
            mixing: the leakage above which variables are in one block.
        """
        source, target = self.scores_a[: self.n_data], self.scores_b[: self.n_data]
        train = np.arange(self.n_data) % 2 == 0
        varies = _varies(target)
        residual = (target - mapped(self.between_scores, source)) / np.where(varies, target.std(0), 1.0)
        # a constant, which a collapsed model has, is a function of everything and says nothing of it
        r2 = np.where(varies, 1.0 - np.mean(np.square(residual[~train]), axis=0), 0.0)
        leaks = leakage(residual, source, train)
        return {
            "permutation": tuple(self.permutation.tolist()),
            "orientation": tuple(int(sign) for sign in self.between_scores.orientation),
            "r2": r2,
            "leakage": leaks.total,
            "leakage_matrix": leaks.by_source,
            "monotone_gain": np.where(varies, _free_r2(source, target, train) - r2, 0.0),
            "consistency": consistency_of(self.z_a[: self.n_data], self.z_b[: self.n_data], leaks.by_source, mixing),
            "variable_map": self.variable_map,
        }


def _fitted(n_data: int) -> IntArray:
    return np.arange(0, n_data, 2)


def _match(first: View, second: View, n_data: int) -> IntArray:
    """The permutation of the largest sum of |Spearman| on x of the data, of variables and of any noise."""
    scores = correlation_matrix(first.z[:n_data], second.z[:n_data])
    if first.normal.size and second.normal.size:
        scores = scores + correlation_matrix(first.normal[:n_data], second.normal[:n_data])
    return match_variables(scores)


def _varies(table: FloatArray) -> BoolArray:
    """Which columns (n,) are not constant to rounding."""
    varies: BoolArray = table.std(0) > 1e-9 * np.abs(table).max(0)
    return varies


def _free_r2(source: FloatArray, target: FloatArray, train: BoolArray) -> FloatArray:
    """Held-out R² (n,) of target_i on a polygon of source_i that need not be monotone."""
    return np.array([_polygon_r2(x, y, train) for x, y in zip(source.T, target.T, strict=True)])


def _polygon_r2(x: FloatArray, y: FloatArray, train: BoolArray) -> float:
    design = np.column_stack([np.ones_like(x), piecewise_linear(x, knots_of(x[train]))])
    weights = np.linalg.lstsq(design[train], y[train], rcond=None)[0]
    return float(1.0 - np.mean(np.square(y - design @ weights)[~train]) / max(y.var(), 1e-300))
