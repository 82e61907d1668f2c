"""Factors of a product manifold: Euclidean space, circle, torus, sphere and hyperbolic space.

Spheres and hyperbolic spaces use geoopt, an optional dependency that is imported only here, when one of them is
created. Two parts are our own: the circle as one angle, which geoopt lacks, and logarithm and distance on the sphere,
which geoopt 0.5 clamps below 4e-4. Hyperbolic space is geoopt's Poincaré ball, whose maps are accurate for points at
any distance; those of its Lorentz model lose all digits below a distance of 1e-4.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, final

import torch
from torch import Tensor

from lcm.model.circle import wrap

_LOG_SQRT_2PI = 0.5 * math.log(2.0 * math.pi)
_REACH = 8.0
_BALL_EDGE = {torch.float32: 4e-3, torch.float64: 1e-5}


def _geoopt() -> Any:
    try:
        import geoopt
    except ImportError as error:
        raise ValueError(
            "Expected geoopt for product manifolds; got an installation without it: "
            "pip install 'latent-causal-models[geometry]'"
        ) from error
    return geoopt


@dataclass(frozen=True)
class Factor(ABC):
    """Abstract: a complete Riemannian manifold of dimension n with points (..., width).

    Tangent vectors have the same coordinates as points. `ProductManifold` checks all arguments; a factor only raises
    ValueError for opposite points of a sphere, and for geodesics that leave the hyperbolic range.
    """

    n: int = 1

    def __post_init__(self) -> None:
        """Raises ValueError when n < 1."""
        if self.n < 1:
            raise ValueError(f"Expected a manifold of dimension at least 1; got {self.n}.")

    def __str__(self) -> str:
        return f"{type(self).__name__}({self.n})"

    @property
    def width(self) -> int:
        """Coordinates of a point."""
        return self.n

    @property
    def is_compact(self) -> bool:
        """Whether the manifold has a uniform distribution."""
        return True

    def point_defect(self, x: Tensor) -> Tensor:
        """Distance (...) of x (..., width) from the manifold; 0 for points."""
        return x.new_zeros(x.shape[:-1])

    def tangent_defect(self, x: Tensor, u: Tensor) -> Tensor:
        """Distance (...) of u (..., width) from the tangent space at x; 0 for tangent vectors."""
        return u.new_zeros(torch.broadcast_shapes(x.shape, u.shape)[:-1])

    def project_tangent(self, x: Tensor, u: Tensor) -> Tensor:
        """The tangent vector at x nearest to u (..., width)."""
        return u

    def norm(self, x: Tensor, u: Tensor) -> Tensor:
        """Riemannian length (...) of tangent vectors u at x."""
        return torch.linalg.vector_norm(u, dim=-1)

    def distance(self, x: Tensor, y: Tensor) -> Tensor:
        """Riemannian distance (...)."""
        return self.norm(x, self.log(x, y))

    def tangent_normal(self, x: Tensor, generator: torch.Generator) -> Tensor:
        """A standard normal tangent vector at each x (..., width)."""
        return self.project_tangent(x, _randn(x.shape, generator, x.dtype))

    @abstractmethod
    def exp(self, x: Tensor, u: Tensor) -> Tensor:
        """The end of the geodesic that leaves x with velocity u, after unit time."""

    @abstractmethod
    def log(self, x: Tensor, y: Tensor) -> Tensor:
        """The velocity with which the shortest geodesic from x reaches y in unit time."""

    @abstractmethod
    def uniform(self, n_samples: int, generator: torch.Generator, dtype: torch.dtype | None = None) -> Tensor:
        """Uniform points (n_samples, width); defined where `is_compact`."""

    @abstractmethod
    def wrapped_normal_log_density(self, x: Tensor, mean: Tensor, scale: float) -> Tensor:
        """log density (...), by Riemannian volume, of exp_mean(v), v normal of standard deviation `scale`."""


@final
@dataclass(frozen=True)
class Euclidean(Factor):
    """ℝⁿ."""

    @property
    def is_compact(self) -> bool:
        return False

    def exp(self, x: Tensor, u: Tensor) -> Tensor:
        return x + u

    def log(self, x: Tensor, y: Tensor) -> Tensor:
        return y - x

    def uniform(self, n_samples: int, generator: torch.Generator, dtype: torch.dtype | None = None) -> Tensor:
        raise AssertionError("ℝⁿ has no uniform distribution")

    def wrapped_normal_log_density(self, x: Tensor, mean: Tensor, scale: float) -> Tensor:
        return _radial_normal(self.distance(x, mean), self.n, scale)


@dataclass(frozen=True)
class _Angles(Factor):
    """n angles in (−π, π] with the flat metric; the logarithm of opposite angles is +π."""

    def point_defect(self, x: Tensor) -> Tensor:
        return (x.abs() - math.pi).clamp_min(0.0).amax(-1)

    def exp(self, x: Tensor, u: Tensor) -> Tensor:
        return wrap(x + u)

    def log(self, x: Tensor, y: Tensor) -> Tensor:
        return wrap(y - x)

    def uniform(self, n_samples: int, generator: torch.Generator, dtype: torch.dtype | None = None) -> Tensor:
        share = torch.rand(n_samples, self.n, generator=generator, device=generator.device, dtype=dtype)
        return math.pi - 2.0 * math.pi * share

    def wrapped_normal_log_density(self, x: Tensor, mean: Tensor, scale: float) -> Tensor:
        return _radial_normal(_windings(wrap(x - mean), scale), 1, scale).logsumexp(-1).sum(-1)


@final
@dataclass(frozen=True)
class Torus(_Angles):
    """n circles of radius 1 as one factor; a point is n angles in (−π, π]."""


@final
@dataclass(frozen=True)
class Circle(_Angles):
    """S¹ of radius 1; a point is one angle in (−π, π]."""

    def __post_init__(self) -> None:
        """Raises ValueError when n is not 1."""
        if self.n != 1:
            raise ValueError(f"Expected a circle of dimension 1; got {self.n}. Torus(n) is the product of n circles.")

    def __str__(self) -> str:
        return "Circle()"


@final
@dataclass(frozen=True)
class Sphere(Factor):
    """Sⁿ, the unit vectors of ℝⁿ⁺¹."""

    def __post_init__(self) -> None:
        """Raises ValueError when n < 1, or without geoopt."""
        super().__post_init__()
        _geoopt()

    @property
    def width(self) -> int:
        return self.n + 1

    def point_defect(self, x: Tensor) -> Tensor:
        return (torch.linalg.vector_norm(x, dim=-1) - 1.0).abs()

    def tangent_defect(self, x: Tensor, u: Tensor) -> Tensor:
        return (x * u).sum(-1).abs() / torch.linalg.vector_norm(u, dim=-1).clamp_min(1.0)

    def project_tangent(self, x: Tensor, u: Tensor) -> Tensor:
        projected: Tensor = _geoopt().Sphere().proju(x, u)
        return projected

    def distance(self, x: Tensor, y: Tensor) -> Tensor:
        # geoopt's arc cosine loses all digits for points that are close or nearly opposite
        return 2.0 * torch.atan2(torch.linalg.vector_norm(y - x, dim=-1), torch.linalg.vector_norm(y + x, dim=-1))

    def exp(self, x: Tensor, u: Tensor) -> Tensor:
        sphere = _geoopt().Sphere()
        end: Tensor = sphere.projx(sphere.expmap(x, u))
        return end

    def log(self, x: Tensor, y: Tensor) -> Tensor:
        gap = torch.linalg.vector_norm(x + y, dim=-1)
        if bool((gap < 1e3 * torch.finfo(gap.dtype).eps).any()):
            raise ValueError(
                f"Expected points of {self} that are not opposite, for a unique geodesic; got opposite ones."
            )
        across = self.project_tangent(x, y - x)
        length = torch.linalg.vector_norm(across, dim=-1)
        # the branch that is not taken has a gradient too
        stretch = torch.where(length > 0, self.distance(x, y) / torch.where(length > 0, length, 1.0), 1.0)
        # near the opposite point the stretch is large and amplifies rounding errors
        return self.project_tangent(x, across * stretch.unsqueeze(-1))

    def uniform(self, n_samples: int, generator: torch.Generator, dtype: torch.dtype | None = None) -> Tensor:
        points: Tensor = _geoopt().Sphere().projx(_randn((n_samples, self.width), generator, dtype))
        return points

    def wrapped_normal_log_density(self, x: Tensor, mean: Tensor, scale: float) -> Tensor:
        radius = self.distance(x, mean)
        # every tangent vector of length |r + 2πk| along the great circle through x ends at x
        lengths = _windings(radius, scale).abs()
        sine = torch.sin(radius).clamp_min(torch.finfo(x.dtype).eps ** 0.5).unsqueeze(-1)
        log_stretch = (lengths.clamp_min(torch.finfo(x.dtype).eps ** 0.5) / sine).log()
        return (_radial_normal(lengths, self.n, scale) + (self.n - 1) * log_stretch).logsumexp(-1)


@final
@dataclass(frozen=True)
class Hyperbolic(Factor):
    """Hⁿ of curvature −1 as the Poincaré ball: n coordinates of norm below 1.

    Coordinates lose precision near the edge of the ball, so points must be within 12.2 of the origin in float64 and 6.2
    in float32.
    """

    def __post_init__(self) -> None:
        """Raises ValueError when n < 1, or without geoopt."""
        super().__post_init__()
        _geoopt()

    @property
    def is_compact(self) -> bool:
        return False

    def point_defect(self, x: Tensor) -> Tensor:
        return (torch.linalg.vector_norm(x, dim=-1) - self._edge(x.dtype)).clamp_min(0.0)

    def norm(self, x: Tensor, u: Tensor) -> Tensor:
        return self._conformal(x) * torch.linalg.vector_norm(u, dim=-1)

    def distance(self, x: Tensor, y: Tensor) -> Tensor:
        distance: Tensor = _geoopt().PoincareBall().dist(x, y)
        return distance

    def tangent_normal(self, x: Tensor, generator: torch.Generator) -> Tensor:
        return _randn(x.shape, generator, x.dtype) / self._conformal(x).unsqueeze(-1)

    def exp(self, x: Tensor, u: Tensor) -> Tensor:
        end: Tensor = _geoopt().PoincareBall().expmap(x, u)
        if bool((torch.linalg.vector_norm(end, dim=-1) > self._edge(end.dtype) * (1.0 - 1e-7)).any()):
            reach = 2.0 * math.atanh(self._edge(end.dtype))
            raise ValueError(
                f"Expected geodesics of {self} within {reach:.1f} of the origin; got one that goes further."
            )
        return end

    def log(self, x: Tensor, y: Tensor) -> Tensor:
        velocity: Tensor = _geoopt().PoincareBall().logmap(x, y)
        return velocity

    def uniform(self, n_samples: int, generator: torch.Generator, dtype: torch.dtype | None = None) -> Tensor:
        raise AssertionError("Hⁿ has no uniform distribution")

    def wrapped_normal_log_density(self, x: Tensor, mean: Tensor, scale: float) -> Tensor:
        radius = self.distance(x, mean)
        small = radius.clamp_min(torch.finfo(x.dtype).eps ** 0.5)
        # log(sinh r / r), with exp(r) factored out of sinh to avoid overflow
        log_stretch = small + torch.log1p(-torch.exp(-2.0 * small)) - (2.0 * small).log()
        return _radial_normal(radius, self.n, scale) - (self.n - 1) * log_stretch

    @staticmethod
    def _conformal(x: Tensor) -> Tensor:
        return 2.0 / (1.0 - x.square().sum(-1))

    @staticmethod
    def _edge(dtype: torch.dtype) -> float:
        return 1.0 - _BALL_EDGE.get(dtype, 4e-3)


def _randn(shape: Any, generator: torch.Generator, dtype: torch.dtype | None) -> Tensor:
    return torch.randn(shape, generator=generator, device=generator.device, dtype=dtype)


def _radial_normal(radius: Tensor, n: int, scale: float) -> Tensor:
    """log density of an isotropic normal of ℝⁿ at distance `radius` from its mean, elementwise."""
    return -0.5 * (radius / scale).square() - n * (math.log(scale) + _LOG_SQRT_2PI)


def _windings(angle: Tensor, scale: float) -> Tensor:
    """angle + 2πk (..., K) for all k that a normal of standard deviation `scale` reaches."""
    most = math.ceil(_REACH * scale / (2.0 * math.pi)) + 1
    turns = torch.arange(-most, most + 1, device=angle.device, dtype=angle.dtype)
    return angle.unsqueeze(-1) + 2.0 * math.pi * turns
