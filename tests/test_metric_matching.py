"""Laws of the matching of learned with true variables; permutation[i] = j: true i is learned j."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from lcm.isomorphism.matching import correlation_matrix, match_variables, mean_correlation

law = settings(deadline=None, max_examples=40)
every_kind = pytest.mark.parametrize("kind", ["spearman", "pearson"])
Kind = Literal["spearman", "pearson"]

seeds = st.integers(0, 2**32 - 1)
INCREASING: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "cube": lambda z: z**3,
    "exp": np.exp,
    "saturating": np.arctan,
    "far away": lambda z: 1e6 + z,
}


def table(seed: int, n_rows: int, n: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(n_rows, n))


@law
@given(seeds, st.integers(1, 6))
def test_mcc_is_one_for_relabelled_monotone_maps_with_any_sign(seed: int, n: int) -> None:
    generator = np.random.default_rng(seed)
    true = generator.normal(size=(100, n))
    permutation = generator.permutation(n)
    learned = np.empty_like(true)
    maps = list(INCREASING.values())
    for i, j in enumerate(permutation):
        learned[:, j] = generator.choice([-1, 1]) * maps[generator.integers(len(maps))](true[:, i])
    correlation = correlation_matrix(true, learned)
    found = match_variables(correlation)
    np.testing.assert_array_equal(found, permutation)
    assert mean_correlation(correlation, found) == pytest.approx(1.0, abs=1e-12)


@every_kind
@law
@given(seed=seeds, n=st.integers(1, 4), m=st.integers(1, 4), ties=st.booleans())
def test_correlation_is_scipys(kind: Kind, seed: int, n: int, m: int, ties: bool) -> None:
    true, learned = table(seed, 40, n), table(seed + 1, 40, m)
    if ties:
        true, learned = true.round(), learned.round()
    correlation = correlation_matrix(true, learned, kind)
    references: dict[str, Callable[..., Any]] = {"spearman": stats.spearmanr, "pearson": stats.pearsonr}
    reference = references[kind]
    expected = [[abs(reference(true[:, i], learned[:, j]).statistic) for j in range(m)] for i in range(n)]
    np.testing.assert_allclose(correlation, expected, atol=1e-12)
    assert correlation.min() >= 0
    assert correlation.max() <= 1


@every_kind
@pytest.mark.parametrize("constant", [0.0, 0.1, 1e300, -7.0])
def test_constant_columns_have_correlation_zero(kind: Kind, constant: float) -> None:
    true, learned = table(0, 50, 3), table(0, 50, 3)
    true[:, 0] = constant
    learned[:, 1] = constant
    correlation = correlation_matrix(true, learned, kind)
    np.testing.assert_array_equal(correlation[0], 0.0)
    np.testing.assert_array_equal(correlation[:, 1], 0.0)
    assert correlation[2, 2] == pytest.approx(1.0)


@every_kind
@pytest.mark.parametrize("unit", [1e-300, 1e-12, 1e12, 1e300])
def test_correlation_has_no_units(kind: Kind, unit: float) -> None:
    true, learned = table(0, 50, 2), table(1, 50, 3)
    expected = correlation_matrix(true, learned, kind)
    np.testing.assert_allclose(correlation_matrix(true * unit, -learned / unit, kind), expected, atol=1e-12)


@every_kind
def test_a_single_row_correlates_with_nothing(kind: Kind) -> None:
    np.testing.assert_array_equal(correlation_matrix([[1.0, 2.0]], [[3.0]], kind), np.zeros((2, 1)))


def test_matching_maximises_the_sum_and_not_each_entry() -> None:
    correlation = np.array([[0.9, 0.8], [0.8, 0.1]])
    permutation = match_variables(correlation)
    assert permutation.tolist() == [1, 0]
    assert mean_correlation(correlation, permutation) == pytest.approx(0.8)


def test_permutation_goes_from_true_to_learned() -> None:
    true = table(0, 200, 3)
    learned = true[:, [2, 0, 1]]
    assert match_variables(correlation_matrix(true, learned)).tolist() == [1, 2, 0]


def test_too_few_learned_variables_leave_true_ones_unmatched() -> None:
    true = table(0, 300, 3)
    correlation = correlation_matrix(true, true[:, [2, 0]])
    permutation = match_variables(correlation)
    assert permutation.tolist() == [1, -1, 0]
    assert mean_correlation(correlation, permutation) == pytest.approx(2 / 3)


def test_spare_learned_variables_stay_unmatched() -> None:
    true = table(0, 300, 2)
    learned = np.column_stack([table(1, 300, 1), true[:, 1], np.ones(300), true[:, 0]])
    correlation = correlation_matrix(true, learned)
    permutation = match_variables(correlation)
    assert permutation.tolist() == [3, 1]
    assert mean_correlation(correlation, permutation) == pytest.approx(1.0)


@law
@given(seeds, st.integers(1, 5), st.integers(1, 5))
def test_mcc_does_not_depend_on_the_order_of_either_side(seed: int, n: int, m: int) -> None:
    generator = np.random.default_rng(seed)
    correlation = generator.random((n, m))
    shuffled = correlation[generator.permutation(n)][:, generator.permutation(m)]
    score = mean_correlation(correlation, match_variables(correlation))
    assert mean_correlation(shuffled, match_variables(shuffled)) == pytest.approx(score)


@pytest.mark.parametrize(
    ("true", "learned", "message"),
    [
        (np.ones(3), np.ones((3, 1)), r"Expected true variables of shape \(N, n\).*; got shape \(3,\)"),
        (np.ones((3, 1)), np.ones((3, 0)), r"Expected learned variables of shape .*; got shape \(3, 0\)"),
        (np.ones((3, 1)), np.ones((4, 1)), "Expected as many rows of learned as of true .*; got 4 and 3"),
        (
            np.ones((4, 1)),
            [[0.0], [1.0], [np.nan], [np.inf]],
            "Expected finite learned variables; got 2 rows that are not, the first is row 2",
        ),
    ],
)
def test_bad_tables_are_refused(true: object, learned: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        correlation_matrix(true, learned)  # type: ignore[arg-type]


def test_unknown_kind_is_refused() -> None:
    with pytest.raises(ValueError, match="Expected kind 'spearman' or 'pearson'; got 'kendall'"):
        correlation_matrix([[0.0]], [[0.0]], kind="kendall")  # type: ignore[arg-type]


@pytest.mark.parametrize("matrix", [np.ones(3), np.array([[0.5, np.nan]])])
def test_bad_correlations_are_refused(matrix: np.ndarray) -> None:
    with pytest.raises(ValueError, match=r"Expected an \(n, m\) matrix without NaN; got shape"):
        match_variables(matrix)


@pytest.mark.parametrize("permutation", [[0], [0, 3], [1, 1], [0, -2], [0.0, 1.0]])
def test_bad_permutation_is_refused(permutation: list[float]) -> None:
    with pytest.raises(ValueError, match=r"Expected a permutation of 2 different entries in 0\.\.2, or -1"):
        mean_correlation(np.ones((2, 3)), permutation)


def test_ties_of_a_discrete_truth_are_not_broken_by_rounding() -> None:
    rng = np.random.default_rng(0)
    truth = rng.integers(0, 2, (4000, 2)).astype(float)
    learned = -3.0 * truth[:, ::-1] + 1e-6 * rng.standard_normal((4000, 2))
    found = correlation_matrix(truth, learned)
    np.testing.assert_allclose(np.diag(found[:, ::-1]), 1.0, atol=1e-12)
    # what differs by more than rounding is no tie
    assert correlation_matrix(truth, learned + 0.5 * rng.standard_normal((4000, 2)))[0, 1] < 0.9
