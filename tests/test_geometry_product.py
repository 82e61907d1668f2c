"""Laws of product manifolds, over one dict of them."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable

import pytest
import torch
from laws import default_dtype, generator, normal
from torch import Tensor

from lcm.geometry import Circle, Euclidean, Factor, Hyperbolic, ProductManifold, Sphere, Torus

pytestmark = pytest.mark.usefixtures("float64")

MANIFOLDS: dict[str, Callable[[], ProductManifold]] = {
    "euclidean": lambda: ProductManifold([Euclidean(3)]),
    "circle": lambda: ProductManifold([Circle()]),
    "torus": lambda: ProductManifold([Torus(3)]),
    "sphere-1": lambda: ProductManifold([Sphere(1)]),
    "sphere-2": lambda: ProductManifold([Sphere(2)]),
    "sphere-4": lambda: ProductManifold([Sphere(4)]),
    "hyperbolic-1": lambda: ProductManifold([Hyperbolic(1)]),
    "hyperbolic-2": lambda: ProductManifold([Hyperbolic(2)]),
    "all-compact": lambda: ProductManifold([Circle(), Sphere(2), Torus(2), Sphere(3)]),
    "all": lambda: ProductManifold([Sphere(2), Euclidean(2), Hyperbolic(3), Circle(), Torus(2)]),
}
COMPACT = [name for name, factory in MANIFOLDS.items() if all(f.is_compact for f in factory().factors)]
every_manifold = pytest.mark.parametrize("name", MANIFOLDS)
every_compact = pytest.mark.parametrize("name", COMPACT)
ROWS = 40


def origin(manifold: ProductManifold, rows: int = ROWS) -> Tensor:
    parts = [torch.zeros(rows, factor.width) for factor in manifold.factors]
    for factor, part in zip(manifold.factors, parts, strict=True):
        if isinstance(factor, Sphere):
            part[:, 0] = 1.0
    return manifold.join(parts)


def points(manifold: ProductManifold, seed: int = 0, rows: int = ROWS) -> Tensor:
    return manifold.sample_wrapped_normal(origin(manifold, rows), 1.0, generator(seed))


def tangents(manifold: ProductManifold, x: Tensor, length: float, seed: int = 3) -> Tensor:
    """Tangent vectors at x of a given Riemannian length."""
    u = manifold.project_tangent(x, normal(*x.shape, seed=seed))
    return length * u / manifold.norm(x, u).unsqueeze(-1)


@every_manifold
def test_points_split_and_join(name: str) -> None:
    manifold = MANIFOLDS[name]()
    x = points(manifold)
    assert torch.equal(manifold.join(manifold.split(x)), x)
    assert x.shape == (ROWS, manifold.width)
    assert manifold.n == manifold.width - sum(isinstance(factor, Sphere) for factor in manifold.factors)


@every_manifold
@pytest.mark.parametrize("length", [1e-9, 1e-6, 1e-3, 0.5, 3.1])
def test_logarithm_undoes_the_exponential(name: str, length: float) -> None:
    manifold = MANIFOLDS[name]()
    x = points(manifold)
    u = tangents(manifold, x, length)
    y = manifold.exp(x, u)
    manifold.check_point(y)
    found = manifold.log(x, y)
    manifold.check_tangent(x, found)
    # coordinates of hyperbolic points far out have fewer digits
    assert torch.allclose(found, u, rtol=1e-7, atol=1e-13)
    assert torch.allclose(manifold.distance_riemannian(x, y), torch.full((ROWS,), length), rtol=1e-6)


@every_manifold
def test_exponential_undoes_the_logarithm(name: str) -> None:
    manifold = MANIFOLDS[name]()
    x, y = points(manifold), points(manifold, 1)
    assert float((manifold.exp(x, manifold.log(x, y)) - y).abs().max()) < 1e-10


@every_manifold
def test_tangent_projection_keeps_tangent_vectors(name: str) -> None:
    manifold = MANIFOLDS[name]()
    x = points(manifold)
    u = tangents(manifold, x, 1.0)
    manifold.check_tangent(x, u)
    assert torch.allclose(manifold.project_tangent(x, u), u)


@every_manifold
def test_geodesics_have_their_ends_and_constant_speed(name: str) -> None:
    manifold = MANIFOLDS[name]()
    x, y = points(manifold), points(manifold, 1)
    times = torch.linspace(0.0, 1.0, 9).unsqueeze(-1)
    curve = manifold.geodesic(x, y, times)
    assert curve.shape == (9, ROWS, manifold.width)
    manifold.check_point(curve)
    assert torch.allclose(curve[0], x, atol=1e-12)
    assert torch.allclose(curve[-1], y, atol=1e-10)
    assert torch.allclose(manifold.geodesic(x, y, 0.25), curve[2])
    steps = manifold.distance_riemannian(curve[:-1], curve[1:])
    assert torch.allclose(8.0 * steps, manifold.distance_riemannian(x, y).expand(8, -1), rtol=1e-7)


@every_manifold
@pytest.mark.parametrize("kind", ["distance_sum", "distance_riemannian"])
def test_distances_are_metrics(name: str, kind: str) -> None:
    manifold = MANIFOLDS[name]()
    distance = getattr(manifold, kind)
    x, y, z = (points(manifold, seed) for seed in range(3))
    assert torch.allclose(distance(x, y), distance(y, x))
    assert bool((distance(x, z) <= distance(x, y) + distance(y, z) + 1e-12).all())
    assert bool((distance(x, y) > 0).all())
    # geoopt's norm of a difference of equal points of the ball is not exactly zero
    assert float(distance(x, x).max()) < 1e-7


@every_manifold
def test_distance_is_the_norm_of_the_logarithm(name: str) -> None:
    manifold = MANIFOLDS[name]()
    x, y = points(manifold), points(manifold, 1)
    assert torch.allclose(manifold.norm(x, manifold.log(x, y)), manifold.distance_riemannian(x, y))


@every_manifold
def test_the_two_distances_bound_each_other(name: str) -> None:
    manifold = MANIFOLDS[name]()
    x, y = points(manifold), points(manifold, 1)
    total, riemannian = manifold.distance_sum(x, y), manifold.distance_riemannian(x, y)
    count = len(manifold.factors)
    assert bool((riemannian <= total + 1e-12).all())
    assert bool((total <= math.sqrt(count) * riemannian + 1e-12).all())
    assert count == 1 or bool((riemannian < total - 1e-3).any())


@every_manifold
def test_a_geodesic_is_shorter_than_curves_near_it(name: str) -> None:
    manifold = MANIFOLDS[name]()
    x, y = points(manifold), points(manifold, 1)
    midpoint = manifold.geodesic(x, y, 0.5)
    moved = manifold.exp(midpoint, tangents(manifold, midpoint, 0.2))
    detour = manifold.distance_riemannian(x, moved) + manifold.distance_riemannian(moved, y)
    assert bool((detour >= manifold.distance_riemannian(x, y) - 1e-12).all())


def test_a_product_of_euclidean_spaces_is_a_euclidean_space() -> None:
    product, whole = ProductManifold([Euclidean(2), Euclidean(3)]), ProductManifold([Euclidean(5)])
    x, y = normal(ROWS, 5, seed=1), normal(ROWS, 5, seed=2)
    assert torch.equal(product.exp(x, y), whole.exp(x, y))
    assert torch.equal(product.log(x, y), whole.log(x, y))
    assert torch.equal(product.geodesic(x, y, 0.3), whole.geodesic(x, y, 0.3))
    assert torch.allclose(product.distance_riemannian(x, y), whole.distance_riemannian(x, y))
    density = product.wrapped_normal_log_density(x, y, 0.7)
    assert torch.allclose(density, whole.wrapped_normal_log_density(x, y, 0.7))
    # the sum over factors is not invariant
    assert not torch.allclose(product.distance_sum(x, y), whole.distance_sum(x, y), rtol=0.05)


def test_a_torus_is_a_product_of_circles_but_one_factor() -> None:
    torus, circles = ProductManifold([Torus(3)]), ProductManifold([Circle()] * 3)
    x, y = points(torus), points(torus, 1)
    assert torch.allclose(torus.exp(x, y), circles.exp(x, y))
    assert torch.allclose(torus.distance_riemannian(x, y), circles.distance_riemannian(x, y))
    density = torus.wrapped_normal_log_density(x, y, 2.0)
    assert torch.allclose(density, circles.wrapped_normal_log_density(x, y, 2.0))
    assert not torch.allclose(torus.distance_sum(x, y), circles.distance_sum(x, y), rtol=0.05)


def test_the_circle_of_angles_is_the_sphere_of_dimension_one() -> None:
    circle, sphere = ProductManifold([Circle()]), ProductManifold([Sphere(1)])
    x, y = points(circle), points(circle, 1)
    on_sphere = [torch.cat([angle.cos(), angle.sin()], 1) for angle in (x, y)]
    assert torch.allclose(circle.distance_sum(x, y), sphere.distance_sum(*on_sphere))
    for scale in (0.3, 2.0, 5.0):
        density = circle.wrapped_normal_log_density(x, y, scale)
        assert torch.allclose(density, sphere.wrapped_normal_log_density(*on_sphere, scale))


def test_the_hyperbolic_distance_has_its_closed_form() -> None:
    manifold = ProductManifold([Hyperbolic(2)])
    x, y = points(manifold), points(manifold, 1)
    gap = (x - y).square().sum(1) / ((1 - x.square().sum(1)) * (1 - y.square().sum(1)))
    assert torch.allclose(manifold.distance_sum(x, y), torch.acosh(1 + 2 * gap))


@every_compact
def test_uniform_points_have_the_moments_of_the_uniform_distribution(name: str) -> None:
    manifold = MANIFOLDS[name]()
    x = manifold.sample_uniform(20_000, generator())
    manifold.check_point(x)
    assert torch.equal(x, manifold.sample_uniform(20_000, generator()))
    for factor, part in zip(manifold.factors, manifold.split(x), strict=True):
        unit = part if isinstance(factor, Sphere) else torch.cat([part.cos(), part.sin()], 1)
        # on Sⁿ the coordinates have mean 0 and covariance 1 / (n + 1), on every circle 1 / 2
        variance = 1.0 / factor.width if isinstance(factor, Sphere) else 0.5
        assert float(unit.mean(0).abs().max()) < 0.025
        assert torch.allclose(torch.cov(unit.T), variance * torch.eye(unit.shape[1]), atol=0.02)


@every_manifold
def test_wrapped_normals_are_reproducible_and_of_their_scale(name: str) -> None:
    manifold = MANIFOLDS[name]()
    mean = points(manifold, 5, rows=1).expand(20_000, -1)
    x = manifold.sample_wrapped_normal(mean, 0.1, generator())
    manifold.check_point(x)
    assert torch.equal(x, manifold.sample_wrapped_normal(mean, 0.1, generator()))
    square = manifold.distance_riemannian(x, mean).square().mean() / 0.1**2
    assert float(square) == pytest.approx(manifold.n, rel=0.04)
    # isotropic: no direction is preferred, and the mean tangent vector is zero
    log = manifold.log(mean, x)
    assert float(manifold.norm(mean[:1], log.mean(0, keepdim=True))) < 0.1 * 5 * math.sqrt(manifold.n / 20_000)


def test_each_factor_may_have_a_scale_of_its_own() -> None:
    manifold = ProductManifold([Circle(), Euclidean(1)])
    x = manifold.sample_wrapped_normal(torch.zeros(5000, 2), [0.1, 3.0], generator())
    assert torch.allclose(x.std(0), torch.tensor([0.1, 3.0]), rtol=0.05)


def integral(factor: Factor, scale: float) -> float:
    """The integral of a wrapped normal density by the midpoint rule on a grid of the factor."""
    manifold = ProductManifold([factor])
    if isinstance(factor, (Circle, Torus)):
        axis = (torch.arange(400) + 0.5) / 400 * 2 * math.pi - math.pi
        grid = torch.cartesian_prod(*[axis] * factor.n).reshape(-1, factor.n)
        weight = torch.full((len(grid),), (2 * math.pi / 400) ** factor.n)
        mean = torch.full_like(grid, 2.5)
    elif isinstance(factor, Sphere):
        # an equal-area grid in height and longitude, whose pole is not the mean
        height = (torch.arange(800) + 0.5) / 800 * 2 - 1
        longitude = (torch.arange(800) + 0.5) / 800 * 2 * math.pi
        h, a = torch.cartesian_prod(height, longitude).unbind(1)
        radius = (1 - h.square()).sqrt()
        grid = torch.stack([radius * a.cos(), radius * a.sin(), h], 1)
        weight = torch.full((len(grid),), 4 * math.pi / len(grid))
        mean = torch.tensor([0.6, 0.0, 0.8]).expand_as(grid)
    else:
        axis = (torch.arange(600) + 0.5) / 300 - 1
        grid = torch.cartesian_prod(axis, axis)
        square = grid.square().sum(1)
        inside = square < 0.9999
        grid, weight = grid[inside], (2 / (1 - square[inside])).square() / 300**2
        mean = torch.tensor([0.3, -0.2]).expand_as(grid)
    return float((manifold.wrapped_normal_log_density(grid, mean, scale).exp() * weight).sum())


@pytest.mark.parametrize(
    ("factor", "scale"),
    [(Circle(), 0.2), (Circle(), 4.0), (Torus(2), 1.5), (Sphere(2), 0.3), (Sphere(2), 1.0), (Hyperbolic(2), 0.5)],
    ids=str,
)
def test_wrapped_normal_densities_integrate_to_one(factor: Factor, scale: float) -> None:
    assert integral(factor, scale) == pytest.approx(1.0, abs=4e-3)


@pytest.mark.parametrize("factor", [Sphere(2), Sphere(3), Hyperbolic(3), Torus(2), Euclidean(2)], ids=str)
def test_densities_are_those_of_the_samples(factor: Factor) -> None:
    # importance weights of one scale against another average to one where the densities are those of the samples
    manifold = ProductManifold([factor])
    mean = points(manifold, 2, rows=1).expand(40_000, -1)
    x = manifold.sample_wrapped_normal(mean, 0.8, generator())
    narrow, wide = (manifold.wrapped_normal_log_density(x, mean, scale) for scale in (0.6, 0.8))
    assert float((narrow - wide).exp().mean()) == pytest.approx(1.0, abs=0.02)


@pytest.mark.parametrize(("factor", "volume"), [(Sphere(3), 2 * math.pi**2), (Sphere(4), 8 * math.pi**2 / 3)], ids=str)
def test_inverse_densities_average_to_the_volume(factor: Factor, volume: float) -> None:
    manifold = ProductManifold([factor])
    x = manifold.sample_uniform(100_000, generator())
    mean = x[:1].expand_as(x)
    density = manifold.wrapped_normal_log_density(x[1:], mean[1:], 0.7).exp()
    assert float(density.mean()) * volume == pytest.approx(1.0, abs=0.05)


@every_manifold
def test_single_precision_is_kept(name: str) -> None:
    manifold = MANIFOLDS[name]()
    mean = origin(manifold).float()
    x, y = (manifold.sample_wrapped_normal(mean, 0.5, generator(seed)) for seed in range(2))
    assert x.dtype == manifold.exp(x, manifold.log(x, y)).dtype == torch.float32
    assert manifold.distance_riemannian(x, y).dtype == torch.float32
    assert manifold.wrapped_normal_log_density(x, y, 0.5).dtype == torch.float32
    assert torch.allclose(manifold.exp(x, manifold.log(x, y)), y, atol=1e-4)
    close = manifold.exp(x, tangents(manifold, x.double(), 1e-5).float())
    assert torch.allclose(manifold.distance_riemannian(x, close), torch.full((ROWS,), 1e-5, dtype=x.dtype), rtol=0.2)


def test_points_off_the_manifold_are_an_error() -> None:
    manifold = ProductManifold([Circle(), Sphere(2), Hyperbolic(2)])
    x = points(manifold)
    for column, message in ((0, r"Circle\(\), factor 0"), (2, r"Sphere\(2\), factor 1"), (5, r"Hyperbolic\(2\), f")):
        wrong = x.clone()
        wrong[7, column] = 4.0
        with pytest.raises(ValueError, match=rf"Expected points on {message}.*; got one .* off in row 7\."):
            manifold.check_point(wrong)
        wrong[7, column] = torch.nan
        for operation in (manifold.log, manifold.distance_sum, manifold.exp):
            with pytest.raises(ValueError, match=rf"Expected points on {message}.*; got one nan off in row 7"):
                operation(wrong, x)
    with pytest.raises(ValueError, match=r"got one 0\.858 off in row 0"):
        manifold.check_point(torch.tensor([[4.0, 1.0, 0.0, 0.0, 0.0, 0.0]]))


def test_vectors_that_are_not_tangent_are_an_error() -> None:
    manifold = ProductManifold([Euclidean(1), Sphere(2)])
    x = points(manifold)
    u = tangents(manifold, x, 1.0)
    u[3] += 0.5 * x[3]
    for operation in (manifold.check_tangent, manifold.exp, manifold.norm):
        with pytest.raises(
            ValueError, match=r"Expected vectors tangent to Sphere\(2\), factor 1 of Euclidean\(1\) × S"
        ):
            operation(x, u)
    u[2, 0] = torch.nan
    with pytest.raises(ValueError, match=r"Expected vectors tangent to Euclidean\(1\).*; got one nan off in row 2"):
        manifold.exp(x, u)


def test_opposite_points_of_a_sphere_have_no_logarithm() -> None:
    manifold = ProductManifold([Sphere(2)])
    x = points(manifold)
    with pytest.raises(ValueError, match=r"Expected points of Sphere\(2\) that are not opposite"):
        manifold.log(x, -x)
    assert torch.allclose(manifold.distance_sum(x, -x), torch.tensor(math.pi))


def test_the_logarithm_of_a_point_at_itself_has_a_gradient() -> None:
    x = points(ProductManifold([Sphere(2)]))
    y = x.clone().requires_grad_()
    ProductManifold([Sphere(2)]).log(x, y).sum().backward()
    assert y.grad is not None and bool(y.grad.isfinite().all())


@pytest.mark.parametrize("gap", [1e-3, 1e-2])
def test_logarithms_of_nearly_opposite_points_are_tangent_in_single_precision(gap: float) -> None:
    manifold = ProductManifold([Sphere(2)])
    x = points(manifold)
    y = manifold.exp(x, tangents(manifold, x, math.pi - gap)).float()
    x = x.float()
    velocity = manifold.log(x, y)
    manifold.check_tangent(x, velocity)
    assert torch.allclose(manifold.exp(x, velocity), y, atol=1e-5)


def test_hyperbolic_geodesics_that_leave_the_coordinates_are_an_error() -> None:
    manifold = ProductManifold([Hyperbolic(2)])
    x = torch.zeros(1, 2)
    assert float(manifold.distance_sum(x, manifold.exp(x, torch.tensor([[5.9, 0.0]])))) == pytest.approx(11.8)
    with pytest.raises(ValueError, match=r"Expected geodesics of Hyperbolic\(2\) within 12\.2 of the origin"):
        manifold.exp(x, torch.tensor([[6.5, 0.0]]))
    with pytest.raises(ValueError, match=r"within 6\.2 of the origin"):
        manifold.exp(x.float(), torch.tensor([[3.5, 0.0]], dtype=torch.float32))


def test_only_compact_factors_have_a_uniform_distribution() -> None:
    manifold = ProductManifold([Sphere(2), Hyperbolic(3), Euclidean(1)])
    with pytest.raises(ValueError, match=r"Expected compact factors for a uniform.*; got Hyperbolic\(3\), factor 1"):
        manifold.sample_uniform(3, generator())


def test_wrong_arguments_are_errors() -> None:
    manifold = ProductManifold([Circle(), Euclidean(2)])
    x = torch.zeros(2, 3)
    with pytest.raises(ValueError, match=r"Expected shape \(N, 3\) on Circle\(\) × Euclidean\(2\); got \(2, 4\)"):
        manifold.exp(torch.zeros(2, 4), torch.zeros(2, 4))
    with pytest.raises(ValueError, match=r"Expected parts of \[1, 2\] coordinates on .*; got \[2, 1\]"):
        manifold.join([torch.zeros(2, 2), torch.zeros(2, 1)])
    with pytest.raises(ValueError, match="Expected at least one factor of a product manifold; got none"):
        ProductManifold([])
    with pytest.raises(ValueError, match="Expected a manifold of dimension at least 1; got 0"):
        Sphere(0)
    with pytest.raises(ValueError, match=r"Expected a circle of dimension 1; got 2\. Torus"):
        Circle(2)
    with pytest.raises(ValueError, match="or one for each of the 2 factors; got 3"):
        manifold.sample_wrapped_normal(x, [1.0, 1.0, 1.0], generator())
    with pytest.raises(ValueError, match=r"Expected positive scales; got 0\.0"):
        manifold.wrapped_normal_log_density(x, x, [1.0, 0.0])


def test_without_geoopt_flat_factors_remain(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "geoopt", None)
    message = r"Expected geoopt for product manifolds; got an installation without it: pip install 'latent-causal-m"
    for factor in (Sphere, Hyperbolic):
        with pytest.raises(ValueError, match=message):
            factor(2)
    with default_dtype(torch.float32):
        assert ProductManifold([Circle(), Euclidean(2), Torus(2)]).width == 5
