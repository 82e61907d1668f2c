"""Laws of DCI and of the held-out R² of each variable on its match."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from sklearn.ensemble import GradientBoostingRegressor

from lcm.metric import disentanglement
from lcm.metric.disentanglement import completeness_score, dci, disentanglement_score, r2_per_variable, spline_r2

law = settings(deadline=None, max_examples=60)
shares = st.floats(0, 1, allow_subnormal=False)
importances = st.tuples(st.integers(1, 5), st.integers(1, 5)).flatmap(
    lambda shape: arrays(np.float64, shape, elements=st.one_of(st.just(0.0), shares))
)


def causal_variables(n_rows: int = 800, n: int = 3, seed: int = 0) -> np.ndarray:
    """Dependent variables of a linear model along a chain."""
    noise = np.random.default_rng(seed).normal(size=(n_rows, n))
    variables: np.ndarray = noise @ (np.eye(n) + 0.5 * np.eye(n, k=1))
    return variables


def rotated(true: np.ndarray) -> np.ndarray:
    n = true.shape[1]
    rotation, _ = np.linalg.qr(np.ones((n, n)) + np.diag(np.arange(1.0, n + 1)))
    mixed: np.ndarray = true @ rotation @ rotation
    return mixed


def test_dci_of_relabelled_monotone_maps_is_near_one() -> None:
    true = causal_variables()
    learned = np.column_stack([-(true[:, 2] ** 3), np.exp(true[:, 0]), true[:, 1]])
    scores = dci(true, learned, n_jobs=1)
    assert scores.disentanglement > 0.97
    assert scores.completeness > 0.97
    assert scores.informativeness_r2 > 0.95
    assert scores.importance.argmax(axis=0).tolist() == [1, 2, 0]


def test_dci_of_a_rotation_is_low_but_informative() -> None:
    true = np.random.default_rng(0).normal(size=(800, 3))
    rotation, _ = np.linalg.qr(np.random.default_rng(3).normal(size=(3, 3)))
    scores = dci(true, true @ rotation, n_jobs=1)
    assert scores.disentanglement < 0.6
    assert scores.completeness < 0.6
    assert scores.informativeness_r2 > 0.7


def test_dci_of_pure_chance_is_uninformative() -> None:
    true, learned = causal_variables(seed=0), causal_variables(seed=1)
    scores = dci(true, learned, n_jobs=1)
    assert scores.informativeness_r2 < 0.1
    assert scores.disentanglement < 0.3


def test_importance_is_learned_by_true_and_columns_sum_to_one() -> None:
    true = causal_variables(n_rows=300, n=2)
    learned = np.column_stack([true[:, 1], np.ones(300), true[:, 0], np.random.default_rng(0).normal(size=300)])
    scores = dci(true, learned, n_jobs=1)
    assert scores.importance.shape == (4, 2)
    np.testing.assert_allclose(scores.importance.sum(axis=0), 1.0)
    assert scores.importance.argmax(axis=0).tolist() == [2, 0]
    assert scores.importance[1].tolist() == [0.0, 0.0]


def test_below_the_budget_the_regressor_is_the_default_one() -> None:
    true = causal_variables(2_000)
    learned = rotated(true)
    scores = dci(true, learned, n_jobs=1)
    for i in range(3):
        reference = GradientBoostingRegressor(random_state=0).fit(learned[:1_600], true[:1_600, i])
        # Equally good splits are told apart by rounding, hence not exactly.
        np.testing.assert_allclose(scores.importance[:, i], reference.feature_importances_, atol=1e-3)


def test_the_result_does_not_depend_on_the_number_of_jobs_and_repeats(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # A small budget switches the random choice of rows on.
    monkeypatch.setattr(disentanglement, "_BUDGET", 1_200)
    true = causal_variables(300)
    first, second, third = (dci(true, rotated(true), n_jobs=n_jobs) for n_jobs in (1, 1, 2))
    for other in (second, third):
        np.testing.assert_array_equal(first.importance, other.importance)
        assert first.informativeness_r2 == other.informativeness_r2
    assert (dci(true, rotated(true), seed=1, n_jobs=1).importance != first.importance).any()


def test_only_the_first_rows_are_used() -> None:
    true = causal_variables(400)
    learned = rotated(true)
    expected = dci(true[:200], learned[:200], n_jobs=1)
    actual = dci(true, learned, max_rows=200, n_jobs=1)
    np.testing.assert_array_equal(actual.importance, expected.importance)
    assert actual.informativeness_r2 == expected.informativeness_r2


def test_dci_does_not_depend_on_units_or_increasing_maps() -> None:
    true = causal_variables(2_000)
    learned = rotated(true)
    expected = dci(true, learned, n_jobs=1)
    mapped = dci(true, np.sinh(3 * learned) * [1e-12, 1.0, 1e30], n_jobs=1)
    np.testing.assert_array_equal(mapped.importance, expected.importance)
    assert mapped.informativeness_r2 == expected.informativeness_r2
    in_other_units = dci(true * [1e-12, 1e12, 1.0], learned, n_jobs=1)
    np.testing.assert_allclose(in_other_units.importance, expected.importance, atol=1e-3)
    assert in_other_units.informativeness_r2 == pytest.approx(expected.informativeness_r2, abs=1e-3)


def test_constant_variables_give_zeros_and_never_nan() -> None:
    true = causal_variables(200)
    true[:, 1] = 0.1
    scores = dci(true, true, n_jobs=1)
    assert scores.importance[:, 1].tolist() == [0.0, 0.0, 0.0]
    assert scores.completeness == pytest.approx(2 / 3, abs=0.05)
    assert scores.disentanglement > 0.9
    nothing = dci(true, np.zeros((200, 2)), n_jobs=1)
    assert (nothing.disentanglement, nothing.completeness) == (0.0, 0.0)
    assert nothing.informativeness_r2 <= 0.0
    assert not nothing.importance.any()


def test_a_single_variable_has_nothing_to_be_confused_with() -> None:
    true = causal_variables(200, n=1)
    scores = dci(true, -true, n_jobs=1)
    assert (scores.disentanglement, scores.completeness) == (1.0, 1.0)
    assert dci(true, np.column_stack([true, true]), n_jobs=1).disentanglement == 1.0


@pytest.mark.parametrize(
    ("n_fit", "n", "m", "share"),
    [
        (8_000, 10, 10, 1.0),
        (8_000, 17, 17, 1.0),
        (8_000, 30, 30, 1 / 3),
        (2_000, 30, 30, 1.0),
        (8_000, 30, 60, 1 / 6),
        (8_000, 1_000, 1_000, 0.025),
        (100, 1_000, 1_000, 1.0),
    ],
)
def test_the_budget_decides_the_share_of_rows(n_fit: int, n: int, m: int, share: float) -> None:
    assert disentanglement._row_share(n_fit, n, m) == pytest.approx(share)


def test_a_tree_on_a_share_of_the_rows_still_tells_the_variables_apart(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(disentanglement, "_BUDGET", 1_800)
    true = causal_variables(1_000)
    scores = dci(true, true[:, [2, 0, 1]], n_jobs=1)
    assert scores.disentanglement > 0.95
    assert scores.importance.argmax(axis=0).tolist() == [1, 2, 0]


@law
@given(importances)
def test_scores_lie_between_zero_and_one(importance: np.ndarray) -> None:
    for score in (disentanglement_score(importance), completeness_score(importance)):
        assert 0 <= score <= 1


@law
@given(importances, st.integers(0, 2**32 - 1))
def test_scores_do_not_depend_on_the_order_of_variables(importance: np.ndarray, seed: int) -> None:
    generator = np.random.default_rng(seed)
    m, n = importance.shape
    shuffled = importance[generator.permutation(m)][:, generator.permutation(n)]
    assert disentanglement_score(shuffled) == pytest.approx(disentanglement_score(importance))
    assert completeness_score(shuffled) == pytest.approx(completeness_score(importance))


@pytest.mark.parametrize(
    ("importance", "expected_disentanglement", "expected_completeness"),
    [
        (np.eye(3)[[2, 0, 1]], 1.0, 1.0),
        (np.full((3, 3), 1 / 3), 0.0, 0.0),
        (np.zeros((3, 2)), 0.0, 0.0),
        # Two learned variables share each true one: disentangled, not complete (base 4: half the entropy).
        (np.array([[0.5, 0], [0.5, 0], [0, 0.5], [0, 0.5]]), 1.0, 0.5),
        # One learned variable serves both true ones: complete, not disentangled; the idle one has no weight.
        (np.array([[1.0, 1.0], [0.0, 0.0]]), 0.0, 1.0),
        # Rows weigh by their sums, 1.5 and 0.5; row 0 has shares 2/3 and 1/3.
        (
            np.array([[1.0, 0.5], [0.0, 0.5]]),
            0.75 * (1 + (2 / 3) * np.log2(2 / 3) + (1 / 3) * np.log2(1 / 3)) + 0.25,
            0.5,
        ),
    ],
)
def test_scores_by_hand(importance: np.ndarray, expected_disentanglement: float, expected_completeness: float) -> None:
    assert disentanglement_score(importance) == pytest.approx(expected_disentanglement)
    assert completeness_score(importance) == pytest.approx(expected_completeness)


MAPS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "identity": lambda z: z,
    "sign": lambda z: -z,
    "cube root": np.cbrt,
    "skewed": lambda z: np.exp(2 * z),
    "saturating": np.tanh,
    "far away": lambda z: 1e9 + z,
}


@pytest.mark.parametrize("make", MAPS.values(), ids=MAPS.keys())
def test_r2_of_a_reparametrised_variable_is_near_one(make: Callable[[np.ndarray], np.ndarray]) -> None:
    true = np.random.default_rng(0).normal(size=2_000)
    assert 0.99 < spline_r2(true, make(true)) <= 1


def test_r2_of_noisy_and_of_unrelated_variables() -> None:
    generator = np.random.default_rng(0)
    true = generator.normal(size=5_000)
    noisy = true + generator.normal(size=5_000)
    assert spline_r2(true, noisy) == pytest.approx(0.5, abs=0.04)
    assert spline_r2(true, generator.normal(size=5_000)) == pytest.approx(0.0, abs=0.02)
    assert spline_r2(true**2, true) > 0.99


def test_r2_is_held_out_on_the_last_fifth_of_the_rows() -> None:
    true = np.random.default_rng(0).normal(size=1_000)
    matched = true.copy()
    matched[800:] = np.random.default_rng(1).normal(size=200)
    assert spline_r2(true, matched) < 0
    matched = np.random.default_rng(1).normal(size=1_000)
    matched[800:] = true[800:]
    assert spline_r2(true, matched) < 0.2


def test_rows_beyond_the_fitted_range_do_not_run_away() -> None:
    generator = np.random.default_rng(0)
    matched = generator.normal(size=1_000)
    matched[800:810] *= 100
    assert spline_r2(np.tanh(matched), matched) > 0.95


@pytest.mark.parametrize("n_rows", [10, 50, 51])
def test_constant_discrete_and_few_rows_give_finite_scores(n_rows: int) -> None:
    values = np.random.default_rng(0).normal(size=n_rows)
    steps = np.arange(n_rows) % 2
    assert spline_r2(values, np.full(n_rows, 0.1)) == 0.0
    assert spline_r2(np.full(n_rows, 0.1), values) == 0.0
    assert spline_r2(np.where(np.arange(n_rows) < int(0.8 * n_rows), values, 0.1), values) == 0.0
    assert spline_r2(steps, steps) > 0.99
    assert np.isfinite(spline_r2(values, steps))
    # The fifth held out of ten rows may lie outside the fitted range.
    assert n_rows < 50 or spline_r2(values, values) > 0.9


def test_r2_per_variable_follows_the_permutation() -> None:
    true = np.random.default_rng(0).normal(size=(1_000, 3))
    learned = np.column_stack([np.exp(true[:, 2]), -true[:, 0]])
    scores = r2_per_variable(true, learned, [1, -1, 0])
    assert scores.shape == (3,)
    assert scores[1] == 0.0
    assert scores[[0, 2]].min() > 0.99
    assert r2_per_variable(true, learned, [0, -1, 1]).max() < 0.1


def test_few_rows_and_bad_tables_are_refused() -> None:
    with pytest.raises(ValueError, match="Expected at least 10 rows; got 9"):
        dci(np.ones((9, 2)), np.ones((9, 2)))
    with pytest.raises(ValueError, match="Expected at least 10 rows; got 5"):
        dci(np.ones((20, 2)), np.ones((20, 2)), max_rows=5)
    with pytest.raises(ValueError, match="Expected at least 10 rows; got 9"):
        spline_r2(np.ones(9), np.ones(9))
    with pytest.raises(ValueError, match="Expected as many rows of learned as of true variables; got 11 and 12"):
        dci(np.ones((12, 2)), np.ones((11, 2)))
    with pytest.raises(ValueError, match="Expected finite true variables; got 1 rows"):
        spline_r2(np.append(np.ones(19), np.nan), np.ones(20))
    with pytest.raises(ValueError, match="Expected a permutation of 2 different entries"):
        r2_per_variable(np.ones((12, 2)), np.ones((12, 2)), [0, 0])


def test_heavy_libraries_are_imported_when_needed() -> None:
    script = (
        "import sys, lcm.metric.disentanglement, lcm.metric.graph, lcm.metric.intervention; "
        "print(sorted({'sklearn', 'joblib'} & set(sys.modules)))"
    )
    answer = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == "[]"
