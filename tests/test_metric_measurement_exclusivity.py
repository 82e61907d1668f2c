"""T-MEX: the tests hold their level, find what mixes, and agree with regressions solved one by one."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import norm, rankdata

from lcm.metric.measurement_exclusivity import measurement_mismatches, measurement_p_values

IDENTITY = [0, 1, 2]


def causal(rows: int = 500, seed: int = 0) -> np.ndarray:
    """Three dependent variables, with a curved effect."""
    noise = np.random.default_rng(seed).normal(size=(rows, 3))
    second = np.tanh(1.5 * noise[:, 0]) + noise[:, 1]
    return np.column_stack([noise[:, 0], second, second - 0.5 * noise[:, 0] ** 2 + noise[:, 2]])


def measured(true: np.ndarray) -> np.ndarray:
    """Exclusive measurements, bent."""
    return np.column_stack([np.exp(true[:, 0]), -(true[:, 1] ** 3), np.arctan(true[:, 2])])


def test_p_values_are_those_of_residual_covariances_solved_one_by_one() -> None:
    true = causal(60)
    learned = measured(true) + 0.5 * np.random.default_rng(1).normal(size=true.shape)
    found = measurement_p_values(true, learned)

    def scores(column: np.ndarray) -> np.ndarray:
        return np.asarray(norm.ppf((rankdata(column) - 0.5) / len(column)))

    def residual(column: np.ndarray, others: np.ndarray) -> np.ndarray:
        squared = np.sum((others[:, None] - others[None]) ** 2, axis=-1)
        kernel = np.exp(-squared / (2 * np.median(squared[np.triu_indices(60, 1)])))
        left_out = []
        for ridge in (10.0, 1.0, 0.1, 0.01, 0.001):
            rows = [np.delete(np.arange(60), row) for row in range(60)]
            weights = [np.linalg.solve(kernel[np.ix_(r, r)] + ridge * np.eye(59), column[r]) for r in rows]
            predicted = [kernel[row, r] @ w for row, (r, w) in enumerate(zip(rows, weights, strict=True))]
            left_out.append(column - np.array(predicted))
        return min(left_out, key=lambda residuals: float(np.mean(residuals**2)))

    for i in range(3):
        others = np.column_stack([scores(true[:, k]) for k in range(3) if k != i])
        for j in range(3):
            products = residual(scores(learned[:, j]), others) * residual(scores(true[:, i]), others)
            statistic = np.sqrt(60) * products.mean() / products.std()
            assert found[j, i] == pytest.approx(2 * norm.sf(abs(statistic)), rel=1e-5, abs=1e-12)


def test_of_exclusive_measurements_the_level_is_held_and_the_own_variable_is_found() -> None:
    off = ~np.eye(3, dtype=bool)
    p_values = np.array([measurement_p_values(causal(300, seed), measured(causal(300, seed))) for seed in range(40)])
    rejected = (p_values < 0.05)[:, off].mean()
    # 240 tests; those of one draw are dependent, hence a wide interval
    assert 0.01 < rejected < 0.10
    assert (p_values[:, ~off] < 1e-6).all()


def test_mixtures_are_found() -> None:
    true = causal(1_000)
    mixed = measured(true)
    mixed[:, 2] += 0.5 * true[:, 0]
    p_values = measurement_p_values(true, mixed)
    assert p_values[2, 0] < 1e-6 and p_values[2, 2] < 1e-6
    rotation = np.linalg.qr(np.random.default_rng(3).normal(size=(3, 3)))[0]
    assert measurement_mismatches(true, true @ rotation, IDENTITY) == 6
    noise = np.random.default_rng(1).normal(size=true.shape)
    assert measurement_mismatches(true, noise, IDENTITY) in (3, 4)


def test_order_sign_and_monotone_maps_do_not_matter() -> None:
    true = causal(200)
    mixed = true + 0.3 * true[:, [1, 2, 0]]
    expected = measurement_p_values(true, mixed)
    found = measurement_p_values(np.exp(true[:, [2, 0, 1]]), -np.sinh(mixed[:, [1, 2, 0]]))
    np.testing.assert_allclose(found, expected[np.ix_([1, 2, 0], [2, 0, 1])], rtol=1e-6, atol=1e-12)
    plain = measurement_mismatches(true, mixed, IDENTITY)
    assert plain > 0
    assert measurement_mismatches(true[:, [2, 0, 1]], mixed[:, [1, 2, 0]], [1, 2, 0]) == plain


def test_matches_count_and_unmatched_variables_count_one() -> None:
    true = causal(400)
    p_values = measurement_p_values(true, true)
    learned = np.column_stack([np.random.default_rng(1).normal(size=400), true[:, [2, 0, 1]]])
    expected = int(((p_values < 0.05) != np.eye(3, dtype=bool)).sum())
    assert measurement_mismatches(true, learned, [2, 3, 1]) == expected
    without_one = int(((p_values < 0.05) != np.eye(3, dtype=bool))[[0, 2]].sum())
    assert measurement_mismatches(true, true[:, [0, 2]], [0, -1, 1]) == without_one + 1
    # at a level that nothing reaches, no variable is measured
    assert measurement_mismatches(true, np.ones((400, 3)), IDENTITY, level=1e-12) == 3


def test_one_variable_alone() -> None:
    true = causal(100)[:, [0]]
    assert measurement_mismatches(true, -true, [0]) == 0
    assert measurement_p_values(true, true**2)[0, 0] > 0.05
    # ranks with ties have another mean
    steps = (true > 0.5) * 1.0
    assert measurement_p_values(true, steps)[0, 0] < 1e-6


def test_only_the_first_rows_are_used() -> None:
    true = causal(300)
    expected = measurement_p_values(true[:100], true[:100] ** 3)
    np.testing.assert_array_equal(measurement_p_values(true, true**3, max_rows=100), expected)


def test_what_cannot_be_tested_is_refused() -> None:
    true = causal(60)
    with pytest.raises(ValueError, match=r"^Expected at least 50 rows for tests of independence; got 49\.$"):
        measurement_p_values(true[:49], true[:49])
    for level in (0.0, 1.0):
        with pytest.raises(ValueError, match=rf"^Expected a level strictly between 0 and 1; got {level}\.$"):
            measurement_mismatches(true, true, IDENTITY, level=level)
    with pytest.raises(ValueError, match="Expected a permutation of 3 different entries"):
        measurement_mismatches(true, true, [0, 0, 1])
