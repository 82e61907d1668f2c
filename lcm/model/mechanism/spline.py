"""Mechanisms that bend their noise by a spline whose shape the parents set."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, final

import torch
from torch import Tensor, nn

from lcm.base.requirement import require_at_least
from lcm.model.elementwise import pick
from lcm.model.mechanism.network import NetworkMechanism, NetworkMechanismConfig, ParentNetwork
from lcm.model.rational_quadratic import monotone_spline, parameter_count

_RAW_BOUND = 4.0


@final
class SplineMechanism(NetworkMechanism):
    """f_i = m_i(z_pa) + exp(log_scale_i) spline(ε_i; θ_i(z_pa)), rational-quadratic on [−bound, bound], linear outside.

    Richer than location-scale: the shape of the noise, not only its centre and width, may depend on the
    parents.
    """

    kind = "spline"

    def __init__(
        self,
        adjacency: Tensor | list[list[int]],
        hidden: int = 16,
        layers: int = 1,
        bins: int = 8,
        bound: float = 4.0,
    ) -> None:
        super().__init__(adjacency, hidden, layers)
        self.bins, self.bound = bins, bound
        self.network = ParentNetwork(self.adjacency, 1 + parameter_count(bins), hidden, layers)
        self.bias = nn.Parameter(torch.zeros(self.n, 1 + parameter_count(bins)))
        self.log_scale = nn.Parameter(torch.zeros(self.n))

    def settings(self) -> dict[str, Any]:
        return {
            "adjacency": self.adjacency_list(),
            "hidden": self.network.hidden,
            "layers": self.network.layers,
            "bins": self.bins,
            "bound": self.bound,
        }

    @torch.no_grad()
    def set_linear(self, i: int, parents: Tensor, weight: Tensor, bias: Tensor, log_scale: Tensor) -> None:
        self.network.linear[i, parents, 0] = weight
        self.bias[i, 0], self.log_scale[i] = bias, log_scale

    @torch.no_grad()
    def set_offsets(self, variables: Tensor, offsets: Tensor) -> None:
        self.bias[variables] = offsets

    def location_and_log_scale(self, z: Tensor, variables: Tensor | None = None) -> tuple[Tensor, Tensor]:
        k = self.n if variables is None else len(variables)
        return self(z.new_zeros(len(z), k), z, variables)

    def _spline_parameters(self, z: Tensor, variables: Tensor | None) -> tuple[Tensor, Tensor]:
        parameters = self.network(z, variables) + pick(self.bias, variables)
        return parameters[..., 0], _RAW_BOUND * torch.tanh(parameters[..., 1:] / _RAW_BOUND)

    def forward(self, noise: Tensor, z: Tensor, variables: Tensor | None = None) -> tuple[Tensor, Tensor]:
        (location, raw), log_scale = self._spline_parameters(z, variables), pick(self.log_scale, variables)
        value, log_derivative = monotone_spline(noise, raw, self.bound)
        return location + log_scale.exp() * value, log_scale + log_derivative

    def inverse(self, value: Tensor, z: Tensor, variables: Tensor | None = None) -> tuple[Tensor, Tensor]:
        (location, raw), log_scale = self._spline_parameters(z, variables), pick(self.log_scale, variables)
        scaled = (value - location) * torch.exp(-log_scale)
        noise, log_derivative = monotone_spline(scaled, raw, self.bound, inverse=True)
        return noise, log_derivative - log_scale


@final
@dataclass(frozen=True, kw_only=True)
class SplineMechanismConfig(NetworkMechanismConfig):
    """Spline mechanisms.

    noise_strength: the largest deviation of a parameter of the spline from its mean, at least 0.
    """

    kind: Literal["spline"] = "spline"
    noise_strength: float = 0.8

    def __post_init__(self) -> None:
        super().__post_init__()
        require_at_least(self, 0.0, "noise_strength")

    @property
    def largest_noise_change(self) -> float:
        return self.noise_strength
