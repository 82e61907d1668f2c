"""Laws of the latent causal model."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from laws import (
    DECODERS,
    GRAPH,
    INTERVENTIONS,
    MODELS,
    SCMS,
    N,
    adjacency,
    batch_jacobian,
    default_dtype,
    drawn_flow,
    finite_gradients,
    generator,
    model,
    negative_affine,
    normal,
    randomised,
)
from scipy import stats
from torch import Tensor
from torch.distributions import MultivariateNormal

from lcm.model.decoder import LinearDecoder, RotationDecoder
from lcm.model.do import Do
from lcm.model.elementwise import AffineMap
from lcm.model.graph import Graph
from lcm.model.intervention import (
    InterventionalMechanism,
    PerfectIntervention,
    ShiftedIntervention,
    SoftIntervention,
    TargetDistribution,
)
from lcm.model.latent_causal_model import LatentCausalModel
from lcm.model.mechanism import LinearMechanism
from lcm.model.noise import LogisticNoise, NormalNoise, PushforwardNoise
from lcm.model.scm import SCM

pytestmark = pytest.mark.usefixtures("float64")
every_model = pytest.mark.parametrize("name", MODELS)

GAUSSIAN_INTERVENTIONS = {
    "perfect": lambda: PerfectIntervention(PushforwardNoise(NormalNoise(N), negative_affine())),
    "soft": lambda: SoftIntervention(randomised(LinearMechanism(adjacency(GRAPH)), seed=9), NormalNoise(N)),
    "shifted": lambda: ShiftedIntervention(N, normal(N, seed=10)),
}


def gaussian_model(intervention: InterventionalMechanism, thickness: Tensor) -> LatentCausalModel:
    distribution = TargetDistribution.family(N, "all")
    decoder = randomised(LinearDecoder(N, normal(N, N, seed=12)))
    return LatentCausalModel(SCMS["linear-normal"](GRAPH), decoder, intervention, distribution, thickness)


def structural_form(mechanism: LinearMechanism) -> tuple[Tensor, Tensor, Tensor]:
    """W (child, parent), bias and scale of z = W z + bias + scale · noise."""
    weight = (mechanism.weight * mechanism.adjacency).T
    return weight.clone(), mechanism.bias.clone(), mechanism.log_scale.exp().clone()


def stacked_law(gaussian: LatentCausalModel, targets: list[int]) -> MultivariateNormal:
    """The normal law of (x, x̃) given the targets: affine in noise, jitter and fresh noise, all normal."""
    mechanism, intervention, decoder = gaussian.scm.mechanism, gaussian.intervention, gaussian.decoder
    assert isinstance(mechanism, LinearMechanism) and isinstance(decoder, LinearDecoder)
    weight, bias, scale = structural_form(mechanism)
    solution = torch.linalg.inv(torch.eye(N) - weight)
    zero = torch.zeros(N, N)
    factor = solution @ torch.cat([torch.diag(scale), zero, zero], 1)
    mean = solution @ bias
    jitter = torch.diag(scale * gaussian.thickness)
    noise = torch.cat([torch.diag(scale), jitter, zero], 1)
    for i in targets:
        noise[i] = 0.0
        if isinstance(intervention, PerfectIntervention):
            assert isinstance(intervention.noise, PushforwardNoise)
            law = intervention.noise.map
            assert isinstance(law, AffineMap)
            weight[i], bias[i], noise[i, 2 * N + i] = 0.0, law.shift[i], law.scale[i]
        elif isinstance(intervention, SoftIntervention):
            assert isinstance(intervention.mechanism, LinearMechanism)
            new_weight, new_bias, new_scale = structural_form(intervention.mechanism)
            weight[i], bias[i], noise[i, 2 * N + i] = new_weight[i], new_bias[i], new_scale[i]
        else:
            assert isinstance(intervention, ShiftedIntervention)
            bias[i], noise[i, 2 * N + i] = bias[i] + intervention.shift[i], scale[i]
    solution_tilde = torch.linalg.inv(torch.eye(N) - weight)
    mixing = torch.block_diag(decoder.matrix(), decoder.matrix())
    factor = mixing @ torch.cat([factor, solution_tilde @ noise])
    mean = mixing @ torch.cat([mean, solution_tilde @ bias]) + decoder.shift.repeat(2)
    return MultivariateNormal(mean.detach(), (factor @ factor.T).detach())


@pytest.mark.parametrize("intervention", GAUSSIAN_INTERVENTIONS)
def test_linear_gaussian_pair_density_is_the_closed_form(intervention: str) -> None:
    thickness = torch.tensor([0.1, 0.3, 0.2, 0.5])
    gaussian = gaussian_model(GAUSSIAN_INTERVENTIONS[intervention](), thickness)
    pairs = gaussian.sample_pairs(30, generator())
    stacked = torch.cat([pairs.x, pairs.x_tilde], 1)
    closed = []
    for targets in gaussian.target_distribution.as_lists():
        mask = torch.zeros(30, N, dtype=torch.bool)
        mask[:, targets] = True
        closed.append(stacked_law(gaussian, targets).log_prob(stacked))
        exact = gaussian.pair_log_density_given(pairs.x, pairs.x_tilde, mask)
        assert torch.allclose(exact, closed[-1], rtol=1e-9, atol=1e-7)
    mixture = torch.logsumexp(torch.stack(closed, 1) - np.log(2.0**N), 1)
    assert torch.allclose(gaussian.pair_log_density(pairs.x, pairs.x_tilde), mixture, atol=1e-7)


@pytest.mark.parametrize("intervention", GAUSSIAN_INTERVENTIONS)
def test_linear_gaussian_pairs_follow_the_closed_form(intervention: str) -> None:
    thickness = torch.tensor([0.1, 0.3, 0.2, 0.5])
    gaussian = gaussian_model(GAUSSIAN_INTERVENTIONS[intervention](), thickness)
    pairs = gaussian.sample_pairs(40_000, generator())
    stacked = torch.cat([pairs.x, pairs.x_tilde], 1).detach()
    for targets in ([], [0], [1, 3], [0, 1, 2, 3]):
        mask = torch.zeros(N, dtype=torch.bool)
        mask[targets] = True
        rows = stacked[(pairs.targets == mask).all(1)]
        law = stacked_law(gaussian, targets)
        white = torch.linalg.solve_triangular(law.scale_tril, (rows - law.mean).T, upper=False).T
        tolerance = 5.0 / len(rows) ** 0.5
        assert bool((white.mean(0).abs() < tolerance).all())
        assert bool(((white.T @ white / len(rows) - torch.eye(2 * N)).abs() < 1.5 * tolerance).all())


@pytest.mark.parametrize("decoder", ["flow", "rotation"])
def test_pair_density_of_one_variable_integrates_to_one(decoder: str) -> None:
    graph = Graph([[0]])
    one = LatentCausalModel(
        SCMS["location-scale-skewed"](graph),
        drawn_flow(1, "spline") if decoder == "flow" else RotationDecoder(1),
        PerfectIntervention(LogisticNoise(1)),
        TargetDistribution.family(1, "atomic-or-empty", [0.3, 0.7]),
        thickness=0.3,
    )
    axis = torch.linspace(-30.0, 60.0, 1201)
    grid = torch.stack(torch.meshgrid(axis, axis, indexing="ij"), -1).reshape(-1, 2)
    with torch.no_grad():
        density = one.pair_log_density(grid[:, :1], grid[:, 1:]).exp().reshape(1201, 1201)
    assert float(torch.trapezoid(torch.trapezoid(density, axis), axis)) == pytest.approx(1.0, abs=2e-3)


def test_density_on_an_image_of_more_dimensions_is_with_respect_to_its_volume() -> None:
    plain, embedded = (
        model("additive-laplace", DECODERS["rotation"]),
        model("additive-laplace", DECODERS["embedding"]),
    )
    pairs = plain.sample_pairs(20, generator())
    x, x_tilde = embedded.decode(pairs.z), embedded.decode(pairs.z_tilde)
    density = embedded.pair_log_density(x, x_tilde)
    assert torch.allclose(density, plain.pair_log_density(pairs.x, pairs.x_tilde), atol=1e-7)


@every_model
def test_pair_density_is_the_mixture_over_target_sets(name: str) -> None:
    latent = MODELS[name]()
    pairs, distribution = latent.sample_pairs(50, generator()), latent.target_distribution
    given_sets = [
        latent.pair_log_density_given(pairs.x, pairs.x_tilde, mask.expand(50, N))
        + distribution.log_probabilities()[index]
        for index, mask in enumerate(distribution.target_sets)
    ]
    joint = torch.stack(given_sets, 1)
    assert torch.allclose(latent.joint_log_density(pairs.x, pairs.x_tilde), joint, atol=1e-6)
    density = latent.pair_log_density(pairs.x, pairs.x_tilde)
    assert torch.allclose(density, torch.logsumexp(joint, 1), atol=1e-6)
    posterior = latent.target_posterior(pairs.x, pairs.x_tilde)
    assert torch.allclose(posterior.sum(1), torch.ones(50))
    # smaller probabilities lose their digits
    some = posterior > torch.finfo(posterior.dtype).tiny
    assert torch.allclose(posterior[some].log(), (joint - density.unsqueeze(1))[some], atol=1e-6)


@every_model
def test_posterior_finds_the_targets(name: str) -> None:
    latent = MODELS[name]()
    pairs = latent.sample_pairs(500, generator())
    guess = latent.target_posterior(pairs.x, pairs.x_tilde).argmax(1)
    found = (latent.target_distribution.target_sets[guess] == pairs.targets).all(1)
    # a chance is left that a fresh value falls within the thickness of the old one
    assert float(found.double().mean()) > 0.85


@every_model
def test_encoding_undoes_decoding(name: str) -> None:
    latent = MODELS[name]()
    pairs = latent.sample_pairs(30, generator())
    encoding = latent.encode(pairs.x)
    assert torch.allclose(encoding.z, pairs.z, atol=1e-6)
    assert torch.allclose(encoding.noise, pairs.noise, atol=1e-6)
    assert torch.allclose(latent.encode(pairs.x_tilde).z, pairs.z_tilde, atol=1e-6)
    assert torch.allclose(latent.encode(pairs.x_tilde).noise, pairs.noise_tilde, atol=1e-6)


@pytest.mark.parametrize("name", [name for name in MODELS if MODELS[name]().decoder.d == N])
def test_log_determinant_of_the_encoding_is_that_of_its_jacobian(name: str) -> None:
    latent = MODELS[name]()
    x = latent.sample_pairs(20, generator()).x.detach()
    jacobian = batch_jacobian(lambda rows: latent.encode(rows).noise, x)
    assert torch.allclose(torch.linalg.slogdet(jacobian)[1], latent.encode(x).log_det, atol=1e-5)


@every_model
def test_a_single_observation_is_encoded_alone(name: str) -> None:
    latent = MODELS[name]()
    x = latent.sample_pairs(4, generator()).x
    single, batch = latent.encode(x[2]), latent.encode(x)
    assert single.z.shape == single.noise.shape == (N,) and single.log_det.shape == ()
    for one, many in zip(single, batch, strict=True):
        assert torch.allclose(one, many[2], atol=1e-9)


@every_model
def test_pairs_keep_the_noise_of_non_targets_up_to_the_thickness(name: str) -> None:
    latent = MODELS[name]()
    pairs = latent.sample_pairs(4000, generator())
    gauge, gauge_tilde = (latent.scm.noise.to_normal(noise)[0] for noise in (pairs.noise, pairs.noise_tilde))
    change = (gauge_tilde - gauge).detach()
    squared = (change.square() * pairs.targets).sum(1, keepdim=True)
    growth = ((1.0 + latent.growth**2 * squared) / (1.0 + 2.0 * latent.growth**2)).sqrt()
    jitter = (change / (latent.thickness * growth))[~pairs.targets]
    assert stats.kstest(jitter.numpy(), stats.norm.cdf).pvalue > 0.01
    latent.thickness.zero_()
    exact = latent.sample_pairs(200, generator())
    kept = (exact.noise_tilde - exact.noise)[~exact.targets]
    assert bool((kept.abs() < 1e-6).all())
    assert bool(((exact.noise_tilde - exact.noise)[exact.targets].abs() > 1e-6).all())
    empty = ~exact.targets.any(1)
    assert torch.allclose(exact.x_tilde[empty], exact.x[empty], atol=1e-6)


@every_model
def test_pairs_are_seeded(name: str) -> None:
    latent = MODELS[name]()
    first, second = (latent.sample_pairs(10, generator(3)) for _ in range(2))
    for one, other in zip(first, second, strict=True):
        assert torch.equal(one, other)
    assert not torch.equal(first.x, latent.sample_pairs(10, generator(4)).x)


@every_model
def test_pairs_have_the_stated_shapes_and_may_be_none(name: str) -> None:
    latent = MODELS[name]()
    pairs = latent.sample_pairs(0, generator())
    assert pairs.x.shape == pairs.x_tilde.shape == (0, latent.decoder.d)
    assert pairs.z.shape == pairs.noise_tilde.shape == pairs.targets.shape == (0, N)
    assert latent.pair_log_density(pairs.x, pairs.x_tilde).shape == (0,)


@every_model
def test_gradients_of_the_pair_density_are_finite(name: str) -> None:
    latent = MODELS[name]()
    pairs = latent.sample_pairs(50, generator())
    x = pairs.x.detach().requires_grad_()
    assert finite_gradients(latent.pair_log_density(x, pairs.x_tilde), x, latent)


@every_model
def test_a_model_in_double_works_whatever_the_default_precision(name: str) -> None:
    with default_dtype(torch.float32):
        latent = MODELS[name]().double()
        pairs = latent.sample_pairs(5, generator())
        assert pairs.x.dtype == pairs.noise_tilde.dtype == torch.float64
        assert latent.pair_log_density(pairs.x, pairs.x_tilde).dtype == torch.float64


@every_model
def test_float32_agrees_with_float64(name: str) -> None:
    exact = MODELS[name]()
    with default_dtype(torch.float32):
        rounded = MODELS[name]()
    rounded.load_state_dict(exact.state_dict())
    pairs = exact.sample_pairs(200, generator())
    expected = exact.pair_log_density(pairs.x, pairs.x_tilde, 0.1)
    density = rounded.pair_log_density(pairs.x.float(), pairs.x_tilde.float(), 0.1)
    assert density.dtype == torch.float32
    # interventions can need noise far out (30 and more), where single rows lose their digits
    assert float(((density - expected).abs() < 0.01).double().mean()) > 0.95


@every_model
def test_counterfactual_imposes_the_value_and_keeps_non_descendants(name: str) -> None:
    latent = MODELS[name]()
    x = latent.sample_pairs(20, generator()).x
    target = 0
    z, acted = latent.encode(x).z, latent.encode(latent.counterfactual(x, Do({target: 0.8}))).z
    assert torch.allclose(acted[:, target], torch.full((20,), 0.8), atol=1e-6)
    keeps = torch.tensor(~latent.scm.graph.ancestors()[target])
    keeps[target] = False
    assert torch.allclose(acted[:, keeps], z[:, keeps], atol=1e-6)
    assert torch.allclose(latent.counterfactual(x, Do({})), x, atol=1e-6)


def test_thickness_given_replaces_the_models_own() -> None:
    latent = MODELS["linear"]()
    pairs = latent.sample_pairs(20, generator())
    own = latent.pair_log_density(pairs.x, pairs.x_tilde)
    assert torch.equal(latent.pair_log_density(pairs.x, pairs.x_tilde, latent.thickness), own)
    assert not torch.allclose(latent.pair_log_density(pairs.x, pairs.x_tilde, 0.5), own)


@pytest.mark.parametrize("name", ["location-scale-all-sets", "growing"])
def test_the_mixture_over_target_sets_is_of_the_densities_given_each(name: str) -> None:
    latent = MODELS[name]()
    pairs = latent.sample_pairs(10, generator())
    sets, log_probabilities = latent.target_distribution.target_sets, latent.target_distribution.log_probabilities()
    joint = latent.joint_log_density(pairs.x, pairs.x_tilde)
    for index, targets in enumerate(sets):
        masks = targets.expand(len(pairs.x), -1)
        alone = latent.pair_log_density_given(pairs.x, pairs.x_tilde, masks)
        assert torch.allclose(joint[:, index], alone + log_probabilities[index], atol=1e-8)


def test_growth_given_replaces_the_models_own() -> None:
    latent = MODELS["growing"]()
    pairs = latent.sample_pairs(20, generator())
    own = latent.pair_log_density(pairs.x, pairs.x_tilde)
    assert torch.equal(latent.pair_log_density(pairs.x, pairs.x_tilde, growth=latent.growth), own)
    without = latent.pair_log_density(pairs.x, pairs.x_tilde, growth=0.0)
    assert not torch.allclose(without, own)
    latent.growth = 0.0
    assert torch.equal(latent.pair_log_density(pairs.x, pairs.x_tilde), without)


@pytest.mark.parametrize("growth", [-0.1, float("nan"), float("inf"), "wide", None])
def test_a_growth_that_is_no_number_from_zero_is_an_error(growth: Any) -> None:
    with pytest.raises(ValueError, match="Expected a growth of the thickness from 0; got"):
        model("linear-normal", DECODERS["rotation"], growth=growth)


def test_a_thickness_that_does_not_grow_is_not_described() -> None:
    assert "growth" not in MODELS["linear"]().description()
    described = MODELS["growing"]().description()
    assert described["growth"] == 0.8 and LatentCausalModel.build(described).growth == 0.8


@pytest.mark.parametrize("thickness", [0.0, torch.tensor([0.1, 0.1, 0.0, 0.1])])
def test_a_density_without_thickness_is_an_error(thickness: float | Tensor) -> None:
    latent = model("linear-normal", DECODERS["rotation"], thickness=thickness)
    pairs = latent.sample_pairs(3, generator())
    with pytest.raises(ValueError, match=r"Expected a positive thickness, or pairs have no density; got 0\.0"):
        latent.pair_log_density(pairs.x, pairs.x_tilde)
    assert bool(latent.pair_log_density(pairs.x, pairs.x_tilde, 0.1).isfinite().all())


def test_parts_of_different_sizes_are_an_error() -> None:
    scm, decoder = SCMS["linear-normal"](GRAPH), DECODERS["rotation"]()
    perfect, targets = INTERVENTIONS["perfect"](GRAPH), TargetDistribution.family(N, "atomic")
    for parts, found in (
        ((RotationDecoder(3), perfect, targets), "a decoder of 4 variables, as in the SCM; got 3"),
        ((decoder, ShiftedIntervention(5), targets), "interventions of 4 variables, as in the SCM; got 5"),
        (
            (decoder, perfect, TargetDistribution.family(2, "all")),
            "target sets of 4 variables, as in the SCM; got 2",
        ),
    ):
        with pytest.raises(ValueError, match=f"Expected {found}"):
            LatentCausalModel(scm, *parts)


@pytest.mark.parametrize("thickness", [-0.1, float("nan")])
def test_a_negative_thickness_is_an_error(thickness: float) -> None:
    with pytest.raises(ValueError, match=f"Expected a non-negative thickness; got {thickness:.1f}"):
        model("linear-normal", DECODERS["rotation"], thickness=thickness)


def test_independent_variables_make_an_empty_graph_model() -> None:
    graph = Graph([[0, 0], [0, 0]])
    scm = SCM(graph, LinearMechanism([[0, 0], [0, 0]]), NormalNoise(2))
    noise = PushforwardNoise(NormalNoise(2), AffineMap(2))
    latent = LatentCausalModel(
        scm, RotationDecoder(2), PerfectIntervention(noise), TargetDistribution.family(2, "atomic"), 0.1
    )
    x, x_tilde = normal(10, 2), normal(10, 2, seed=2)
    unit = torch.distributions.Normal(0.0, 1.0).log_prob
    stay = torch.distributions.Normal(0.0, 0.1).log_prob(x_tilde - x)
    swapped = unit(x_tilde) + stay.flip(1)
    expected = unit(x).sum(1) + torch.logsumexp(swapped, 1) - np.log(2.0)
    assert torch.allclose(latent.pair_log_density(x, x_tilde), expected)
