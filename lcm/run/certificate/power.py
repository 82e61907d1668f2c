"""Tests of a certificate and the smallest violation that each finds with a probability of 90 %.

Every null hypothesis allows a stated small violation, so that a test of many pairs does not object to one that matters
to nobody, nor to the error of an encoder.
"""

from __future__ import annotations

import numpy as np
from scipy.special import betaincinv
from scipy.stats import binom, norm

LEVEL = 1e-4
"""Probability, at most, that a row whose assumption holds is called broken by its test."""
POWER = 0.9
INDEPENDENCE_LEVEL = 1e-3
"""Bartlett's p-value above which pairs count as independent."""

_MOST = 1.0 - 1e-9


def share_p_value(count: int, rows: int, allowed: float) -> float:
    """P-value of `count` of `rows` pairs if each is odd with a probability of at most `allowed`."""
    return float(binom.sf(count - 1, rows, allowed))


def smallest_share(rows: int, allowed: float, seen: float) -> float:
    """Smallest share of pairs with a violation that is found, if each such pair looks odd with probability `seen`.

    In [0, 1]; 1 where none is found.
    """
    critical = critical_count(rows, allowed)
    if critical > rows or seen <= 0.0:
        return 1.0
    return float(min(1.0, betaincinv(critical, rows - critical + 1, POWER) / seen))


def critical_count(rows: int, allowed: float) -> int:
    """The smallest number of odd pairs at which the test of `share_p_value` rejects; `rows` + 1 if none does."""
    return int(binom.isf(LEVEL, rows, allowed)) + 1


def correlation_p_value(correlation: float, rows: int, allowed: float, tests: int) -> float:
    """P-value of the largest |correlation| of several, over normal scores of `rows` rows, if none exceeds `allowed`."""
    if rows <= 3:
        return 1.0
    beyond = np.arctanh(min(abs(correlation), _MOST)) - np.arctanh(min(allowed, _MOST))
    return float(min(1.0, 2.0 * tests * norm.sf(beyond * np.sqrt(rows - 3.0))))


def smallest_correlation(rows: int, allowed: float, tests: int) -> float:
    """Smallest correlation, in [0, 1], that the test of `correlation_p_value` finds."""
    if rows <= 3:
        return 1.0
    quantiles = norm.isf(LEVEL / (2.0 * tests)) + norm.ppf(POWER)
    return float(np.tanh(np.arctanh(min(allowed, _MOST)) + quantiles / np.sqrt(rows - 3.0)))
