"""Mechanisms under a graph that is an argument: sampled anew for every batch, with gradients."""

from __future__ import annotations

from typing import final

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.functional import one_hot

from lcm.baseline.graph_parameters import topological_order
from lcm.graph import Graph
from lcm.mechanism import LocationScaleMechanism

_PARENTS = "mechanism.network.parents"


@final
class SampledMechanism(nn.Module):
    """Location-scale mechanisms of n variables; an adjacency (n, n) of zeros and ones scales what parents tell."""

    def __init__(self, n: int, hidden: int, generator: torch.Generator) -> None:
        """Independent variables, until trained; the generator draws hidden weights, on its device."""
        super().__init__()
        self.mechanism = LocationScaleMechanism(~torch.eye(n, dtype=torch.bool), hidden).to(generator.device)
        self.mechanism.network.draw_weights(generator)

    @torch.no_grad()
    def start_at(self, abduction: Tensor) -> None:
        """Make the mechanisms linear, with ε = abduction · z (n, n), of positive diagonal."""
        scale = abduction.diagonal()
        weight = (-abduction / scale.unsqueeze(1)).fill_diagonal_(0.0)
        self.mechanism.network.linear[..., 0].copy_(weight)
        self.mechanism.log_scale.copy_(-scale.log())

    def abduct(self, z: Tensor, adjacency: Tensor) -> tuple[Tensor, Tensor]:
        """Noise and log|∂ε_i/∂z_i|, both (N, n), of z (N, n)."""
        found: tuple[Tensor, Tensor] = functional_call(self, {_PARENTS: adjacency}, (z,))
        return found

    def solve(
        self, noise: Tensor, adjacency: Tensor, targets: Tensor | None = None, imposed: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """z and log|∂z_i/∂ε_i|, both (N, n), of noise (N, n), under an acyclic adjacency.

        Where `targets` (N, n), z takes the values `imposed` (N, n) instead.
        """
        order = topological_order(adjacency)
        found: tuple[Tensor, Tensor] = functional_call(self, {_PARENTS: adjacency}, (noise, order, targets, imposed))
        return found

    def forward(
        self, values: Tensor, order: Tensor | None = None, targets: Tensor | None = None, imposed: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Abduction of z, or with an order (n,) the solution for noise, under the adjacency that is in place."""
        if order is None:
            abducted: tuple[Tensor, Tensor] = self.mechanism.inverse(values, values)
            return abducted
        z, log_slope = torch.zeros_like(values), torch.zeros_like(values)
        # one variable after the other: which of them could be solved together differs from sample to sample
        for variable in order.split(1):
            column = one_hot(variable, values.shape[1]).to(values)
            value, slope = self.mechanism(_column(values, column), z, variable)
            if targets is not None and imposed is not None:
                value = torch.where(_column(targets.to(values), column) > 0.5, _column(imposed, column), value)
            z, log_slope = z + value * column, log_slope + slope * column
        return z, log_slope

    def over(self, graph: Graph) -> LocationScaleMechanism:
        """A copy of the mechanisms over a fixed graph."""
        adjacency, network = torch.from_numpy(graph.adjacency.copy()), self.mechanism.network
        fixed = LocationScaleMechanism(adjacency, network.hidden, network.layers).to(network.linear)
        fixed.load_state_dict(self.mechanism.state_dict())
        return fixed


def _column(values: Tensor, column: Tensor) -> Tensor:
    """The column (N, 1) of values (N, n) that a one-hot (1, n) marks."""
    return values @ column.T
