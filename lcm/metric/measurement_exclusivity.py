"""T-MEX: whether each learned variable measures its true variable, and no other, by conditional independence tests.

Yao, Huang, Cadei, Zhang & Locatello, "The third pillar of causal analysis? A measurement perspective on causal
representations", NeurIPS 2025. The tests are those of the generalised covariance measure, which the authors' code
offers beside others.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import ndtr

from lcm.isomorphism.matching import FloatArray, checked_permutation, paired_columns
from lcm.isomorphism.monotone import normal_scores
from lcm.metric.case import Case, Metric
from lcm.metric.kernel import fit_kernel_ridge, median_gamma, squared_distances

_ROWS = 1_000
_MIN_ROWS = 50
_LEVEL = 0.05
_RIDGES = (10.0, 1.0, 0.1, 1e-2, 1e-3)


def measurement_p_values(true: ArrayLike, learned: ArrayLike, max_rows: int = 1_000) -> FloatArray:
    """p-values (m, n), [j, i]: of learned variable j and true variable i independent, given all other true ones.

    The test is the generalised covariance measure (Shah & Peters 2020): both are regressed on the other true
    variables, and the products of residuals, summed and studentised, are compared with a standard normal, two-sided.
    The regressions are kernel ridge regressions, γ by the median of distances, ridge and residuals by leaving one out.
    Both enter by normal scores, so that the p-values depend on no strictly monotone map of a variable, up to rounding.

    A constant variable has p-value 1 with everything.

    Args:
        true: (N, n).
        learned: (N, m).
        max_rows: only the first max_rows rows are used.

    Raises:
        ValueError: bad tables (see `paired_columns`) or fewer than 50 rows.
    """
    true, learned = (normal_scores(table[:max_rows]) for table in paired_columns(true, learned))
    if len(true) < _MIN_ROWS:
        raise ValueError(f"Expected at least {_MIN_ROWS} rows for tests of independence; got {len(true)}.")
    columns = [_against(true[:, i], learned, np.delete(true, i, axis=1)) for i in range(true.shape[1])]
    return np.stack(columns, axis=1)


def measurement_mismatches(
    true: ArrayLike, learned: ArrayLike, permutation: ArrayLike, level: float = _LEVEL, max_rows: int = _ROWS
) -> int:
    """The T-MEX score, 0..n²: tests of the matches whose outcome at `level` differs from that of exclusive measurement.

    The match of true variable i should depend on it given the others, and should not depend on any other one. A true
    variable without a match counts one. Of exclusive measurements, level · n (n − 1) mismatches are expected by chance.

    Args:
        true: (N, n).
        learned: (N, m).
        permutation: (n,), permutation[i] = j: true variable i is learned variable j, -1 where unmatched.
        level: of each test, strictly between 0 and 1; no correction for their number.
        max_rows: only the first max_rows rows are used.

    Raises:
        ValueError: what `measurement_p_values` raises, a permutation that does not fit, or another level.
    """
    if not 0.0 < level < 1.0:
        raise ValueError(f"Expected a level strictly between 0 and 1; got {level}.")
    true, learned = paired_columns(true, learned)
    permutation = checked_permutation(permutation, true.shape[1], learned.shape[1])
    matched = np.flatnonzero(permutation >= 0)
    p_values = measurement_p_values(true, learned[:, permutation[matched]], max_rows)
    expected = matched[:, None] == np.arange(true.shape[1])
    return int(((p_values < level) != expected).sum()) + len(permutation) - len(matched)


def _against(variable: FloatArray, learned: FloatArray, others: FloatArray) -> FloatArray:
    """p-values (m,) of one true variable (N,) and each learned one (N, m), given the other true ones (N, n − 1)."""
    responses = np.column_stack([learned, variable])
    # with ties, normal scores have another mean than 0
    responses = responses - responses.mean(0)
    if others.shape[1]:
        gamma = median_gamma(squared_distances(others, others))
        responses = fit_kernel_ridge(others, responses, [gamma], _RIDGES).residuals
    products = responses[:, :-1] * responses[:, -1:]
    spread = products.std(0)
    statistic = np.sqrt(len(products)) * products.mean(0) / np.where(spread > 0, spread, 1.0)
    return np.where(spread > 0, 2.0 * ndtr(-np.abs(statistic)), 1.0)


def _mismatches(case: Case) -> int | None:
    return None if len(case.z) < _MIN_ROWS else measurement_mismatches(case.z, case.learned, case.permutation)


TMEX = Metric(
    "tmex",
    "T-MEX, 0..n²: of n² tests of conditional independence at 5 %, on the first 1,000 rows, those that contradict that"
    " each match measures its true variable alone (Yao et al. 2025); null below 50 rows",
    _mismatches,
    ("z",),
    "variables",
)
