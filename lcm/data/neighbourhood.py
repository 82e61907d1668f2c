"""The dimension of the curved sheet on which x lies, from what neighbouring pairs share.

Among neighbours, x varies along the sheet, and little across it. Sensor noise varies in all directions, but is drawn
afresh for x̃: the covariance *between* x and x̃ has none of it.
"""

from __future__ import annotations

from itertools import zip_longest

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
_LEAST_DIMENSIONS = 3
_CENTRES = 100
_BLOCKS = 20
_LEAST_NEIGHBOURS = 80
_LEAST_ROWS_PER_NEIGHBOUR, _LEAST_ROWS_PER_SCALE = 25, 10
_SCALES = (1, 4, 16)
_LEAST_GAP, _CLEAR_GAP = 2.5, 4.0
_REACH = 2.0
_NOISE_WEIGHT = 100.0
_ROUNDED = 1e-12
_OUTER_SHARE, _HEAVY = 0.999, 40.0


def local_dimension(x: NDArray[np.floating], x_tilde: NDArray[np.floating], noise: float = 0.0) -> int | None:
    """Dimension k < d of the curved sheet that observations of pairs (N, d) lie on; None if no such sheet is found.

    The method takes the rows of x nearest to each of a hundred rows, in coordinates of equal variance, and computes
    their principal variances. With sensor noise, these are the eigenvalues of the covariance between x and x̃ of the
    nearest pairs. They are about equal along the sheet, and smaller across it. k is the first index after which they
    fall by a factor of 2.5; of more than d / 2 dimensions, of four. Across a curved sheet, variances grow with the
    neighbourhood; along a thin one, as of variables that nearly determine each other, they do not. So they must fall
    less among more neighbours. Few neighbours are insensitive to curvature, and many are insensitive to noise, so the
    first of three scales that shows a sheet decides.

    A variance across it that vanishes to rounding is no sign of curvature but of values that repeat. Rows that repeat
    count once, heavy tails have no scale to find neighbours in, and noise is not scaled up beyond a tenth. Usual
    numbers of rows show sheets of up to about six dimensions. docs/method.md section 1 describes the whole estimate.

    Args:
        noise: variance of sensor noise in each direction; 0 for none.
    """
    d, least = x.shape[1], max(_LEAST_NEIGHBOURS, 8 * x.shape[1])
    if d < _LEAST_DIMENSIONS or len(x) < _LEAST_ROWS_PER_NEIGHBOUR * least:
        return None
    once = np.sort(np.unique(x, axis=0, return_index=True)[1])
    rows, rows_tilde = _whitened(x[once].astype(np.float64), x_tilde[once].astype(np.float64), noise)
    usual, outer = np.quantile(np.abs(rows), (0.5, _OUTER_SHARE), axis=0)
    if bool((outer > _HEAVY * usual).any()):
        return None
    sizes = [scale * least for scale in _SCALES if _LEAST_ROWS_PER_SCALE * scale * least <= len(rows)]
    scales = [_variances(rows, rows_tilde if noise else None, neighbours) for neighbours in sizes]
    return None if not scales or scales[0][-1] <= _ROUNDED else _first_gap(scales)


def _first_gap(scales: list[Array]) -> int | None:
    """The index after which variances (d,), descending, of one of the scales end; None where they fall slowly."""
    gaps = [each[:-1] / each[1:] for each in scales]
    for each, wider in zip_longest(gaps, gaps[1:]):
        least = np.where(np.arange(len(each)) < (len(each) + 1) // 2, _LEAST_GAP, _CLEAR_GAP)
        found = np.flatnonzero((each > least) & (wider < each if wider is not None else least == _LEAST_GAP))
        if found.size:
            return int(found[0]) + 1
    return None


def _variances(rows: Array, rows_tilde: Array | None, neighbours: int) -> Array:
    """Eigenvalues (d,), descending from 1, of the covariance of the nearest rows (N, d); a mean over centres.

    With x̃, of the covariance between both. A pair is then as far from a centre as x, or half as far as x̃, if that is
    more. Eigenvalues that estimation errors could have made count as equally small.
    """
    squares = np.square(rows).sum(1)
    squares_tilde = None if rows_tilde is None else np.square(rows_tilde).sum(1)
    found = []
    # in blocks of centres, since the distances of all centres would need more memory than the rows
    for centres in np.array_split(np.linspace(0, len(rows) - 1, _CENTRES).astype(int), _BLOCKS):
        middles = rows[centres]
        distances = squares - 2.0 * middles @ rows.T
        if rows_tilde is not None:
            own = squares[centres][:, None]
            far = squares_tilde - 2.0 * middles @ rows_tilde.T + own
            distances = np.maximum(distances + own, far / _REACH**2)
        near = np.argpartition(distances, neighbours, axis=1)[:, :neighbours]
        before = _centred(rows[near])
        after = before if rows_tilde is None else _centred(rows_tilde[near])
        cross = before.transpose(0, 2, 1) @ after
        values = np.linalg.eigvalsh(cross + cross.transpose(0, 2, 1))[:, ::-1]
        found.append(values / values[:, :1])
    mean = np.concatenate(found).mean(0)
    return np.asarray(np.maximum(mean, max(-float(mean[-1]), _ROUNDED)))


def _centred(values: Array) -> Array:
    return np.asarray(values - values.mean(1, keepdims=True))


def _whitened(rows: Array, rows_tilde: Array, noise: float) -> tuple[Array, Array]:
    """Both in coordinates in which x has mean zero and equal variances."""
    mean = rows.mean(0)
    centred = rows - mean
    variances, directions = np.linalg.eigh(centred.T @ centred / len(rows))
    scales = np.sqrt(np.maximum(variances, np.finfo(np.float32).eps * variances[-1]) + _NOISE_WEIGHT * noise)
    return np.asarray(centred @ directions / scales), np.asarray((rows_tilde - mean) @ directions / scales)
