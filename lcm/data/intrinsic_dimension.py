"""Estimate the number of causal variables: the dimension of the linear span of x, or of a curved sheet in it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, final

import numpy as np
from numpy.typing import NDArray

from lcm.base.rows import take_rows

Array = NDArray[np.float64]
_MAX_ROWS = 20_000
_MAX_LOCAL_ROWS = 50_000
_FLOORS = ((100.0, 4.0, 2), (8.0, 1.3, 2), (2.5, 1.3, 4))
_FLOOR_STILL = 0.04
_LEAST_DIMENSIONS = 3
_CENTRES = 100
_BLOCKS = 10
_LEAST_NEIGHBOURS = 40
_LEAST_GAP, _CLEAR_GAP = 2.5, 6.0
_NOISE_WEIGHT, _MOST_NOISE = 100.0, 1e-2
_ROUNDED = 1e-12
_OUTER_SHARE, _HEAVY = 0.999, 40.0
_LEAST_ROWS_PER_NEIGHBOUR = 50
_LEAST_ROWS_PER_SCALE = 10
_SCALES = (1, 8, 64)
_NOTICEABLE, _MOST_DIRECTIONS = 1e-6, 12
_TINY = float(np.finfo(np.float64).tiny)
_ROUNDINGS = 16


@final
@dataclass(frozen=True, eq=False)
class Spectrum:
    """Principal components of x and x_tilde together, with columns divided by their standard deviations.

    Attributes:
        variances: (d,), eigenvalues of the correlation matrix, descending; they sum to d.
        directions: (d, d), eigenvectors; column k belongs to variances[k].
        scales: (d,), standard deviations of the columns.
        covariance_variances: (d,), eigenvalues of the covariance matrix, descending, in the units of the data.
        still_share: (d,), share of pairs whose squared difference in the directions from k on is below 1 % of its mean.
        rounding: singular values below this one, relative to the largest, can be rounding errors.
        n_rows: number of rows used.
    """

    variances: Array
    directions: Array
    scales: Array
    covariance_variances: Array
    still_share: Array
    rounding: float
    n_rows: int

    @property
    def rank(self) -> int:
        """The numerical rank of x and x_tilde: the number of directions above rounding errors."""
        return int(np.sum(self.variances > self.rounding**2 * self.variances[0]))


def spectrum(x: NDArray[Any], x_tilde: NDArray[Any], unrelated: NDArray[np.bool_] | None = None) -> Spectrum:
    """Compute the `Spectrum` of observations (N, d). If there are many rows, it uses evenly spaced ones.

    Unrelated columns (d,) count as constant.

    x_tilde counts too. An intervention breaks a near-deterministic mechanism. In x_tilde, a direction that is nearly
    empty in x therefore fills up if it belongs to a variable, but not if it belongs to measurement noise.
    """
    step = -(-len(x) // max(_MAX_ROWS, 10 * x.shape[1]))
    chosen = np.arange(0, len(x), step)
    rows = np.stack([take_rows(part, chosen) for part in (x, x_tilde)]).astype(np.float64)
    differences = rows[1] - rows[0]
    rows = rows.reshape(-1, x.shape[1])
    mean = rows.mean(axis=0)
    rows -= mean
    if unrelated is not None:
        rows[:, unrelated] = differences[:, unrelated] = 0.0
    covariance = rows.T @ rows / len(rows)
    scales = np.sqrt(np.diag(covariance))
    scales = np.where(scales > 0, scales, 1.0)
    variances, directions = np.linalg.eigh(covariance / np.outer(scales, scales))
    directions = directions[:, ::-1]
    return Spectrum(
        variances=np.maximum(variances[::-1], 0.0),
        directions=directions,
        scales=scales,
        covariance_variances=np.maximum(np.linalg.eigvalsh(covariance)[::-1], 0.0),
        still_share=_still_share(differences / scales @ directions),
        rounding=_rounding(x.dtype, mean / scales),
        n_rows=len(rows),
    )


def _rounding(dtype: np.dtype[Any], offsets: Array) -> float:
    """Rounding errors beside the spread of columns that lie `offsets` spreads from zero; a fit rounds to float32."""
    far, fit = float(np.max(np.hypot(1.0, offsets))), _ROUNDINGS * float(np.finfo(np.float32).eps)
    return max(fit, _ROUNDINGS * far * float(np.finfo(np.float64 if dtype == np.float64 else np.float32).eps))


def dimension(found: Spectrum, x: NDArray[Any]) -> int:
    """Estimate the number of causal variables from observations x (N, d) and their spectrum.

    In the simplest case, the estimate is the rank. If d > n and the observations are a little noisy, the rank is d, but
    the spectrum ends in a flat floor: at least two variances within a factor of four, 100 times below the one before,
    in directions that change in every pair. Then the estimate is the number of directions above the floor. If the
    observations lie on a curved sheet of at most half as many dimensions, it is the dimension of the sheet.
    """
    span = _span(found)
    chosen = np.arange(0, len(x), -(-len(x) // _MAX_LOCAL_ROWS))
    rows = take_rows(x, chosen) / found.scales @ found.directions[:, :span]
    return local_dimension(rows, _noise(found)) or span


def _noise(found: Spectrum) -> float:
    """The variance of noise on each standardised column: the smallest one, if nothing stays still in two directions."""
    restless = len(found.variances) >= _LEAST_DIMENSIONS and found.still_share[-2] < _FLOOR_STILL
    small = found.variances[-1] < _MOST_NOISE * found.variances[0]
    return float(found.variances[-1]) if restless and small else 0.0


def bent_directions(found: Spectrum) -> int:
    """The directions in which a curved sheet extends noticeably, at most 12: above noise and 1e-6 of the variance."""
    noticeable = int(np.sum(found.variances > _NOTICEABLE * found.variances[0]))
    return min(_span(found), noticeable, _MOST_DIRECTIONS)


def _span(found: Spectrum) -> int:
    """Dimension of the linear span, without a floor of noise."""
    d = len(found.variances)
    if d < 3 or found.n_rows <= 4 * d:
        return found.rank
    above = np.arange(1, d - 1)
    # A gap in the correlations cannot come from the units of the columns. The floor below it is flat in the scale in
    # which all columns have equal noise: that of the standardised columns, or that of the data.
    fall, flat = found.variances[above - 1] / found.variances[above].clip(min=_TINY), np.zeros(d - 2, dtype=np.bool_)
    for gap, spread, least in _FLOORS:
        level = [_is_flat(values, found.n_rows, spread) for values in (found.variances, found.covariance_variances)]
        flat |= (fall > gap) & (level[0] | level[1]) & (d - above >= least)
    # Variables of small variance can be as flat, but each stays still in pairs where it is not a target. Noise does
    # not: if it is normal in two or more directions, at most 1 % of pairs are still. For a one-sparse normal
    # difference, 8 % are.
    restless = found.still_share[above] < _FLOOR_STILL
    floors = above[flat & restless]
    return min(found.rank, int(floors[0])) if floors.size else found.rank


def _is_flat(variances: Array, n_rows: int, most: float) -> NDArray[np.bool_]:
    """Whether the variances from k on are equal up to a factor and sampling error, for k in 1..d-2."""
    d = len(variances)
    above = np.arange(1, d - 1)
    # The ratio of the extreme sample variances if all true variances are equal (Marchenko-Pastur).
    ratio = np.sqrt((d - above) / n_rows)
    spread = most * ((1 + ratio) / (1 - ratio)) ** 2
    return np.asarray(variances[above] <= spread * variances[-1])


def _still_share(components: Array) -> Array:
    energies = np.cumsum(components[:, ::-1] ** 2, axis=1)[:, ::-1]
    return np.asarray(np.mean(energies < 0.01 * energies.mean(axis=0), axis=0))


def local_dimension(x: NDArray[np.floating], noise: float = 0.0) -> int | None:
    """Dimension k < d of the curved sheet that observations (N, d) lie on; None if no such sheet is found.

    The method takes the nearest rows of each of a hundred rows, in coordinates of equal variance, and computes their
    principal variances. Variances along the sheet are about equal, and variances across it are smaller. k is the first
    index after which the geometric mean falls by a factor of 2.5. Few neighbours are insensitive to curvature, and many
    are insensitive to noise, so the first of three scales that shows a sheet decides. Without a sheet, the variances
    fall slowly. A sheet of more than d / 2 dimensions must be clearer: a factor of six among the fewest neighbours, and
    less among more of them. Across a curved sheet, variances grow with the neighbourhood; along a thin one, as of
    variables that nearly determine each other, they do not. A variance across it that vanishes to rounding is no sign
    of curvature but of values that repeat. Rows that repeat count once, heavy tails have no scale to find
    neighbours in, and noise of a variance `noise` in each
    direction is not scaled up beyond a tenth. Usual numbers of rows show sheets of up to about five dimensions
    (docs/method.md section 1).
    """
    d, least = x.shape[1], max(_LEAST_NEIGHBOURS, 4 * x.shape[1])
    if d < _LEAST_DIMENSIONS or len(x) < _LEAST_ROWS_PER_NEIGHBOUR * least:
        return None
    rows = _whitened(np.unique(x, axis=0).astype(np.float64), noise)
    usual, outer = np.quantile(np.abs(rows), (0.5, _OUTER_SHARE), axis=0)
    if bool((outer > _HEAVY * usual).any()):
        return None
    sizes = [scale * least for scale in _SCALES if _LEAST_ROWS_PER_SCALE * scale * least <= len(rows)]
    variances = [_mean_log_variances(rows, neighbours) for neighbours in sizes]
    if not variances or np.ptp(variances[0]) > -np.log(_ROUNDED):
        return None
    gaps = [-np.diff(each) for each in variances]
    for each in gaps:
        found = np.flatnonzero(each[: d // 2] > np.log(_LEAST_GAP))
        if found.size:
            return int(found[0]) + 1
    if len(gaps) > 1:
        curved = np.flatnonzero((gaps[0] > np.log(_CLEAR_GAP)) & (gaps[1] < gaps[0]))
        if curved.size:
            return int(curved[0]) + 1
    return None


def _whitened(rows: Array, noise: float) -> Array:
    centred = rows - rows.mean(0)
    variances, directions = np.linalg.eigh(centred.T @ centred / len(rows))
    scales = np.sqrt(np.maximum(variances, np.finfo(np.float32).eps * variances[-1]) + _NOISE_WEIGHT * noise)
    return np.asarray(centred @ directions / scales)


def _mean_log_variances(rows: Array, neighbours: int) -> Array:
    """Logarithms of the principal variances (d,) of the nearest rows of a centre, descending; mean over centres."""
    squares = np.square(rows).sum(1)
    logarithms = []
    # in blocks of centres, since the distances of all centres would need more memory than the rows
    for centres in np.array_split(np.linspace(0, len(rows) - 1, _CENTRES).astype(int), _BLOCKS):
        distances = squares - 2.0 * rows[centres] @ rows.T
        near = rows[np.argpartition(distances, neighbours, axis=1)[:, :neighbours]]
        deviations = near - near.mean(1, keepdims=True)
        covariances = deviations.transpose(0, 2, 1) @ deviations / neighbours
        variances = np.linalg.eigvalsh(covariances)[:, ::-1]
        logarithms.append(np.log(np.maximum(variances, np.finfo(np.float64).eps * variances[:, :1])))
    return np.asarray(np.concatenate(logarithms).mean(0))
