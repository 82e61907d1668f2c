"""Kernel regressions and what is scored by them, against scikit-learn; the maximum mean discrepancy by hand."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.kernel_ridge import KernelRidge
from sklearn.metrics import r2_score
from sklearn.model_selection import LeaveOneOut, cross_val_predict

from lcm.metric.interventional import squared_mmd
from lcm.metric.kernel import fit_kernel_ridge, median_gamma, squared_distances
from lcm.metric.kernel_regression import kernel_r2, matched_kernel_r2

law = settings(deadline=None, max_examples=25)
GAMMAS, RIDGES = (0.05, 0.5, 5.0), (1.0, 0.01)


def smooth(rows: int = 60, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Inputs, and responses of different smoothness and noise."""
    source = np.random.default_rng(seed)
    inputs = source.normal(size=(rows, 2))
    noise = source.normal(size=rows)
    responses = [np.sin(6 * inputs[:, 0]) + 0.1 * noise, inputs @ [1.0, -1.0], 0.2 * inputs[:, 1] + noise]
    return inputs, np.column_stack(responses)


def test_each_response_has_the_settings_of_the_smallest_leave_one_out_error() -> None:
    inputs, responses = smooth()
    fit = fit_kernel_ridge(inputs, responses, GAMMAS, RIDGES)
    fresh = np.random.default_rng(1).normal(size=(10, 2))
    left_out = {
        (gamma, ridge): responses
        - cross_val_predict(KernelRidge(kernel="rbf", gamma=gamma, alpha=ridge), inputs, responses, cv=LeaveOneOut())
        for gamma in GAMMAS
        for ridge in RIDGES
    }
    for column, response in enumerate(responses.T):
        errors = {key: (np.mean(error[:, column] ** 2), error[:, column]) for key, error in left_out.items()}
        best = min(errors, key=lambda settings: errors[settings][0])
        assert (fit.gamma[column], fit.ridge[column]) == best
        np.testing.assert_allclose(fit.residuals[:, column], errors[best][1], atol=1e-8)
        reference = KernelRidge(kernel="rbf", gamma=best[0], alpha=best[1]).fit(inputs, response)
        np.testing.assert_allclose(fit.predicted(inputs, fresh)[:, column], reference.predict(fresh), atol=1e-8)
    assert len(set(zip(fit.gamma, fit.ridge, strict=True))) > 1


def test_the_median_is_over_pairs_of_different_rows() -> None:
    rows = np.array([[0.0], [1.0], [3.0]])
    squared = squared_distances(rows, rows)
    assert squared[0].tolist() == [0.0, 1.0, 9.0]
    assert median_gamma(squared) == 1 / (2 * 4.0)
    assert median_gamma(np.zeros((3, 3))) == 1.0 and median_gamma(np.zeros((1, 1))) == 1.0


def test_r2_is_that_of_scikit_learn_at_the_same_settings() -> None:
    source = np.random.default_rng(0)
    learned = source.normal(size=(100, 3))
    true = np.column_stack([np.sin(learned[:, 0]) + learned[:, 1], learned[:, 2] ** 2 + source.normal(size=100)])
    found = kernel_r2(true, learned, seed=7)
    order = np.random.default_rng(7).permutation(100)
    fitted, scored = order[:80], order[80:]
    inputs, responses = ((table - table[fitted].mean(0)) / table[fitted].std(0) for table in (learned, true))
    scores: list[list[tuple[float, float]]] = [[], []]
    for gamma in np.logspace(-2, 2, 4):
        for ridge in (1.0, 0.1, 0.01, 0.001):
            regression = KernelRidge(kernel="rbf", gamma=gamma, alpha=ridge)
            left_out = cross_val_predict(regression, inputs[fitted], responses[fitted], cv=LeaveOneOut())
            predicted = regression.fit(inputs[fitted], responses[fitted]).predict(inputs[scored])
            error = np.mean((left_out - responses[fitted]) ** 2, axis=0)
            for i in range(2):
                scores[i].append((error[i], r2_score(responses[scored, i], predicted[:, i])))
    for i in range(2):
        assert found[i] == pytest.approx(min(scores[i])[1], abs=1e-7)


def test_a_mixture_has_the_information_and_the_match_alone_has_not() -> None:
    true = np.random.default_rng(0).normal(size=(6_000, 3))
    rotation = np.linalg.qr(np.random.default_rng(3).normal(size=(3, 3)))[0]
    mixed = true @ rotation
    assert kernel_r2(true, mixed).min() > 0.99
    alone = np.mean([matched_kernel_r2(true, mixed, [0, 1, 2], seed) for seed in range(4)], axis=0)
    # the best predictor of a normal variable is linear
    np.testing.assert_allclose(alone, np.diag(rotation) ** 2, atol=0.05)
    assert matched_kernel_r2(true, np.tanh(true[:, [2, 0, 1]]), [1, 2, 0]).min() > 0.97


