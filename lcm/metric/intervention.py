"""Inferred intervention targets against the true ones: how often they are right, and whether stated
probabilities mean what they say."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from lcm.isomorphism.matching import IntArray, checked_permutation
from lcm.metric.case import Case, Metric
from lcm.model.graph import BoolArray


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
    probability, hit = _checked_targets(true_targets, target_probability, target_sets, permutation)
    return float(hit[np.arange(len(hit)), probability.argmax(axis=1)].mean())


def _checked_targets(
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


class Reliability(NamedTuple):
    """Predictions, binned by their probability: B bins of equal width on [0, 1], the first one at 0.

    number: (B,) predictions in each bin. predicted: (B,) sum of their probabilities. observed: (B,) how many came true.
    """

    number: NDArray[np.int64]
    predicted: NDArray[np.float64]
    observed: NDArray[np.int64]

    def error(self) -> float:
        """Expected calibration error in [0, 1]: mean over all predictions of |predicted − observed| share of a bin.

        Naeini et al. 2015; 0 for a perfect posterior and infinitely many pairs.
        """
        return float(np.abs(self.predicted - self.observed).sum() / max(1, self.number.sum()))


def reliability(
    true_targets: ArrayLike,
    target_probability: ArrayLike,
    target_sets: ArrayLike,
    permutation: ArrayLike,
    bins: int = 10,
) -> Reliability:
    """The reliability curve over all pairs and all target sets, the empty one too: N K predictions.

    Args:
        true_targets: (N, n) bool, [r, i]: true variable i was intervened on in pair r.
        target_probability: (N, K), the probability of each target set given the pair.
        target_sets: (K, m) bool, [k, j]: learned variable j is in set k.
        permutation: (n,), permutation[i] = j: true variable i is learned variable j, -1 where unmatched.
        bins: number of bins, at least 1.

    Raises:
        ValueError: what `intervention_accuracy` raises, or no bins.
    """
    probability, hit = _checked_targets(true_targets, target_probability, target_sets, permutation)
    return _binned(probability.ravel(), hit.ravel(), bins)


def confidence_reliability(
    true_targets: ArrayLike,
    target_probability: ArrayLike,
    target_sets: ArrayLike,
    permutation: ArrayLike,
    bins: int = 10,
) -> Reliability:
    """The same of the most probable set of each pair alone: N predictions, of which the accuracy is the mean outcome.

    Its `error` is that of Guo et al. 2017. Arguments and errors as in `reliability`.
    """
    probability, hit = _checked_targets(true_targets, target_probability, target_sets, permutation)
    rows, best = np.arange(len(probability)), probability.argmax(axis=1)
    return _binned(probability[rows, best], hit[rows, best], bins)


def _binned(probability: NDArray[np.float64], hit: NDArray[np.bool_], bins: int) -> Reliability:
    if bins < 1:
        raise ValueError(f"Expected at least one bin; got {bins}.")
    index = np.clip((probability * bins).astype(np.int64), 0, bins - 1)
    return Reliability(
        np.bincount(index, minlength=bins),
        np.bincount(index, weights=probability, minlength=bins).astype(np.float64),
        np.bincount(index[hit], minlength=bins),
    )


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


def _inferred(case: Case) -> tuple[NDArray[np.bool_], NDArray[np.float64], BoolArray, IntArray]:
    """The arguments of the scores above."""
    sets = case.model.target_distribution.target_sets.cpu().numpy()
    return case.targets, case.encoded.posterior.cpu().numpy(), sets, case.permutation


INTERVENTION_ACCURACY = Metric(
    "intervention_accuracy",
    "share of pairs whose most probable set, in the true variables, is the true one, [0, 1]; the empty set is a class,"
    " and a set that the model lacks counts as wrong",
    lambda case: intervention_accuracy(*_inferred(case)),
    ("z", "targets"),
    "targets",
)
INTERVENTION_CALIBRATION_ERROR = Metric(
    "intervention_calibration_error",
    "expected calibration error of the most probable set's probability, [0, 1], in ten bins (Guo et al. 2017)",
    lambda case: confidence_reliability(*_inferred(case)).error(),
    ("z", "targets"),
    "targets",
)
