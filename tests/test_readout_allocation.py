"""Divisions of further pairs over targets: laws, and optimality against any other division."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from lcm.readout.allocation import decide_most, least_total, raise_by, shares_of, whole_numbers

AMOUNTS = st.lists(st.floats(0.0, 1e4), min_size=1, max_size=7)
BUDGETS = st.floats(0.0, 1e5)


@st.composite
def tables(draw: st.DrawFn) -> NDArray[np.float64]:
    n = draw(st.integers(1, 5))
    entries = st.one_of(st.just(0.0), st.floats(1.0, 1e4), st.just(np.inf))
    return np.array(draw(st.lists(st.lists(entries, min_size=n, max_size=n), min_size=n, max_size=n)))


@given(AMOUNTS, BUDGETS, st.randoms(use_true_random=False))
def test_raising_spends_the_budget_and_does_not_depend_on_the_order(have: list[float], budget: float, source) -> None:  # type: ignore[no-untyped-def]
    weights = np.array([source.choice([0.0, 1.0, 3.0]) for _ in have])
    found = raise_by(have, weights, budget)
    assert found.min() >= 0.0 and found.sum() == pytest.approx(budget, rel=1e-9, abs=1e-9)
    order = np.array(source.sample(range(len(have)), len(have)))
    np.testing.assert_allclose(raise_by(np.array(have)[order], weights[order], budget), found[order], atol=1e-6)
    if weights.any():
        assert not found[weights == 0.0].any()


def test_raising_levels_the_least_first() -> None:
    np.testing.assert_allclose(raise_by([10, 0, 40], [1, 1, 1], 20), [5, 15, 0])
    np.testing.assert_allclose(raise_by([10, 0, 40], [1, 1, 1], 100), [40, 50, 10])
    np.testing.assert_allclose(raise_by([0, 0], [1, 3], 8), [2, 6])


def test_raising_by_root_costs_makes_the_variance_least() -> None:
    costs, have = np.array([1.0, 9.0, 4.0, 0.0]), np.array([20.0, 5.0, 1.0, 2.0])
    best = (costs / (have + raise_by(have, np.sqrt(costs), 60.0))).sum()
    others = np.random.default_rng(0).dirichlet(np.ones(4), 3_000) * 60.0
    assert best <= (costs / (have + others)).sum(1).min() + 1e-12


@given(tables(), st.floats(1.0, 1e5))
def test_deciding_spends_the_budget_on_what_is_needed(needs: NDArray[np.float64], budget: float) -> None:
    found, finite = decide_most(needs, budget), np.where(np.isfinite(needs), needs, 0.0)
    assert found.min() >= 0.0 and not found[finite.max(0) == 0.0].any()
    assert found.sum() == pytest.approx(budget if finite.any() else 0.0)
    if budget >= finite.max(0).sum():
        assert (found >= finite.max(0) * (1 - 1e-9)).all()


@given(tables(), st.floats(1.0, 1e4))
def test_a_small_budget_decides_no_less_than_shares_of_the_needs(needs: NDArray[np.float64], budget: float) -> None:
    finite = np.where(np.isfinite(needs), needs, 0.0)

    def decided(given: NDArray[np.float64]) -> int:
        return int(((finite > 0.0) & (finite <= given * (1 + 1e-9))).sum())

    full = finite.max(0)
    if full.any():
        assert decided(decide_most(needs, budget)) >= decided(full * min(1.0, budget / full.sum()))


def test_a_small_budget_decides_what_is_cheap() -> None:
    needs = np.array([[0.0, 100.0, 50.0], [300.0, 0.0, 60.0], [0.0, 0.0, 0.0]])
    # z2 decides two edges for 60; of the 30 left, z0 and z1 get 30 · 300/400 and 30 · 100/400
    np.testing.assert_allclose(decide_most(needs, 90.0), [22.5, 7.5, 60.0])
    np.testing.assert_allclose(decide_most(needs, 55.0)[2], 50.0 + 5.0 * 10.0 / 410.0)


@given(AMOUNTS, st.integers(0, 10**6))
def test_whole_numbers_sum_to_the_total_and_are_near(amounts: list[float], total: int) -> None:
    found = np.array(whole_numbers(amounts, total))
    assert found.sum() == total and found.min() >= 0
    assert (np.abs(found - shares_of(amounts) * total) <= 1.0 + 1e-6).all()


def test_equal_shares_need_what_the_neediest_needs() -> None:
    assert least_total([10, 0, 40], [1 / 3] * 3) == pytest.approx(120.0)
    assert least_total([0, 0], [1.0, 0.0]) == 0.0
    assert least_total([0, 1], [1.0, 0.0]) == np.inf
    assert shares_of([0, 0]).tolist() == [0.5, 0.5]
