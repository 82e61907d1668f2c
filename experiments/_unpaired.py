"""Causal variables and graph from unpaired environments and a linear mixing: differences of scores, row by row.

The score of a law is the gradient of its log-density. An intervention on z_m alone changes the score of z in the
entries of m and of its parents only. With x = G z, the difference of the scores of x lies in the span of these rows of
G⁻¹ (Varıcı et al., "Score-based causal representation learning: linear and general transformations", 2025: their
LSCALE-I). Taken in causal order, each environment adds one direction to that span. Its row is made unique by what an
imposed value promises: in its own environment it is uncorrelated with all earlier variables.

Which variable each environment intervenes on is known here. Nothing is paired.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import final

import numpy as np
from numpy.typing import NDArray
from scipy.stats import false_discovery_control
from scipy.stats import t as student

FloatArray = NDArray[np.float64]
Differences = Callable[[FloatArray, Sequence[FloatArray], FloatArray], FloatArray]
"""(observations (N, n), n environments (N_m, n), points (P, n)) → score differences (n, P, n) at the points."""

_BLOCKS = 10
_MOST_POINTS = 2_000
_CHUNK = 2_000
_FOURIER_RIDGE, _LOGISTIC_RIDGE = 1e-2, 1.0
_NEWTON_STEPS, _STILL = 50, 1e-8


@final
@dataclass(frozen=True)
class Unpaired:
    """What unpaired environments give: rows of the unmixing, a causal order, edges.

    Attributes:
        unmixing: (n, n); row m reads the target of environment m from x, with variance 1 among the observations.
        order: the environments, causes first.
        slopes: (n, n), [j, m]: the linear part of entry j of the score difference of m, per unit of variable m.
        p_values: (n, n), of the hypothesis that slopes[j, m] is 0; 1 where j is not before m.
    """

    unmixing: FloatArray
    order: tuple[int, ...]
    slopes: FloatArray
    p_values: FloatArray

    def adjacency(self, false_discovery_rate: float) -> NDArray[np.bool_]:
        """The edges j → m (n, n) at a false discovery rate in (0, 1)."""
        place = np.argsort(self.order)
        tested = place[:, None] < place[None, :]
        found = np.zeros_like(tested)
        if tested.any():
            found[tested] = false_discovery_control(self.p_values[tested]) <= false_discovery_rate
        return found


def fit_unpaired(
    observations: FloatArray, environments: Sequence[FloatArray], differences: Differences, blocks: int = _BLOCKS
) -> Unpaired:
    """Estimate the unmixing, the order and the edges.

    An edge is tested by the jackknife: everything but the order is estimated again without each of `blocks` blocks of
    rows, so that the error of the unmixing counts too.

    Args:
        observations: (N, n), without an intervention.
        environments: n of shape (N_m, n); environment m has a perfect intervention on variable m.
        differences: the estimator of score differences.
        blocks: at least 2.

    Raises:
        ValueError: tables of other shapes, or one with fewer rows than `blocks` or than n + 2.
    """
    _require_tables(observations, environments, blocks)
    n, mean = observations.shape[1], observations.mean(0)
    whitening = np.linalg.inv(np.linalg.cholesky(np.cov(observations.T).reshape(n, n)))
    tables = [(table - mean) @ whitening.T for table in (observations, *environments)]
    points = tables[0][:_MOST_POINTS]
    unmixing, order, slopes = _estimate(tables, points, differences)
    without = []
    for block in range(blocks):
        kept = [np.concatenate(_without(np.array_split(table, blocks), block)) for table in tables]
        other, _, changed = _estimate(kept, points, differences, order)
        sign = np.sign((other * unmixing).sum(1))
        without.append(changed * sign[:, None] * sign[None, :])
    error = np.sqrt((blocks - 1) / blocks * np.square(without - np.mean(without, 0)).sum(0))
    place = np.argsort(order)
    statistic = np.abs(slopes) / np.where(error > 0.0, error, np.inf)
    p_values = np.where(place[:, None] < place[None, :], 2.0 * student.sf(statistic, blocks - 1), 1.0)
    return Unpaired(unmixing @ whitening, order, slopes, p_values)


def _require_tables(observations: FloatArray, environments: Sequence[FloatArray], blocks: int) -> None:
    n = observations.shape[1] if observations.ndim == 2 else 0
    shapes = [table.shape for table in (observations, *environments)]
    if n == 0 or len(environments) != n or any(len(shape) != 2 or shape[1] != n for shape in shapes):
        raise ValueError(f"Expected observations (N, n) and n environments (N_m, n); got the shapes {shapes}.")
    if blocks < 2:
        raise ValueError(f"Expected at least 2 blocks; got {blocks}.")
    least = max(blocks, n + 2)
    if min(map(len, (observations, *environments))) < least:
        raise ValueError(f"Expected at least {least} rows in every table; got the shapes {shapes}.")


def _without(parts: Sequence[FloatArray], index: int) -> list[FloatArray]:
    return [part for place, part in enumerate(parts) if place != index]


def _estimate(
    tables: Sequence[FloatArray], points: FloatArray, differences: Differences, order: Sequence[int] | None = None
) -> tuple[FloatArray, tuple[int, ...], FloatArray]:
    """Unmixing, order and slopes from whitened tables, the observations first."""
    n = points.shape[1]
    found = differences(tables[0], tables[1:], points)
    covariances = np.stack([np.cov(table.T).reshape(n, n) for table in tables])
    moments = np.einsum("mpa,mpb->mab", found, found) / len(points)
    unmixing, order = recover_unmixing(moments, covariances, order)
    return unmixing, order, _slopes(found, points, unmixing)


def recover_unmixing(
    moments: FloatArray, covariances: FloatArray, order: Sequence[int] | None = None
) -> tuple[FloatArray, tuple[int, ...]]:
    """The unmixing up to signs, and a causal order, exact if the second moments are.

    The next in order is the environment whose score difference, outside the span of the rows so far, is nearest to one
    direction.

    Args:
        moments: (n, n, n), second moments of the score difference of every environment.
        covariances: (n + 1, n, n), of x among the observations and in every environment.
        order: the order, where it is known.

    Returns:
        The unmixing (n, n), with variances of 1 among the observations, and the order.
    """
    n = len(moments)
    rows = np.zeros((n, n))
    found: list[int] = []
    for step in range(n):
        free = np.linalg.svd(rows[found])[2][step:] if found else np.eye(n)
        left = [m for m in range(n) if m not in found]
        spectra = {m: np.linalg.eigh(free @ moments[m] @ free.T) for m in (left if order is None else [order[step]])}
        best = min(spectra, key=lambda m: _other_share(spectra[m][0]))
        row = spectra[best][1][:, -1] @ free
        if found:
            earlier = rows[found]
            moment = earlier @ covariances[best + 1]
            row = row - np.linalg.solve(moment @ earlier.T, moment @ row) @ earlier
        rows[best] = row / np.sqrt(row @ covariances[0] @ row)
        found.append(best)
    return rows, tuple(found)


def _other_share(values: FloatArray) -> float:
    """How much of a spectrum, in ascending order, is outside its largest direction."""
    return float(values[:-1].sum() / max(values.sum(), np.finfo(float).tiny))


def _slopes(found: FloatArray, points: FloatArray, unmixing: FloatArray) -> FloatArray:
    """[j, m]: the linear part of entry j of the score difference of environment m, in the units of the variables."""
    variables = points @ unmixing.T
    inverse = np.linalg.inv(unmixing)
    centred = variables - variables.mean(0)
    linear = np.linalg.lstsq(centred, (found @ inverse).transpose(1, 0, 2).reshape(len(points), -1), rcond=None)[0]
    # of the shape (by variable, environment, entry)
    each = linear.reshape(len(unmixing), len(unmixing), len(unmixing))
    slopes: FloatArray = np.einsum("mmj->jm", each)
    return slopes


def gaussian_differences(
    observations: FloatArray, environments: Sequence[FloatArray], points: FloatArray
) -> FloatArray:
    """Differences of the scores of normal laws with the means and covariances of the tables.

    The scores are exact for normal x. Of any linear causal model, whatever its noise, they have the right span.
    """
    before, *after = (_normal_score(table, points) for table in (observations, *environments))
    return np.stack(after) - before


def _normal_score(table: FloatArray, points: FloatArray) -> FloatArray:
    n = points.shape[1]
    found: FloatArray = -np.linalg.solve(np.cov(table.T, bias=True).reshape(n, n), (points - table.mean(0)).T).T
    return found


def fourier_differences(frequencies: FloatArray) -> Differences:
    """Differences of scores by score matching: a quadratic log-density plus waves cos(ω·x) and sin(ω·x).

    The loss is that of Hyvärinen, "Estimation of non-normalized statistical models by score matching" (2005), with a
    small ridge on the waves; its minimum is a linear system. Without frequencies this is `gaussian_differences`.

    Args:
        frequencies: ω, (n, K).
    """

    def differences(observations: FloatArray, environments: Sequence[FloatArray], points: FloatArray) -> FloatArray:
        slopes = _features(points, frequencies)[0]
        weights = [_matched(table, frequencies) for table in (observations, *environments)]
        before, *after = (slopes @ weight for weight in weights)
        return np.stack(after) - before

    return differences


def _features(table: FloatArray, frequencies: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Gradients (N, n, F) and Laplacians (N, F) of the features: linear, quadratic, waves."""
    count, n = table.shape
    first, second = np.triu_indices(n)
    linear = np.broadcast_to(np.eye(n), (count, n, n))
    quadratic = np.zeros((count, n, len(first)))
    index = np.arange(len(first))
    quadratic[:, first, index] += 0.5 * table[:, second]
    quadratic[:, second, index] += 0.5 * table[:, first]
    phase = table @ frequencies
    cosine, sine = np.cos(phase), np.sin(phase)
    waves = np.concatenate([-sine[:, None] * frequencies, cosine[:, None] * frequencies], 2)
    flat = np.broadcast_to(np.concatenate([np.zeros(n), (first == second).astype(float)]), (count, n + len(first)))
    curved = -np.square(frequencies).sum(0) * np.stack([cosine, sine], 1)
    return np.concatenate([linear, quadratic, waves], 2), np.hstack([flat, curved.reshape(count, -1)])


