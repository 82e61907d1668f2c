"""Whether several variables are found together as a block, even if none of them is found alone."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from lcm.isomorphism.matching import FloatArray, paired_columns, unit_columns

_DEGREE = 3
_FIT_SHARE = 0.8
_MIN_ROWS = 100
_CLIP = 4.0
_RIDGE = 1e-6


def block_r2(true: ArrayLike, learned: ArrayLike) -> FloatArray:
    """Held-out R² (k,) of each true variable on all learned ones together, at most 1.

    It is a least-squares fit on polynomials up to degree 3 of the learned variables, standardised and clipped at four
    standard deviations. The first 80 % of the rows are fitted, the rest is scored. It is high if a block of variables
    was found up to a smooth map of the whole block (docs/theory.md section 4). A constant true variable has R² 0.

    Args:
        true: (N, k), N >= 100.
        learned: (N, m), a few variables.

    Raises:
        ValueError: bad tables (see `paired_columns`) or fewer than 100 rows.
    """
    true, learned = paired_columns(true, learned)
    if len(true) < _MIN_ROWS:
        raise ValueError(f"Expected at least {_MIN_ROWS} rows; got {len(true)}.")
    from sklearn.preprocessing import PolynomialFeatures

    scale = float(np.sqrt(len(true)))
    inputs = (unit_columns(learned) * scale).clip(-_CLIP, _CLIP)
    target = unit_columns(true) * scale
    features = PolynomialFeatures(_DEGREE).fit_transform(inputs)
    count = int(_FIT_SHARE * len(true))
    fitted = features[:count]
    gram = fitted.T @ fitted + _RIDGE * count * np.eye(features.shape[1])
    weights = np.linalg.solve(gram, fitted.T @ target[:count])
    held_out = target[count:]
    residual = np.square(held_out - features[count:] @ weights).sum(axis=0)
    total = np.square(held_out - held_out.mean(axis=0)).sum(axis=0)
    shares: FloatArray = np.where(total > 0, 1.0 - residual / np.where(total > 0, total, 1.0), 0.0)
    return shares
