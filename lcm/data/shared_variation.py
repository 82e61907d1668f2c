"""What x and x̃ share: sensor noise is drawn afresh for each, variables that are no targets are not.

A direction of x that mere noise fills is uncorrelated between the observations of a pair. So is what noise leaves of a
regression. What a regression on too few variables leaves out is not: a missing variable stays the same in most pairs.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, NamedTuple, final

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
_SIGNIFICANT, _ROWS_PER_COLUMN = 3.0, 4
_STILL_WIDTH, _STILL_SHARE = 0.01, 0.04
_FAR = 9.0
_FEATURES, _STEEPNESS, _OFFSET = 300, 1.5, 2.0
_RIDGE = 1e-6
_LEAST_COMMON, _TINY = 1e-3, 1e-200
_SEED = 0


@final
class SharedDirections(NamedTuple):
    """How many whitened directions of x are not mere noise, as x̃ tells.

    correlated: those that are correlated between x and x̃, or that many pairs leave still.
    dependent: these, and those whose squares depend on x̃: a product of two variables can be uncorrelated.
    """

    correlated: int
    dependent: int


def shared_directions(rows: Array, rows_tilde: Array, least: float) -> SharedDirections:
    """Count the directions that x and x̃ share, of centred rows (M, d) whose columns have unit variance.

    Directions are whitened over both observations. One is correlated if its canonical correlation exceeds 3 √(d / M),
    or if more than 4 % of pairs leave it still: an intervention can fill a direction that is all but empty in x. Counts
    are 0 for too few rows.

    Args:
        least: variances below this share of the largest are rounding.
    """
    count, d = rows.shape
    if count <= _ROWS_PER_COLUMN * d:
        return SharedDirections(0, 0)
    variances, directions = np.linalg.eigh((rows.T @ rows + rows_tilde.T @ rows_tilde) / (2 * count))
    kept = variances > least * variances[-1]
    whitening = directions[:, kept] / np.sqrt(variances[kept])
    before, after = rows @ whitening, rows_tilde @ whitening
    cross = before.T @ after / count
    correlations, rotation = np.linalg.eigh(0.5 * (cross + cross.T))
    before, after = before @ rotation, after @ rotation
    change = np.abs(after - before)
    still = (change < _STILL_WIDTH * np.sqrt(np.square(change).mean(0))).mean(0) > _STILL_SHARE
    correlated = still | (correlations > _SIGNIFICANT * np.sqrt(d / count))
    found = int(correlated.sum())
    return SharedDirections(found, found + _dependent(before[:, ~correlated], after[:, ~correlated]))


def _dependent(before: Array, after: Array) -> int:
    """How many of uncorrelated directions (M, k) vary more where x̃ is farther out: more than by chance."""

    def growth(sizes: Array) -> Array:
        return np.asarray(np.linalg.eigvalsh((before * (sizes - sizes.mean())[:, None]).T @ before))

    if before.shape[1] == 0:
        return 0
    sizes = np.minimum(np.square(after).sum(1), _FAR * before.shape[1])
    chance = np.abs(growth(np.random.default_rng(_SEED).permutation(sizes))).max()
    return int(np.sum(growth(sizes) > _SIGNIFICANT * chance))


@final
class Unexplained(NamedTuple):
    """Shares of shared variation, about in [0, 1]: over all directions together, and of the one with the largest."""

    mean: float
    largest: float


@final
@dataclass(frozen=True, eq=False)
class SharedVariation:
    """Components (M, r) of x and of x̃ in the r directions that they share, those of most shared variance first."""

    before: Array
    after: Array
    _found: dict[int, Unexplained] = field(default_factory=dict)

    @classmethod
    def of(cls, rows: Array, rows_tilde: Array, r: int) -> SharedVariation:
        """Those of centred rows (M, d) whose columns have unit variance."""
        cross = rows.T @ rows_tilde
        directions = np.linalg.eigh(cross + cross.T)[1][:, ::-1][:, :r]
        return cls(rows @ directions, rows_tilde @ directions)

    def unexplained(self, k: int) -> Unexplained:
        """The shares of the variation common to x and x̃ in the other directions that are no function of the first k.

        The function is a regression on random features, found on one half of the pairs and examined on the other. Near
        0 if the first k of the r > k components tell all points of the sheet apart, and near 1 if another variable is
        missing. Each k is computed once.
        """
        if k not in self._found:
            self._found[k] = self._regress(k)
        return self._found[k]

    def _regress(self, k: int) -> Unexplained:
        half = len(self.before) // 2
        scale = np.concatenate([self.before, self.after])[:, :k].std(0)
        features = _Features.drawn(k, np.random.default_rng(_SEED))
        first, second = (features(part[:, :k] / scale) for part in (self.before, self.after))
        rest = [part[:, k:] for part in (self.before, self.after)]
        design = np.concatenate([first[:half], second[:half]])
        gram = design.T @ design
        gram[np.diag_indices_from(gram)] += _RIDGE * np.trace(gram) / len(gram)
        weights = np.linalg.solve(gram, design.T @ np.concatenate([part[:half] for part in rest]))
        residuals = [part[half:] - each[half:] @ weights for part, each in zip(rest, (first, second), strict=True)]
        centred = [part[half:] - part[half:].mean(0) for part in rest]
        common, left = (np.sum(pair[0] * pair[1], axis=0) for pair in (centred, residuals))
        # a direction that is shared in one half alone says nothing, whatever its quotient
        least = _LEAST_COMMON * np.sqrt(np.prod([np.square(part).sum(0) for part in centred], axis=0)) + _TINY
        common = np.maximum(common, least)
        return Unexplained(float(left.sum() / common.sum()), float((left / common).max()))


class _Features(NamedTuple):
    """Random sigmoidal features of k coordinates, the coordinates themselves, and a constant."""

    slopes: Array
    offsets: Array

    @classmethod
    def drawn(cls, k: int, generator: np.random.Generator) -> _Features:
        slopes = _STEEPNESS * generator.standard_normal((k, _FEATURES)) / np.sqrt(k)
        return cls(slopes, generator.uniform(-_OFFSET, _OFFSET, _FEATURES))

    def __call__(self, values: Array) -> NDArray[Any]:
        return np.concatenate([values, np.tanh(values @ self.slopes + self.offsets), np.ones((len(values), 1))], 1)