def _matched(table: FloatArray, frequencies: FloatArray) -> FloatArray:
    """The weights (F,) of the features that minimise the loss of score matching."""
    n = table.shape[1]
    smooth = n + n * (n + 1) // 2
    size = smooth + 2 * frequencies.shape[1]
    gram, laplacian = np.zeros((size, size)), np.zeros(size)
    for start in range(0, len(table), _CHUNK):
        gradients, curvature = _features(table[start : start + _CHUNK], frequencies)
        flat = gradients.reshape(-1, size)
        gram += flat.T @ flat
        laplacian += curvature.sum(0)
    ridge = np.concatenate([np.zeros(smooth), np.full(size - smooth, _FOURIER_RIDGE * len(table))])
    weights: FloatArray = -np.linalg.solve(gram + np.diag(ridge), laplacian)
    return weights


def contrastive_differences(
    observations: FloatArray, environments: Sequence[FloatArray], points: FloatArray
) -> FloatArray:
    """Gradients of the log-odds of every environment against the observations, by logistic regression.

    The log-odds are quadratic in x, as for a linear mixing of normal variables (Buchholz et al., "Learning linear
    causal representations from interventions under general nonlinear mixing", 2023; there a network unmixes x).
    The log-odds differ from log p_m(x) − log p(x) by a constant, so that their gradient is the score difference.
    """
    found = []
    for table in environments:
        weights = _logistic(_quadratic(np.concatenate([observations, table])), len(observations))
        found.append(_features(points, np.zeros((points.shape[1], 0)))[0] @ weights[1:])
    return np.stack(found)


