"""A residual flow whose log-determinant is exact and cheap, so that it can be fitted by maximum likelihood as it is.

Sources: the invertible residual blocks of Behrmann et al. 2019, "Invertible residual networks", with one hidden layer
each; gradients of convex functions, as in Huang et al. 2021, "Convex potential flows". For few variables the Jacobian
of such a block is one matrix product, and no series has to be estimated.
"""

from __future__ import annotations

from typing import Any, final

import torch
from torch import Tensor, nn

from lcm.model.decoder.base import Decoder, Flow
from lcm.model.decoder.residual_blocks import through_blocks
from lcm.model.elementwise import SplineMap

_SOLVER_STEPS = 200
_TOLERANCE = 4.0
_START_GAIN = 0.25
_FEW_VARIABLES, _MEASURED_SHARE = 5, 0.25


@final
class ResidualDecoder(Decoder):
    """g⁻¹ = blocks v ← v + (B + Aᵀ D) tanh(A v + b), one after the other, then an elementwise spline; ℝⁿ to ℝⁿ.

    ‖A‖ ‖B‖ ≤ `lipschitz` < 1 holds for every parameter, since B is divided by what exceeds it, and D ≥ 0 is diagonal,
    or 0 unless `monotone`. Aᵀ D tanh(A v + b) is the gradient of a convex function, so whatever D is, each block is
    strongly monotone, hence invertible: D stretches without bound what B alone could stretch by 1 + `lipschitz`. Fits
    run from x to noise, so that direction gets the blocks themselves, and decoding solves for their inverse. Starts at
    the identity.
    """

    kind = "residual"

    def __init__(
        self,
        n: int,
        blocks: int = 8,
        hidden: int = 64,
        lipschitz: float = 0.9,
        bins: int = 8,
        bound: float = 5.0,
        monotone: bool = False,
    ) -> None:
        """`bins` and `bound` are the elementwise spline's; `monotone` is False in models stored before it existed.

        Raises:
            ValueError: a Lipschitz constant outside (0, 1).
        """
        super().__init__()
        if not 0.0 < lipschitz < 1.0:
            raise ValueError(f"Expected a Lipschitz constant strictly between 0 and 1; got {lipschitz}.")
        self.n = self.d = n
        self.blocks, self.hidden, self.lipschitz = blocks, hidden, lipschitz
        self.bins, self.bound = bins, bound
        self.inner = nn.Parameter(torch.zeros(blocks, hidden, n))
        self.bias = nn.Parameter(torch.zeros(blocks, hidden))
        self.outer = nn.Parameter(torch.zeros(blocks, n, hidden))
        self.root_gain = nn.Parameter(torch.zeros(blocks, hidden)) if monotone else None
        self.marginal = SplineMap(n, bins, bound)
        self.draw_weights(torch.Generator().manual_seed(0))

    @property
    def measured_share(self) -> float:
        # of n Jacobian columns; up to here, they take less time than the rows themselves
        return 1.0 if self.n <= _FEW_VARIABLES else _MEASURED_SHARE

    def settings(self) -> dict[str, Any]:
        return {
            "n": self.n,
            "blocks": self.blocks,
            "hidden": self.hidden,
            "lipschitz": self.lipschitz,
            "bins": self.bins,
            "bound": self.bound,
            "monotone": self.root_gain is not None,
        }

    @torch.no_grad()
    def draw_weights(self, generator: torch.Generator, strength: float = 0.0) -> None:
        """Draw A and b at random, and B at `strength`: 0, the identity, is where fits start.

        There B cancels D, which starts above 0: at 0, the gradient by its square root would vanish.
        """
        for parameter, scale in (
            (self.inner, self.n**-0.5),
            (self.bias, 1.0),
            (self.outer, strength * self.hidden**-0.5),
        ):
            drawn = torch.randn(parameter.shape, generator=generator, device=generator.device)
            parameter.copy_(scale * drawn)
        if self.root_gain is not None and self.blocks:
            gain = _START_GAIN / torch.linalg.matrix_norm(self.inner, 2).square()
            self.root_gain.copy_(gain.sqrt().unsqueeze(1).expand_as(self.root_gain))
            self.outer.sub_(gain[:, None, None] * self.inner.transpose(1, 2))

    def forward(self, z: Tensor) -> tuple[Tensor, Tensor]:
        x, log_det = self.marginal(z)
        log_det = log_det.sum(1)
        identity = torch.eye(self.n, dtype=x.dtype, device=x.device)
        for inner, bias, outer in reversed(list(zip(self.inner, self.bias, self._outer(), strict=True))):
            x = _preimage(x, inner, bias, outer)
            # unlike `through_blocks`, this has derivatives of every kind, which the geometry of a decoder needs
            slope = _block_jacobian(torch.tanh(x @ inner.T + bias), inner, outer)
            log_det = log_det - torch.linalg.slogdet(identity + slope)[1]
        return x, log_det

    def inverse(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return self.inverse_measuring(x, len(x))

    def inverse_measuring(self, x: Tensor, measured: int) -> tuple[Tensor, Tensor]:
        if not self.blocks:
            noise, log_derivative = self.marginal.inverse(x)
            return noise, log_derivative[:measured].sum(1)
        value, log_det = through_blocks(x, self.inner, self.bias, self._outer(), measured)
        noise, log_derivative = self.marginal.inverse(value)
        return noise, log_det + log_derivative[:measured].sum(1)

    @torch.no_grad()
    def deepened(self, generator: torch.Generator) -> ResidualDecoder:
        """The same map with twice the blocks: the new ones, next to the noise, are at the identity."""
        deeper = type(self)(**(self.settings() | {"blocks": 2 * self.blocks})).to(self.inner)
        deeper.draw_weights(generator)
        for name, value in self.named_parameters(recurse=False):
            deeper.get_parameter(name)[: self.blocks] = value
        deeper.marginal.load_state_dict(self.marginal.state_dict())
        return deeper

    def _outer(self) -> Tensor:
        """B + Aᵀ D of every block, with B scaled down where the product of the spectral norms exceeds the constant."""
        grams = torch.stack([self.inner.transpose(1, 2) @ self.inner, self.outer @ self.outer.transpose(1, 2)])
        squares = torch.linalg.eigvalsh(grams)[..., -1].prod(0)
        # below the constant nothing is scaled, and the square root at zero has no gradient
        excess = (squares / self.lipschitz**2).clamp_min(1.0).sqrt()
        bounded = self.outer / excess[:, None, None]
        if self.root_gain is None:
            return bounded
        return bounded + self.inner.transpose(1, 2) * self.root_gain.square().unsqueeze(1)


@final
class ResidualFlow(Flow):
    """Residual blocks as a noise encoder."""

    kind = "residual"
    layers, hidden, learning_rate = 16, 64, 4e-2

    @classmethod
    def start(cls, n: int, layers: int, hidden: int, bins: int, generator: torch.Generator) -> ResidualDecoder:
        flow = ResidualDecoder(n, layers, hidden, bins=bins, monotone=True).to(generator.device)
        flow.draw_weights(generator)
        return flow


def _block_jacobian(hidden: Tensor, inner: Tensor, outer: Tensor) -> Tensor:
    """B diag(1 − h²) A for every row of hidden (N, H): (N, n, n), as one product with all B[:, h] A[h]."""
    n = inner.shape[1]
    products = outer.T.unsqueeze(2) * inner.unsqueeze(1)
    return ((1.0 - hidden.square()) @ products.reshape(-1, n * n)).view(-1, n, n)


def _preimage(image: Tensor, inner: Tensor, bias: Tensor, outer: Tensor) -> Tensor:
    """v with v + B tanh(A v + b) = image (N, n), with exact gradients by one differentiable Newton step.

    The block is strongly monotone, so its Jacobian is never singular and Newton's direction always lowers the error.
    A row takes the step if it does, and a quarter of it next time if it does not.
    """

    def error(value: Tensor) -> tuple[Tensor, Tensor]:
        hidden = torch.tanh(value @ inner.T + bias)
        return value + hidden @ outer.T - image, hidden

    def newton(missing: Tensor, hidden: Tensor) -> Tensor:
        identity = torch.eye(image.shape[1], dtype=image.dtype, device=image.device)
        return torch.linalg.solve(identity + _block_jacobian(hidden, inner, outer), missing)

    with torch.no_grad():
        value, share = image.clone(), torch.ones_like(image[:, :1])
        precision = _TOLERANCE * torch.finfo(image.dtype).eps
        for _ in range(_SOLVER_STEPS):
            missing, hidden = error(value)
            rounding = precision * (1.0 + image.abs().amax(1) + value.abs().amax(1))
            if bool(((missing.abs().amax(1) <= rounding) | (share.squeeze(1) < precision)).all()):
                break
            guess = value - share * newton(missing, hidden)
            better = (error(guess)[0].norm(dim=1) < missing.norm(dim=1)).unsqueeze(1)
            value = torch.where(better, guess, value)
            share = torch.where(better, (2.0 * share).clamp_max(1.0), 0.25 * share)
        slope = _block_jacobian(error(value)[1], inner, outer)
    missing, _ = error(value)
    identity = torch.eye(image.shape[1], dtype=image.dtype, device=image.device)
    return value - torch.linalg.solve(identity + slope, missing)
