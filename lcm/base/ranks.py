"""Ranks of numbers, without scipy's statistics: they take longer to import than many commands to run."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray


def column_ranks(table: ArrayLike) -> NDArray[np.float64]:
    """The ranks (N, d), from 1, of the values in each column of a table (N, d); equal values share their mean rank."""
    values = np.asarray(table)
    return np.stack([_ranks(column) for column in values.T], axis=1) if values.size else np.zeros(values.shape)


def _ranks(column: NDArray[np.generic]) -> NDArray[np.float64]:
    _, group, counts = np.unique(column, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    ranks: NDArray[np.float64] = (last - (counts - 1) / 2)[group]
    return ranks
