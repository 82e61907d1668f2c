"""Circle variables: angles, cardioid noise, and mechanisms and decoders over a product of lines and circles."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from laws import (
    SCMS,
    UNIMODULAR,
    N,
    adjacency,
    circle_distance,
    circle_noise,
    default_dtype,
    every_other,
    generator,
    graphs,
    mixed_noise,
    normal,
    points,
    randomised,
)
from scipy import stats

from lcm.model.circle import CircleNoise, MixedNoise, circle_mask, wrap, wrap_circles
from lcm.model.decoder import AutomorphismDecoder, TorusDecoder
from lcm.model.graph import Graph
from lcm.model.mechanism import ProductMechanism
from lcm.model.noise import LogisticNoise, NormalNoise

pytestmark = pytest.mark.usefixtures("float64")
angles = st.floats(-1e3, 1e3) | st.sampled_from([math.pi, -math.pi, 3.0 * math.pi, -0.0, np.nextafter(-math.pi, 0.0)])


# angles


@settings(max_examples=300, deadline=None)
@given(angle=angles, single=st.booleans())
def test_wrap_finds_the_one_angle_of_the_same_point(angle: float, single: bool) -> None:
    given_angle = torch.tensor(angle, dtype=torch.float32 if single else torch.float64)
    wrapped = wrap(given_angle)
    assert wrapped.dtype == given_angle.dtype
    assert bool((wrapped > -math.pi) & (wrapped <= math.pi))
    tolerance = 1e-3 if single else 1e-12
    assert torch.allclose(torch.cos(wrapped), torch.cos(given_angle), atol=tolerance)
    assert torch.allclose(torch.sin(wrapped), torch.sin(given_angle), atol=tolerance)
    assert torch.equal(wrap(wrapped), wrapped)


def test_wrap_leaves_angles_as_they_are_and_has_slope_one() -> None:
    inside = torch.linspace(-math.pi, math.pi, 1001)[1:]
    assert torch.equal(wrap(inside), inside)
    assert float(wrap(torch.tensor(-math.pi))) == math.pi
    angle = (10.0 * normal(100)).requires_grad_()
    assert torch.equal(torch.autograd.grad(wrap(angle).sum(), angle)[0], torch.ones(100))
    assert bool(wrap(torch.tensor([math.nan, math.inf])).isnan().all())


def test_wrap_circles_touches_no_line() -> None:
    values, circular = 10.0 * normal(50, N), torch.tensor(every_other())
    wrapped = wrap_circles(values, circular)
    assert torch.equal(wrapped[:, ~circular], values[:, ~circular])
    assert torch.equal(wrapped[:, circular], wrap(values[:, circular]))


# noise


def test_circle_noise_has_the_cardioid_density_and_its_distribution_function() -> None:
    noise, grid = circle_noise(), torch.linspace(-math.pi, math.pi, 401)[1:].unsqueeze(1).expand(400, N)
    centred = wrap(grid - noise.mean)
    density = (1.0 + noise.concentration * torch.cos(centred)) / (2.0 * math.pi)
    assert torch.allclose(noise.log_density(grid), density.log(), atol=1e-12)
    # periodic: the sum over equal steps is the integral to the last digits
    assert torch.allclose(density.mean(0) * 2.0 * math.pi, torch.ones(N), atol=1e-13)
    below = 0.5 + (centred + noise.concentration * torch.sin(centred)) / (2.0 * math.pi)
    assert torch.allclose(torch.special.ndtr(noise.to_normal(grid)[0]), below, atol=1e-12)
    # the gauge's own density, which isomorphisms use, is the same
    normal_grid, log_derivative = noise.to_normal(grid)
    assert torch.allclose(torch.distributions.Normal(0.0, 1.0).log_prob(normal_grid) + log_derivative, density.log())


@settings(max_examples=60, deadline=None)
@given(concentration=st.floats(-0.999999, 0.999999), gauge=st.floats(-7.0, 7.0))
def test_quantiles_solve_keplers_equation_at_every_concentration(concentration: float, gauge: float) -> None:
    noise = CircleNoise(1, concentration)
    angle = float(noise.from_normal(torch.tensor([[gauge]]))[0])
    gap = math.pi - abs(angle)
    # near the cut an angle has only the digits that π leaves
    tolerance = 1e-13 + 4e-16 * (1.0 + concentration)
    assert (gap - concentration * math.sin(gap)) / (2.0 * math.pi) == pytest.approx(
        float(stats.norm.cdf(-abs(gauge))), rel=1e-12, abs=tolerance
    )


def test_the_cut_of_the_gauge_is_finite() -> None:
    for dtype, reach in ((torch.float64, 8.0), (torch.float32, 5.0)):
        with default_dtype(dtype):
            noise = CircleNoise(3, torch.tensor([0.9, 0.0, -0.9]), 1.0)
            antipode = wrap(torch.full((1, 3), 1.0 + math.pi)).requires_grad_()
            gauge, log_derivative = noise.to_normal(antipode)
            assert bool((gauge.abs() > reach - 0.5).all() & (gauge.abs() < reach + 1.5).all())
            assert bool(log_derivative.isfinite().all())
            assert bool(torch.autograd.grad(gauge.sum(), antipode)[0].isfinite().all())
            far = torch.tensor([[-30.0], [30.0]]).expand(2, 3)
            assert torch.allclose(circle_distance(noise.from_normal(far)[0], antipode), torch.zeros(2, 3), atol=1e-5)


def test_rotating_the_mean_rotates_the_samples() -> None:
    still, turned = CircleNoise(2, 0.7), CircleNoise(2, 0.7, torch.tensor([2.0, -3.0]))
    samples = still.sample(200, generator())
    moved = turned.sample(200, generator())
    assert torch.allclose(circle_distance(moved, samples + turned.mean), torch.zeros(200, 2), atol=1e-12)
    assert bool((moved > -math.pi).all() & (moved <= math.pi).all())


def test_mixed_noise_is_the_one_or_the_other() -> None:
    noise, values = mixed_noise(), points(torch.tensor(every_other()), 50)
    density = noise.log_density(values)
    assert torch.equal(density[:, ::2], circle_noise().log_density(values)[:, ::2])
    assert torch.equal(density[:, 1::2], LogisticNoise(N).log_density(values)[:, 1::2])
    assert noise.circular.tolist() == every_other()


# mechanisms


def test_product_mechanism_is_its_formula() -> None:
    # 0 and 1 circles, 2 and 3 lines; every kind of edge
    graph = Graph.from_edges(4, [(0, 1), (0, 2), (2, 3), (3, 1)])
    degree, weight = torch.zeros(4, 4, dtype=torch.long), normal(4, 4)
    degree[0, 1] = -2
    mechanism = ProductMechanism(adjacency(graph), [True, True, False, False], degree, weight)
    with torch.no_grad():
        mechanism.log_scale.copy_(normal(4, seed=3))
    noise, z = points(mechanism.circular, 30), points(mechanism.circular, 30, seed=2, scale=2.0)
    value = mechanism(noise, z)[0]
    scale = mechanism.log_scale.exp()
    turned = noise[:, 1] - 2.0 * z[:, 0] + weight[0, 1] * torch.sin(z[:, 0]) + weight[3, 1] * z[:, 3]
    assert torch.allclose(value[:, 0], noise[:, 0])
    assert torch.allclose(value[:, 1], wrap(turned))
    assert torch.allclose(value[:, 2], scale[2] * noise[:, 2] + weight[0, 2] * torch.sin(z[:, 0]))
    assert torch.allclose(value[:, 3], scale[3] * noise[:, 3] + weight[2, 3] * z[:, 2])


@pytest.mark.parametrize("name", ["product", "torus"])
@settings(max_examples=20, deadline=None)
@given(graph=graphs, turns=st.integers(-3, 3))
def test_mechanisms_are_well_defined_on_the_circle(name: str, graph: Graph, turns: int) -> None:
    mechanism = SCMS[name](graph).mechanism
    noise, z = points(mechanism.circular, 20), points(mechanism.circular, 20, seed=2)
    turn = 2.0 * math.pi * turns * mechanism.circular
    for apply in (mechanism, mechanism.inverse):
        expected, log_expected = apply(noise, z)
        for moved in (apply(noise + turn, z), apply(noise, z + turn)):
            apart = torch.where(mechanism.circular, circle_distance(moved[0], expected), (moved[0] - expected).abs())
            assert bool((apart < 1e-10).all())
            assert torch.equal(moved[1], log_expected)


@pytest.mark.parametrize("degree", [-2, 0, 1, 3])
def test_the_degree_is_how_often_the_child_turns(degree: int) -> None:
    mechanism = randomised(ProductMechanism([[0, 1], [0, 0]], [True, True], [[0, degree], [0, 0]]))
    parent = torch.linspace(0.0, 2.0 * math.pi, 1001)
    z = torch.stack([parent, torch.zeros(1001)], 1)
    child = mechanism(torch.zeros(1001, 2), z)[0][:, 1].detach()
    turned = np.unwrap(child.numpy())
    assert (turned[-1] - turned[0]) / (2.0 * math.pi) == pytest.approx(degree)


# decoders


def test_torus_decoder_lays_out_cosine_and_sine_of_circles_and_lines_as_they_are() -> None:
    decoder, z = TorusDecoder([True, False, True]), points(torch.tensor([True, False, True]), 20)
    a, b, c = z.T
    expected = torch.stack([torch.cos(a), torch.sin(a), b, torch.cos(c), torch.sin(c)], 1)
    assert decoder.d == 5 and torch.allclose(decoder(z)[0], expected)


def test_torus_decoder_projects_radially_and_is_defined_at_the_origin() -> None:
    decoder, z = TorusDecoder([True, False]), points(torch.tensor([True, False]), 20)
    stretched = decoder(z)[0] * torch.tensor([3.0, 3.0, 1.0])
    assert torch.allclose(decoder.inverse(stretched)[0], z)
    origin = torch.tensor([[0.0, 0.0, 0.3]], requires_grad=True)
    angle = decoder.inverse(origin)[0]
    assert angle.tolist() == [[0.0, 0.3]]
    assert bool(torch.autograd.grad(angle.sum(), origin)[0].isfinite().all())
    # the cut belongs to the upper end
    assert float(decoder.inverse(torch.tensor([[-1.0, -0.0, 0.0]]))[0][0, 0]) == math.pi


def test_an_automorphism_is_exact_on_the_torus_and_keeps_the_uniform_law() -> None:
    decoder = AutomorphismDecoder(UNIMODULAR)
    assert torch.equal(decoder.matrix @ decoder.inverse_matrix, torch.eye(N, dtype=torch.long))
    z = CircleNoise(N).sample(2000, generator())
    x = decoder(z)[0]
    assert torch.allclose(circle_distance(decoder.inverse(x)[0], z), torch.zeros_like(z), atol=1e-13)
    assert stats.kstest(x.numpy().ravel(), stats.uniform(-math.pi, 2.0 * math.pi).cdf).pvalue > 0.01


# errors


@pytest.mark.parametrize("concentration", [1.0, -1.0, 2.5, math.nan])
def test_a_concentration_out_of_range_is_an_error(concentration: float) -> None:
    with pytest.raises(ValueError, match=rf"Expected concentrations inside \(-1, 1\); got {concentration:.6g}"):
        CircleNoise(2, torch.tensor([0.5, concentration]))


def test_a_mask_of_another_shape_is_an_error() -> None:
    with pytest.raises(ValueError, match=r"Expected one flag a variable, circle or not; got shape \[1, 2\]"):
        circle_mask(torch.ones(1, 2))
    with pytest.raises(ValueError, match="Expected 2 flags, circle or not, one for each variable; got 3"):
        ProductMechanism([[0, 0], [0, 0]], [True, True, False])


def test_parts_of_mixed_noise_that_do_not_fit_are_an_error() -> None:
    real, circle, mask = NormalNoise(2), CircleNoise(2), [True, False]
    with pytest.raises(ValueError, match="Expected real noise of 2 variables, as in the mask; got 3"):
        MixedNoise(NormalNoise(3), circle, mask)
    with pytest.raises(ValueError, match="Expected circle noise of 2 variables, as in the mask; got 1"):
        MixedNoise(real, CircleNoise(1), mask)
    with pytest.raises(ValueError, match=r"Expected real noise; got noise with circles at \[1, 1\]"):
        MixedNoise(circle, circle, mask)
    with pytest.raises(ValueError, match=r"Expected circle noise; got noise with circles at \[0, 0\]"):
        MixedNoise(real, real, mask)


@pytest.mark.parametrize(
    ("degree", "message"),
    [
        ([[0, 1]], r"Expected degrees of shape \[3, 3\]; got \[1, 2\]"),
        ([[0, 0.5, 0], [0, 0, 0], [0, 0, 0]], r"Expected whole numbers as degrees; got 0\.5"),
        ([[0, 0, 1], [0, 0, 0], [0, 0, 0]], "Expected degrees on edges between circles alone; got one on 0 -> 2"),
        ([[0, 0, 0], [1, 0, 0], [0, 0, 0]], "Expected degrees on edges between circles alone; got one on 1 -> 0"),
    ],
)
def test_degrees_that_do_not_fit_are_an_error(degree: list[list[float]], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ProductMechanism([[0, 1, 1], [0, 0, 0], [0, 0, 0]], [True, True, False], torch.tensor(degree))


def test_weights_of_another_size_are_an_error() -> None:
    with pytest.raises(ValueError, match=r"Expected weights of shape \[2, 2\]; got \[3\]"):
        ProductMechanism([[0, 1], [0, 0]], [True, False], weight=torch.ones(3))


@pytest.mark.parametrize(
    ("matrix", "message"),
    [
        ([[1, 0]], r"Expected a square matrix for an automorphism of the torus; got shape \[1, 2\]"),
        ([[1, 0.5], [0, 1]], r"Expected integers in an automorphism of the torus; got 0\.5"),
        ([[1, math.nan], [0, 1]], "Expected integers in an automorphism of the torus; got nan"),
        ([[2, 0], [0, 1]], "Expected a matrix of determinant 1 or -1; got 2"),
        ([[1, 1], [1, 1]], "Expected a matrix of determinant 1 or -1; got 0"),
        (
            [[27009000001, 3000, 9000000], [9003000, 1, 3000], [3000, 0, 1]],
            "Expected a matrix small enough to invert exactly; got one that is not",
        ),
    ],
)
def test_a_matrix_that_is_no_automorphism_is_an_error(matrix: list[list[float]], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        AutomorphismDecoder(matrix)  # type: ignore[arg-type]
