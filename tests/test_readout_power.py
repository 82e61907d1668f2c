"""Power curves of the tests of edges: against simulated tests, and laws."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from lcm.readout.dependence import NEGLIGIBLE, bearable_degree, independence_tests
from lcm.readout.power import edge_power, effects_of_p_value, rows_for_power, rows_of_full_tests

EFFECTS = st.floats(0.002, 1.0)
LEVELS = st.floats(1e-5, 0.2)


def simulated(strength: float, rows: int, tests: int, seed: int) -> torch.Tensor:
    """p-values of a linear effect of this strength, of a response with three predictors."""
    generator = torch.Generator().manual_seed(seed)
    noise, noise_tilde = torch.randn(2, tests, rows, 4, generator=generator)
    noise_tilde[..., 0] += strength * noise[..., 1]
    weights = torch.zeros(rows, 4)
    weights[:, 0] = 1.0
    slack = torch.full((4, 4), NEGLIGIBLE**2)
    found = [independence_tests(noise_tilde[t], noise[t], weights, slack).p_value()[1, 0] for t in range(tests)]
    return torch.stack(found)


@pytest.mark.parametrize(("strength", "rows"), [(0.1, 1500), (0.3, 240)])
def test_the_power_is_that_of_simulated_tests(strength: float, rows: int) -> None:
    tests = 200
    power = float(edge_power(rows, strength**2, 0.01, 3))
    found = float((simulated(strength, rows, tests, seed=rows) <= 0.01).double().mean())
    # the test of the spread adds less than half of the level
    assert abs(found - power) < 2.8 * np.sqrt(power * (1.0 - power) / tests) + 0.005
    assert 0.3 < power < 0.95


def test_limits_of_an_effect_hold_it_as_often_as_stated() -> None:
    for strength in (0.0, 0.2):
        limits = [effects_of_p_value(float(p), 400, 3) for p in simulated(strength, 400, 200, seed=7)]
        held = np.mean([strength**2 <= upper for _, upper in limits])
        assert held >= 0.975 - 2.8 * np.sqrt(0.975 * 0.025 / 200)
        assert all(estimate <= upper for estimate, upper in limits)
    # and they say something: an effect of nothing is not taken for a strong one
    assert np.median([upper for _, upper in limits]) < 0.12


def test_a_smaller_p_value_is_a_larger_effect() -> None:
    found = [effects_of_p_value(p, 500, 2) for p in (1.0, 0.5, 0.1, 1e-3, 1e-9)]
    estimates, uppers = zip(*found, strict=True)
    assert list(estimates) == sorted(estimates) and list(uppers) == sorted(uppers)
    assert estimates[0] == 0.0 and estimates[-1] > 0.05


def test_too_few_rows_say_nothing() -> None:
    assert effects_of_p_value(0.5, 19, 3) == (0.0, np.inf)
    assert np.isfinite(effects_of_p_value(0.5, 20, 3)[1])
    assert edge_power(0, 0.5, 0.05, 2) == 0.0 and edge_power(7, 0.5, 0.05, 2) == 0.0


@given(st.floats(50.0, 1e5), st.floats(1.01, 3.0), EFFECTS, LEVELS, st.integers(1, 6))
def test_more_pairs_never_lower_the_power(rows: float, more: float, effect: float, level: float, count: int) -> None:
    assert edge_power(rows * more, effect, level, count) >= edge_power(rows, effect, level, count) - 1e-9


@given(EFFECTS, LEVELS, st.integers(1, 6))
def test_a_stronger_edge_and_a_higher_level_have_more_power(effect: float, level: float, count: int) -> None:
    power = edge_power(300, effect, level, count)
    assert 0.0 <= power <= 1.0
    assert edge_power(300, 1.5 * effect, level, count) >= power - 1e-9
    assert edge_power(300, effect, 1.5 * level, count) >= power - 1e-9


@given(EFFECTS, LEVELS, st.floats(0.5, 0.99), st.integers(1, 6))
def test_the_rows_for_a_power_are_the_least(effect: float, level: float, power: float, count: int) -> None:
    rows = rows_for_power(effect, level, power, count)
    assert edge_power(rows, effect, level, count) >= power - 1e-6
    assert edge_power(rows - 2.0, effect, level, count) < power + 1e-6


def test_a_negligible_effect_is_never_found() -> None:
    found = rows_for_power([0.0, NEGLIGIBLE**2, 4 * NEGLIGIBLE**2], 0.01, 0.9, 2)
    assert np.isinf(found[:2]).all() and np.isfinite(found[2])


@pytest.mark.parametrize("count", [1, 2, 5, 29])
def test_full_tests_begin_where_the_readout_begins_them(count: int) -> None:
    rows = rows_of_full_tests(count)
    assert bearable_degree(rows, count) == 3 and bearable_degree(rows - 1, count) == 2
    assert rows_of_full_tests(0) == rows_of_full_tests(1)
