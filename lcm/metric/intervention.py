"""Inferred intervention targets against the true ones."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from lcm.isomorphism.matching import IntArray, checked_permutation
from lcm.model.graph import BoolArray


def most_probable_target_sets(target_probability: ArrayLike, target_sets: ArrayLike) -> BoolArray:
    """The most probable target set of each pair, a mask (N, m) over learned variables; of equals, the first.

    Args:
        target_probability: (N, K), the probability of each target set given the pair.
        target_sets: (K, m) bool, [k, j]: learned variable j is in set k; the empty set is a row without
            entries.

    Raises:
        ValueError: the shapes do not fit, an entry is NaN, or there is no target set.
    """
    probability, sets = _checked_probability(target_probability, target_sets)
    best: BoolArray = sets[probability.argmax(axis=1)]
    return best


def intervention_accuracy(
    true_targets: ArrayLike, target_probability: ArrayLike, target_sets: ArrayLike, permutation: ArrayLike
) -> float:
    """Share of pairs whose most probable set, in the true variables, is exactly the true set; in [0, 1].

    The empty set is a class like any other. A set that holds a learned variable with which no true variable
    is matched is wrong, and so is every set for a pair whose true targets hold an unmatched variable.

    Args:
        true_targets: (N, n) bool, [r, i]: true variable i was intervened on in pair r.
        target_probability: (N, K), the probability of each target set given the pair.
        target_sets: (K, m) bool, [k, j]: learned variable j is in set k.
        permutation: (n,), permutation[i] = j: true variable i is learned variable j, -1 where unmatched.

    Raises:
        ValueError: the shapes do not fit, an entry is NaN, there are no pairs, or the permutation does not
            fit.
    """
    probability, hit = checked_targets(true_targets, target_probability, target_sets, permutation)
    return float(hit[np.arange(len(hit)), probability.argmax(axis=1)].mean())


def checked_targets(
    true_targets: ArrayLike, target_probability: ArrayLike, target_sets: ArrayLike, permutation: ArrayLike
) -> tuple[NDArray[np.float64], BoolArray]:
    """The probabilities (N, K), and which of the sets is a pair's true one, bool (N, K); arguments as above.

    Raises:
        ValueError: the shapes do not fit, an entry is NaN, there are no pairs, or the permutation does not
            fit.
    """
    probability, sets = _checked_probability(target_probability, target_sets)
    targets = _mask("true targets", true_targets)
    if len(targets) != len(probability) or len(targets) == 0:
        raise ValueError(
            "Expected as many rows of probabilities as of true targets, at least one; "
            f"got {len(probability)} and {len(targets)}."
        )
    permutation = checked_permutation(permutation, targets.shape[1], sets.shape[1])
    in_true_variables, expressible = _map_sets(sets, permutation)
    # Equal masks agree in as many entries as there are variables.
    agreeing = targets.astype(np.float32) @ in_true_variables.T.astype(np.float32)
    agreeing += (~targets).astype(np.float32) @ (~in_true_variables).T.astype(np.float32)
    hit: BoolArray = (agreeing == targets.shape[1]) & expressible
    return probability, hit


def _map_sets(sets: BoolArray, permutation: IntArray) -> tuple[BoolArray, BoolArray]:
    """Sets (K, m) of learned variables as sets (K, n) of true ones, and which of them (K,) lose nothing."""
    matched = permutation >= 0
    in_true_variables = np.zeros((len(sets), len(permutation)), dtype=np.bool_)
    in_true_variables[:, matched] = sets[:, permutation[matched]]
    stray = np.ones(sets.shape[1], dtype=np.bool_)
    stray[permutation[matched]] = False
    expressible = np.logical_not(sets[:, stray].any(axis=1))
    return in_true_variables, expressible


def _checked_probability(
    target_probability: ArrayLike, target_sets: ArrayLike
) -> tuple[NDArray[np.float64], BoolArray]:
    probability, sets = np.asarray(target_probability, dtype=np.float64), _mask("target sets", target_sets)
    if probability.ndim != 2 or probability.shape[1] != len(sets) or len(sets) == 0:
        raise ValueError(
            "Expected target probabilities of shape (N, K), one column for each target set; "
            f"got shape {probability.shape} and {len(sets)} target sets."
        )
    if np.isnan(probability).any():
        raise ValueError(f"Expected target probabilities without NaN; got {np.isnan(probability).sum()} NaN.")
    return probability, sets


def _mask(name: str, array: ArrayLike) -> BoolArray:
    mask = np.asarray(array)
    if mask.ndim != 2 or not ((mask == 0) | (mask == 1)).all():
        raise ValueError(f"Expected {name} as a two-dimensional mask of zeros and ones; got shape {mask.shape}.")
    return mask.astype(np.bool_)
