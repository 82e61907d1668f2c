"""The contract of mechanisms z_i = f_i(ε_i; z_pa), batched over all variables (docs/theory.md section 1)."""

from __future__ import annotations

import math
from abc import abstractmethod

import torch
from torch import Tensor, nn

from lcm.base.component import Component


class Mechanism(Component):
    """Abstract: n mechanisms, each a diffeomorphism in its noise given the parents.

    It is one of ℝ, and then strictly monotone, or of the circle where `circular` (n,) bool says so.

    All values are batched: `noise` and `value` are (N, k), for the k `variables` asked for (all n, in order,
    when None); `z` is always the full (N, n), of which mechanism i reads its parents only.
    """

    adjacency: Tensor
    circular: Tensor

    def __init__(self, adjacency: Tensor | list[list[int]]) -> None:
        """`adjacency` is (n, n), [i, j]: i → j."""
        super().__init__()
        self.register_buffer("adjacency", torch.as_tensor(adjacency).to(torch.bool), persistent=False)
        self.n = self.adjacency.shape[0]
        self.register_buffer("circular", torch.zeros_like(self.adjacency[0]), persistent=False)

    def adjacency_list(self) -> list[list[int]]:
        """The adjacency as nested lists of 0 and 1, for settings."""
        rows: list[list[int]] = self.adjacency.int().tolist()
        return rows

    @abstractmethod
    def forward(self, noise: Tensor, z: Tensor, variables: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Values f_i(ε_i; z_pa) and log|∂f_i/∂ε_i|, both (N, k)."""

    @abstractmethod
    def inverse(self, value: Tensor, z: Tensor, variables: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Noise f_i⁻¹(z_i; z_pa) and log|∂ε_i/∂z_i|, both (N, k)."""


class ParentNetwork(nn.Module):
    """For each variable i, a network of its parents' values with `outputs` results, plus a linear part.

    The mask zeroes the first layer's rows of non-parents, so that result i has no path from any other
    variable. The network part starts at zero unless `generator` draws it, the linear part always at zero.
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


def _normal(shape: torch.Size, generator: torch.Generator) -> Tensor:
    return torch.randn(shape, generator=generator, device=generator.device)