def test_noise_leaves_its_share_unexplained() -> None:
    source = np.random.default_rng(0)
    true = source.normal(size=(4_000, 2))
    learned = true + source.normal(size=true.shape)
    np.testing.assert_allclose(kernel_r2(true, learned), 0.5, atol=0.05)
    assert np.abs(kernel_r2(true, source.normal(size=true.shape))).max() < 0.05


def test_order_sign_and_units_do_not_matter() -> None:
    true = np.random.default_rng(0).normal(size=(300, 3))
    learned = np.tanh(true @ np.random.default_rng(1).normal(size=(3, 3)))
    expected = kernel_r2(true, learned)
    moved = kernel_r2(true[:, [2, 0, 1]] * [1e6, -1.0, 1e-6], learned[:, [1, 2, 0]] * [-1e6, 1.0, 1e-6] + 3.0)
    np.testing.assert_allclose(moved, expected[[2, 0, 1]], atol=1e-6)
    alone = matched_kernel_r2(true, learned, [2, -1, 0])
    assert alone[1] == 0.0
    assert alone[0] == pytest.approx(kernel_r2(true[:, [0]], learned[:, [2]])[0])


def test_constant_columns_are_no_nan() -> None:
    true = np.random.default_rng(0).normal(size=(50, 2))
    true[:, 1] = 0.1
    scores = kernel_r2(true, np.column_stack([true, np.full(50, 0.1)]))
    assert scores[0] > 0.9 and scores[1] == 0.0
    assert kernel_r2(true, np.ones((50, 1)))[0] <= 0.0


def test_the_shuffle_is_seeded() -> None:
    true = np.random.default_rng(0).normal(size=(200, 2))
    learned = true + np.random.default_rng(1).normal(size=true.shape)
    np.testing.assert_array_equal(kernel_r2(true, learned), kernel_r2(true, learned))
    assert (kernel_r2(true, learned, seed=1) != kernel_r2(true, learned)).all()


def test_too_few_rows_are_refused() -> None:
    with pytest.raises(ValueError, match=r"^Expected at least 10 rows for a kernel regression; got 9\.$"):
        kernel_r2(np.ones((9, 1)), np.ones((9, 1)))


@law
@given(st.integers(0, 2**32 - 1), st.integers(2, 8), st.integers(2, 8))
def test_the_discrepancy_by_hand(seed: int, n: int, m: int) -> None:
    source = np.random.default_rng(seed)
    first, second = source.normal(size=(n, 3)), source.normal(size=(m, 3)) + 0.5
    rows = [*first, *second]
    squared = [np.sum((a - b) ** 2) for i, a in enumerate(rows) for j, b in enumerate(rows) if i != j]
    scale = 2 * np.median(squared)

    def mean(one: np.ndarray, other: np.ndarray, same: bool) -> float:
        pairs = [(a, b) for i, a in enumerate(one) for j, b in enumerate(other) if not (same and i == j)]
        return float(np.mean([np.exp(-np.sum((a - b) ** 2) / scale) for a, b in pairs]))

    expected = mean(first, first, True) + mean(second, second, True) - 2 * mean(first, second, False)
    assert squared_mmd(first, second) == pytest.approx(expected, abs=1e-12)
    assert squared_mmd(second, first) == pytest.approx(expected, abs=1e-12)


def test_the_discrepancy_of_normals_is_the_closed_form() -> None:
    source = np.random.default_rng(0)
    first, second = source.normal(size=(2_000, 1)), source.normal(size=(2_000, 1)) + 2.0
    rows = np.concatenate([first, second])
    gamma = median_gamma(squared_distances(rows, rows))
    # E exp(−γ d²) of a normal difference of variance 2 and mean μ
    spread = 1 + 4 * gamma
    expected = 2 / np.sqrt(spread) * (1 - np.exp(-gamma * 4.0 / spread))
    assert squared_mmd(first, second) == pytest.approx(expected, abs=0.02)


def test_the_discrepancy_of_equal_distributions_is_zero_in_the_mean() -> None:
    source = np.random.default_rng(0)
    found = [squared_mmd(*source.normal(size=(2, 50, 2))) for _ in range(200)]
    assert abs(np.mean(found)) < 3 * np.std(found) / np.sqrt(200)
    assert min(found) < 0 < max(found)


def test_samples_that_do_not_fit_are_refused() -> None:
    for first, second in (
        (np.ones((1, 2)), np.ones((3, 2))),
        (np.ones((3, 2)), np.ones((3, 1))),
        (np.ones(3), np.ones(3)),
    ):
        with pytest.raises(
            ValueError, match=r"^Expected two samples \(N, d\) and \(M, d\) of at least two rows; got \("
        ):
            squared_mmd(first, second)
    with pytest.raises(ValueError, match=r"^Expected finite samples; got NaN or infinite entries\.$"):
        squared_mmd(np.full((3, 1), np.nan), np.ones((3, 1)))
