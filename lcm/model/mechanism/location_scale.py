"""Mechanisms that shift and scale their noise: linear, additive and location-scale, each with how a nature draws it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import Any, Literal, Self, final

import torch
from torch import Tensor, nn

from lcm.base.kinds import KindConfig
from lcm.base.requirement import require_at_least
from lcm.model.elementwise import pick
from lcm.model.graph import Graph
from lcm.model.mechanism.base import MechanismConfig, TrainableMechanism
from lcm.model.mechanism.network import NetworkMechanism, NetworkMechanismConfig, ParentNetwork
from lcm.model.noise import Noise

_LOG_SCALE_BOUND, _MOST_SHARE = 4.0, 0.998


class ShiftAndScale(TrainableMechanism):
    """Abstract: f_i = m_i(z_pa) + exp(s_i(z_pa)) ε_i."""

    def forward(self, noise: Tensor, z: Tensor, variables: Tensor | None = None) -> tuple[Tensor, Tensor]:
        location, log_scale = self.location_and_log_scale(z, variables)
        return location + log_scale.exp() * noise, log_scale

    def inverse(self, value: Tensor, z: Tensor, variables: Tensor | None = None) -> tuple[Tensor, Tensor]:
        location, log_scale = self.location_and_log_scale(z, variables)
        return (value - location) * torch.exp(-log_scale), -log_scale


@final
class LinearMechanism(ShiftAndScale):
    """f_i = bias_i + Σ_j weight[j, i] z_j + exp(log_scale_i) ε_i over the parents j of i."""

    kind = "linear"

    def __init__(self, adjacency: Tensor | list[list[int]], weight: Tensor | None = None) -> None:
        super().__init__(adjacency)
        self.weight = nn.Parameter(torch.zeros(self.n, self.n) if weight is None else weight)
        self.bias = nn.Parameter(torch.zeros(self.n))
        self.log_scale = nn.Parameter(torch.zeros(self.n))

    def settings(self) -> dict[str, Any]:
        return {"adjacency": self.adjacency_list()}

    @classmethod
    def untrained(cls, adjacency: Tensor, hidden: int) -> Self:
        return cls(adjacency)

    @torch.no_grad()
    def set_linear(self, i: int, parents: Tensor, weight: Tensor, bias: Tensor, log_scale: Tensor) -> None:
        self.weight[parents, i] = weight
        self.bias[i], self.log_scale[i] = bias, log_scale

    def location_and_log_scale(self, z: Tensor, variables: Tensor | None = None) -> tuple[Tensor, Tensor]:
        weight = pick((self.weight * self.adjacency).T, variables)
        location = pick(self.bias, variables) + z @ weight.T
        return location, pick(self.log_scale, variables).expand_as(location)


@final
class AdditiveMechanism(ShiftAndScale, NetworkMechanism):
    """f_i = m_i(z_pa) + exp(log_scale_i) ε_i with m_i a linear part plus a tanh network."""

    kind = "additive"

    def __init__(self, adjacency: Tensor | list[list[int]], hidden: int = 16, layers: int = 1) -> None:
        super().__init__(adjacency, hidden, layers)
        self.network = ParentNetwork(self.adjacency, 1, hidden, layers)
        self.bias = nn.Parameter(torch.zeros(self.n))
        self.log_scale = nn.Parameter(torch.zeros(self.n))

    def settings(self) -> dict[str, Any]:
        return {
            "adjacency": self.adjacency_list(),
            "hidden": self.network.hidden,
            "layers": self.network.layers,
        }

    @torch.no_grad()
    def set_linear(self, i: int, parents: Tensor, weight: Tensor, bias: Tensor, log_scale: Tensor) -> None:
        self.network.linear[i, parents, 0] = weight
        self.bias[i], self.log_scale[i] = bias, log_scale

    @torch.no_grad()
    def set_offsets(self, variables: Tensor, offsets: Tensor) -> None:
        self.bias[variables] = offsets[:, 0]

    def location_and_log_scale(self, z: Tensor, variables: Tensor | None = None) -> tuple[Tensor, Tensor]:
        location = pick(self.bias, variables) + self.network(z, variables).squeeze(-1)
        return location, pick(self.log_scale, variables).expand_as(location)


@final
class LocationScaleMechanism(ShiftAndScale, NetworkMechanism):
    """f_i = m_i(z_pa) + exp(s_i(z_pa)) ε_i; m_i and s_i are a linear part plus a tanh network.

    s_i is squashed smoothly into (−4, 4), so that no parent value can collapse or explode the noise.
    """

    kind = "location-scale"

    def __init__(self, adjacency: Tensor | list[list[int]], hidden: int = 16, layers: int = 1) -> None:
        super().__init__(adjacency, hidden, layers)
        self.network = ParentNetwork(self.adjacency, 2, hidden, layers)
        self.bias = nn.Parameter(torch.zeros(self.n))
        self.log_scale = nn.Parameter(torch.zeros(self.n))

    def settings(self) -> dict[str, Any]:
        return {
            "adjacency": self.adjacency_list(),
            "hidden": self.network.hidden,
            "layers": self.network.layers,
        }

    @torch.no_grad()
    def set_linear(self, i: int, parents: Tensor, weight: Tensor, bias: Tensor, log_scale: Tensor) -> None:
        self.network.linear[i, parents, 0] = weight
        self.bias[i], self.log_scale[i] = bias, raw_log_scale(log_scale)

    @torch.no_grad()
    def set_offsets(self, variables: Tensor, offsets: Tensor) -> None:
        self.bias[variables], self.log_scale[variables] = offsets.unbind(1)

    def location_and_log_scale(self, z: Tensor, variables: Tensor | None = None) -> tuple[Tensor, Tensor]:
        location, raw = self.network(z, variables).unbind(-1)
        raw = raw + pick(self.log_scale, variables)
        return location + pick(self.bias, variables), _LOG_SCALE_BOUND * torch.tanh(raw / _LOG_SCALE_BOUND)


def raw_log_scale(log_scale: Tensor) -> Tensor:
    """What a location-scale mechanism squashes into this log-scale, or into ±3.99 where that is nearer to 0."""
    return _LOG_SCALE_BOUND * torch.atanh((log_scale / _LOG_SCALE_BOUND).clamp(-_MOST_SHARE, _MOST_SHARE))


class WeightConfig(KindConfig, ABC, family=True):
    """Abstract: how the weight of each edge of a linear mechanism is drawn, with a random sign."""

    default = "bimodal"

    def draw(self, n: int, generator: torch.Generator) -> Tensor:
        """Weights (n, n) of all possible edges: which ones exist does not change the others."""
        sign = 2.0 * torch.randint(2, (n, n), generator=generator) - 1.0
        return self._with_sign(sign, generator)

    @abstractmethod
    def _with_sign(self, sign: Tensor, generator: torch.Generator) -> Tensor:
        """Weights (n, n) of these signs."""


@final
@dataclass(frozen=True, kw_only=True)
class BimodalWeightConfig(WeightConfig):
    """±1 plus a normal of standard deviation `spread` ≥ 0 (the scaling experiment of Brehmer et al. 2022)."""

    kind: Literal["bimodal"] = "bimodal"
    spread: float = 0.3

    def __post_init__(self) -> None:
        require_at_least(self, 0.0, "spread")

    def _with_sign(self, sign: Tensor, generator: torch.Generator) -> Tensor:
        return sign + self.spread * torch.randn(sign.shape, generator=generator)


@final
@dataclass(frozen=True, kw_only=True)
class UniformWeightConfig(WeightConfig):
    """Uniform on ±[low, high], 0 ≤ low ≤ high."""

    kind: Literal["uniform"] = "uniform"
    low: float = 0.5
    high: float = 1.5

    def __post_init__(self) -> None:
        require_at_least(self, 0.0, "low")
        require_at_least(self, self.low, "high")

    def _with_sign(self, sign: Tensor, generator: torch.Generator) -> Tensor:
        return sign * (self.low + (self.high - self.low) * torch.rand(sign.shape, generator=generator))


@final
@dataclass(frozen=True, kw_only=True)
class LinearMechanismConfig(MechanismConfig):
    """Linear mechanisms; `normalise` divides the weights by the square root of the number of parents."""

    kind: Literal["linear"] = "linear"
    weights: WeightConfig = field(default_factory=BimodalWeightConfig)
    normalise: bool = False

    def draw(self, graph: Graph, noise: Noise, generator: torch.Generator) -> LinearMechanism:
        adjacency = torch.tensor(graph.adjacency)
        weight = self.weights.draw(graph.n, generator) * adjacency
        if self.normalise:
            weight = weight / adjacency.sum(0).clamp_min(1).sqrt()
        return LinearMechanism(adjacency, weight)


@final
@dataclass(frozen=True, kw_only=True)
class AdditiveMechanismConfig(NetworkMechanismConfig):
    """Nonlinear mechanisms with additive noise."""

    kind: Literal["additive"] = "additive"


@final
@dataclass(frozen=True, kw_only=True)
class LocationScaleMechanismConfig(NetworkMechanismConfig):
    """Location-scale mechanisms.

    noise_strength: the largest deviation of the noise's log-scale from its mean, at least 0.
    """

    kind: Literal["location-scale"] = "location-scale"
    noise_strength: float = 0.8

    def __post_init__(self) -> None:
        super().__post_init__()
        require_at_least(self, 0.0, "noise_strength")

    @property
    def largest_noise_change(self) -> float:
        return self.noise_strength