def _quadratic(table: FloatArray) -> FloatArray:
    """1, x and the products of two entries of x: (N, 1 + n + n(n + 1)/2), whose gradients `_features` gives."""
    first, second = np.triu_indices(table.shape[1])
    products = 0.5 * table[:, first] * table[:, second]
    return np.hstack([np.ones((len(table), 1)), table, products])


def _logistic(design: FloatArray, zeros: int) -> FloatArray:
    """The weights of a logistic regression with a ridge, by Newton steps; the first `zeros` rows are of class 0."""
    label = (np.arange(len(design)) >= zeros).astype(float)
    ridge = _LOGISTIC_RIDGE * np.diag([0.0, *np.ones(design.shape[1] - 1)])
    weights = np.zeros(design.shape[1])
    for _ in range(_NEWTON_STEPS):
        odds = np.clip(design @ weights, -30.0, 30.0)
        share = 1.0 / (1.0 + np.exp(-odds))
        gradient = design.T @ (label - share) - ridge @ weights
        step = np.linalg.solve(
            (design.T * (share * (1.0 - share))) @ design + ridge + 1e-9 * np.eye(len(ridge)), gradient
        )
        # a step that is too long is shortened, because far from the optimum the curvature misleads
        weights = weights + step / max(1.0, float(np.abs(step).max()))
        if np.abs(step).max() < _STILL:
            break
    return weights
