"""Laws of noise distributions."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from laws import (
    NOISES,
    PERMUTATION,
    REAL_NOISES,
    N,
    batch_jacobian,
    default_dtype,
    finite_gradients,
    generator,
    normal,
)
from scipy import stats
from torch import Tensor

from lcm.base.component import describe
from lcm.model.noise import (
    LaplaceNoise,
    LogisticNoise,
    Noise,
    NormalNoise,
    RelabelledNoise,
    UniformNoise,
    standard_normal_log_density,
)

pytestmark = pytest.mark.usefixtures("float64")
every_noise = pytest.mark.parametrize("name", NOISES)


def noise_grid(noise: Noise, points: int = 40_001, reach: float = 8.0) -> Tensor:
    """A sorted grid (points, n) over all of the mass of each variable, fine where the density is high."""
    normal_grid = torch.linspace(-reach, reach, points).unsqueeze(1).expand(points, noise.n)
    angles = torch.linspace(-math.pi, math.pi, points).unsqueeze(1)
    return torch.where(noise.circular, angles, noise.from_normal(normal_grid)[0].sort(0).values)


@every_noise
def test_gauge_and_quantile_map_are_inverse(name: str) -> None:
    noise, gauge = NOISES[name](), torch.linspace(-6.0, 6.0, 101).unsqueeze(1).expand(101, N)
    values, log_derivative = noise.from_normal(gauge)
    returned, log_inverse = noise.to_normal(values)
    assert torch.allclose(returned, gauge, atol=1e-9)
    assert torch.allclose(log_inverse, -log_derivative, atol=1e-9)
    assert torch.allclose(noise.from_normal(noise.to_normal(values)[0])[0], values, atol=1e-9)


@every_noise
def test_log_derivatives_are_those_of_autograd(name: str) -> None:
    # at 0 too, where symmetric laws change the side by which they are computed
    noise, gauge = NOISES[name](), torch.cat([normal(100, N, scale=2.0), torch.zeros(1, N)])
    values = noise.from_normal(gauge)[0]
    for apply, inputs in ((noise.from_normal, gauge), (noise.to_normal, values.detach())):
        jacobian = batch_jacobian(lambda rows, apply=apply: apply(rows)[0], inputs)  # type: ignore[misc]
        diagonal = torch.diagonal(jacobian, dim1=1, dim2=2)
        assert torch.equal(jacobian, torch.diag_embed(diagonal))
        assert torch.allclose(diagonal.abs().log(), apply(inputs)[1], atol=1e-8)


@every_noise
def test_density_integrates_to_one(name: str) -> None:
    noise = NOISES[name]()
    grid = noise_grid(noise)
    mass = torch.trapezoid(noise.log_density(grid).exp(), grid, dim=0)
    assert torch.allclose(mass, torch.ones(N), atol=1e-6)


@every_noise
def test_samples_follow_the_density(name: str) -> None:
    noise = NOISES[name]()
    grid = noise_grid(noise, 4001)
    cumulative = torch.cumulative_trapezoid(noise.log_density(grid).exp(), grid, dim=0).detach().numpy()
    samples, points = noise.sample(2000, generator(11)).detach().numpy(), grid[1:].detach().numpy()
    for i in range(N):
        cdf = lambda x, i=i: np.interp(x, points[:, i], cumulative[:, i])  # noqa: E731
        assert stats.kstest(samples[:, i], cdf).pvalue > 0.01


@every_noise
def test_sampling_is_seeded_and_independent_across_variables(name: str) -> None:
    noise = NOISES[name]()
    samples = noise.sample(2000, generator(1))
    assert torch.equal(samples, noise.sample(2000, generator(1)))
    assert not torch.equal(samples, noise.sample(2000, generator(2)))
    ranks = samples.argsort(0).argsort(0).double()
    assert bool((torch.corrcoef(ranks.T) - torch.eye(N)).abs().max() < 0.1)


@every_noise
def test_samples_come_in_the_precision_asked_for(name: str) -> None:
    with default_dtype(torch.float32):
        noise = NOISES[name]().double()
        assert noise.sample(3, generator(), torch.float64).dtype == torch.float64


@every_noise
def test_variables_select_columns(name: str) -> None:
    noise, values, variables = NOISES[name](), normal(50, N), torch.tensor([3, 1])
    for apply in (noise.from_normal, noise.to_normal):
        for part, full in zip(apply(values[:, variables], variables), apply(values), strict=True):
            assert torch.allclose(part, full[:, variables], rtol=1e-12)
    density = noise.log_density(values)
    assert torch.allclose(noise.log_density(values[:, variables], variables), density[:, variables])


@every_noise
def test_tails_are_finite_in_float32(name: str) -> None:
    with default_dtype(torch.float32):
        noise = NOISES[name]()
        gauge = torch.tensor([-6.0, -4.0, 0.0, 4.0, 6.0]).unsqueeze(1).expand(5, N).clone().requires_grad_()
        values, log_derivative = noise.from_normal(gauge)
        returned = noise.to_normal(values)[0]
        assert bool(values.isfinite().all() & log_derivative.isfinite().all())
        # an angle near the cut has no more digits than its machine epsilon allows
        exact = ~noise.circular | (gauge.abs() < 3.0)
        assert torch.allclose(returned[exact], gauge[exact], atol=1e-4)
        assert finite_gradients(values + log_derivative, gauge, noise)
        inputs = values.detach().requires_grad_()
        assert finite_gradients(noise.log_density(inputs), inputs, noise)


@pytest.mark.parametrize("name", REAL_NOISES)
def test_density_and_its_gradient_are_finite_far_beyond_the_tails(name: str) -> None:
    for dtype in (torch.float32, torch.float64):
        with default_dtype(dtype):
            noise = NOISES[name]()
            values = torch.tensor([-1e4, -100.0, 100.0, 1e4]).unsqueeze(1).expand(4, N).clone().requires_grad_()
            density = noise.log_density(values)
            assert bool((density < -10.0).all() & density.isfinite().all())
            assert finite_gradients(density, values, noise)


@every_noise
def test_nan_and_empty_batches(name: str) -> None:
    noise, values = NOISES[name](), normal(5, N)
    values[2, 1] = torch.nan
    for apply in (noise.from_normal, noise.to_normal):
        assert torch.equal(apply(values)[0].isnan(), values.isnan())
        assert apply(torch.zeros(0, N))[0].shape == apply(torch.zeros(0, N))[1].shape == (0, N)
    assert noise.sample(0, generator()).shape == (0, N)


@every_noise
def test_rebuilds_from_its_description(name: str) -> None:
    noise, values = NOISES[name](), normal(5, N)
    rebuilt = Noise.build(describe(noise))
    rebuilt.load_state_dict(noise.state_dict())
    assert torch.equal(rebuilt.log_density(values), noise.log_density(values))


@pytest.mark.parametrize(
    ("noise", "law"),
    [
        (NormalNoise(1), stats.norm()),
        (LaplaceNoise(1), stats.laplace(scale=math.sqrt(0.5))),
        (LogisticNoise(1), stats.logistic(scale=math.sqrt(3.0) / math.pi)),
    ],
    ids=["normal", "laplace", "logistic"],
)
def test_closed_forms_of_unit_variance(noise: Noise, law: stats.rv_continuous) -> None:
    values = torch.linspace(-10.0, 10.0, 201).unsqueeze(1)
    assert np.allclose(noise.log_density(values).numpy(), law.logpdf(values.numpy()), atol=1e-10)
    gauge = stats.norm.ppf(law.cdf(values[:101].numpy()))
    assert np.allclose(noise.to_normal(values[:101])[0].numpy(), gauge, atol=1e-8)
    assert law.std() == pytest.approx(1.0)


def test_uniform_noise_is_flat_inside_its_interval_and_small_outside() -> None:
    noise, half_width = UniformNoise(1, edge=0.02), math.sqrt(3.0)
    inside = torch.linspace(-1.5, 1.5, 101).unsqueeze(1)
    assert torch.allclose(noise.log_density(inside).exp(), torch.tensor(0.5 / half_width), rtol=1e-3)
    assert bool((noise.log_density(torch.tensor([[-2.0], [2.0]])).exp() < 1e-5).all())


def test_skewed_noise_leans_to_the_side_of_its_skew() -> None:
    right, left = (
        NOISES["skewed"]().sample(4000, generator()),
        NOISES["skewed-left"]().sample(4000, generator()),
    )
    assert stats.skew(right.numpy()).min() > 0.3
    assert stats.skew(left.numpy()).max() < -0.3


def test_relabelled_noise_moves_laws_to_their_new_labels() -> None:
    noise = NOISES["pushforward-affine"]()
    relabelled, values = RelabelledNoise(noise, PERMUTATION), normal(20, N)
    moved = torch.empty_like(values)
    moved[:, list(PERMUTATION)] = values
    assert torch.equal(relabelled.log_density(moved)[:, list(PERMUTATION)], noise.log_density(values))


def test_standard_normal_log_density() -> None:
    values = torch.linspace(-5.0, 5.0, 11)
    assert np.allclose(standard_normal_log_density(values).numpy(), stats.norm.logpdf(values.numpy()))
