"""The likelihood-ratio test: its numbers, and its level whatever the sample size."""

from __future__ import annotations

import math

import pytest
from laws import normal
from torch import Tensor

from experiments._theorem.likelihood_ratio import cumulative_log_ratio, likelihood_ratio_test, rejection_threshold
from lcm.model.noise import standard_normal_log_density

LEVEL = 0.05
REPEATS, PAIRS = 4000, 60


def densities(values: Tensor, shift: float) -> tuple[Tensor, Tensor]:
    """Log-densities under the null N(0, 1) and the alternative N(shift, 1)."""
    return standard_normal_log_density(values), standard_normal_log_density(values - shift)


def test_the_numbers_are_those_of_the_log_ratios() -> None:
    test = likelihood_ratio_test([-1.0, -2.0, -3.0], [0.0, 0.0, 0.0], level=0.01)
    assert (test.log_ratio, test.mean) == (6.0, 2.0)
    assert test.standard_error == pytest.approx(1.0 / math.sqrt(3.0))
    assert test.threshold == pytest.approx(math.log(100.0))
    assert test.rejected
    assert not likelihood_ratio_test([-1.0, -2.0], [0.0, 0.0], level=0.01).rejected
    assert likelihood_ratio_test([0.0], [1.0]).standard_error is None


@pytest.mark.parametrize("shift", [0.1, 0.3, 0.6, 2.0])
def test_a_true_null_is_rejected_at_most_at_the_level_even_when_looked_at_after_every_pair(shift: float) -> None:
    null, alternative = densities(normal(REPEATS, PAIRS).double(), shift)
    largest = (alternative - null).cumsum(1).amax(1)
    rejected = float((largest >= rejection_threshold(LEVEL)).double().mean())
    assert rejected <= LEVEL + 3.0 * math.sqrt(LEVEL * (1.0 - LEVEL) / REPEATS)
    # and Ville's bound is nearly attained, so that the test above could fail
    assert shift != 0.3 or rejected > 0.5 * LEVEL


def test_a_false_null_is_rejected() -> None:
    null, alternative = densities(normal(300).double() + 0.5, 0.5)
    test = likelihood_ratio_test(null, alternative)
    assert test.rejected
    assert test.standard_error is not None
    assert abs(test.mean - 0.125) < 4.0 * test.standard_error


def test_equal_models_are_never_rejected() -> None:
    null = normal(50)
    test = likelihood_ratio_test(null, null.clone())
    assert (test.log_ratio, test.rejected, test.standard_error) == (0.0, False, 0.0)


def test_cumulative_log_ratios_are_those_of_the_first_pairs() -> None:
    null, alternative = normal(10), normal(10, seed=2)
    ratios = cumulative_log_ratio(null, alternative, [1, 4, 10])
    expected = [likelihood_ratio_test(null[:k], alternative[:k]).log_ratio for k in (1, 4, 10)]
    assert ratios.tolist() == pytest.approx(expected, abs=1e-6)
    for sizes in ([], [0], [11]):
        with pytest.raises(ValueError, match=r"Expected sizes in 1\.\.10; got \["):
            cumulative_log_ratio(null, alternative, sizes)


@pytest.mark.parametrize("level", [0.0, 1.0, -0.1, math.nan])
def test_a_level_out_of_range_is_an_error(level: float) -> None:
    with pytest.raises(ValueError, match=r"Expected a level in \(0, 1\); got"):
        likelihood_ratio_test([0.0], [0.0], level)


def test_bad_log_densities_are_errors() -> None:
    for null, alternative in (([0.0], [0.0, 1.0]), ([[0.0]], [[0.0]]), ([], [])):
        with pytest.raises(ValueError, match=r"Expected log-densities of one shape \(N,\), N >= 1; got \("):
            likelihood_ratio_test(null, alternative)
    with pytest.raises(ValueError, match=r"Expected finite log-densities; got 0\.0 and -inf in row 1"):
        likelihood_ratio_test([0.0, 0.0], [0.0, -math.inf])
    with pytest.raises(ValueError, match=r"Expected finite log-densities; got nan and 0\.0 in row 0"):
        likelihood_ratio_test([math.nan, 0.0], [0.0, 0.0])
