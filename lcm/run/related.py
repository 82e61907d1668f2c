"""Which columns of x go with which variable, so that a person can name the variables."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from lcm.data.pairs import PairData

_ROWS = 5_000
_MOST = 3


def related_columns(data: PairData, z: NDArray[Any]) -> tuple[tuple[tuple[str, float], ...], ...]:
    """For each of the variables z (N, n) of pairs, the named columns of x most related to it, with |Spearman|.

    The first 5,000 rows are looked at. Empty where the columns have no names.
    """
    if not data.columns:
        return ()
    # heavy to import, and most data have no names
    from lcm.isomorphism.matching import correlation_matrix

    strength = correlation_matrix(np.asarray(data.x[:_ROWS], dtype=np.float64), np.asarray(z[:_ROWS]))
    ranked = np.argsort(-strength, axis=0, kind="stable")[:_MOST]
    return tuple(
        tuple((data.columns[column], float(strength[column, i])) for column in columns)
        for i, columns in enumerate(ranked.T.tolist())
    )
