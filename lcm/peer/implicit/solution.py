"""Solution functions s_i(e_i; e_others) as networks, all n in one batched product, and posteriors over target sets."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Literal, NamedTuple, final

import torch
from torch import Tensor, nn

from lcm.model.intervention import TargetDistribution
from lcm.model.likelihood import PairTerms, joint_log_density, stay_log_density
from lcm.model.noise import standard_normal_log_density
from lcm.peer.variational import Perceptron, staying_variance

_MOST_LOG_SCALE = 7.0
_LAST_LAYER = 0.1
_START_SCALARS = (-3.0, 15.0, 15.0)
_START_THICKNESS = 0.5
_CLOSED_FORM_RATE = 0.02


class Solved(NamedTuple):
    """Causal variables (..., n) and log ∂z_i/∂e_i (..., n)."""

    z: Tensor
    log_slope: Tensor


@final
class SolutionNetworks(nn.Module):
    """z_i = shift_i(e_others) + exp(log_scale_i(e_others)) e_i, increasing in e_i (Brehmer et al. 2022, section 4.2).

    The others are all other variables, or only the ancestors of i where these are known.
    """

    def __init__(
        self,
        n: int,
        hidden: int,
        layers: int,
        activation: Literal["silu", "relu"] = "silu",
        ancestors: Tensor | None = None,
    ) -> None:
        """Networks with `layers` hidden layers; `ancestors` bool (n, n), [j, i]: j may be an ancestor of i.

        All weights are zero, and so z is e, until `draw_weights` draws them.
        """
        super().__init__()
        self.n = n
        others = ~torch.eye(n, dtype=torch.bool)
        seen = others if ancestors is None else others & ancestors.T
        self.networks = Perceptron(n, 2, [hidden] * layers, activation, seen)

    def draw_weights(self, generator: torch.Generator) -> None:
        """Draw all weights, those of the last layer small, so that z starts close to e."""
        self.networks.draw_weights(generator, _LAST_LAYER)

    def shift_and_scale(self, noise: Tensor) -> tuple[Tensor, Tensor]:
        """shift_i and log_scale_i (..., n) of every variable, given all other noise in (..., n)."""
        values = self.networks(noise.reshape(-1, self.n))
        shift, log_scale = values.permute(2, 1, 0).reshape(2, *noise.shape).unbind()
        return shift, nn.functional.hardtanh(log_scale, -_MOST_LOG_SCALE, _MOST_LOG_SCALE)

    def forward(self, noise: Tensor) -> Solved:
        """All variables of noise (..., n)."""
        shift, log_scale = self.shift_and_scale(noise)
        return Solved(shift + log_scale.exp() * noise, log_scale)


class TargetPosterior(nn.Module, ABC):
    """Abstract: log q(I | x, x̃) for the K sets of a target distribution."""

    needs_solution = False
    has_closed_form = False

    @abstractmethod
    def forward(self, noise: Tensor, noise_tilde: Tensor, solved: Solved | None, targets: TargetDistribution) -> Tensor:
        """(N, K) for mean encodings (N, n); `solved` of noise_tilde where it is needed."""

    @torch.no_grad()
    def update(self, noise: Tensor, noise_tilde: Tensor, stays: Tensor) -> None:
        """Update the part with a closed form, if any, from the probability `stays` (N, n) of each coordinate.

        It is 0 in pairs that did not change.
        """


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
    """Logits from a network that reads the encoding before and its change."""

    def __init__(self, network: Perceptron) -> None:
        super().__init__()
        self.network = network

    def forward(self, noise: Tensor, noise_tilde: Tensor, solved: Solved | None, targets: TargetDistribution) -> Tensor:
        logits: Tensor = self.network(torch.cat([noise, noise_tilde - noise], 1))
        return torch.log_softmax(logits, 1)


@final
class ExactPosterior(TargetPosterior):
    """The posterior of the thickened pair likelihood, as if the mean encodings were exact (docs/theory.md section 2).

    The squared thickness (n,) is a moving average of its closed form.
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
        # a coordinate that hardly ever stays keeps its thickness
        found = torch.where(stays.sum(0) > 1.0, staying_variance(noise_tilde - noise, stays), self.variance)
        self.variance.copy_(self.variance.lerp(found, _CLOSED_FORM_RATE))
