"""Circle-valued variables: angles in (−π, π], and noise on the circle (docs/theory.md section 4)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, final

import torch
from torch import Tensor
from torch.special import ndtr, ndtri

from lcm.base.component import describe
from lcm.model.elementwise import pick
from lcm.model.noise import Noise, standard_normal_log_density

_NEWTON_STEPS = 40
_TURN = 2.0 * math.pi


def wrap(angle: Tensor) -> Tensor:
    """The angle in (−π, π] of the same point of the circle, elementwise; one that is there already stays as it is."""
    turned = angle - _TURN * torch.round(angle / _TURN)
    # rounding can leave the half-open interval by its last digit
    turned = torch.where(turned <= -math.pi, turned + _TURN, turned).clamp_max(math.pi)
    return torch.where((angle > -math.pi) & (angle <= math.pi), angle, turned)


def wrap_circles(values: Tensor, circular: Tensor) -> Tensor:
    """Values (..., k) with the columns that `circular` (k,) bool names wrapped into (−π, π], the others untouched."""
    return torch.where(circular, wrap(values), values)


def circle_mask(circular: Sequence[bool] | Tensor) -> Tensor:
    """(n,) bool of a mask given as booleans or as 0 and 1.

    Raises:
        ValueError: it is not one-dimensional.
    """
    mask = torch.as_tensor(circular).to(torch.bool)
    if mask.dim() != 1:
        raise ValueError(f"Expected one flag a variable, circle or not; got shape {list(mask.shape)}.")
    return mask


@final
class CircleNoise(Noise):
    """Cardioid noise on the circle: p(ε) = (1 + k cos(ε − mean)) / 2π with |k| < 1 (Jeffreys 1961); k = 0 is uniform.

    The standard-normal gauge runs from −∞ to ∞ once around the circle, from the antipode of the mean to itself.
    There the resolution of an angle, the machine epsilon, cuts it: at |u| of 8 in float64 and 5 in float32.
    """

    kind = "circle"
    concentration: Tensor
    mean: Tensor

    def __init__(self, n: int, concentration: float | Tensor = 0.0, mean: float | Tensor = 0.0) -> None:
        """`concentration` k and `mean` (radians) are numbers or (n,).

        Raises:
            ValueError: a concentration that is not inside (−1, 1).
        """
        super().__init__()
        self.n = n
        given = {"concentration": concentration, "mean": mean}
        for name, value in given.items():
            tensor = torch.as_tensor(value, dtype=torch.get_default_dtype()).expand(n).clone()
            self.register_buffer(name, tensor)
        outside = self.concentration[~(self.concentration.abs() < 1.0)]
        if len(outside) > 0:
            raise ValueError(f"Expected concentrations inside (-1, 1); got {float(outside[0]):.6g}.")

    @property
    def circular(self) -> Tensor:
        return torch.ones(self.n, dtype=torch.bool, device=self.mean.device)

    def settings(self) -> dict[str, Any]:
        return {"n": self.n}

    def from_normal(self, normal: Tensor, variables: Tensor | None = None) -> tuple[Tensor, Tensor]:
        concentration = pick(self.concentration, variables)
        side = _side(normal)
        gap = _gap_of_tail(ndtr(-side * normal), concentration)
        noise = wrap(pick(self.mean, variables) + side * (math.pi - gap))
        return noise, standard_normal_log_density(normal) - _log_density_at(gap, concentration)

    def to_normal(self, noise: Tensor, variables: Tensor | None = None) -> tuple[Tensor, Tensor]:
        concentration, centred = pick(self.concentration, variables), self._centred(noise, variables)
        gap = _gap(centred)
        normal = -_side(centred) * ndtri(_tail(gap, concentration))
        return normal, _log_density_at(gap, concentration) - standard_normal_log_density(normal)

    def log_density(self, noise: Tensor, variables: Tensor | None = None) -> Tensor:
        """log p_i(ε_i) of noise (..., k), in nats, elementwise, with respect to arc length."""
        return _log_density_at(_gap(self._centred(noise, variables)), pick(self.concentration, variables))

    def _centred(self, noise: Tensor, variables: Tensor | None) -> Tensor:
        return wrap(noise - pick(self.mean, variables))


def _side(values: Tensor) -> Tensor:
    """−1 below 0, else 1; unlike the sign, it leaves values at 0 their derivative."""
    return torch.where(values < 0.0, -1.0, 1.0).to(values)


def _gap(centred: Tensor) -> Tensor:
    """Distance from the antipode of the mean, kept above the resolution of an angle near π."""
    return (math.pi - _side(centred) * centred).clamp_min(torch.finfo(centred.dtype).eps)


def _log_density_at(gap: Tensor, concentration: Tensor) -> Tensor:
    # 1 + k cos(π − gap) in a form that keeps its digits for small gaps and k near 1
    return torch.log1p(2.0 * concentration * torch.sin(0.5 * gap).square() - concentration) - math.log(_TURN)


def _tail(gap: Tensor, concentration: Tensor) -> Tensor:
    """Mass within `gap` of the antipode, on one side: (gap − k sin gap) / 2π ≤ 1/2."""
    return ((1.0 - concentration) * gap + concentration * (gap - torch.sin(gap))) / _TURN


def _gap_of_tail(tail: Tensor, concentration: Tensor) -> Tensor:
    """Inverse of `_tail`, which is Kepler's equation: safeguarded Newton, then one differentiable step."""
    with torch.no_grad():
        anomaly, reach = _TURN * tail, concentration.abs()
        low, high = (anomaly - reach).clamp_min(0.0), (anomaly + reach).clamp_max(math.pi)
        guess = (anomaly / (1.0 - concentration)).clamp(low, high)
        for _ in range(_NEWTON_STEPS):
            error = _tail(guess, concentration) - tail
            low, high = torch.where(error < 0, guess, low), torch.where(error > 0, guess, high)
            step = guess - error / _tail_slope(guess, concentration)
            guess = torch.where((step >= low) & (step <= high), step, 0.5 * (low + high))
    return guess - (_tail(guess, concentration) - tail) / _tail_slope(guess, concentration).detach()


