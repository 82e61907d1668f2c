"""Posteriors over target sets q(I | x, x̃) from mean noise encodings, in logarithms."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import final

import torch
from torch import Tensor, nn

from lcm.baseline.implicit_solution import Solved
from lcm.baseline.networks import Perceptron
from lcm.intervention import TargetDistribution
from lcm.likelihood import THICKNESS_FLOOR, PairTerms, joint_log_density, stay_log_density
from lcm.noise import standard_normal_log_density

_START_SCALARS = (-3.0, 15.0, 15.0)
_START_THICKNESS = 0.5
_CLOSED_FORM_RATE = 0.02


class TargetPosterior(nn.Module, ABC):
    """Abstract: log q(I | x, x̃) for the K sets of a target distribution."""

    needs_solution = False
    has_closed_form = False

    @abstractmethod
    def forward(self, noise: Tensor, noise_tilde: Tensor, solved: Solved | None, targets: TargetDistribution) -> Tensor:
        """(N, K) for mean encodings (N, n); `solved` of noise_tilde where it is needed."""

    @torch.no_grad()
    def update(self, noise: Tensor, noise_tilde: Tensor, stays: Tensor) -> None:
        """Move what has a closed form, given the probability `stays` (N, n) of each coordinate in a changed pair."""


@final
class HeuristicPosterior(TargetPosterior):
    """Σ_{i ∈ I} offset + linear |μ̃_i − μ_i| + square (μ̃_i − μ_i)² are the logits: three scalars (paper, appendix)."""

    def __init__(self) -> None:
        super().__init__()
        self.scalars = nn.Parameter(torch.tensor(_START_SCALARS))

    def forward(self, noise: Tensor, noise_tilde: Tensor, solved: Solved | None, targets: TargetDistribution) -> Tensor:
        moved = (noise_tilde - noise).abs()
        offset, linear, square = self.scalars.unbind()
        scores = offset + moved * (linear + square * moved)
        return torch.log_softmax(scores @ targets.target_sets.to(scores.dtype).T, 1)


@final
class NetworkPosterior(TargetPosterior):
    """Logits by a network of the encoding before and of its change."""

    def __init__(self, network: Perceptron) -> None:
        super().__init__()
        self.network = network

    def forward(self, noise: Tensor, noise_tilde: Tensor, solved: Solved | None, targets: TargetDistribution) -> Tensor:
        logits: Tensor = self.network(torch.cat([noise, noise_tilde - noise], 1))
        return torch.log_softmax(logits, 1)


@final
class ExactPosterior(TargetPosterior):
    """The posterior of the thickened pair likelihood, were the mean encodings exact (docs/theory.md section 2).

    The thickness (n,) follows its closed form, at the rate of a moving average.
    """

    needs_solution = True
    has_closed_form = True
    variance: Tensor

    def __init__(self, n: int) -> None:
        super().__init__()
        self.register_buffer("variance", torch.full((n,), _START_THICKNESS**2))

    def forward(self, noise: Tensor, noise_tilde: Tensor, solved: Solved | None, targets: TargetDistribution) -> Tensor:
        if solved is None:
            raise ValueError("solved: Expected the solution of noise_tilde; got none.")
        stay = stay_log_density(noise_tilde - noise, self.variance.sqrt())
        move = standard_normal_log_density(solved.z) + solved.log_slope
        terms = PairTerms(stay.new_zeros(len(stay)), stay, move)
        joint = joint_log_density(terms, targets.target_sets, targets.log_probabilities())
        return torch.log_softmax(joint, 1)

    @torch.no_grad()
    def update(self, noise: Tensor, noise_tilde: Tensor, stays: Tensor) -> None:
        squared, count = (stays * (noise_tilde - noise).square()).sum(0), stays.sum(0)
        # of a coordinate that hardly ever stays, nothing is learned
        found = torch.where(count > 1.0, squared / count.clamp_min(1.0), self.variance)
        self.variance.copy_(self.variance.lerp(found, _CLOSED_FORM_RATE).clamp_min(THICKNESS_FLOOR**2))
