"""Mechanisms that shift and scale their noise: linear additive, nonlinear additive and location-scale."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any, final

import torch
from torch import Tensor, nn

from lcm.model.elementwise import monotone_spline, parameter_count, pick
from lcm.model.mechanism.base import Mechanism, ParentNetwork

_LOG_SCALE_BOUND = 4.0


class ShiftAndScale(Mechanism):
    """Abstract: f_i = m_i(z_pa) + exp(s_i(z_pa)) ε_i."""

    @abstractmethod
    def location_and_log_scale(self, z: Tensor, variables: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """m_i(z_pa) and s_i(z_pa), both (N, k)."""

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

    def location_and_log_scale(self, z: Tensor, variables: Tensor | None = None) -> tuple[Tensor, Tensor]:
        weight = pick((self.weight * self.adjacency).T, variables)
        location = pick(self.bias, variables) + z @ weight.T
        return location, pick(self.log_scale, variables).expand_as(location)


@final
class AdditiveMechanism(ShiftAndScale):
    """f_i = m_i(z_pa) + exp(log_scale_i) ε_i with m_i a linear part plus a tanh network."""

    kind = "additive"

    def __init__(self, adjacency: Tensor | list[list[int]], hidden: int = 16, layers: int = 1) -> None:
        super().__init__(adjacency)
        self.network = ParentNetwork(self.adjacency, 1, hidden, layers)
        self.bias = nn.Parameter(torch.zeros(self.n))
        self.log_scale = nn.Parameter(torch.zeros(self.n))

    def settings(self) -> dict[str, Any]:
        return {
            "adjacency": self.adjacency_list(),
            "hidden": self.network.hidden,
            "layers": self.network.layers,
        }

    def location_and_log_scale(self, z: Tensor, variables: Tensor | None = None) -> tuple[Tensor, Tensor]:
        location = pick(self.bias, variables) + self.network(z, variables).squeeze(-1)
        return location, pick(self.log_scale, variables).expand_as(location)


@final
class LocationScaleMechanism(ShiftAndScale):
    """f_i = m_i(z_pa) + exp(s_i(z_pa)) ε_i; m_i and s_i are a linear part plus a tanh network.

    s_i is squashed smoothly into (−4, 4), so that no parent value can collapse or explode the noise.
    """

    kind = "location-scale"

    def __init__(self, adjacency: Tensor | list[list[int]], hidden: int = 16, layers: int = 1) -> None:
        super().__init__(adjacency)
        self.network = ParentNetwork(self.adjacency, 2, hidden, layers)
        self.bias = nn.Parameter(torch.zeros(self.n))
        self.log_scale = nn.Parameter(torch.zeros(self.n))

    def settings(self) -> dict[str, Any]:
        return {
            "adjacency": self.adjacency_list(),
            "hidden": self.network.hidden,
            "layers": self.network.layers,
        }

    def location_and_log_scale(self, z: Tensor, variables: Tensor | None = None) -> tuple[Tensor, Tensor]:
        location, raw = self.network(z, variables).unbind(-1)
        raw = raw + pick(self.log_scale, variables)
        return location + pick(self.bias, variables), _LOG_SCALE_BOUND * torch.tanh(raw / _LOG_SCALE_BOUND)


def require_location_scale(mechanism: Mechanism) -> LocationScaleMechanism:
    """The mechanism as it is; ValueError where it is of another kind, which the graph cannot be read from."""
    if not isinstance(mechanism, LocationScaleMechanism):
        raise ValueError(f"Expected location-scale mechanisms; got mechanisms of kind {mechanism.kind}.")
    return mechanism


@final
class SplineMechanism(Mechanism):
    """f_i = m_i(z_pa) + spline(ε_i; θ_i(z_pa)), rational-quadratic on [−bound, bound], linear outside.

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
        super().__init__(adjacency)
        self.bins, self.bound = bins, bound
        self.network = ParentNetwork(self.adjacency, 1 + parameter_count(bins), hidden, layers)
        self.bias = nn.Parameter(torch.zeros(self.n, 1 + parameter_count(bins)))

    def settings(self) -> dict[str, Any]:
        return {
            "adjacency": self.adjacency_list(),
            "hidden": self.network.hidden,
            "layers": self.network.layers,
            "bins": self.bins,
            "bound": self.bound,
        }

    def _spline_parameters(self, z: Tensor, variables: Tensor | None) -> tuple[Tensor, Tensor]:
        parameters = self.network(z, variables) + pick(self.bias, variables)
        return parameters[..., 0], 4.0 * torch.tanh(parameters[..., 1:] / 4.0)

    def forward(self, noise: Tensor, z: Tensor, variables: Tensor | None = None) -> tuple[Tensor, Tensor]:
        location, raw = self._spline_parameters(z, variables)
        value, log_derivative = monotone_spline(noise, raw, self.bound)
        return location + value, log_derivative

    def inverse(self, value: Tensor, z: Tensor, variables: Tensor | None = None) -> tuple[Tensor, Tensor]:
        location, raw = self._spline_parameters(z, variables)
        return monotone_spline(value - location, raw, self.bound, inverse=True)
