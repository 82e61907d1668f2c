"""Disentanglement, completeness, informativeness (DCI), and R² of each true variable on its match alone.

DCI is Eastwood & Williams, "A framework for the quantitative evaluation of disentangled representations",
ICLR 2018, with gradient boosting as the regressor.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import final

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import entr, ndtr

from lcm.base.ranks import column_ranks
from lcm.isomorphism.matching import FloatArray, checked_permutation, paired_columns, unit_columns
from lcm.metric.case import Case, Metric

_DCI_ROWS = 10_000
_FIT_SHARE = 0.8
_MIN_ROWS = 10
# The most (rows fitted x n x m) at which a tree sees every row, and the rows it sees at least.
_BUDGET = 2_400_000
_MIN_ROWS_PER_TREE = 200
_RIDGE = 1e-3


@final
@dataclass(frozen=True, eq=False)
class DCI:
    """Scores of m learned variables against n true ones.

    Attributes:
        disentanglement: in [0, 1]; 1 iff no learned variable helps to predict more than one true variable.
        completeness: in [0, 1]; 1 iff every true variable is predicted from one learned variable alone.
        informativeness_r2: mean held-out R² over the true variables, at most 1.
        importance: (m, n), [j, i]: share of learned variable j in predicting true variable i; every column
            sums to one, or to zero where nothing predicts.
    """

    disentanglement: float
    completeness: float
    informativeness_r2: float
    importance: FloatArray


def dci(true: ArrayLike, learned: ArrayLike, seed: int = 0, max_rows: int = 10_000, n_jobs: int = -1) -> DCI:
    """Disentanglement, completeness and informativeness (Eastwood & Williams 2018, section 2).

    One gradient-boosting regressor for each true variable predicts it from all learned ones, fitted on the
    first 80 % of the rows and scored on the rest. Learned variables enter by their ranks, to which trees are
    indifferent, so that the scores do not depend on strictly increasing maps of them.

    Budget: the cost grows with rows fitted x n x m. Up to 2.4 million (n = m <= 17 at 10,000 rows) the
    regressors are scikit-learn's defaults. Above, each of the 100 trees is fitted on a random share of the
    rows (stochastic gradient boosting, Friedman 2002), 2.4 million / (rows fitted x n x m) of them, but at
    least 200: the total cost stays about level, and grows with n x m again from n = m = 110 or so.

    Args:
        true: (N, n).
        learned: (N, m).
        seed: of the regressors.
        max_rows: only the first max_rows rows are used.
        n_jobs: regressors fitted at once, on threads, -1 for one a core; the result does not depend on it.

    Raises:
        ValueError: bad tables (see `paired_columns`) or fewer than 10 rows.
    """
    from joblib import Parallel, delayed

    true, learned = paired_columns(true, learned)
    true, learned = true[:max_rows], learned[:max_rows]
    n_fit = _n_fit_rows(len(true))
    targets, inputs = _standardised(true), column_ranks(learned)
    share = _row_share(n_fit, targets.shape[1], inputs.shape[1])
    fits = Parallel(n_jobs=n_jobs, prefer="threads")(
        delayed(_fit_boosting)(inputs, target, n_fit, share, seed) for target in targets.T
    )
    importance = np.stack([column for column, _ in fits], axis=1)
    return DCI(
        disentanglement=disentanglement_score(importance),
        completeness=completeness_score(importance),
        informativeness_r2=float(np.mean([r2 for _, r2 in fits])),
        importance=importance,
    )


def disentanglement_score(importance: FloatArray) -> float:
    """Mean over learned variables of one minus the entropy of a row of `importance` (m, n), in [0, 1].

    The entropy is in base n, rows are weighted by their sums; a row of zeros has no weight, and zeros alone
    score 0.
    """
    weight = importance.sum(axis=1)
    total = weight.sum()
    return float(_concentration(importance) @ weight / total) if total > 0 else 0.0


def completeness_score(importance: FloatArray) -> float:
    """Mean over true variables of one minus the entropy of a column of `importance` (m, n), in [0, 1].

    The entropy is in base m; a column of zeros, a variable that nothing predicts, counts 0.
    """
    return float(_concentration(importance.T).mean())


def spline_r2(true: ArrayLike, matched: ArrayLike, n_knots: int = 25) -> float:
    """Held-out R² of a true variable (N,) on a cubic spline of its learned match (N,), at most 1.

    Fitted on the first 80 % of the rows and scored on the rest. The knots are quantiles, spaced evenly for a
    normal variable, at most one for 20 rows fitted; outside the range of the fitted rows the spline is
    constant. A constant variable, true or matched, has R² 0.

    Raises:
        ValueError: not two finite arrays of shape (N,), or fewer than 10 rows.
    """
    from sklearn.linear_model import Ridge
    from sklearn.preprocessing import SplineTransformer

    true, matched = paired_columns(np.asarray(true)[..., None], np.asarray(matched)[..., None])
    n_fit = _n_fit_rows(len(true))
    target, inputs = _standardised(true)[:, 0], _standardised(matched)
    levels = ndtr(np.linspace(-3, 3, max(2, min(n_knots, n_fit // 20))))
    levels[[0, -1]] = 0.0, 1.0
    knots = np.unique(np.quantile(inputs[:n_fit], levels))
    if len(knots) < 2:
        return 0.0
    spline = SplineTransformer(degree=3, knots=knots[:, None], include_bias=False)
    features = spline.fit_transform(inputs.clip(knots[0], knots[-1]))
    # A spline's basis adds up to a constant, and ties leave parts of it empty: hence a slight penalty.
    regression = Ridge(alpha=_RIDGE).fit(features[:n_fit], target[:n_fit])
    return _r2(target[n_fit:], regression.predict(features[n_fit:]))


def r2_per_variable(true: ArrayLike, learned: ArrayLike, permutation: ArrayLike) -> FloatArray:
    """Held-out R² (n,) of each true variable on a spline of its match alone (`spline_r2`); 0 where unmatched.

    Args:
        true: (N, n).
        learned: (N, m).
        permutation: (n,), permutation[i] = j: true variable i is learned variable j, -1 where unmatched.

    Raises:
        ValueError: bad tables (see `paired_columns`), fewer than 10 rows, or a permutation that does not fit.
    """
    true, learned = paired_columns(true, learned)
    permutation = checked_permutation(permutation, true.shape[1], learned.shape[1])
    scores = np.zeros(len(permutation))
    for variable in np.flatnonzero(permutation >= 0):
        scores[variable] = spline_r2(true[:, variable], learned[:, permutation[variable]])
    return scores


def _n_fit_rows(n_rows: int) -> int:
    if n_rows < _MIN_ROWS:
        raise ValueError(f"Expected at least {_MIN_ROWS} rows; got {n_rows}.")
    return int(_FIT_SHARE * n_rows)


def _row_share(n_fit: int, n: int, m: int) -> float:
    """Share of the fitted rows that each tree sees, in (0, 1]; see the budget of `dci`."""
    return min(1.0, max(_BUDGET / (n_fit * n * m), _MIN_ROWS_PER_TREE / n_fit))


def _fit_boosting(
    inputs: FloatArray, target: FloatArray, n_fit: int, share: float, seed: int
) -> tuple[FloatArray, float]:
    """Importance (m,) of each column of `inputs` (N, m) for `target` (N,), and the held-out R²."""
    from sklearn.ensemble import GradientBoostingRegressor

    regressor = GradientBoostingRegressor(subsample=share, random_state=seed)
    regressor.fit(inputs[:n_fit], target[:n_fit])
    importance: FloatArray = regressor.feature_importances_
    return importance, _r2(target[n_fit:], regressor.predict(inputs[n_fit:]))


def _standardised(table: FloatArray) -> FloatArray:
    """Columns of mean 0 and standard deviation 1: the fits have absolute tolerances, the scores no units."""
    return unit_columns(table) * float(np.sqrt(len(table)))


def _r2(true: FloatArray, predicted: FloatArray) -> float:
    """Coefficient of determination, at most 1; 0 for a constant `true`."""
    if true.max() == true.min():
        return 0.0
    return float(1 - np.square(true - predicted).sum() / np.square(true - true.mean()).sum())


def _concentration(importance: FloatArray) -> FloatArray:
    """One minus the normalised entropy of each row (a, b): 1 for a single entry, 0 for equal entries.

    A row of zeros is 0; with b = 1 there is nothing to confuse, and any other row is 1.
    """
    total = importance.sum(axis=1, keepdims=True)
    shares = importance / np.where(total > 0, total, 1.0)
    largest_entropy = np.log(max(importance.shape[1], 2))
    return np.where(total[:, 0] > 0, 1 - entr(shares).sum(axis=1) / largest_entropy, 0.0).clip(0.0, 1.0)


def _dci(case: Case) -> DCI | None:
    if len(case.z) < _MIN_ROWS:
        return None
    return dci(case.z, case.learned, seed=case.seed, max_rows=_DCI_ROWS, n_jobs=case.n_jobs)


def _r2_scores(case: Case) -> FloatArray | None:
    return None if len(case.z) < _MIN_ROWS else r2_per_variable(case.z, case.learned, case.permutation)


def _of_dci(name: str) -> Callable[[Case], float | None]:
    return lambda case: getattr(case.once(_dci), name, None)


def _mean_r2(case: Case) -> float | None:
    scores = case.once(_r2_scores)
    return None if scores is None else float(np.mean(scores))


def _listed_r2(case: Case) -> list[float] | None:
    scores = case.once(_r2_scores)
    return None if scores is None else list(map(float, scores))


_BOOSTING = "by gradient boosting on the first 10,000 rows, 80/20 (Eastwood & Williams 2018); null below 10 rows"
DCI_DISENTANGLEMENT = Metric(
    "dci_disentanglement",
    f"whether no learned variable helps to predict more than one true one, [0, 1], {_BOOSTING}",
    _of_dci("disentanglement"),
    ("z",),
    "variables",
)
DCI_COMPLETENESS = Metric(
    "dci_completeness",
    f"whether every true variable is predicted from one learned variable alone, [0, 1], {_BOOSTING}",
    _of_dci("completeness"),
    ("z",),
    "variables",
)
DCI_INFORMATIVENESS_R2 = Metric(
    "dci_informativeness_r2",
    f"held-out R² of the true variables on all learned ones, at most 1, {_BOOSTING}",
    _of_dci("informativeness_r2"),
    ("z",),
    "variables",
)
R2 = Metric("r2", "mean of r2_per_variable, at most 1; null below 10 rows", _mean_r2, ("z",), "variables")
R2_PER_VARIABLE = Metric(
    "r2_per_variable",
    "(n,) held-out R² of each true variable on a cubic spline of its match alone, at most 1; 0 where unmatched",
    _listed_r2,
    ("z",),
    "variables",
)
