"""Solution functions s_i(e_i; e_others) as networks, all n of them in one batched product."""

from __future__ import annotations

import itertools
import math
from abc import ABC, abstractmethod
from typing import Literal, NamedTuple, final

import torch
from torch import Tensor, nn

from lcm.model.intervention import TargetDistribution
from lcm.model.likelihood import THICKNESS_FLOOR, PairTerms, joint_log_density, stay_log_density
from lcm.model.noise import standard_normal_log_density
from lcm.peer.variational import Perceptron, affine

_MOST_LOG_SCALE = 7.0


_START_SCALARS = (-3.0, 15.0, 15.0)


_START_THICKNESS = 0.5


_CLOSED_FORM_RATE = 0.02


_GAINS = {"silu": 1.68, "relu": math.sqrt(2.0)}


class Solved(NamedTuple):
    """Causal variables (..., n) and log ∂z_i/∂e_i (..., n)."""

    z: Tensor
    log_slope: Tensor


@final
class SolutionNetworks(nn.Module):
    """z_i = shift_i(e_others) + exp(log_scale_i(e_others)) e_i, increasing in e_i (Brehmer et al. 2022, section 4.2).

    Where ancestors are known, they are the others that count.
    """

    others: Tensor

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
        self.n, self.activation = n, activation
        widths = [n, *[hidden] * layers, 2]
        shapes = [(n, after, before) for before, after in itertools.pairwise(widths)]
        self.weights = nn.ParameterList(torch.zeros(shape) for shape in shapes)
        self.biases = nn.ParameterList(torch.zeros(n, 1, shape[1]) for shape in shapes)
        others = ~torch.eye(n, dtype=torch.bool)
        self.register_buffer("others", others if ancestors is None else others & ancestors.T)

    @torch.no_grad()
    def draw_weights(self, generator: torch.Generator, last: float = 0.1) -> None:
        """Draw all weights, the last layer's at a small gain, so that z starts close to e."""
        for index, weight in enumerate(self.weights):
            gain = (1.0 if index == 0 else _GAINS[self.activation]) * (last if index == len(self.weights) - 1 else 1.0)
            drawn = torch.randn(weight.shape, generator=generator, device=generator.device, dtype=weight.dtype)
            weight.copy_((gain / math.sqrt(weight.shape[2]) * drawn).to(weight.device))

    def shift_and_scale(self, noise: Tensor) -> tuple[Tensor, Tensor]:
        """shift_i and log_scale_i (..., n) of every variable, given all other noise in (..., n)."""
        rows = noise.reshape(-1, self.n)
        activate = torch.relu_ if self.activation == "relu" else nn.functional.silu
        # the first layers of all functions see the same rows, and so are one product
        layers = list(zip(self.weights, self.biases, strict=True))
        first = (layers[0][0] * self.others.unsqueeze(1)).flatten(0, 1)
        values = affine(rows, first, layers[0][1].flatten())
        values = (activate(values) if len(layers) > 1 else values).view(len(rows), self.n, -1).transpose(0, 1)
        for index, (weight, bias) in enumerate(layers[1:]):
            values = torch.baddbmm(bias, activate(values) if index else values, weight.mT)
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
