"""Densities of every variable given any set of others: one batched network around exact linear regressions."""

from __future__ import annotations

import math
from typing import final

import torch
from torch import Tensor, nn

_RIDGE = 1e-4
_LEAST_VARIANCE = 1e-4
_LOG_SCALE_BOUND = 3.0
_LOG_SQRT_2PI = 0.5 * math.log(2.0 * math.pi)


@final
class MaskedConditionals(nn.Module):
    """Normal densities p(z_i | z_pa) for all i and any K graphs at once, location-scale.

    The location is the linear regression on the parents, in closed form for every graph, plus a network of one hidden
    layer, of the masked values and the mask; so is the logarithm of the scale. The networks start at zero.
    """

    covariance: Tensor

    def __init__(self, covariance: Tensor, hidden: int, generator: torch.Generator) -> None:
        """`covariance` (n, n) of the variables, each of mean 0 and variance 1."""
        super().__init__()
        n = len(covariance)
        self.n, self.hidden = n, hidden
        self.register_buffer("covariance", covariance, persistent=False)

        def drawn(*shape: int) -> nn.Parameter:
            return nn.Parameter(torch.randn(shape, generator=generator, device=generator.device) / math.sqrt(n))

        # of the value of each parent and of its presence: [j, i, :]
        self.value_weight, self.presence_weight = drawn(n, n, hidden), drawn(n, n, hidden)
        self.bias = drawn(n, hidden)
        self.last = nn.Parameter(torch.zeros(n, hidden, 2, device=generator.device))

    def regressions(self, graphs: Tensor) -> tuple[Tensor, Tensor]:
        """Coefficients (K, n, n), [k, j, i], and logarithms of the residual deviations (K, n), for graphs (K, n, n)."""
        parents = graphs.transpose(1, 2)
        allowed = parents.unsqueeze(2) * parents.unsqueeze(3)
        gram = allowed * self.covariance + torch.diag_embed(1.0 - parents + _RIDGE)
        effects = parents * self.covariance
        slopes = torch.linalg.solve(gram, effects.unsqueeze(3)).squeeze(3)
        variance = (1.0 - (slopes * effects).sum(2)).clamp_min(_LEAST_VARIANCE)
        return slopes.transpose(1, 2), 0.5 * variance.log()

    def log_density(self, z: Tensor, graphs: Tensor) -> Tensor:
        """log p(z_i | z_pa) (K, R, n) of rows z (K, R, n) under the graphs (K, n, n) of zeros and ones, in nats."""
        slopes, log_spread = self.regressions(graphs)
        mask = graphs.unsqueeze(3)
        weight, offset = (mask * self.value_weight).flatten(2), (mask * self.presence_weight).sum(1) + self.bias
        hidden = torch.relu(torch.baddbmm(offset.flatten(1).unsqueeze(1), z, weight))
        added = torch.einsum("krih,iho->krio", hidden.unflatten(2, (self.n, self.hidden)), self.last)
        shift, log_scale = added.unbind(3)
        log_scale = _LOG_SCALE_BOUND * torch.tanh(log_scale / _LOG_SCALE_BOUND)
        log_spread = log_spread.unsqueeze(1)
        standard = ((z - torch.bmm(z, slopes)) * torch.exp(-log_spread) - shift) * torch.exp(-log_scale)
        return -0.5 * standard.square() - log_scale - log_spread - _LOG_SQRT_2PI