def _tail_slope(gap: Tensor, concentration: Tensor) -> Tensor:
    return _log_density_at(gap, concentration).exp()


@final
class MixedNoise(Noise):
    """Noise on a product of lines and circles: variable i of `circle` where `circular[i]`, else of `real`."""

    kind = "mixed"

    def __init__(
        self, real: Noise | dict[str, Any], circle: Noise | dict[str, Any], circular: Sequence[bool] | Tensor
    ) -> None:
        """`real` and `circle` are both over all n variables, of which each lends those that the mask (n,) says.

        Raises:
            ValueError: sizes that differ, circles in `real` or lines in `circle`.
        """
        super().__init__()
        self.real, self.circle = Noise.build(real), Noise.build(circle)
        self.register_buffer("_mask", circle_mask(circular), persistent=False)
        self.n = len(self.circular)
        for name, part, on_circles in (("real", self.real, False), ("circle", self.circle, True)):
            if part.n != self.n:
                raise ValueError(f"Expected {name} noise of {self.n} variables, as in the mask; got {part.n}.")
            if bool((part.circular != on_circles).any()):
                raise ValueError(f"Expected {name} noise; got noise with circles at {part.circular.int().tolist()}.")

    @property
    def circular(self) -> Tensor:
        return self.get_buffer("_mask")

    def settings(self) -> dict[str, Any]:
        parts = {"real": describe(self.real), "circle": describe(self.circle)}
        return {**parts, "circular": self.circular.int().tolist()}

    def from_normal(self, normal: Tensor, variables: Tensor | None = None) -> tuple[Tensor, Tensor]:
        return self._chosen(
            self.real.from_normal(normal, variables), self.circle.from_normal(normal, variables), variables
        )

    def to_normal(self, noise: Tensor, variables: Tensor | None = None) -> tuple[Tensor, Tensor]:
        return self._chosen(self.real.to_normal(noise, variables), self.circle.to_normal(noise, variables), variables)

    def log_density(self, noise: Tensor, variables: Tensor | None = None) -> Tensor:
        """log p_i(ε_i) of noise (..., k), in nats, elementwise."""
        real, circle = (part.log_density(noise, variables) for part in (self.real, self.circle))
        return torch.where(pick(self.circular, variables), circle, real)

    def _chosen(
        self, real: tuple[Tensor, Tensor], circle: tuple[Tensor, Tensor], variables: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        mask = pick(self.circular, variables)
        return torch.where(mask, circle[0], real[0]), torch.where(mask, circle[1], real[1])
