"""R² of the true variables after a kernel regression, from all learned variables and from the match alone.

Block identifiability is scored so (von Kügelgen et al. 2021; Yao et al. 2024), and CausalVerse (Chen et al. 2025) takes
it over. The grid is that of Yao et al.: γ of four decades, ridges from 0.001 to 1, on standardised columns.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from lcm.isomorphism.matching import FloatArray, IntArray, checked_permutation, paired_columns
from lcm.metric.case import Case, Metric
from lcm.metric.kernel import fit_kernel_ridge

_FIT_SHARE = 0.8
_MIN_ROWS = 10
_MOST_FITTED, _MOST_SCORED = 600, 2_000
_GAMMAS = tuple(np.logspace(-2, 2, 4))
_RIDGES = (1.0, 0.1, 1e-2, 1e-3)


def kernel_r2(true: ArrayLike, learned: ArrayLike, seed: int = 0) -> FloatArray:
    """Held-out R² (n,), at most 1, of each true variable (N, n) on all learned ones (N, m), by kernel ridge regression.

    Columns are standardised by the rows fitted. γ and ridge are chosen for each true variable by leave-one-out errors.
    A true variable that is constant has R² 0.

    Budget: a seeded shuffle of the rows, of which 80 %, at most 600, are fitted, and 20 %, at most 2,000, are scored.

    Args:
        true: (N, n).
        learned: (N, m).
        seed: of the shuffle.

    Raises:
        ValueError: bad tables (see `paired_columns`) or fewer than 10 rows.
    """
    true, learned = paired_columns(true, learned)
    if len(true) < _MIN_ROWS:
        raise ValueError(f"Expected at least {_MIN_ROWS} rows for a kernel regression; got {len(true)}.")
    order = np.random.default_rng(seed).permutation(len(true))
    share = int(_FIT_SHARE * len(order))
    fitted, scored = order[:share][:_MOST_FITTED], order[share:][:_MOST_SCORED]
    inputs, responses = (_standardised(table, fitted) for table in (learned, true))
    fit = fit_kernel_ridge(inputs[fitted], responses[fitted], _GAMMAS, _RIDGES)
    expected = responses[scored]
    error = np.square(expected - fit.predicted(inputs[fitted], inputs[scored])).sum(0)
    spread = np.square(expected - expected.mean(0)).sum(0)
    return np.where(spread > 0, 1.0 - error / np.where(spread > 0, spread, 1.0), 0.0)


def matched_kernel_r2(true: ArrayLike, learned: ArrayLike, permutation: ArrayLike, seed: int = 0) -> FloatArray:
    """The same R² (n,) of each true variable on its match alone; 0 where unmatched.

    Args:
        true: (N, n).
        learned: (N, m).
        permutation: (n,), permutation[i] = j: true variable i is learned variable j, -1 where unmatched.
        seed: of the shuffle.

    Raises:
        ValueError: what `kernel_r2` raises, or a permutation that does not fit.
    """
    true, learned = paired_columns(true, learned)
    permutation = checked_permutation(permutation, true.shape[1], learned.shape[1])
    scores = np.zeros(len(permutation))
    for variable in np.flatnonzero(permutation >= 0):
        scores[variable] = kernel_r2(true[:, [variable]], learned[:, [permutation[variable]]], seed)[0]
    return scores


def _standardised(table: FloatArray, fitted: IntArray) -> FloatArray:
    """The table in means and standard deviations of some rows; columns that are constant there become 0 there."""
    rows = table[fitted]
    constant = rows.max(0) == rows.min(0)
    centred: FloatArray = (table - np.where(constant, rows[0], rows.mean(0))) / np.where(constant, 1.0, rows.std(0))
    return centred


def _joint(case: Case) -> float | None:
    return None if len(case.z) < _MIN_ROWS else float(kernel_r2(case.z, case.learned, case.seed).mean())


def _matched(case: Case) -> float | None:
    if len(case.z) < _MIN_ROWS:
        return None
    return float(matched_kernel_r2(case.z, case.learned, case.permutation, case.seed).mean())


_KERNEL = (
    "mean over true variables of held-out R² by kernel ridge regression, at most 1, 80/20, on at most 600 rows"
    " (CausalVerse, Chen et al. 2025; grid of Yao et al. 2024); null below 10 rows"
)
KERNEL_R2 = Metric("kernel_r2", f"from all learned variables: {_KERNEL}", _joint, ("z",), "variables")
KERNEL_R2_MATCHED = Metric(
    "kernel_r2_matched", f"from the match alone, 0 where unmatched: {_KERNEL}", _matched, ("z",), "variables"
)
