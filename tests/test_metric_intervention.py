"""Laws of the intervention accuracy; permutation[i] = j: true i is learned j."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lcm.metric.intervention import intervention_accuracy

law = settings(deadline=None, max_examples=40)
seeds = st.integers(0, 2**32 - 1)

ATOMIC_OR_EMPTY = np.vstack([np.zeros((1, 3), dtype=bool), np.eye(3, dtype=bool)])
ALL_SUBSETS = np.array([[k >> j & 1 for j in range(3)] for k in range(8)], dtype=bool)
FAMILIES = {"atomic or empty": ATOMIC_OR_EMPTY, "all subsets": ALL_SUBSETS, "pairs": ~np.eye(3, dtype=bool)}
every_family = pytest.mark.parametrize("target_sets", FAMILIES.values(), ids=FAMILIES.keys())


def certain(set_index: np.ndarray, n_sets: int) -> np.ndarray:
    probability: np.ndarray = np.eye(n_sets)[set_index]
    return probability


@every_family
@law
@given(seed=seeds)
def test_the_truth_scores_one_under_any_permutation(target_sets: np.ndarray, seed: int) -> None:
    generator = np.random.default_rng(seed)
    drawn = generator.integers(len(target_sets), size=50)
    permutation = generator.permutation(3)
    learned_targets = target_sets[drawn]
    true_targets = np.empty_like(learned_targets)
    for i, j in enumerate(permutation):
        true_targets[:, i] = learned_targets[:, j]
    probability = certain(drawn, len(target_sets))
    assert intervention_accuracy(true_targets, probability, target_sets, permutation) == 1.0


@every_family
@law
@given(seed=seeds)
def test_accuracy_is_the_share_of_equal_masks(target_sets: np.ndarray, seed: int) -> None:
    generator = np.random.default_rng(seed)
    true_targets = target_sets[generator.integers(len(target_sets), size=30)]
    probability = generator.dirichlet(np.ones(len(target_sets)), size=30)
    predicted = target_sets[probability.argmax(axis=1)]
    accuracy = intervention_accuracy(true_targets, probability, target_sets, np.arange(3))
    assert accuracy == pytest.approx(
        np.mean([np.array_equal(*rows) for rows in zip(predicted, true_targets, strict=True)])
    )


def test_permutation_goes_from_true_to_learned() -> None:
    # True 0, 1, 2 are learned 1, 2, 0: learned target 1 is true target 0.
    true_targets = [[True, False, False]]
    probability = [[0.1, 0.1, 0.7, 0.1]]
    assert intervention_accuracy(true_targets, probability, ATOMIC_OR_EMPTY, [1, 2, 0]) == 1.0
    assert intervention_accuracy(true_targets, probability, ATOMIC_OR_EMPTY, [2, 0, 1]) == 0.0


def test_the_empty_set_is_a_class() -> None:
    true_targets = [[0, 0, 0], [0, 0, 0], [1, 0, 0], [1, 0, 0]]
    probability = certain(np.array([0, 1, 0, 1]), 4)
    assert intervention_accuracy(true_targets, probability, ATOMIC_OR_EMPTY, [0, 1, 2]) == 0.5


def test_every_member_of_a_set_counts() -> None:
    true_targets = [[1, 1, 0], [1, 0, 0]]
    probability = certain(np.array([0b011, 0b011]), 8)
    assert intervention_accuracy(true_targets, probability, ALL_SUBSETS, [0, 1, 2]) == 0.5


def test_a_learned_variable_without_a_true_one_is_wrong_and_not_empty() -> None:
    true_targets = [[0, 0], [0, 0], [0, 1], [0, 1]]
    probability = certain(np.array([2, 0, 0b100, 0b110]), 8)
    # Learned 1 is nobody's match: only the empty set of row 1 and the {2} of row 2 are right.
    assert intervention_accuracy(true_targets, probability, ALL_SUBSETS, [0, 2]) == 0.5


def test_an_unmatched_true_target_is_never_right() -> None:
    true_targets = [[0, 1, 0], [0, 0, 0], [0, 0, 1]]
    sets = np.array([[0, 0], [1, 0], [0, 1]])
    probability = certain(np.array([0, 0, 1]), 3)
    assert intervention_accuracy(true_targets, probability, sets, [1, -1, 0]) == pytest.approx(2 / 3)


def test_of_equally_probable_sets_the_first_is_taken() -> None:
    probability = [[0.25, 0.25, 0.25, 0.25]]
    assert intervention_accuracy([[0, 0, 0]], probability, ATOMIC_OR_EMPTY, [0, 1, 2]) == 1.0
    assert intervention_accuracy([[1, 0, 0]], probability, ATOMIC_OR_EMPTY, [0, 1, 2]) == 0.0


@pytest.mark.parametrize(
    ("probability", "sets", "message"),
    [
        (
            np.ones((2, 3)),
            ATOMIC_OR_EMPTY,
            r"one column for each target set; got shape \(2, 3\) and 4 target",
        ),
        (np.ones(4), ATOMIC_OR_EMPTY, r"one column for each target set; got shape \(4,\) and 4 target sets"),
        (np.ones((2, 0)), np.ones((0, 3)), r"one column .*; got shape \(2, 0\) and 0 target sets"),
        (np.full((2, 4), np.nan), ATOMIC_OR_EMPTY, "Expected target probabilities without NaN; got 8 NaN"),
        (np.ones((2, 4)), 2 * ATOMIC_OR_EMPTY, "Expected target sets as a two-dimensional mask of zeros and"),
        (np.ones((2, 4)), np.ones(4), r"Expected target sets as a two-dimensional mask .*; got shape \(4,\)"),
    ],
)
def test_bad_probabilities_are_refused(probability: np.ndarray, sets: np.ndarray, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        intervention_accuracy(np.zeros((2, 3)), probability, sets, [0, 1, 2])


def test_bad_targets_and_permutations_are_refused() -> None:
    probability = np.ones((2, 4))
    with pytest.raises(ValueError, match=r"Expected as many rows .*; got 2 and 3"):
        intervention_accuracy(np.zeros((3, 3)), probability, ATOMIC_OR_EMPTY, [0, 1, 2])
    with pytest.raises(ValueError, match=r"Expected as many rows .*, at least one; got 0 and 0"):
        intervention_accuracy(np.zeros((0, 3)), probability[:0], ATOMIC_OR_EMPTY, [0, 1, 2])
    with pytest.raises(ValueError, match="Expected true targets as a two-dimensional mask"):
        intervention_accuracy(np.full((2, 3), 0.5), probability, ATOMIC_OR_EMPTY, [0, 1, 2])
    with pytest.raises(ValueError, match=r"Expected a permutation of 3 different entries in 0\.\.2, or -1"):
        intervention_accuracy(np.zeros((2, 3)), probability, ATOMIC_OR_EMPTY, [0, 1, 3])
