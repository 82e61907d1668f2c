"""Linear decoders: rotations, LU-parametrised maps, standardisation and orthonormal embeddings."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, final

import torch
from torch import Tensor, nn

from lcm.base.requirement import require, require_at_least
from lcm.model.decoder.base import Decoder, DecoderConfig, require_embedding

_NEWTON_STEPS = 40


def random_rotation(n: int, generator: torch.Generator) -> Tensor:
    """A Haar-random rotation (n, n) in SO(n), in the default precision, orthonormal to float64 before rounding."""
    matrix = torch.randn(n, n, generator=generator, dtype=torch.float64, device=generator.device)
    q, r = torch.linalg.qr(matrix)
    q = q * torch.sign(torch.diagonal(r))
    q[:, 0] *= torch.sign(torch.linalg.det(q))
    return q.to(torch.get_default_dtype())


@final
class RotationDecoder(Decoder):
    """x = R z with R = R_0 exp(A) ∈ SO(n), R_0 fixed and A trainable, skew-symmetric, zero at the start."""

    kind = "rotation"
    base: Tensor

    def __init__(self, n: int, generator: torch.Generator | None = None) -> None:
        """A random rotation when a generator is given, else the identity."""
        super().__init__()
        self.n = self.d = n
        self.register_buffer("base", torch.eye(n) if generator is None else random_rotation(n, generator))
        self.skew = nn.Parameter(torch.zeros(n, n))

    def settings(self) -> dict[str, Any]:
        return {"n": self.n}

    def matrix(self) -> Tensor:
        """R (n, n)."""
        return self.base @ torch.linalg.matrix_exp(self.skew.triu(1) - self.skew.triu(1).T)

    def forward(self, z: Tensor) -> tuple[Tensor, Tensor]:
        return z @ self.matrix().T, z.new_zeros(len(z))

    def inverse(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return x @ self.matrix(), x.new_zeros(len(x))


@final
class LinearDecoder(Decoder):
    """x = P L U z + shift: P a fixed permutation, L unit lower and U upper triangular, U invertible."""

    kind = "linear"
    order: Tensor
    sign: Tensor

    def __init__(self, n: int, matrix: Tensor | None = None) -> None:
        """Starts at `matrix` (n, n), by default the identity.

        Raises:
            ValueError: `matrix` is singular.
        """
        super().__init__()
        self.n = self.d = n
        permutation, lower, upper = torch.linalg.lu(torch.eye(n) if matrix is None else matrix)
        diagonal = torch.diagonal(upper)
        if bool((diagonal == 0).any()):
            raise ValueError("Expected an invertible matrix for a linear decoder; got a singular one.")
        self.register_buffer("order", permutation.argmax(1))
        self.register_buffer("sign", torch.sign(diagonal))
        self.lower = nn.Parameter(lower.tril(-1))
        self.upper = nn.Parameter(upper.triu(1))
        self.log_diagonal = nn.Parameter(diagonal.abs().log())
        self.shift = nn.Parameter(torch.zeros(n))

    def settings(self) -> dict[str, Any]:
        return {"n": self.n}

    def _factors(self) -> tuple[Tensor, Tensor]:
        lower = self.lower.tril(-1) + torch.eye(self.n, dtype=self.lower.dtype, device=self.lower.device)
        return lower, self.upper.triu(1) + torch.diag(self.sign * self.log_diagonal.exp())

    def matrix(self) -> Tensor:
        """P L U (n, n)."""
        lower, upper = self._factors()
        return (lower @ upper)[self.order]

    def forward(self, z: Tensor) -> tuple[Tensor, Tensor]:
        return z @ self.matrix().T + self.shift, self.log_diagonal.sum().expand(len(z))

    def inverse(self, x: Tensor) -> tuple[Tensor, Tensor]:
        lower, upper = self._factors()
        values = (x - self.shift)[:, self.order.argsort()]
        half = torch.linalg.solve_triangular(lower, values.T, upper=False, unitriangular=True)
        z = torch.linalg.solve_triangular(upper, half, upper=True).T
        return z, -self.log_diagonal.sum().expand(len(x))


@final
class AffineDecoder(Decoder):
    """x = location + scale · z, coordinate by coordinate, fixed: undoes the standardisation of the data."""

    kind = "affine"
    location: Tensor
    scale: Tensor

    def __init__(self, n: int, location: Tensor | None = None, scale: Tensor | None = None) -> None:
        super().__init__()
        self.n = self.d = n
        self.register_buffer("location", torch.zeros(n) if location is None else location)
        self.register_buffer("scale", torch.ones(n) if scale is None else scale)

    def require_sound(self) -> None:
        """Raise ValueError for a scale of zero."""
        if bool((self.scale == 0).any()):
            raise ValueError("Expected scales that are not zero; got one that is.")

    def settings(self) -> dict[str, Any]:
        return {"n": self.n}

    def forward(self, z: Tensor) -> tuple[Tensor, Tensor]:
        return self.location + self.scale * z, self.scale.abs().log().sum().expand(len(z))

    def inverse(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return (x - self.location) / self.scale, -self.scale.abs().log().sum().expand(len(x))


@final
class EmbeddingDecoder(Decoder):
    """x = Q z + shift with fixed orthonormal columns Q (d, n), d ≥ n: an isometric embedding."""

    kind = "embedding"
    basis: Tensor
    shift: Tensor

    def __init__(self, n: int, d: int, generator: torch.Generator | None = None) -> None:
        """Random orthonormal columns when a generator is given, else the first n axes.

        Raises:
            ValueError: d < n.
        """
        super().__init__()
        require_embedding(n, d)
        self.n, self.d = n, d
        basis = torch.eye(d, n) if generator is None else random_rotation(d, generator)
        self.register_buffer("basis", basis[:, :n].contiguous())
        self.register_buffer("shift", torch.zeros(d))

    def settings(self) -> dict[str, Any]:
        return {"n": self.n, "d": self.d}

    def forward(self, z: Tensor) -> tuple[Tensor, Tensor]:
        return z @ self.basis.T + self.shift, z.new_zeros(len(z))

    def inverse(self, x: Tensor) -> tuple[Tensor, Tensor]:
        z = (x - self.shift).to(self.basis.dtype) @ self.basis
        return z, z.new_zeros(len(z))

    @property
    def observation_dtype(self) -> torch.dtype | None:
        return self.shift.dtype


@final
class MixingDecoder(Decoder):
    """x = h(M_L … h(M_1 z)), h(v) = (1 − strength) v + strength tanh(v), each M_l well conditioned.

    strength 0 is linear; at 1, h would be bounded. The inverse of h is Newton's method with a bisection
    safeguard, run to the floating-point limit; gradients through it are exact (one differentiable step at the
    solution).
    """

    kind = "mixing"
    matrices: Tensor

    def __init__(
        self,
        n: int,
        layers: int = 3,
        strength: float = 0.5,
        condition: float = 3.0,
        generator: torch.Generator | None = None,
    ) -> None:
        """Random matrices with singular values in [1/√condition, √condition] when a generator is given.

        Raises:
            ValueError: strength outside [0, 1) or condition below 1.
        """
        super().__init__()
        if not 0.0 <= strength < 1.0:
            raise ValueError(f"Expected a mixing strength in [0, 1); got {strength}.")
        if condition < 1.0:
            raise ValueError(f"Expected a condition number of at least 1; got {condition}.")
        self.n = self.d = n
        self.strength, self.condition = strength, condition
        drawn = [_random_matrix(n, condition, generator) for _ in range(layers)]
        self.register_buffer("matrices", torch.stack(drawn))

    def settings(self) -> dict[str, Any]:
        return {
            "n": self.n,
            "layers": len(self.matrices),
            "strength": self.strength,
            "condition": self.condition,
        }

    def forward(self, z: Tensor) -> tuple[Tensor, Tensor]:
        values, log_det = z, torch.linalg.slogdet(self.matrices)[1].sum().expand(len(z))
        for matrix in self.matrices:
            values = values @ matrix.T
            log_det = log_det + _slope(values, self.strength).log().sum(1)
            values = _leaky_tanh(values, self.strength)
        return values, log_det

    def inverse(self, x: Tensor) -> tuple[Tensor, Tensor]:
        values, log_det = x, -torch.linalg.slogdet(self.matrices)[1].sum().expand(len(x))
        for matrix in self.matrices.flip(0):
            values = _leaky_tanh_inverse(values, self.strength)
            log_det = log_det - _slope(values, self.strength).log().sum(1)
            values = torch.linalg.solve(matrix, values.T).T
        return values, log_det


@final
@dataclass(frozen=True, kw_only=True)
class RotationDecoderConfig(DecoderConfig):
    """A random rotation."""

    kind: Literal["rotation"] = "rotation"

    def draw(self, n: int, generator: torch.Generator) -> RotationDecoder:
        return RotationDecoder(n, generator)


@final
@dataclass(frozen=True, kw_only=True)
class LinearDecoderConfig(DecoderConfig):
    """A random matrix whose condition number is at most `condition` ≥ 1."""

    kind: Literal["linear"] = "linear"
    condition: float = 3.0

    def __post_init__(self) -> None:
        require_at_least(self, 1.0, "condition")

    def draw(self, n: int, generator: torch.Generator) -> LinearDecoder:
        spread = torch.rand(n, generator=generator) - 0.5
        scale = torch.diag(self.condition**spread)
        return LinearDecoder(n, random_rotation(n, generator) @ scale @ random_rotation(n, generator))


@final
@dataclass(frozen=True, kw_only=True)
class MixingDecoderConfig(DecoderConfig):
    """Random matrices and leaky tanh in turn.

    layers: matrices, at least 1. strength: how nonlinear, in [0, 1); 0 is linear.
    condition: the largest condition number of a matrix, at least 1.
    """

    kind: Literal["mixing"] = "mixing"
    condition: float = 3.0
    layers: int = 3
    strength: float = 0.5

    def __post_init__(self) -> None:
        require_at_least(self, 1.0, "condition")
        require_at_least(self, 1, "layers")
        require(self, ("strength",), lambda value: 0.0 <= value < 1.0, "a mixing strength in [0, 1)")

    def draw(self, n: int, generator: torch.Generator) -> MixingDecoder:
        return MixingDecoder(n, self.layers, self.strength, self.condition, generator)


@final
@dataclass(frozen=True, kw_only=True)
class EmbeddingDecoderConfig(DecoderConfig):
    """Nothing but the orthonormal embedding, so that `dim_x` is needed."""

    kind: Literal["embedding"] = "embedding"

    def __post_init__(self) -> None:
        if self.dim_x is None:
            raise ValueError("Expected dim_x for a decoder of kind embedding; got none.")

    def draw(self, n: int, generator: torch.Generator) -> None:
        return None


def _random_matrix(n: int, condition: float, generator: torch.Generator | None) -> Tensor:
    if generator is None:
        return torch.eye(n)
    spread = torch.rand(n, generator=generator, device=generator.device) - 0.5
    return random_rotation(n, generator) @ torch.diag(condition**spread) @ random_rotation(n, generator)


def _leaky_tanh(values: Tensor, strength: float) -> Tensor:
    return (1.0 - strength) * values + strength * torch.tanh(values)


def _slope(values: Tensor, strength: float) -> Tensor:
    return 1.0 - strength * torch.tanh(values).square()


def _leaky_tanh_inverse(images: Tensor, strength: float) -> Tensor:
    """Preimages under h: |h(v)| ≥ (1 − s)|v| and |h(v) − (1 − s) v| ≤ s bracket the root."""
    with torch.no_grad():
        centre = images / (1.0 - strength)
        reach = strength / (1.0 - strength)
        low, high = centre - reach, centre + reach
        guess = images.clamp(low, high)
        for _ in range(_NEWTON_STEPS):
            error = _leaky_tanh(guess, strength) - images
            low, high = torch.where(error < 0, guess, low), torch.where(error > 0, guess, high)
            step = guess - error / _slope(guess, strength)
            guess = torch.where((step >= low) & (step <= high), step, 0.5 * (low + high))
    return guess - (_leaky_tanh(guess, strength) - images) / _slope(guess, strength).detach()
