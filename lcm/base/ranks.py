"""Ranks of numbers, without scipy's statistics at import: they take longer to import than many commands to run."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray


def column_ranks(table: ArrayLike) -> NDArray[np.float64]:
    """The ranks (N, d), from 1, of the values in each column of a table (N, d); equal values share their mean rank."""
    from scipy.stats import rankdata

    found: NDArray[Any] = rankdata(np.asarray(table), axis=0)
    return found.astype(np.float64, copy=False)
