"""Noise on the columns of x, and how it blurs noise encodings: differently at each place (docs/theory.md section 2).

Independent noise of standard deviations s_c moves the encoding u(x), in the standard-normal gauge, by J(x) S η to first
order, with J = ∂u/∂x and η standard normal. So the difference ũ − u of coordinates that stay is normal, of covariance

    C(x, x̃) = J(x) S² J(x)ᵀ + J(x̃) S² J(x̃)ᵀ + R²,    S = diag(s), R = diag(r),

where r is what else blurs the encodings. Its coordinates depend on each other, which one thickness each cannot say.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple, final

import torch
from torch import Tensor, nn

from lcm.base.chunks import in_chunks
from lcm.model.likelihood import PairParts, PairTerms

_ROWS = 512


class Slopes(NamedTuple):
    """The slopes ∂u/∂x and ∂ũ/∂x̃ (N, n, d) of N pairs, in float64."""

    before: Tensor
    after: Tensor


@final
class SensorNoise(nn.Module):
    """Standard deviations of independent noise on each column of x, and of what else blurs the noise encodings."""

    deviation: Tensor
    rest: Tensor

    def __init__(self, deviation: Tensor, rest: Tensor) -> None:
        """deviation: (d,), in the units of x. rest: (n,), in the standard-normal gauge."""
        super().__init__()
        self.register_buffer("deviation", deviation)
        self.register_buffer("rest", rest)

    def covariance(self, slopes: Slopes) -> Tensor:
        """C(x, x̃) (N, n, n)."""
        noise = torch.cat([slopes.before, slopes.after], 2) * self.deviation.double().repeat(2)
        return noise @ noise.mT + torch.diag(self.rest.double().square())

    def terms(self, parts: PairParts, slopes: Slopes) -> PairTerms:
        """As `LatentCausalModel.pair_terms`, but coordinates stay up to sensor noise; for at most one target.

        The covariance depends on x̃, so that this gives a posterior to first order in the noise, not a density of pairs.
        """
        whole, given = (part.to(parts.base.dtype) for part in self.stay_terms(parts.difference, slopes))
        return PairTerms(parts.base + whole - given.sum(1), given + parts.log_gauge, parts.move)

    def stay_terms(self, difference: Tensor, slopes: Slopes) -> tuple[Tensor, Tensor]:
        """log N(ũ − u; 0, C) (N,), and log N of each coordinate given all others (N, n).

        The density of all coordinates but one is the first less the second: the target is left out of the noise. Rows
        whose covariance is not positive definite in float64 are NaN.
        """
        root, failed = torch.linalg.cholesky_ex(self.covariance(slopes))
        # rows so far from the data that no covariance has a root
        root = torch.where((failed > 0)[:, None, None], torch.nan, root)
        precision = torch.cholesky_inverse(root)
        difference = difference.double()
        pulled = (precision @ difference.unsqueeze(2)).squeeze(2)
        square = (difference * pulled).sum(1)
        log_det = 2.0 * torch.diagonal(root, dim1=1, dim2=2).log().sum(1)
        whole = -0.5 * (square + log_det + difference.shape[1] * math.log(2.0 * math.pi))
        own = torch.diagonal(precision, dim1=1, dim2=2)
        given = 0.5 * (own.log() - math.log(2.0 * math.pi) - pulled.square() / own)
        return whole, given

    def require_sound(self) -> None:
        """Raise ValueError for deviations that are negative, or a rest that is not positive."""
        if not bool((self.deviation >= 0).all()):
            raise ValueError(f"Expected non-negative deviations of sensor noise; got {float(self.deviation.min())}.")
        if not bool((self.rest > 0).all()):
            raise ValueError(f"Expected a positive rest beside sensor noise; got {float(self.rest.min())}.")


def pair_slopes(encode: Callable[[Tensor], Tensor], n: int, x: Tensor, x_tilde: Tensor) -> Slopes:
    """The slopes of an encoder x (N, d) → u (N, n) at pairs."""
    return Slopes(*(in_chunks(lambda part: (_slopes(encode, n, part),), each, size=_ROWS)[0] for each in (x, x_tilde)))


@torch.enable_grad()
def _slopes(encode: Callable[[Tensor], Tensor], n: int, x: Tensor) -> Tensor:
    """∂u/∂x (N, n, d): one copy of the rows for each coordinate, so that one pass backwards has all."""
    copies = x.detach().repeat(n, 1, 1).requires_grad_()
    own = torch.diagonal(encode(copies.flatten(0, 1)).unflatten(0, (n, len(x))), dim1=0, dim2=2)
    (slopes,) = torch.autograd.grad(own.sum(), copies)
    return slopes.transpose(0, 1).double()
