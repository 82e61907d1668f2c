"""Reliability of a posterior over target sets: perfect where outcomes are drawn from it, and its algebra."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from lcm.metric.intervention import confidence_reliability, intervention_accuracy, reliability

SETS = np.vstack([np.zeros((1, 3), dtype=bool), np.eye(3, dtype=bool)])


def drawn(rows: int, seed: int = 0) -> tuple[NDArray[np.bool_], NDArray[np.float64]]:
    """Outcomes drawn from the probabilities that are stated."""
    source = np.random.default_rng(seed)
    probability = source.dirichlet(np.full(4, 0.4), size=rows)
    chosen = (probability.cumsum(1) < source.uniform(size=(rows, 1))).sum(1)
    return SETS[chosen], probability


def test_outcomes_drawn_from_the_posterior_are_calibrated() -> None:
    targets, probability = drawn(40_000)
    for curve in (reliability, confidence_reliability):
        found = curve(targets, probability, SETS, np.arange(3))
        error = np.sqrt(np.maximum(found.predicted, 1.0))
        assert np.all(np.abs(found.predicted - found.observed) < 4.0 * error)
        assert found.error() < 0.01


def test_too_much_confidence_shows() -> None:
    targets, probability = drawn(10_000)
    sharper = probability**3 / (probability**3).sum(1, keepdims=True)
    found = confidence_reliability(targets, sharper, SETS, np.arange(3))
    assert found.error() > 0.1
    assert np.all((found.predicted > found.observed)[found.number > 500])


def test_every_set_of_every_pair_is_a_prediction() -> None:
    targets, probability = drawn(500)
    found = reliability(targets, probability, SETS, np.arange(3))
    assert found.number.sum() == 2000 and found.observed.sum() == 500
    assert found.predicted.sum() == pytest.approx(500.0)
    best = confidence_reliability(targets, probability, SETS, np.arange(3))
    assert best.number.sum() == 500
    assert best.observed.sum() / 500 == intervention_accuracy(targets, probability, SETS, np.arange(3))


def test_bins_are_those_of_the_probabilities() -> None:
    targets = np.zeros((2, 1), dtype=bool)
    sets = np.array([[False], [True]])
    found = reliability(targets, [[0.25, 0.75], [1.0, 0.0]], sets, [0], bins=4)
    assert found.number.tolist() == [1, 1, 0, 2] and found.observed.tolist() == [0, 1, 0, 1]
    assert found.predicted.tolist() == [0.0, 0.25, 0.0, 1.75]
    assert found.error() == pytest.approx((0.75 + 0.75) / 4)


def test_relabelled_variables_have_the_same_curve() -> None:
    targets, probability = drawn(300)
    order = [2, 0, 1]
    learned = SETS[:, order]
    found = reliability(targets, probability, learned, np.argsort(order))
    for first, second in zip(found, reliability(targets, probability, SETS, np.arange(3)), strict=True):
        np.testing.assert_array_equal(first, second)


def test_no_bins_are_refused() -> None:
    with pytest.raises(ValueError, match=r"Expected at least one bin; got 0\."):
        reliability(*drawn(5), SETS, np.arange(3), bins=0)
