"""The exact likelihood of pairs in noise space, at a Gaussian thickness (docs/theory.md section 2).

Fitted models and the objective of the noise encoder share these functions; nothing here decodes, and nothing
loops over interventions.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from lcm.model.noise import standard_normal_log_density

_USUAL_CHANGE = 2.0
THICKNESS_FLOOR = 1e-3
"""Smallest thickness at which fitted likelihoods are compared (docs/theory.md section 2, caution i)."""


def variance_ratio(squared_change: Tensor, growth: Tensor | float) -> Tensor:
    """s² = (1 + ρ² m²) / (1 + 2 ρ²) for squared changes m² of the targets: 1 where m² = 2, the mean for fresh noise."""
    return (1.0 + growth**2 * squared_change) / (1.0 + _USUAL_CHANGE * growth**2)


class Changes(NamedTuple):
    """Changes of the noise encodings of N pairs, where the thickness grows with the targets' (theory.md section 2).

    squared: (N, n) (ũ_j − u_j)², in the standard-normal gauge. in_thickness: (N, n) the same in units of σ_j².
    growth: ρ ≥ 0, a number or a tensor (), or one for each pair (N, 1).
    """

    squared: Tensor
    in_thickness: Tensor
    growth: Tensor | float

    @classmethod
    def of(cls, difference: Tensor, thickness: Tensor, growth: Tensor | float) -> Changes:
        """Those of differences ũ − u (N, n) at a thickness (n,)."""
        return cls(difference.square(), (difference / thickness).square(), growth)

    def variance_ratio(self, target_sets: Tensor) -> Tensor:
        """s_I² (N, K): how many times σ_j² the variance of a coordinate is that stays under each target set."""
        return variance_ratio(self.squared @ target_sets.to(self.squared.dtype).T, self.growth)


class PairParts(NamedTuple):
    """Parts of the likelihood of N pairs that depend on no thickness.

    base: (N,) as of `PairTerms`. difference: (N, n) ũ − u in the standard-normal gauge. log_gauge: (N, n) the log-slope
    of that gauge at x̃. move: (N, n) as of `PairTerms`.
    """

    base: Tensor
    difference: Tensor
    log_gauge: Tensor
    move: Tensor


class PairTerms(NamedTuple):
    """Log-density terms of N pairs, all in nats.

    base: (N,) everything that does not depend on the target set: log p(x) plus the log-determinant at x̃.
    stay: (N, n) log-density of ẽ_j given that j is not a target, at a thickness that does not grow.
    move: (N, n) log-density of ẽ_j given that j is a target.
    changes: what a thickness that grows depends on; None for one that does not.
    """

    base: Tensor
    stay: Tensor
    move: Tensor
    changes: Changes | None = None

    def given(self, targets: Tensor) -> Tensor:
        """log p(x, x̃ | I) (N,) for a target mask (N, n) of each pair."""
        known = self.base + torch.where(targets, self.move, self.stay).sum(1)
        if self.changes is None:
            return known
        squared, in_thickness, growth = self.changes
        ratio = variance_ratio((squared * targets).sum(1, keepdim=True), growth).squeeze(1)
        gain = (in_thickness * ~targets).sum(1) * (1.0 - 1.0 / ratio) - (~targets).sum(1) * ratio.log()
        return known + 0.5 * gain


def stay_log_density(difference: Tensor, thickness: Tensor) -> Tensor:
    """log N(ũ_j − u_j; 0, σ_j²) (N, n): difference (N, n), thickness (n,) > 0, in standard-normal gauge."""
    return standard_normal_log_density(difference / thickness) - thickness.log()


def joint_log_density(terms: PairTerms, target_sets: Tensor, log_probabilities: Tensor) -> Tensor:
    """log p(x, x̃, I) for every target set: (N, K), from target_sets bool (K, n) and log p_𝓘 (K,)."""
    # sensor noise gives stay in float64
    dtype = torch.promote_types(terms.stay.dtype, terms.move.dtype)
    moves = target_sets.to(dtype)
    # never the stay of a target, whose difference of many σ would leave nothing of the digits of the others
    bracket = terms.stay.to(dtype) @ (1.0 - moves).T + terms.move.to(dtype) @ moves.T
    if terms.changes is not None:
        bracket = bracket + _growth_gain(terms.changes, target_sets)
    return terms.base.unsqueeze(1) + bracket + log_probabilities


def _growth_gain(changes: Changes, target_sets: Tensor) -> Tensor:
    """What the growth of the thickness adds to Σ_{j∉I} stay_j (N, K)."""
    stays = (~target_sets).to(changes.squared.dtype)
    ratio = changes.variance_ratio(target_sets)
    return 0.5 * ((changes.in_thickness @ stays.T) * (1.0 - 1.0 / ratio) - stays.sum(1) * ratio.log())


def pair_log_density(terms: PairTerms, target_sets: Tensor, log_probabilities: Tensor) -> Tensor:
    """log p(x, x̃) (N,): the mixture over target sets."""
    return torch.logsumexp(joint_log_density(terms, target_sets, log_probabilities), 1)


def target_posterior(terms: PairTerms, target_sets: Tensor, log_probabilities: Tensor) -> Tensor:
    """Posterior p(I | x, x̃) (N, K); rows sum to one."""
    return torch.softmax(joint_log_density(terms, target_sets, log_probabilities), 1)
