"""How many causal variables pairs can hold where their observations lie on a curved sheet: its dimension, locally."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

_LEAST_DIMENSIONS = 3
_CENTRES = 100
_BLOCKS = 10
_LEAST_NEIGHBOURS = 40
_LEAST_GAP = 2.5
_LEAST_ROWS_PER_NEIGHBOUR = 50
_LEAST_ROWS_PER_SCALE = 10
_SCALES = (1, 8, 64)


def local_dimension(x: NDArray[np.floating]) -> int | None:
    """Dimension k ≤ d / 2 of the sheet that observations (N, d) lie on; None where no such sheet is seen.

    Around each of a hundred rows, the principal variances of its nearest rows, in coordinates of equal variance: those
    along the sheet are about equal, those across it smaller. k is the first at which their geometric mean falls by
    a factor of 2.5. Few neighbours see past the curvature, many past noise: the first of three scales that shows a
    sheet decides. Without one, or with one of more dimensions, the variances fall slowly. With the rows at hand, sheets
    of up to about five dimensions can be seen (docs/method.md section 1).
    """
    d, least = x.shape[1], max(_LEAST_NEIGHBOURS, 4 * x.shape[1])
    if d < _LEAST_DIMENSIONS or len(x) < _LEAST_ROWS_PER_NEIGHBOUR * least:
        return None
    rows = _whitened(x.astype(np.float64))
    for neighbours in (scale * least for scale in _SCALES if _LEAST_ROWS_PER_SCALE * scale * least <= len(rows)):
        gaps = -np.diff(_mean_log_variances(rows, neighbours))[: d // 2]
        found = np.flatnonzero(gaps > np.log(_LEAST_GAP))
        if found.size:
            return int(found[0]) + 1
    return None


def _whitened(rows: Array) -> Array:
    centred = rows - rows.mean(0)
    variances, directions = np.linalg.eigh(centred.T @ centred / len(rows))
    scales = np.sqrt(np.maximum(variances, np.finfo(np.float32).eps * variances[-1]))
    return np.asarray(centred @ directions / scales)


def _mean_log_variances(rows: Array, neighbours: int) -> Array:
    """Mean over centres of the logarithms of the principal variances (d,), descending, of their nearest rows."""
    squares = np.square(rows).sum(1)
    logarithms = []
    # some centres at a time: the distances of all would take more memory than the rows
    for centres in np.array_split(np.linspace(0, len(rows) - 1, _CENTRES).astype(int), _BLOCKS):
        distances = squares - 2.0 * rows[centres] @ rows.T
        near = rows[np.argpartition(distances, neighbours, axis=1)[:, :neighbours]]
        deviations = near - near.mean(1, keepdims=True)
        covariances = deviations.transpose(0, 2, 1) @ deviations / neighbours
        variances = np.linalg.eigvalsh(covariances)[:, ::-1]
        logarithms.append(np.log(np.maximum(variances, np.finfo(np.float64).eps * variances[:, :1])))
    return np.asarray(np.concatenate(logarithms).mean(0))
