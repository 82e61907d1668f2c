"""Does a posterior over target sets mean what it says? Predicted probabilities against how often they come true."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from lcm.metric.intervention import checked_targets


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
    probability, hit = checked_targets(true_targets, target_probability, target_sets, permutation)
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
    probability, hit = checked_targets(true_targets, target_probability, target_sets, permutation)
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
