"""Consistency between runs: laws, closed forms, and agreement with iTuna where it is installed."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.linear_model import LinearRegression
from sklearn.metrics import r2_score
from small import sampled, thick_nature

from lcm.isomorphism import find_isomorphism
from lcm.isomorphism.consistency import (
    affine_consistency,
    block_consistency,
    consistency_of,
    mixing_blocks,
    permutation_consistency,
)

law = settings(deadline=None, max_examples=30)
seeds = st.integers(0, 2**32 - 1)


def drawn(seed: int = 0, n: int = 4, rows: int = 300) -> tuple[np.ndarray, np.ndarray]:
    """Variables of two runs that agree in part."""
    source = np.random.default_rng(seed)
    a = source.normal(size=(rows, n))
    return a, a @ source.normal(size=(n, n)) + source.normal(size=(rows, n)) + 3.0


def both_ways(a: np.ndarray, b: np.ndarray) -> float:
    """The same by scikit-learn."""
    fits = (LinearRegression().fit(x, y).score(x, y) for x, y in ((a, b), (b, a)))
    return float(np.mean(list(fits)))


@law
@given(seeds)
def test_affine_consistency_is_the_mean_r2_of_two_regressions(seed: int) -> None:
    a, b = drawn(seed)
    assert affine_consistency(a, b) == pytest.approx(both_ways(a, b), abs=1e-9)
    assert affine_consistency(a, b) == pytest.approx(affine_consistency(b, a), abs=1e-12)
    assert 0.0 <= affine_consistency(a, b) <= 1.0


@law
@given(seeds)
def test_an_affine_map_is_consistent_and_no_affine_map_changes_it(seed: int) -> None:
    a, b = drawn(seed)
    source = np.random.default_rng(seed)
    mixing, shift = np.linalg.qr(source.normal(size=(4, 4)))[0] * 2.0, source.normal(size=4)
    assert affine_consistency(a, a @ mixing + shift) == pytest.approx(1.0)
    moved = affine_consistency(a, b * np.array([2.0, -1.0, 0.1, 5.0]) + shift)
    assert moved == pytest.approx(affine_consistency(a, b), abs=1e-9)


@law
@given(seeds)
def test_blocks_lie_between_single_variables_and_all(seed: int) -> None:
    a, b = drawn(seed)
    single = block_consistency(a, b, [[0], [1], [2], [3]])
    expected = np.mean([np.corrcoef(a[:, i], b[:, i])[0, 1] ** 2 for i in range(4)])
    assert single == pytest.approx(expected, abs=1e-9)
    pairs = block_consistency(a, b, [[0, 2], [1, 3]])
    parts = [both_ways(a[:, block], b[:, block]) for block in ([0, 2], [1, 3])]
    assert pairs == pytest.approx(np.mean(parts), abs=1e-9)
    assert block_consistency(a, b, [[3, 1, 0, 2]]) == pytest.approx(affine_consistency(a, b), abs=1e-9)
    assert single <= pairs + 1e-12 <= affine_consistency(a, b) + 2e-12


def test_blocks_that_mix_are_consistent_as_blocks_alone() -> None:
    a, _ = drawn()
    rotation = np.array([[1.0, 1.0], [-1.0, 1.0]]) / np.sqrt(2.0)
    b = a.copy()
    b[:, [0, 2]] = a[:, [0, 2]] @ rotation
    assert block_consistency(a, b, [[0, 2], [1], [3]]) == pytest.approx(1.0)
    assert block_consistency(a, b, [[0], [1], [2], [3]]) < 0.8


def test_permutation_consistency_forgives_order_and_sign_and_no_scale() -> None:
    a, _ = drawn()
    b = a[:, [2, 0, 3, 1]] * np.array([1.0, -1.0, -1.0, 1.0])
    assert permutation_consistency(a, b) == pytest.approx(1.0)
    expected = (r2_score(2 * a, a) + r2_score(a, 2 * a)) / 2
    assert permutation_consistency(a, 2 * b) == pytest.approx(expected)


def test_mixing_blocks_join_what_leaks_either_way() -> None:
    leaks = np.zeros((5, 5))
    leaks[0, 3], leaks[4, 3], leaks[1, 2] = 0.2, 0.2, 0.01
    assert mixing_blocks(leaks, 0.01) == ((0, 3, 4), (1,), (2,))
    assert mixing_blocks(leaks, 0.0) == ((0, 3, 4), (1, 2))
    assert mixing_blocks(leaks, 0.2) == ((0,), (1,), (2,), (3,), (4,))


def test_a_constant_variable_is_no_nan() -> None:
    a, b = drawn()
    b[:, 1] = 0.1
    others = [0, 2, 3]
    forwards = LinearRegression().fit(a, b[:, others]).score(a, b[:, others]) * 3 / 4
    backwards = LinearRegression().fit(b[:, others], a).score(b[:, others], a)
    assert affine_consistency(a, b) == pytest.approx((forwards + backwards) / 2)
    assert permutation_consistency(b, b) == pytest.approx(3 / 4)


@pytest.mark.parametrize("seed", range(3))
def test_measures_agree_with_ituna(seed: int) -> None:
    pytest.importorskip("ituna", reason="needs the extra `consistency`", exc_type=ImportError)
    with warnings.catch_warnings():
        # it warns of a part of its own that is not published
        warnings.simplefilter("ignore")
        from ituna import metrics
    a, b = drawn(seed)
    near = a[:, [2, 0, 3, 1]] * np.array([1.1, -0.9, -1.0, 1.0]) + 0.1 * b

    def theirs(indeterminacy: Any, *runs: np.ndarray) -> float:
        measure = metrics.PairwiseConsistency(indeterminacy, symmetric=False, include_diagonal=False)
        return float(measure.fit(list(runs)).score(list(runs)))

    for other in (b, near):
        assert affine_consistency(a, other) == pytest.approx(theirs(metrics.Affine(), a, other), abs=1e-9)
        assert permutation_consistency(a, other) == pytest.approx(theirs(metrics.Permutation(), a, other), abs=1e-9)
    blocks = [theirs(metrics.Affine(), a[:, part], b[:, part]) for part in ([0, 1], [2, 3])]
    assert block_consistency(a, b, [[0, 1], [2, 3]]) == pytest.approx(np.mean(blocks), abs=1e-9)


def test_a_comparison_says_it() -> None:
    model = thick_nature(3)
    found = find_isomorphism(model, model, sampled(model, 400))
    numbers = found.numbers()["consistency"]
    assert numbers.pop("blocks") == [[0], [1], [2]]
    assert numbers == pytest.approx({"permutation": 1.0, "block": 1.0, "affine": 1.0})
    assert "Consistency, mean R2 of affine maps: of all variables 1.0000, of blocks 1.0000\n" in str(found)


def test_a_comparison_names_the_blocks_that_mix() -> None:
    a, _ = drawn(rows=400, n=2)
    leaks = np.array([[0.0, 0.5], [0.5, 0.0]])
    rotated = a @ np.array([[1.0, 1.0], [-1.0, 1.0]])
    found = consistency_of(a, rotated, leaks, 0.01)
    assert found.blocks == ((0, 1),) and found.block == pytest.approx(1.0)


def test_bad_tables_and_blocks_are_refused() -> None:
    a, b = drawn()
    for measure in (affine_consistency, permutation_consistency):
        with pytest.raises(ValueError, match=r"^Expected as many variables of both runs; got 4 and 3\.$"):
            measure(a, b[:, :3])
    for blocks in ([[0, 1], [2]], [[0, 1], [1, 2, 3]], [[0, 1, 2, 4]]):
        with pytest.raises(ValueError, match=r"^Expected blocks that hold each of 0\.\.3 once; got \[\["):
            block_consistency(a, b, blocks)
    for leaks in (np.zeros((2, 3)), np.full((2, 2), np.nan)):
        with pytest.raises(
            ValueError, match=r"^Expected a square matrix of leaks without NaN; got shape \(2, [23]\)\.$"
        ):
            mixing_blocks(leaks, 0.1)
