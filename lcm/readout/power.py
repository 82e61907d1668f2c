"""Power curves of the tests of edges: how many pairs that target the effect decide an edge (docs/plan.md).

The tests of an edge j → i use the pairs in which i is a target, its *rows*. The noncentrality of the test of the mean
is the number of rows times the *effect* of the edge: the square of its strength times its information (`information` in
`lcm/run/planning.py`). Without an edge the effect is 0.
"""

from __future__ import annotations

from itertools import count

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import chndtrinc, fdtri, ncfdtr

from lcm.readout.dependence import NEGLIGIBLE, bearable_degree

FloatArray = NDArray[np.float64]

_DEGREE = 3
_MOST_ROWS = 1e9
_STEPS = 80
_TAIL = 0.025
_LEAST_P_VALUE = 1e-12


def rows_of_full_tests(predictors: int) -> int:
    """The least number of rows with which the tests of this many predictors see curved effects, to the third degree."""
    return next(rows for rows in count(1) if bearable_degree(rows, max(1, predictors)) == _DEGREE)


def edge_power(rows: ArrayLike, effect: ArrayLike, level: ArrayLike, predictors: ArrayLike) -> FloatArray:
    """Probability that the test of an edge has a p-value of at most `level`; all arguments broadcast.

    It is that of the test of the mean by polynomials of the third degree. The test of the spread can only add to it.
    More rows never lower it, for effects clearly above the negligible one.

    Args:
        rows: at least 0; pairs in which the effect of the edge is a target. Fewer than
            3 predictors + 2 give 0.
        effect: noncentrality of one row, at least 0.
        level: in (0, 1); the p-value is twice the smaller of those of mean and spread.
        predictors: how many variables the regression has, at least 1.

    Returns:
        Powers in [0, 1].
    """
    rows, effect, level = (np.asarray(part, dtype=np.float64) for part in (rows, effect, level))
    freedom = rows - _DEGREE * np.asarray(predictors) - 1.0
    enough = np.maximum(freedom, 1.0)
    critical = _critical(level, _DEGREE, enough, rows)
    noncentrality = np.maximum(rows * effect, 0.0)
    missed = ncfdtr(_DEGREE, enough, noncentrality, critical / _DEGREE)
    # scipy has no number for probabilities far below the smallest one
    missed = np.where(np.isnan(missed), noncentrality < critical, missed)
    power: FloatArray = np.where(freedom >= 1.0, np.clip(1.0 - missed, 0.0, 1.0), 0.0)
    return power


def rows_for_power(effect: ArrayLike, level: ArrayLike, power: float, predictors: ArrayLike) -> FloatArray:
    """The least number of rows with which the test of an edge has a power; inf where no number has.

    Args:
        effect, level, predictors: as in `edge_power`.
        power: strictly between 0 and 1.
    """
    effect, level, predictors = np.broadcast_arrays(effect, level, predictors)
    low, high = np.zeros(effect.shape), np.full(effect.shape, np.log(_MOST_ROWS))
    never = ~(effect > NEGLIGIBLE**2) | (edge_power(_MOST_ROWS, effect, level, predictors) < power)
    for _ in range(_STEPS):
        middle = 0.5 * (low + high)
        reached = edge_power(np.exp(middle), effect, level, predictors) >= power
        low, high = np.where(reached, low, middle), np.where(reached, middle, high)
    found: FloatArray = np.where(never, np.inf, np.ceil(np.exp(high) - 1e-6))
    return found


def effects_of_p_value(p_value: float, rows: float, predictors: int) -> tuple[float, float]:
    """The estimate of an effect and its upper limit at 97.5 %, from the p-value of its test.

    The statistic is the largest one with which the p-value of the mean could be half of `p_value`. The limit is the
    noncentrality at which a statistic as small as this has a probability of 2.5 % (for many rows, chi-square).

    Args:
        p_value: in [0, 1].
        rows, predictors: of the test; too few rows for a test give (0, inf).
    """
    degree = bearable_degree(int(rows), predictors)
    if degree == 0:
        return 0.0, np.inf
    level = np.asarray(max(p_value, _LEAST_P_VALUE))
    statistic = float(_critical(level, degree, np.asarray(rows - degree * predictors - 1.0), np.asarray(rows)))
    return max(0.0, statistic - degree) / rows, float(chndtrinc(statistic, degree, _TAIL)) / rows


def _critical(level: FloatArray, degree: int, freedom: FloatArray, rows: FloatArray) -> FloatArray:
    """The Wald statistic whose p-value, doubled, is `level`, where negligible effects count as none."""
    allowed = rows * NEGLIGIBLE**2
    # as `lcm.readout.dependence.tail`, inverted
    equivalent = np.square(degree + allowed) / (degree + 2.0 * allowed)
    quantile: FloatArray = (degree + allowed) * fdtri(equivalent, freedom, 1.0 - 0.5 * level)
    return quantile
