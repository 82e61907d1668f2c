"""An invertible multilayer perceptron ("leaky tanh") whose distance from a linear map is one number."""

from __future__ import annotations

from typing import Any, final

import torch
from torch import Tensor

from lcm.decoder.base import Decoder
from lcm.decoder.linear import random_rotation

_NEWTON_STEPS = 40


@final
class MixingDecoder(Decoder):
    """x = h(M_L … h(M_1 z)), h(v) = (1 − strength) v + strength tanh(v), each M_l well conditioned.

    strength 0 is linear, 1 would not be invertible. The inverse of h is Newton's method with a bisection
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
