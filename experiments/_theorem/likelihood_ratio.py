"""A test of one model against another by their likelihoods, exact in finite samples and without simulation.

Under the null the expected ratio of the densities of a pair is at most one, and that of independent pairs the product.
By Markov's inequality the product exceeds 1/level with probability at most `level`; by Ville's (1939, "Étude critique
de la notion de collectif") so does its largest value over all sample sizes, so that looking again and again is allowed.
The product is an e-value, the gain of a bet against the null (Shafer et al. 2011, "Test martingales, Bayes factors and
p-values").
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, final

import torch
from torch import Tensor


@final
@dataclass(frozen=True)
class LikelihoodRatioTest:
    """What the test found, in nats.

    log_ratio: Σ_i [log p_alternative − log p_null]. threshold: log(1/level); rejected: whether log_ratio reaches it.
    mean, standard_error: of the log-ratio of a pair; the mean estimates the Kullback-Leibler divergence of the null
    from the alternative where the alternative is true. standard_error is None for a single pair.
    """

    log_ratio: float
    threshold: float
    rejected: bool
    mean: float
    standard_error: float | None


def likelihood_ratio_test(null: Any, alternative: Any, level: float = 0.01) -> LikelihoodRatioTest:
    """Test the hypothesis that pairs come from the null model, with the power of one given alternative.

    Args:
        null, alternative: log-densities (N,) in nats of the same N independent pairs under either model; neither
            model was fitted to them.
        level: bound on the probability of rejecting a null that is true; in (0, 1).

    Raises:
        ValueError: shapes that differ or are not (N,), no pairs, log-densities that are not finite, or a level out of
            range.
    """
    first, second = (torch.as_tensor(values).detach().double().cpu() for values in (null, alternative))
    threshold = rejection_threshold(level)
    if first.dim() != 1 or first.shape != second.shape or len(first) == 0:
        raise ValueError(
            f"Expected log-densities of one shape (N,), N >= 1; got {tuple(first.shape)} and {tuple(second.shape)}."
        )
    ratio = second - first
    if not bool(ratio.isfinite().all()):
        row = int((~ratio.isfinite()).nonzero()[0])
        raise ValueError(
            f"Expected finite log-densities; got {float(first[row])} and {float(second[row])} in row {row}."
        )
    total = float(ratio.sum())
    error = float(ratio.std() / math.sqrt(len(ratio))) if len(ratio) > 1 else None
    return LikelihoodRatioTest(total, threshold, total >= threshold, total / len(ratio), error)


def cumulative_log_ratio(null: Tensor, alternative: Tensor, sizes: list[int]) -> Tensor:
    """Log-ratios (len(sizes),) of the first so many of N pairs, from log-densities (N,), float64.

    Raises:
        ValueError: a size outside 1..N.
    """
    if not sizes or min(sizes) < 1 or max(sizes) > len(null):
        raise ValueError(f"Expected sizes in 1..{len(null)}; got {sizes}.")
    return (alternative - null).double().cumsum(0)[torch.tensor(sizes) - 1]


def rejection_threshold(level: float) -> float:
    """The log-ratio log(1/level) from which on the null is rejected; ValueError for a level outside (0, 1)."""
    if not 0.0 < level < 1.0:
        raise ValueError(f"Expected a level in (0, 1); got {level}.")
    return -math.log(level)
