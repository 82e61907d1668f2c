"""Multilayer perceptrons of the peers, one or several in one batched product, drawn by a given generator."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Literal, final

import torch
from torch import Tensor, nn

# The reciprocals of the root mean squares of the activations at a standard normal.
_GAINS = {"silu": 1.68, "relu": math.sqrt(2.0)}


@final
class Perceptron(nn.Module):
    """Networks (..., inputs) → (..., outputs) with given hidden widths; none of them: an affine map.

    With `copies` K, K networks with weights of their own: (..., K, inputs) → (..., K, outputs).
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        hidden: Sequence[int],
        copies: int | None = None,
        activation: Literal["silu", "relu"] = "silu",
    ) -> None:
        """All weights are zero until `draw_weights` draws them."""
        super().__init__()
        self.activation = activation
        widths, own = [inputs, *hidden, outputs], () if copies is None else (copies,)
        self.weights = nn.ParameterList(torch.zeros(*own, after, before) for before, after in pairwise(widths))
        self.biases = nn.ParameterList(torch.zeros(*own, after) for after in widths[1:])

    @torch.no_grad()
    def draw_weights(self, generator: torch.Generator, last: float = 1.0) -> None:
        """Draw all weights so that outputs have variance of about `last` squared; biases stay as they are."""
        layers = list(self.weights)
        for index, weight in enumerate(layers):
            gain = (1.0 if index == 0 else _GAINS[self.activation]) * (last if index == len(layers) - 1 else 1.0)
            drawn = torch.randn(weight.shape, generator=generator, device=generator.device, dtype=weight.dtype)
            weight.copy_((gain / math.sqrt(weight.shape[-1]) * drawn).to(weight.device))

    def forward(self, values: Tensor) -> Tensor:
        # in place, since a fresh array costs more than the maximum that is written to it; and on flat arrays, since in
        # place on a view would copy everything when differentiated
        activate = torch.relu_ if self.activation == "relu" else torch.nn.functional.silu
        flat = values if self.weights[0].dim() == 3 else values.flatten(0, -2)
        for index in range(len(self.weights)):
            flat = self._layer(index, activate(flat) if index else flat)
        return flat.view(*values.shape[:-1], flat.shape[-1])

    def _layer(self, index: int, values: Tensor) -> Tensor:
        weight, bias = self.weights[index], self.biases[index]
        if weight.dim() == 2:
            return affine(values, weight, bias)
        return torch.einsum("...ki,koi->...ko", values, weight) + bias


def affine(values: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """values (N, inputs) @ weight (outputs, inputs)ᵀ + bias (outputs,)."""
    if weight.shape[1] >= weight.shape[0]:
        return torch.nn.functional.linear(values, weight, bias)
    # the gradients' products are taken in the order of the layouts: twice as fast in this one where inputs are few
    return torch.addmm(bias, values, weight.mT.contiguous())
