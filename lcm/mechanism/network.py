"""A small neural network per variable, all evaluated as one batched product and masked by the parents."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn


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
