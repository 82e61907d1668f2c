"""Geodesics of the metric that a decoder pulls back, between pairs of latent points.

Each is a cubic spline with fixed ends whose energy is minimised, all pairs at once, starting from the straight line
(docs/geometry.md section 2). What is found is a local minimum within the splines, measured on decoded points.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import numpy as np
import torch
from scipy.interpolate import CubicSpline
from torch import Tensor

from lcm.decoder import Decoder
from lcm.geometry.pullback import Decode, as_decode, curve_energy, curve_length, pullback_metric
from lcm.model import LatentCausalModel


@final
@dataclass(frozen=True, eq=False)
class Geodesics:
    """P curves between given points, beside the straight lines between them.

    Attributes:
        curve, straight: (P, T, n).
        length, straight_length: (P,), in units of 𝒳.
        energy, straight_energy: (P,), at least length² / 2.
        gradient: (P,), norm of the energy's gradient over the energy, in coordinates in which straight lines of a
            constant metric have Hessian 1; near 0 where the minimisation has converged.
    """

    curve: Tensor
    straight: Tensor
    length: Tensor
    straight_length: Tensor
    energy: Tensor
    straight_energy: Tensor
    gradient: Tensor


def find_geodesics(
    decoder: Decoder | LatentCausalModel | Decode,
    start: Tensor,
    end: Tensor,
    *,
    knots: int = 8,
    points: int = 65,
    steps: int = 1000,
    tolerance: float | None = None,
) -> Geodesics:
    """Minimise the energy of splines between start and end, both (P, n), by L-BFGS.

    Args:
        decoder: differentiable; see `as_decode`.
        start, end: (P, n).
        knots: free knots of each spline, at least 2.
        points: T, on which length and energy are measured, more than twice as many.
        steps: at most so many iterations.
        tolerance: end where no entry of the gradient, for an energy of 1, is larger; the energy is then too large by a
            share of about its square. Default: 1e-5 in float64, 1e-3 in float32.

    Raises:
        ValueError: ends of different or another shape, too few knots or points, or a metric that is singular at an
            end or on the way.
    """
    decode = as_decode(decoder)
    if start.dim() != 2 or start.shape != end.shape:
        raise ValueError(f"Expected ends of equal shape (P, n); got {tuple(start.shape)} and {tuple(end.shape)}.")
    if knots < 2 or points <= 2 * knots:
        raise ValueError(f"Expected at least 2 knots and more than twice as many points; got {knots} and {points}.")
    if tolerance is None:
        tolerance = 1e-5 if start.dtype == torch.float64 else 1e-3
    start, end = start.detach(), end.detach()
    pullback_metric(decode, torch.cat([start, end]))
    time = torch.linspace(0.0, 1.0, points, dtype=start.dtype, device=start.device)[:, None]
    straight = start[:, None] + time * (end - start)[:, None]
    basis = torch.as_tensor(_spline_basis(knots, points)).to(start)
    # equal ends have an energy of zero, or of rounding errors
    scale = curve_energy(decode, straight).detach().clamp_min(torch.finfo(start.dtype).eps ** 2)
    weights, gradient = _minimise(decode, straight, basis, scale, steps, tolerance)
    with torch.no_grad():
        curve = straight + basis @ weights
        pullback_metric(decode, curve[:, :: max(1, points // (2 * knots))].reshape(-1, start.shape[1]))
        energy = curve_energy(decode, curve)
        return Geodesics(
            curve=curve,
            straight=straight,
            length=curve_length(decode, curve),
            straight_length=curve_length(decode, straight),
            energy=energy,
            straight_energy=curve_energy(decode, straight),
            gradient=gradient * scale / energy.clamp_min(torch.finfo(energy.dtype).tiny),
        )


def _spline_basis(knots: int, points: int) -> np.ndarray:
    """Cubic splines (T, knots) that vanish at both ends, orthonormal in ∫ ċ² dt of the polygon through their points.

    In their coefficients the energy under a constant metric is a round bowl.
    """
    places = np.linspace(0.0, 1.0, knots + 2)
    splines = CubicSpline(places, np.eye(knots + 2))(np.linspace(0.0, 1.0, points))[:, 1:-1]
    speed = np.diff(splines, axis=0) * np.sqrt(points - 1)
    triangle = np.linalg.cholesky(speed.T @ speed)
    return np.linalg.solve(triangle, splines.T).T


def _minimise(
    decode: Decode, straight: Tensor, basis: Tensor, scale: Tensor, steps: int, tolerance: float
) -> tuple[Tensor, Tensor]:
    """Coefficients (P, knots, n) of least energy and the gradient norm (P,) there, both for energies over `scale`."""
    chord = torch.linalg.vector_norm(straight[:, -1] - straight[:, 0], dim=-1).clamp_min(1e-12)[:, None, None]
    free = torch.zeros(len(straight), basis.shape[1], straight.shape[2], dtype=straight.dtype, device=straight.device)
    free.requires_grad_(True)

    def energies() -> Tensor:
        return curve_energy(decode, straight + basis @ (chord * free)) / scale

    def closure() -> Tensor:
        with torch.enable_grad():
            total = energies().sum()
            # for `free` alone: the decoder's own parameters gather no gradients
            (free.grad,) = torch.autograd.grad(total, free)
        return total.detach()

    optimiser = torch.optim.LBFGS(
        [free],
        max_iter=steps,
        history_size=20,
        tolerance_grad=tolerance,
        tolerance_change=torch.finfo(free.dtype).eps,
        line_search_fn="strong_wolfe",
    )
    optimiser.step(closure)
    with torch.enable_grad():
        (gradient,) = torch.autograd.grad(energies().sum(), free)
    return (chord * free).detach(), torch.linalg.vector_norm(gradient.flatten(1), dim=-1)
