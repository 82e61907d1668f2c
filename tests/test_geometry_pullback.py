"""Pulled-back metrics and geodesics against surfaces whose metric is known, and against decoders' log-determinants."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import pytest
import torch
from laws import BASE_MODELS, DECODERS, N, batch_jacobian, drawn_flow, generator, normal
from torch import Tensor, nn

from lcm.geometry import (
    ProductManifold,
    Sphere,
    curve_energy,
    curve_length,
    find_geodesics,
    jacobian,
    log_magnification,
    magnification,
    pullback_metric,
)
from lcm.model.decoder import EmbeddingDecoder, LinearDecoder

pytestmark = pytest.mark.usefixtures("float64")


def sphere(z: Tensor) -> Tensor:
    """Colatitude and longitude (N, 2) to the unit sphere."""
    colatitude, longitude = z.unbind(-1)
    ring = colatitude.sin()
    return torch.stack([ring * longitude.cos(), ring * longitude.sin(), colatitude.cos()], -1)


def torus(z: Tensor) -> Tensor:
    """Angles around the tube, of radius 1/2, and around the axis, at distance 2."""
    tube, axis = z.unbind(-1)
    ring = 2.0 + 0.5 * tube.cos()
    return torch.stack([ring * axis.cos(), ring * axis.sin(), 0.5 * tube.sin()], -1)


def paraboloid(z: Tensor) -> Tensor:
    return torch.cat([z, 0.5 * z.square().sum(-1, keepdim=True)], -1)


def diagonal(first: Tensor, second: Tensor) -> Tensor:
    return torch.diag_embed(torch.stack([first, second], -1))


class Surface(NamedTuple):
    """A surface in ℝ³ with its metric in closed form."""

    decode: Callable[[Tensor], Tensor]
    metric: Callable[[Tensor], Tensor]


SURFACES = {
    "sphere": Surface(sphere, lambda z: diagonal(torch.ones(len(z)), z[:, 0].sin().square())),
    "torus": Surface(torus, lambda z: diagonal(torch.full((len(z),), 0.25), (2.0 + 0.5 * z[:, 0].cos()).square())),
    "paraboloid": Surface(paraboloid, lambda z: torch.eye(2) + z.unsqueeze(2) * z.unsqueeze(1)),
}
every_surface = pytest.mark.parametrize("surface", SURFACES.values(), ids=SURFACES)
every_decoder = pytest.mark.parametrize("name", DECODERS)


def latent(rows: int, seed: int = 0) -> Tensor:
    """Points in a box away from the poles of the sphere."""
    share = torch.rand(rows, 2, generator=generator(seed))
    return torch.tensor([0.6, -1.0]) + torch.tensor([1.9, 2.0]) * share


@every_surface
@pytest.mark.parametrize("mode", ["auto", "forward", "reverse"])
def test_metrics_in_closed_form(surface: Surface, mode: str) -> None:
    z = latent(50)
    expected = surface.metric(z)
    assert torch.allclose(pullback_metric(surface.decode, z, mode), expected, atol=1e-12)  # type: ignore[arg-type]
    area = torch.linalg.det(expected).sqrt()
    assert torch.allclose(magnification(surface.decode, z, mode), area, atol=1e-12)  # type: ignore[arg-type]


def test_the_magnification_integrates_to_the_area() -> None:
    axis = (torch.arange(200) + 0.5) / 200
    grid = torch.cartesian_prod(axis * math.pi, axis * 2 * math.pi)
    assert float(magnification(sphere, grid).mean()) * 2 * math.pi**2 == pytest.approx(4 * math.pi, rel=1e-4)
    assert float(magnification(torus, 2 * grid).mean()) * 4 * math.pi**2 == pytest.approx(4 * math.pi**2, rel=1e-4)


@every_decoder
def test_jacobians_of_decoders_in_both_modes(name: str) -> None:
    decoder = DECODERS[name]()
    z = normal(20, decoder.n)
    forward, reverse = jacobian(decoder, z, "forward"), jacobian(decoder, z, "reverse")
    assert forward.shape == (20, decoder.d, decoder.n)
    assert torch.allclose(forward, reverse, atol=1e-10)
    assert torch.allclose(forward, batch_jacobian(lambda rows: decoder(rows)[0], z), atol=1e-10)


@every_decoder
def test_the_magnification_of_a_decoder_is_its_log_determinant(name: str) -> None:
    decoder = DECODERS[name]()
    z = normal(50, decoder.n)
    assert torch.allclose(log_magnification(decoder, z), decoder(z)[1], atol=1e-9)
    assert torch.allclose(magnification(decoder, z), decoder(z)[1].exp(), rtol=1e-9)


@every_decoder
def test_metrics_are_symmetric_and_positive(name: str) -> None:
    decoder = DECODERS[name]()
    metric = pullback_metric(decoder, normal(50, decoder.n))
    assert torch.allclose(metric, metric.mT, rtol=0, atol=1e-12)
    assert bool((torch.linalg.eigvalsh(metric) > 0).all())


def test_models_and_modules_are_decoders_too() -> None:
    model, z = BASE_MODELS["embedded"](), normal(10, N)
    assert torch.equal(pullback_metric(model, z), pullback_metric(model.decoder, z))
    network = nn.Sequential(nn.Linear(N, 8), nn.Tanh(), nn.Linear(8, 6))
    assert torch.allclose(jacobian(network, z), batch_jacobian(network, z))


def test_auto_takes_fewer_passes(monkeypatch: pytest.MonkeyPatch) -> None:
    import lcm.geometry.pullback as pullback

    used = []
    for mode in ("_forward", "_reverse"):
        monkeypatch.setattr(pullback, mode, lambda decode, z, mode=mode: used.append(mode))
    jacobian(EmbeddingDecoder(2, 5), normal(3, 2))
    jacobian(lambda z: z[:, :2], normal(3, 5))
    assert used == ["_forward", "_reverse"]


@every_surface
def test_length_and_energy_of_curves(surface: Surface) -> None:
    time = torch.linspace(0.0, 1.0, 400).unsqueeze(1)
    curve = torch.cat([1.0 + 0.5 * time.square(), time.sin()], 1)
    velocity = torch.cat([time, time.cos()], 1)
    square = torch.einsum("ti,tij,tj->t", velocity, surface.metric(curve), velocity)
    assert float(curve_length(surface.decode, curve)) == pytest.approx(
        float(torch.trapezoid(square.sqrt(), dx=1 / 399)), rel=1e-5
    )
    assert float(curve_energy(surface.decode, curve)) == pytest.approx(
        float(torch.trapezoid(square / 2, dx=1 / 399)), rel=1e-5
    )


@every_surface
def test_energy_is_at_least_half_the_squared_length(surface: Surface) -> None:
    curves = latent(8 * 30).reshape(8, 30, 2)
    length, energy = curve_length(surface.decode, curves), curve_energy(surface.decode, curves)
    assert length.shape == energy.shape == (8,)
    assert bool((energy > length.square() / 2 * 1.01).all())


def test_energy_at_constant_speed_is_half_the_squared_length() -> None:
    meridian = torch.stack([torch.linspace(0.5, 2.0, 50), torch.zeros(50)], 1)
    length = float(curve_length(sphere, meridian))
    assert length == pytest.approx(1.5, rel=1e-4)
    assert float(curve_energy(sphere, meridian)) == pytest.approx(length**2 / 2, rel=1e-12)


def test_geodesics_of_the_sphere_are_great_circles() -> None:
    start, end = latent(30, 1), latent(30, 2)
    found = find_geodesics(sphere, start, end, points=257)
    manifold = ProductManifold([Sphere(2)])
    distance = manifold.distance_riemannian(sphere(start), sphere(end))
    assert torch.allclose(found.length, distance, rtol=1e-5)
    assert float((found.straight_length / distance).max()) > 1.01
    assert float(found.gradient.max()) < 1e-4
    # the curves themselves, point by point, and at constant speed
    times = torch.linspace(0.0, 1.0, 257).unsqueeze(1)
    circles = manifold.geodesic(sphere(start), sphere(end), times).transpose(0, 1)
    assert float((sphere(found.curve.reshape(-1, 2)).reshape(circles.shape) - circles).abs().max()) < 3e-3
    assert torch.allclose(found.energy, found.length.square() / 2, rtol=1e-5)


def test_geodesics_of_a_flow_onto_its_own_space_decode_to_straight_lines() -> None:
    # a decoder from ℝⁿ onto ℝⁿ bends nothing but coordinates: the shortest way in 𝒳 is the straight line there
    flow = drawn_flow(2, "affine").requires_grad_(False)
    start, end = normal(10, 2, seed=1), normal(10, 2, seed=2)
    found = find_geodesics(flow, start, end)
    ends = [flow(z)[0] for z in (start, end)]
    distance = torch.linalg.vector_norm(ends[1] - ends[0], dim=1)
    assert torch.allclose(found.length, distance, rtol=1e-3)
    assert float((found.straight_length / distance).max()) > 1.01


@pytest.mark.parametrize("name", ["linear", "affine", "embedding", "rotation"])
def test_geodesics_of_linear_decoders_are_straight(name: str) -> None:
    found = find_geodesics(DECODERS[name](), normal(5, N, seed=1), normal(5, N, seed=2))
    assert torch.allclose(found.curve, found.straight, atol=1e-7)
    assert torch.allclose(found.length, found.straight_length)


@every_surface
def test_geodesics_keep_their_ends_and_are_no_longer_than_straight_lines(surface: Surface) -> None:
    start, end = latent(12, 1), latent(12, 2)
    found = find_geodesics(surface.decode, start, end)
    assert torch.equal(found.straight[:, 0], start)
    assert torch.allclose(found.curve[:, 0], start, atol=1e-12)
    assert torch.allclose(found.curve[:, -1], end, atol=1e-12)
    assert bool((found.length <= found.straight_length + 1e-9).all())
    assert bool((found.energy <= found.straight_energy + 1e-9).all())
    # a curve with fixed ends and a little more is longer
    bump = 0.05 * torch.linspace(0.0, math.pi, 65).sin().unsqueeze(1) * torch.tensor([1.0, -0.7])
    assert bool((curve_energy(surface.decode, found.curve + bump) > found.energy).all())


def test_geodesics_do_not_depend_on_what_else_is_in_the_batch() -> None:
    start, end = latent(12, 1), latent(12, 2)
    together, alone = find_geodesics(torus, start, end), find_geodesics(torus, start[:1], end[:1])
    assert torch.allclose(together.curve[:1], alone.curve, atol=1e-5)
    assert torch.allclose(together.length[:1], alone.length, rtol=1e-8)


def test_geodesics_leave_the_decoder_alone() -> None:
    flow = drawn_flow(2, "affine")
    found = find_geodesics(flow, normal(3, 2, seed=1), normal(3, 2, seed=2), steps=5)
    assert not found.curve.requires_grad
    assert all(parameter.grad is None for parameter in flow.parameters())


def test_equal_ends_and_single_precision() -> None:
    z = latent(3).float()
    found = find_geodesics(sphere, z, z)
    assert torch.equal(found.length, torch.zeros(3, dtype=torch.float32))
    assert bool(found.gradient.isfinite().all())
    moved = find_geodesics(sphere, z, latent(3, 4).float())
    exact = find_geodesics(sphere, z.double(), latent(3, 4))
    assert moved.curve.dtype == torch.float32
    assert torch.allclose(moved.length.double(), exact.length, rtol=1e-4)


def test_singular_metrics_are_an_error_that_says_where() -> None:
    z = latent(5)
    z[3] = torch.tensor([0.0, 0.5])
    for function in (pullback_metric, magnification):
        with pytest.raises(
            ValueError,
            match=r"Expected a regular metric; got singular values from .* to 1 at z = \(0, 0\.5\), row 3, 1 such",
        ):
            function(sphere, z)
    with pytest.raises(ValueError, match=r"Expected a regular metric; got singular values from 0 to"):
        pullback_metric(lambda rows: rows[:, :1].expand(-1, 3) * torch.arange(3.0), z)
    with pytest.raises(ValueError, match=r"Expected a regular metric.*\(0, 0\.5\)"):
        find_geodesics(sphere, z, latent(5, 1))
    # over the pole
    with pytest.raises(ValueError, match="Expected a regular metric"):
        find_geodesics(sphere, torch.tensor([[-1.0, 0.0]]), torch.tensor([[1.0, 0.0]]))
    with pytest.raises(ValueError, match="got a Jacobian that is not finite at z"):
        magnification(torch.log, torch.tensor([[1.0, 0.0]]))


def test_wrong_arguments_are_errors() -> None:
    z = latent(4)
    with pytest.raises(ValueError, match=r"Expected latent points of shape \(N, n\); got \(2,\)"):
        pullback_metric(sphere, z[0])
    with pytest.raises(ValueError, match="Expected a mode of auto, forward or reverse; got 'both'"):
        jacobian(sphere, z, "both")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="Expected a decoder into at least n = 2 dimensions; got 1"):
        magnification(lambda rows: rows[:, :1], z)
    with pytest.raises(ValueError, match=r"Expected curves of at least two points.*; got \(1, 2\)"):
        curve_length(sphere, z[:1])
    with pytest.raises(ValueError, match=r"Expected ends of equal shape \(P, n\); got \(4, 2\) and \(3, 2\)"):
        find_geodesics(sphere, z, z[:3])
    with pytest.raises(ValueError, match="Expected at least 2 knots and more than twice as many points; got 8 and 16"):
        find_geodesics(sphere, z, z, points=16)


def test_a_linear_decoder_has_the_same_metric_everywhere() -> None:
    matrix = normal(N, N)
    metric = pullback_metric(LinearDecoder(N, matrix), normal(7, N))
    assert torch.allclose(metric, (matrix.T @ matrix).expand(7, N, N))
