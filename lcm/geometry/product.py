"""Product manifolds 𝓜_1 × … × 𝓜_k: points, tangent vectors, geodesics and distributions, factor by factor.

See docs/geometry.md section 1. Sources: do Carmo 1992, Riemannian Geometry, chapters 1 and 3, for the factors; Nagano
et al. 2019, section 3, for the wrapped normal.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import final

import torch
from torch import Tensor

from lcm.geometry.factors import Factor

_TOLERANCE = 1e-5


@final
class ProductManifold:
    """The product of `factors`; a point is the concatenation (N, D) of theirs.

    All methods accept any batch shape in place of N. Points and tangent vectors are checked to 1e-5; ValueError names
    the first row that is off.
    """

    def __init__(self, factors: Sequence[Factor]) -> None:
        """Raises ValueError when there are no factors."""
        if not factors:
            raise ValueError("Expected at least one factor of a product manifold; got none.")
        self.factors = tuple(factors)
        self.widths = [factor.width for factor in self.factors]

    def __str__(self) -> str:
        return " × ".join(map(str, self.factors))

    @property
    def n(self) -> int:
        """Dimension of the manifold."""
        return sum(factor.n for factor in self.factors)

    @property
    def width(self) -> int:
        """Coordinates D of a point."""
        return sum(self.widths)

    def split(self, x: Tensor) -> tuple[Tensor, ...]:
        """The coordinates (N, width_i) of each factor.

        Raises:
            ValueError: x is not (N, D).
        """
        if x.dim() < 1 or x.shape[-1] != self.width:
            raise ValueError(f"Expected shape (N, {self.width}) on {self}; got {tuple(x.shape)}.")
        return x.split(self.widths, -1)

    def join(self, parts: Sequence[Tensor]) -> Tensor:
        """The inverse of `split`.

        Raises:
            ValueError: another number of parts, or of another width.
        """
        found = [part.shape[-1] for part in parts]
        if found != self.widths:
            raise ValueError(f"Expected parts of {self.widths} coordinates on {self}; got {found}.")
        return torch.cat(list(parts), -1)

    def check_point(self, x: Tensor) -> None:
        """Raises ValueError, with factor, row and distance, when a row of x (N, D) is not on the manifold."""
        for index, (factor, part) in enumerate(zip(self.factors, self.split(x), strict=True)):
            self._refuse(factor.point_defect(part), index, "points on")

    def check_tangent(self, x: Tensor, u: Tensor) -> None:
        """Raises ValueError, with factor, row and distance, when a row of u (N, D) is not tangent at x (N, D)."""
        self.check_point(x)
        for index, (factor, at, part) in enumerate(zip(self.factors, self.split(x), self.split(u), strict=True)):
            finite = torch.where(part.isfinite().all(-1), 0.0, torch.nan)
            self._refuse(factor.tangent_defect(at, part) + finite, index, "vectors tangent to")

    def _refuse(self, defect: Tensor, index: int, what: str) -> None:
        # a NaN compares as false and is refused too
        off = ~(defect.reshape(-1) <= _TOLERANCE)
        if bool(off.any()):
            row = int(off.nonzero()[0, 0])
            size = float(defect.reshape(-1)[row])
            place = f"{self.factors[index]}, factor {index} of {self}"
            raise ValueError(f"Expected {what} {place}; got one {size:.3g} off in row {row}.")

    def project_tangent(self, x: Tensor, u: Tensor) -> Tensor:
        """The tangent vectors at x nearest to u, both (N, D)."""
        self.check_point(x)
        triples = zip(self.factors, self.split(x), self.split(u), strict=True)
        return torch.cat([factor.project_tangent(at, part) for factor, at, part in triples], -1)

    def exp(self, x: Tensor, u: Tensor) -> Tensor:
        """The end (N, D) of the geodesic that leaves x with velocity u, after unit time.

        Raises:
            ValueError: x off the manifold, u not tangent, or a geodesic that leaves the hyperbolic range.
        """
        self.check_tangent(x, u)
        triples = zip(self.factors, self.split(x), self.split(u), strict=True)
        return torch.cat([factor.exp(at, part) for factor, at, part in triples], -1)

    def log(self, x: Tensor, y: Tensor) -> Tensor:
        """The velocity (N, D) with which the shortest geodesic from x reaches y in unit time.

        Raises:
            ValueError: x or y off the manifold, or opposite points of a sphere, which have no unique geodesic.
        """
        self.check_point(x)
        self.check_point(y)
        triples = zip(self.factors, self.split(x), self.split(y), strict=True)
        return torch.cat([factor.log(one, other) for factor, one, other in triples], -1)

    def geodesic(self, x: Tensor, y: Tensor, t: Tensor | float) -> Tensor:
        """The points at time t of the shortest geodesics with x at 0 and y at 1.

        Args:
            x, y: (N, D).
            t: a number, or a tensor that broadcasts against (N,): (T, 1) gives curves (T, N, D).

        Raises:
            ValueError: as `log` and `exp`.
        """
        times = torch.as_tensor(t, dtype=x.dtype, device=x.device).unsqueeze(-1)
        velocity = times * self.log(x, y)
        return self.exp(x.expand(velocity.shape), velocity)

    def norm(self, x: Tensor, u: Tensor) -> Tensor:
        """Riemannian length (N,) of tangent vectors u (N, D) at x (N, D)."""
        self.check_tangent(x, u)
        triples = zip(self.factors, self.split(x), self.split(u), strict=True)
        return torch.linalg.vector_norm(
            torch.stack([factor.norm(at, part) for factor, at, part in triples], -1), dim=-1
        )

    def distances(self, x: Tensor, y: Tensor) -> Tensor:
        """The Riemannian distance in each factor, (N, k); a torus is one factor."""
        self.check_point(x)
        self.check_point(y)
        triples = zip(self.factors, self.split(x), self.split(y), strict=True)
        return torch.stack([factor.distance(one, other) for factor, one, other in triples], -1)

    def distance_sum(self, x: Tensor, y: Tensor) -> Tensor:
        """Σ_i d_i (N,): a distance, but not a geodesic one; it depends on the choice of factors."""
        return self.distances(x, y).sum(-1)

    def distance_riemannian(self, x: Tensor, y: Tensor) -> Tensor:
        """(Σ_i d_i²)^½ (N,): the length of the shortest curve, the norm of `log`."""
        return torch.linalg.vector_norm(self.distances(x, y), dim=-1)

    def sample_uniform(self, n_samples: int, generator: torch.Generator, dtype: torch.dtype | None = None) -> Tensor:
        """Uniform points (n_samples, D).

        Raises:
            ValueError: a factor that is not compact.
        """
        for index, factor in enumerate(self.factors):
            if not factor.is_compact:
                raise ValueError(
                    f"Expected compact factors for a uniform distribution; got {factor}, factor {index} of {self}."
                )
        return torch.cat([factor.uniform(n_samples, generator, dtype) for factor in self.factors], -1)

    def sample_wrapped_normal(self, mean: Tensor, scale: float | Sequence[float], generator: torch.Generator) -> Tensor:
        """One point (N, D) for each mean (N, D): the exponential of an isotropic normal tangent vector there.

        Args:
            mean: (N, D).
            scale: standard deviation of the tangent vector, one for all factors or one each, positive.
            generator: of the device of `mean`.

        Raises:
            ValueError: another number of scales, one that is not positive, or as `exp`.
        """
        scales = self._scales(scale)
        self.check_point(mean)
        triples = zip(self.factors, self.split(mean), scales, strict=True)
        return self.exp(mean, torch.cat([s * factor.tangent_normal(at, generator) for factor, at, s in triples], -1))

    def wrapped_normal_log_density(self, x: Tensor, mean: Tensor, scale: float | Sequence[float]) -> Tensor:
        """log density (N,) of `sample_wrapped_normal` at x, in nats, by Riemannian volume.

        A sum over all tangent vectors whose exponential is x; on circles and spheres, over the windings within eight
        standard deviations. On Sⁿ with n ≥ 2 it is unbounded at the point opposite to the mean, where the exponential
        map takes a whole sphere to a point.

        Raises:
            ValueError: another number of scales, one that is not positive, or points off the manifold.
        """
        scales = self._scales(scale)
        self.check_point(x)
        self.check_point(mean)
        parts = zip(self.factors, self.split(x), self.split(mean), scales, strict=True)
        return torch.stack([f.wrapped_normal_log_density(a, b, s) for f, a, b, s in parts], -1).sum(-1)

    def _scales(self, scale: float | Sequence[float]) -> list[float]:
        scales = [float(scale)] * len(self.factors) if isinstance(scale, (int, float)) else [float(s) for s in scale]
        if len(scales) != len(self.factors):
            raise ValueError(
                f"Expected one scale, or one for each of the {len(self.factors)} factors; got {len(scales)}."
            )
        if not all(s > 0 for s in scales):
            raise ValueError(f"Expected positive scales; got {min(scales)}.")
        return scales
