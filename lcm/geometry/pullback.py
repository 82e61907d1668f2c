"""The pullback metric of a decoder g: 𝒵 → 𝒳 on its latent space, and geodesics of that metric.

G(z) = J(z)ᵀ J(z), J = ∂g/∂z, measures steps in 𝒵 by their Euclidean length in 𝒳 (docs/geometry.md section 2;
Arvanitidis et al. 2018, Shao et al. 2018). Jacobians are exact: automatic differentiation over all points
at once, in n forward passes or d backward passes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, final

import numpy as np
import torch
from scipy.interpolate import CubicSpline
from torch import Tensor
from torch.func import jvp, vjp, vmap

from lcm.model.decoder import Decoder
from lcm.model.latent_causal_model import LatentCausalModel

Decode = Callable[[Tensor], Tensor]
"""A map of rows, z (N, n) to x (N, d): each row of x depends on the same row of z alone."""

Mode = Literal["auto", "forward", "reverse"]


def as_decode(decoder: Decoder | LatentCausalModel | Decode) -> Decode:
    """z (N, n) → x (N, d) of a decoder, of a latent causal model, of an object with a method `decode`, or itself."""
    if isinstance(decoder, Decoder):
        return decoder.decode
    return getattr(decoder, "decode", decoder)


def jacobian(decoder: Decoder | LatentCausalModel | Decode, z: Tensor, mode: Mode = "auto") -> Tensor:
    """J (N, d, n) at points z (N, n).

    Args:
        decoder: differentiable; see `as_decode`.
        z: (N, n).
        mode: "forward" costs n passes, "reverse" d; "auto" takes the cheaper one.

    Raises:
        ValueError: z is not a table, or an unknown mode.
    """
    decode = as_decode(decoder)
    if z.dim() != 2:
        raise ValueError(f"Expected latent points of shape (N, n); got {tuple(z.shape)}.")
    if mode not in ("auto", "forward", "reverse"):
        raise ValueError(f"Expected a mode of auto, forward or reverse; got {mode!r}.")
    if mode == "auto":
        mode = "forward" if z.shape[1] < decode(z[:1].detach()).shape[1] else "reverse"
    return _forward(decode, z) if mode == "forward" else _reverse(decode, z)


def _forward(decode: Decode, z: Tensor) -> Tensor:
    def along(direction: Tensor) -> Tensor:
        change: Tensor = jvp(decode, (z,), (direction.expand_as(z),))[1]
        return change

    axes = torch.eye(z.shape[1], dtype=z.dtype, device=z.device)
    return vmap(along)(axes).permute(1, 2, 0)


def _reverse(decode: Decode, z: Tensor) -> Tensor:
    x, pull = vjp(decode, z)[:2]
    axes = torch.eye(x.shape[1], dtype=x.dtype, device=x.device)
    rows: Tensor = vmap(lambda axis: pull(axis.expand_as(x))[0])(axes)
    return rows.permute(1, 0, 2)


def pullback_metric(decoder: Decoder | LatentCausalModel | Decode, z: Tensor, mode: Mode = "auto") -> Tensor:
    """G = JᵀJ (N, n, n), symmetric and positive definite, at points z (N, n).

    Raises:
        ValueError: G is singular at one of the points, or not finite; also as `jacobian`.
    """
    j = jacobian(decoder, z, mode)
    _singular_values(j, z)
    return j.mT @ j


def magnification(decoder: Decoder | LatentCausalModel | Decode, z: Tensor, mode: Mode = "auto") -> Tensor:
    """The magnification factor √det G (N,) > 0 at points z (N, n): the volume in 𝒳 per volume in 𝒵.

    Raises:
        ValueError: as `pullback_metric`.
    """
    return log_magnification(decoder, z, mode).exp()


def log_magnification(decoder: Decoder | LatentCausalModel | Decode, z: Tensor, mode: Mode = "auto") -> Tensor:
    """½ log det G (N,), from the singular values of J; it equals the log-determinant of a `Decoder`.

    Raises:
        ValueError: as `pullback_metric`.
    """
    return _singular_values(jacobian(decoder, z, mode), z).log().sum(-1)


def _singular_values(j: Tensor, z: Tensor) -> Tensor:
    """Singular values (N, n) of Jacobians; ValueError, with the first point, where one is zero to rounding."""
    d, n = j.shape[1:]
    if d < n:
        raise ValueError(f"Expected a decoder into at least n = {n} dimensions; got {d}: its metric is singular.")
    finite = j.isfinite().all(-1).all(-1)
    values = torch.linalg.svdvals(torch.where(finite[:, None, None], j, 0.0))
    smallest, largest = values[:, -1], values[:, 0]
    bad = ~finite | (smallest <= 10.0 * d * torch.finfo(j.dtype).eps * largest)
    if bool(bad.any()):
        row = int(bad.nonzero()[0, 0])
        place = ", ".join(f"{float(value):.4g}" for value in z[row])
        got = f"singular values from {float(smallest[row]):.3g} to {float(largest[row]):.3g}"
        got = got if bool(finite[row]) else "a Jacobian that is not finite"
        raise ValueError(
            f"Expected a regular metric; got {got} at z = ({place}), row {row}, {int(bad.sum())} such rows."
        )
    return values


def curve_length(decoder: Decoder | LatentCausalModel | Decode, curve: Tensor) -> Tensor:
    """Length (...) in 𝒳 of curves (..., T, n) in 𝒵: the polygon through the T decoded points, a lower bound.

    Raises:
        ValueError: curves of fewer than two points.
    """
    return torch.linalg.vector_norm(_chords(as_decode(decoder), curve), dim=-1).sum(-1)


def curve_energy(decoder: Decoder | LatentCausalModel | Decode, curve: Tensor) -> Tensor:
    """Energy `½ ∫ |ẋ|² dt` (...) of the same polygon, traversed in unit time with equal time for each side.

    It is at least half the squared length, with equality at constant speed only.

    Raises:
        ValueError: curves of fewer than two points.
    """
    chords = _chords(as_decode(decoder), curve)
    return 0.5 * chords.shape[-2] * chords.square().sum((-1, -2))


def _chords(decode: Decode, curve: Tensor) -> Tensor:
    """Differences (..., T − 1, d) of neighbouring decoded points."""
    if curve.dim() < 2 or curve.shape[-2] < 2:
        raise ValueError(f"Expected curves of at least two points, (T, n) or (P, T, n); got {tuple(curve.shape)}.")
    x = decode(curve.reshape(-1, curve.shape[-1]))
    return x.reshape(*curve.shape[:-1], -1).diff(dim=-2)


@final
@dataclass(frozen=True, eq=False)
class Geodesics:
    """P curves between given points, and the straight lines between the same points.

    Attributes:
        curve, straight: (P, T, n).
        length, straight_length: (P,), in units of 𝒳.
        energy, straight_energy: (P,), at least length² / 2.
        gradient: (P,), norm of the gradient of the energy divided by the energy, in coordinates in which the Hessian of
            straight lines of a constant metric is 1; near 0 if the minimisation has converged.
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
        points: T, the points that measure length and energy, more than twice the number of knots.
        steps: largest number of iterations.
        tolerance: stop when no entry of the gradient, for an energy of 1, is larger; the relative excess energy is then
            about its square. Default: 1e-5 in float64, 1e-3 in float32.

    Raises:
        ValueError: ends of different or wrong shape, too few knots or points, or a metric that is singular at an end
            or along the curve.
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
    # equal ends have zero energy up to rounding
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

    In these coefficients, the Hessian of the energy of a constant metric is the identity.
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
            # for `free` only, so that the decoder's parameters accumulate no gradients
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
