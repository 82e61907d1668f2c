"""SCMs and latent causal models over a product of lines and circles."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from laws import (
    CIRCLE_MODELS,
    GRAPH,
    PERMUTATION,
    SCMS,
    N,
    adjacency,
    circle_distance,
    circle_noise,
    every_other,
    generator,
    mixed_noise,
    normal,
    points,
    product_mechanism,
)
from scipy import stats

from lcm.isomorphism import Isomorphism
from lcm.model.circle import CircleNoise, wrap
from lcm.model.decoder import RotationDecoder, SolutionDecoder, TorusDecoder
from lcm.model.do import Do
from lcm.model.elementwise import AffineMap
from lcm.model.graph import Graph
from lcm.model.intervention import PerfectIntervention, ShiftedIntervention, SoftIntervention, TargetDistribution
from lcm.model.latent_causal_model import LatentCausalModel
from lcm.model.mechanism import LinearMechanism, ProductMechanism
from lcm.model.noise import NormalNoise, PushforwardNoise
from lcm.model.scm import SCM

pytestmark = pytest.mark.usefixtures("float64")
every_circle_scm = pytest.mark.parametrize("name", ["product", "torus"])


# SCMs


@every_circle_scm
def test_the_circles_of_an_scm(name: str) -> None:
    scm = SCMS[name](GRAPH)
    assert scm.circular.tolist() == ([True] * N if name == "torus" else every_other())


@every_circle_scm
def test_values_imposed_on_a_circle_are_taken_modulo_a_turn(name: str) -> None:
    scm = SCMS[name](GRAPH)
    z = scm.sample(20, generator())
    acted = scm.counterfactual(z, Do({0: 7.0, 1: 0.5}))
    assert torch.equal(acted[:, 0], wrap(torch.full((20,), 7.0)))
    near = scm.counterfactual(z, Do({0: 7.0 - 2.0 * math.pi, 1: 0.5}))
    apart = torch.where(scm.circular, circle_distance(acted, near), (acted - near).abs())
    assert bool((apart < 1e-12).all())


def test_a_stochastic_value_on_a_circle_is_wrapped() -> None:
    law = PushforwardNoise(NormalNoise(1), AffineMap(1, torch.tensor([3.0]), torch.tensor([0.7])))
    z = SCMS["torus"](GRAPH).sample_interventional(3000, Do({3: law}), generator()).detach()
    grid = np.linspace(-math.pi, math.pi, 4001)
    density = sum(stats.norm(3.0 + 2.0 * math.pi * turn, 0.7).pdf(grid) for turn in range(-3, 4))
    cumulative = np.concatenate([[0.0], np.cumsum(0.5 * (density[1:] + density[:-1])) * (grid[1] - grid[0])])
    assert stats.kstest(z[:, 3].numpy(), lambda x: np.interp(x, grid, cumulative)).pvalue > 0.01
    for parent in (0, 1, 2):
        joint = torch.exp(1j * (z[:, 3] - z[:, parent])).mean()
        product = torch.exp(1j * z[:, 3]).mean() * torch.exp(-1j * z[:, parent]).mean()
        assert float((joint - product).abs()) < 5.0 / 3000**0.5


def test_density_over_the_torus_integrates_to_one_and_has_the_marginals_of_the_samples() -> None:
    scm = SCMS["torus"](Graph.from_edges(2, [(1, 0)]))
    axis = torch.linspace(-math.pi, math.pi, 257)[1:]
    grid = torch.stack(torch.meshgrid(axis, axis, indexing="ij"), -1).reshape(-1, 2)
    with torch.no_grad():
        mass = scm.log_density(grid).exp().reshape(256, 256) * float(axis[1] - axis[0]) ** 2
    assert float(mass.sum()) == pytest.approx(1.0, abs=1e-10)
    samples = scm.sample(3000, generator()).detach().numpy()
    for i in (0, 1):
        cumulative = mass.sum(1 - i).cumsum(0).numpy()
        # mass of a cell, centred at its grid point
        edges = axis.numpy() + 0.5 * float(axis[1] - axis[0])
        assert stats.kstest(samples[:, i], lambda x, e=edges, c=cumulative: np.interp(x, e, c)).pvalue > 0.01


@every_circle_scm
def test_permuted_circles_give_permuted_results(name: str) -> None:
    scm, labels = SCMS[name](GRAPH), list(PERMUTATION)
    mechanism = scm.mechanism
    assert isinstance(mechanism, ProductMechanism)
    permuted = ProductMechanism(
        adjacency(GRAPH.permuted(labels)),
        mechanism.circular[labels],
        mechanism.degree[labels][:, labels],
        mechanism.weight.detach()[labels][:, labels],
    )
    with torch.no_grad():
        permuted.log_scale.copy_(mechanism.log_scale[labels])
    noise, z = points(scm.circular, 30), points(scm.circular, 30, seed=2)
    value = permuted(noise[:, labels], z[:, labels])[0]
    assert torch.allclose(value, mechanism(noise, z)[0][:, labels], atol=1e-12)


# models


def test_pair_density_of_one_circle_integrates_to_one() -> None:
    scm = SCM(Graph([[0]]), ProductMechanism([[0]], [True]), CircleNoise(1, 0.6, 2.0))
    distribution = TargetDistribution.family(1, "atomic-or-empty", [0.3, 0.7])
    imposed = PerfectIntervention(CircleNoise(1, 0.4))
    one = LatentCausalModel(scm, TorusDecoder([True]), imposed, distribution, thickness=0.2)
    axis = torch.linspace(-math.pi, math.pi, 801)[1:]
    grid = torch.stack(torch.meshgrid(axis, axis, indexing="ij"), -1).reshape(-1, 2)
    with torch.no_grad():
        x, x_tilde = one.decode(grid[:, :1]), one.decode(grid[:, 1:])
        mass = one.pair_log_density(x, x_tilde).exp().sum() * float(axis[1] - axis[0]) ** 2
    assert float(mass) == pytest.approx(1.0, abs=1e-4)


@pytest.mark.parametrize("name", CIRCLE_MODELS)
def test_every_sampled_variable_is_on_its_manifold(name: str) -> None:
    latent = CIRCLE_MODELS[name]()
    pairs = latent.sample_pairs(2000, generator())
    for values in (pairs.z, pairs.z_tilde, pairs.noise, pairs.noise_tilde, latent.encode(pairs.x).z):
        angle = values[:, latent.scm.circular]
        assert bool((angle > -math.pi).all() & (angle <= math.pi).all())


def test_a_shifted_mechanism_on_a_circle_has_the_density_of_its_values() -> None:
    scm, shift = SCMS["torus"](Graph([[0]])), torch.tensor([2.5])
    intervention = ShiftedIntervention(1, shift)
    fresh, targets = normal(3000, 1), torch.ones(3000, 1, dtype=torch.bool)
    imposed = scm.solve_intervened(fresh, targets, lambda z, k: intervention.value(fresh[:, k], z, k, scm)).detach()
    axis = torch.linspace(-math.pi, math.pi, 4001).unsqueeze(1)
    density = intervention.log_density(axis, scm).exp().detach()[:, 0]
    cumulative = torch.cumulative_trapezoid(density, axis[:, 0]).numpy()
    assert cumulative[-1] == pytest.approx(1.0, abs=1e-6)
    assert stats.kstest(imposed[:, 0].numpy(), lambda x: np.interp(x, axis[1:, 0], cumulative)).pvalue > 0.01


def test_a_fitted_kind_of_decoder_goes_with_circles() -> None:
    scm = SCMS["product"](GRAPH)
    decoder = SolutionDecoder(RotationDecoder(N, generator()), scm)
    distribution = TargetDistribution.family(N, "atomic")
    latent = LatentCausalModel(scm, decoder, PerfectIntervention(mixed_noise()), distribution, 0.1)
    pairs = latent.sample_pairs(50, generator())
    assert torch.allclose(latent.encode(pairs.x).z, pairs.z, atol=1e-7)


def test_parts_that_disagree_about_circles_are_an_error() -> None:
    mechanism, noise = product_mechanism(GRAPH, every_other()), mixed_noise()
    message = r"Expected noise with the circles of the mechanism, \[1, 0, 1, 0\]; got \[0, 0, 0, 0\]"
    with pytest.raises(ValueError, match=message):
        SCM(GRAPH, mechanism, NormalNoise(N))
    with pytest.raises(ValueError, match=message):
        SoftIntervention(mechanism, NormalNoise(N))
    with pytest.raises(ValueError, match=r"the mechanism, \[0, 0, 0, 0\]; got \[1, 0, 1, 0\]"):
        SCM(GRAPH, LinearMechanism(adjacency(GRAPH)), noise)
    scm, targets = SCM(GRAPH, mechanism, noise), TargetDistribution.family(N, "atomic")
    decoder, imposed = TorusDecoder(every_other()), PerfectIntervention(noise)
    for other, message in (
        ((RotationDecoder(N), imposed), r"a decoder with the circles of the SCM, \[1, 0, 1, 0\]; got \[0, 0, 0, 0\]"),
        (
            (decoder, PerfectIntervention(circle_noise())),
            r"interventions with the circles of the SCM, \[1, 0, 1, 0\]; got \[1, 1, 1, 1\]",
        ),
    ):
        with pytest.raises(ValueError, match=f"Expected {message}"):
            LatentCausalModel(scm, *other, targets)


def test_maps_of_the_line_do_not_apply_to_circles() -> None:
    with pytest.raises(
        ValueError, match=r"Expected real variables for monotone maps of the line; got circles at \[0, 2"
    ):
        PushforwardNoise(mixed_noise(), AffineMap(N))
    with pytest.raises(ValueError, match="Expected real variables for"):
        Isomorphism(PERMUTATION, AffineMap(N), AffineMap(N)).apply(CIRCLE_MODELS["product"]())
