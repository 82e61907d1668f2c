"""Networks of the parents of every variable, and what mechanisms made of them share."""

from __future__ import annotations

import math
from abc import abstractmethod
from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor, nn

from lcm.base.requirement import require_at_least, require_positive
from lcm.model.graph import Graph
from lcm.model.mechanism.base import MechanismConfig, TrainableMechanism
from lcm.model.noise import Noise

_CALIBRATION_SAMPLES = 4096
_LEAST_DEVIATION = 1e-6


class ParentNetwork(nn.Module):
    """For each variable i, a network of its parents' values with `outputs` results, plus a linear part.

    The mask zeroes the first layer's rows of non-parents, so that result i has no path from any other
    variable. The network part is zero until `draw_weights` draws it; the linear part starts at zero.
    """

    parents: Tensor

    def __init__(self, parents: Tensor, outputs: int, hidden: int, layers: int = 1) -> None:
        """`parents` is the bool (n, n) adjacency, [j, i]: j → i; `layers` counts the hidden layers."""
        super().__init__()
        n = parents.shape[0]
        self.outputs, self.hidden, self.layers = outputs, hidden, layers
        self.register_buffer("parents", parents.to(torch.bool), persistent=False)
        self.linear = nn.Parameter(torch.zeros(n, n, outputs))
        self.first = nn.Parameter(torch.zeros(n, n, hidden))
        self.first_bias = nn.Parameter(torch.zeros(n, hidden))
        self.inner = nn.Parameter(torch.zeros(layers - 1, n, hidden, hidden))
        self.inner_bias = nn.Parameter(torch.zeros(layers - 1, n, hidden))
        self.last = nn.Parameter(torch.zeros(n, hidden, outputs))

    @torch.no_grad()
    def draw_weights(self, generator: torch.Generator, last_scale: float = 0.0) -> None:
        """Draw the hidden layers at unit gain and the last at `last_scale` times that (0: starts linear)."""
        parents = self.parents.sum(0).clamp_min(1).to(self.first.dtype)
        self.first.copy_(_normal(self.first.shape, generator) / parents.sqrt()[:, None, None])
        self.first_bias.copy_(_normal(self.first_bias.shape, generator))
        self.inner.copy_(_normal(self.inner.shape, generator) / math.sqrt(self.hidden))
        self.last.copy_(_normal(self.last.shape, generator) * last_scale / math.sqrt(self.hidden))

    def forward(self, z: Tensor, variables: Tensor | None = None) -> Tensor:
        """Results (N, k, outputs) for `variables` (k of them, all n when None) from z (N, n)."""
        index = slice(None) if variables is None else variables
        mask = self.parents.T[index].to(z.dtype).unsqueeze(-1)
        weight = torch.cat([self.linear[index], self.first[index]], -1) * mask
        k, n, width = weight.shape
        joint = (z @ weight.permute(1, 0, 2).reshape(n, k * width)).view(-1, k, width)
        linear, hidden = joint[..., : self.outputs], joint[..., self.outputs :]
        hidden = torch.tanh(hidden + self.first_bias[index]).transpose(0, 1)
        for weight, bias in zip(self.inner, self.inner_bias, strict=True):
            hidden = torch.tanh(torch.baddbmm(bias[index].unsqueeze(1), hidden, weight[index]))
        return linear + torch.bmm(hidden, self.last[index]).transpose(0, 1)


class NetworkMechanism(TrainableMechanism):
    """Abstract: mechanisms whose parameters are outputs of a network of the parents; output 0 moves the value."""

    network: ParentNetwork

    @abstractmethod
    def __init__(self, adjacency: Tensor | list[list[int]], hidden: int = 16, layers: int = 1) -> None:
        """`hidden` is the width and `layers` the number of the hidden layers."""
        super().__init__(adjacency)

    @classmethod
    def untrained(cls, adjacency: Tensor, hidden: int) -> Self:
        mechanism = cls(adjacency, hidden)
        mechanism.network.draw_weights(torch.Generator().manual_seed(0))
        return mechanism

    @abstractmethod
    def set_offsets(self, variables: Tensor, offsets: Tensor) -> None:
        """Set what is added to the network's outputs of `variables` (k,) to offsets (k, outputs)."""


@dataclass(frozen=True, kw_only=True)
class NetworkMechanismConfig(MechanismConfig):
    """Abstract: random tanh networks of the parents.

    hidden: units of a hidden layer, at least 1. layers: hidden layers, at least 1.
    strength: standard deviation of the parents' part of a variable, where the noise has scale 1; positive. It holds at
        every depth, so that no value explodes.
    """

    kind: str
    hidden: int = 16
    layers: int = 1
    strength: float = 1.0

    def __post_init__(self) -> None:
        require_at_least(self, 1, "hidden", "layers")
        require_positive(self, "strength")

    @property
    def largest_noise_change(self) -> float:
        """The largest deviation of a parameter of the noise from its mean."""
        return 0.0

    def draw(self, graph: Graph, noise: Noise, generator: torch.Generator) -> NetworkMechanism:
        mechanism = NetworkMechanism.of_kind(self.kind)(torch.tensor(graph.adjacency), self.hidden, self.layers)
        mechanism.network.draw_weights(generator, last_scale=1.0)
        self._calibrate(mechanism, graph, noise.sample(_CALIBRATION_SAMPLES, generator))
        return mechanism

    @torch.no_grad()
    def _calibrate(self, mechanism: NetworkMechanism, graph: Graph, noise: Tensor) -> None:
        """Centre and rescale the networks: the location gets the standard deviation `strength`, every parameter
        of the noise the largest deviation `largest_noise_change`.

        It is done generation by generation, on the values that the calibrated parents take for `noise` (N, n),
        and so holds at any depth. A variable without parents keeps no network.
        """
        z = torch.zeros_like(noise)
        for index in graph.generations():
            variables = torch.as_tensor(index)
            outputs = mechanism.network(z, variables)
            centre = outputs.mean(0)
            unit = (outputs - centre).abs().amax(0) / max(self.largest_noise_change, _LEAST_DEVIATION)
            unit[:, 0] = outputs[..., 0].std(0) / self.strength
            has_parents = mechanism.adjacency[:, variables].any(0).unsqueeze(1)
            gain = torch.where(has_parents, 1.0 / unit.clamp_min(_LEAST_DEVIATION), 0.0)
            mechanism.network.last[variables] *= gain.unsqueeze(1)
            mechanism.set_offsets(variables, -centre * gain)
            z = z.index_copy(1, variables, mechanism(noise[:, variables], z, variables)[0])


def _normal(shape: torch.Size, generator: torch.Generator) -> Tensor:
    return torch.randn(shape, generator=generator, device=generator.device)
