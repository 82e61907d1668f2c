"""Mechanisms that are a monotone spline of their noise, all spline parameters functions of the parents."""

from __future__ import annotations

from typing import Any, final

import torch
from torch import Tensor, nn

from lcm.elementwise import pick
from lcm.mechanism.base import Mechanism
from lcm.mechanism.network import ParentNetwork
from lcm.spline import monotone_spline, parameter_count


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
