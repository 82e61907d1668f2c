"""A decoder whose last coordinates are a function of its first ones, plus noise: a sheet as the graph of a function."""

from __future__ import annotations

from typing import Any, final

import torch
from torch import Tensor

from lcm.base.component import describe
from lcm.model.decoder.base import Decoder

_RIDGE = 1e-9
_WIDEST = 2.0


@final
class TriangularDecoder(Decoder):
    """(e, w) = (h(u), v + m(h(u))): h a decoder of n variables, m (ℝⁿ to ℝʳ⁻ⁿ) linear in e and in random features.

    A feature is tanh(a · e + b). m starts at zero, and `regress` fits it in closed form.
    """

    kind = "triangular"
    inner: Tensor
    bias: Tensor
    outer: Tensor

    def __init__(self, head: Decoder | dict[str, Any], r: int, features: int = 1000) -> None:
        """Raises ValueError for a head that is not square or has more than r variables."""
        super().__init__()
        self.head = Decoder.build(head)
        n = self.head.n
        if self.head.d != n or n > r:
            raise ValueError(f"Expected a square head of at most {r} variables; got one from {n} to {self.head.d}.")
        self.n = self.d = r
        self.features = features
        self.register_buffer("inner", torch.zeros(features, n))
        self.register_buffer("bias", torch.zeros(features))
        self.register_buffer("outer", torch.zeros(r - n, 1 + n + features))

    def settings(self) -> dict[str, Any]:
        return {"head": describe(self.head), "r": self.n, "features": self.features}

    @torch.no_grad()
    def regress(self, first: Tensor, last: Tensor, generator: torch.Generator) -> None:
        """Draw the features, and fit m by least squares to e (N, n) of about unit variance and last (N, r − n)."""
        device = generator.device
        widths = _WIDEST * torch.rand((self.features, 1), generator=generator, device=device)
        self.inner.copy_(widths * torch.randn(self.inner.shape, generator=generator, device=device))
        self.bias.copy_(2.0 * torch.randn(self.bias.shape, generator=generator, device=device))
        inputs = self._inputs(first).double()
        gram = inputs.T @ inputs
        gram.diagonal().add_(_RIDGE * len(inputs))
        self.outer.copy_(torch.linalg.solve(gram, inputs.T @ last.double()).T)

    def _inputs(self, first: Tensor) -> Tensor:
        features = torch.tanh(first @ self.inner.T + self.bias)
        return torch.cat([torch.ones_like(first[:, :1]), first, features], 1)

    def forward(self, z: Tensor) -> tuple[Tensor, Tensor]:
        first, log_det = self.head(z[:, : self.head.n])
        return torch.cat([first, z[:, self.head.n :] + self._inputs(first) @ self.outer.T], 1), log_det

    def inverse(self, x: Tensor) -> tuple[Tensor, Tensor]:
        first = x[:, : self.head.n]
        z, log_det = self.head.inverse(first)
        return torch.cat([z, x[:, self.head.n :] - self._inputs(first) @ self.outer.T], 1), log_det
