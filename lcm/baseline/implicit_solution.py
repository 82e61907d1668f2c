"""Solution functions s_i(e_i; e_others) as networks, all n of them in one batched product."""

from __future__ import annotations

import itertools
import math
from typing import Literal, NamedTuple, final

import torch
from torch import Tensor, nn

from lcm.baseline.networks import affine

_MOST_LOG_SCALE = 7.0
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
