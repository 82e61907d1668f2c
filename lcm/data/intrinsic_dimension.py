"""Estimate the number of causal variables: the dimension of the linear span of x, or of a curved sheet in it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, final

import numpy as np
from numpy.typing import NDArray

from lcm.base.rows import take_rows
from lcm.data.neighbourhood import local_dimension
from lcm.data.shared_variation import SharedDirections, SharedVariation, shared_directions

Array = NDArray[np.float64]
_MAX_ROWS = 20_000
_MAX_LOCAL_ROWS = 50_000
_MOST_UNEXPLAINED, _MOST_FOLDED, _ALL_EXPLAINED = 0.5, 0.75, 0.2
_EXPLAINED, _MISSED, _OFFSET = (0.1, 0.34), 0.08, 0.15
_CONFIRMED = 3
_MOST_NOISE = 1e-2
_NOTICEABLE, _MOST_DIRECTIONS = 1e-6, 12
_ROUNDINGS = 16


@final
@dataclass(frozen=True, eq=False)
class Spectrum:
    """Principal components of x and x_tilde together, with columns divided by their standard deviations.

    Attributes:
        variances: (d,), eigenvalues of the correlation matrix, descending; they sum to d.
        directions: (d, d), eigenvectors; column k belongs to variances[k].
        scales: (d,), standard deviations of the columns.
        shared: how many directions are not mere noise; 0 for too few rows to tell.
        variation: x and x_tilde in the directions that are correlated.
        rounding: singular values below this one, relative to the largest, can be rounding errors.
    """

    variances: Array
    directions: Array
    scales: Array
    shared: SharedDirections
    variation: SharedVariation
    rounding: float

    @property
    def rank(self) -> int:
        """The numerical rank of x and x_tilde: the number of directions above rounding errors."""
        return int(np.sum(self.variances > self.rounding**2 * self.variances[0]))


def spectrum(x: NDArray[Any], x_tilde: NDArray[Any], unrelated: NDArray[np.bool_] | None = None) -> Spectrum:
    """Compute the `Spectrum` of observations (N, d). If there are many rows, it uses evenly spaced ones.

    Unrelated columns (d,) count as constant.

    x_tilde counts too. An intervention breaks a near-deterministic mechanism. In x_tilde, a direction that is nearly
    empty in x therefore fills up if it belongs to a variable, but not if it belongs to sensor noise.
    """
    step = -(-len(x) // max(_MAX_ROWS, 10 * x.shape[1]))
    chosen = np.arange(0, len(x), step)
    rows = np.stack([take_rows(part, chosen) for part in (x, x_tilde)]).astype(np.float64)
    mean = rows.mean(axis=(0, 1))
    rows -= mean
    if unrelated is not None:
        rows[:, :, unrelated] = 0.0
    covariance = np.sum([part.T @ part for part in rows], axis=0) / (2 * len(chosen))
    scales = np.sqrt(np.diag(covariance))
    scales = np.where(scales > 0, scales, 1.0)
    variances, directions = np.linalg.eigh(covariance / np.outer(scales, scales))
    rounding = _rounding(x.dtype, mean / scales)
    rows /= scales
    shared = shared_directions(rows[0], rows[1], rounding**2)
    return Spectrum(
        variances=np.maximum(variances[::-1], 0.0),
        directions=directions[:, ::-1],
        scales=scales,
        shared=shared,
        variation=SharedVariation.of(rows[0], rows[1], shared.correlated),
        rounding=rounding,
    )


def _rounding(dtype: np.dtype[Any], offsets: Array) -> float:
    """Rounding errors beside the spread of columns that lie `offsets` spreads from zero; a fit rounds to float32."""
    far, fit = float(np.max(np.hypot(1.0, offsets))), _ROUNDINGS * float(np.finfo(np.float32).eps)
    return max(fit, _ROUNDINGS * far * float(np.finfo(np.float64 if dtype == np.float64 else np.float32).eps))


def dimension(found: Spectrum, x: NDArray[Any], x_tilde: NDArray[Any]) -> int:
    """Estimate the number of causal variables from observations of pairs (N, d) and their spectrum.

    Without a sheet, the estimate is the number of directions that x and x_tilde share: the rank, less the directions
    that only noise fills. Fewer variables need evidence for a curved sheet: neighbours whose shared variances end early
    (`lcm.data.neighbourhood`), or directions that are functions of the leading ones. Where few leading directions
    explain nearly all that x and x_tilde share in the others, these few count, whatever neighbours say.
    """
    span = _span(found)
    chosen = np.arange(0, len(x), -(-len(x) // _MAX_LOCAL_ROWS))
    rows, rows_tilde = (take_rows(part, chosen) / found.scales @ found.directions[:, :span] for part in (x, x_tilde))
    local = local_dimension(rows, rows_tilde, _noise(found))
    shared, unexplained = found.shared.correlated, found.variation.unexplained
    # the leading directions of a sheet can fold it, but a single other direction can be a variable as well
    most = _MOST_UNEXPLAINED if local == shared - 1 else _MOST_FOLDED
    if local is None or (local < shared and unexplained(local).mean >= most):
        return next((k for k in range(1, shared) if _explains(found.variation, k)), span)
    return next((k for k in range(1, min(local, shared)) if unexplained(k).largest < _ALL_EXPLAINED), local)


def _explains(variation: SharedVariation, k: int) -> bool:
    """Whether k directions explain the others, and one or two more do not explain much less.

    Regressions miss more of a function of more variables; a missing variable can be explained in part by its causes.
    """
    following = range(k + 1, min(k + _CONFIRMED, variation.before.shape[1]))
    if variation.unexplained(k).mean >= np.clip(_MISSED * k - _OFFSET, *_EXPLAINED):
        return False
    return all(variation.unexplained(each).mean < _MOST_UNEXPLAINED for each in following)


def _noise(found: Spectrum) -> float:
    """The variance of noise on each standardised column: the smallest one, if some directions are not shared."""
    noisy = 0 < found.shared.dependent < found.rank and found.variances[-1] < _MOST_NOISE * found.variances[0]
    return float(found.variances[-1]) if noisy else 0.0


def bent_directions(found: Spectrum) -> int:
    """The directions in which a curved sheet extends noticeably, at most 12: above noise and 1e-6 of the variance."""
    noticeable = int(np.sum(found.variances > _NOTICEABLE * found.variances[0]))
    return min(found.rank, found.shared.dependent or found.rank, noticeable, _MOST_DIRECTIONS)


def sheet_text(d: int, n: int, directions: int) -> str:
    """How n variables lie in d columns of x: in as many directions, or on a sheet that bends into more of them."""
    dimensions = f"{n} dimension{'' if n == 1 else 's'}"
    if directions <= n:
        return f"the {d} columns of x span {dimensions}"
    return f"the {d} columns of x lie on a sheet of {dimensions} that bends into {directions} directions"


def _span(found: Spectrum) -> int:
    """Dimension of the linear span, without directions of mere noise."""
    return min(found.rank, found.shared.correlated or found.rank)
