"""The exact likelihood of pairs in noise space, at a Gaussian thickness (docs/theory.md section 2).

Fitted models and the objective of the noise encoder share these two functions; nothing here decodes, and
nothing loops over interventions.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from lcm.model.noise import standard_normal_log_density

THICKNESS_FLOOR = 1e-3
"""Smallest thickness at which fitted likelihoods are compared (docs/theory.md section 2, caution i)."""


class PairTerms(NamedTuple):
    """Log-density terms of N pairs, all in nats.

    base: (N,) everything that does not depend on the target set: log p(x) plus the log-determinant at x̃.
    stay: (N, n) log-density of ẽ_j given that j is not a target.
    move: (N, n) log-density of ẽ_j given that j is a target.
    """

    base: Tensor
    stay: Tensor
    move: Tensor


def stay_log_density(difference: Tensor, thickness: Tensor) -> Tensor:
    """log N(ũ_j − u_j; 0, σ_j²) (N, n): difference (N, n), thickness (n,) > 0, in standard-normal gauge."""
    return standard_normal_log_density(difference / thickness) - thickness.log()


def joint_log_density(terms: PairTerms, target_sets: Tensor, log_probabilities: Tensor) -> Tensor:
    """log p(x, x̃, I) for every target set: (N, K), from target_sets bool (K, n) and log p_𝓘 (K,)."""
    gain = terms.move - terms.stay
    bracket = terms.stay.sum(1, keepdim=True) + gain @ target_sets.to(gain.dtype).T
    return terms.base.unsqueeze(1) + bracket + log_probabilities


def pair_log_density(terms: PairTerms, target_sets: Tensor, log_probabilities: Tensor) -> Tensor:
    """log p(x, x̃) (N,): the mixture over target sets."""
    return torch.logsumexp(joint_log_density(terms, target_sets, log_probabilities), 1)


def target_posterior(terms: PairTerms, target_sets: Tensor, log_probabilities: Tensor) -> Tensor:
    """Posterior p(I | x, x̃) (N, K); rows sum to one."""
    return torch.softmax(joint_log_density(terms, target_sets, log_probabilities), 1)
