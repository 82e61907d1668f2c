"""The first stage of a fit: the implicit model's likelihood, its closed forms, and the path it takes."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
import torch
from laws import default_dtype, drawn_flow, generator, normal, randomised
from small import SHORT, sampled, small_data
from test_training_loop import Memory
from torch import Tensor

import lcm
from lcm.data.nature.build import build_nature
from lcm.data.nature.config import NatureConfig
from lcm.learn.config import NoiseEncoderConfig
from lcm.learn.noise_encoder import ImplicitModel, NoisePairs, SolutionFunctions
from lcm.learn.noise_encoder_fit import fit_noise_encoder
from lcm.learn.noise_encoder_objective import NoiseEncoderObjective, encode_all
from lcm.learn.prepared import Prepared, prepare
from lcm.learn.training.loop import run_alone
from lcm.model.decoder import (
    ChainDecoder,
    EmbeddingDecoder,
    FlowDecoder,
    LinearDecoder,
    ResidualDecoder,
    SolutionDecoder,
)
from lcm.model.elementwise import SplineMap
from lcm.model.graph import Graph
from lcm.model.intervention import PerfectIntervention, TargetDistribution
from lcm.model.latent_causal_model import LatentCausalModel
from lcm.model.likelihood import THICKNESS_FLOOR
from lcm.model.scm import SCM

N = 4
CONFIG = replace(SHORT.noise_encoder, steps=20, marginal_steps=20)
GRAPHS = {"empty": [], "two-causes": [(0, 2), (1, 2), (1, 3)]}


@pytest.fixture
def exact() -> Iterator[None]:
    """Compute in float64, for one test: fits are in float32."""
    with default_dtype(torch.float64):
        yield


def implicit_model(edges: list[tuple[int, int]], family: str = "all") -> ImplicitModel:
    """Random in all parts but the mechanisms of variables without parents, which are the identity."""
    graph = Graph.from_edges(N, edges)
    solution = randomised(SolutionFunctions(torch.from_numpy(graph.adjacency.copy()), 5, 4, generator()), scale=0.3)
    roots = torch.from_numpy(~graph.adjacency.any(0))
    with torch.no_grad():
        for parameter in (solution.mechanism.network.last, solution.mechanism.bias, solution.mechanism.log_scale):
            parameter[roots] = 0.0
    count = len(TargetDistribution.family(N, family).target_sets)
    weights = torch.arange(1.0, count + 1.0)
    targets = TargetDistribution.family(N, family, (weights / weights.sum()).tolist())
    decoder = ChainDecoder([drawn_flow(N, "spline"), randomised(LinearDecoder(N), scale=0.2)])
    model = ImplicitModel(decoder, solution, targets)
    model.thickness.copy_(torch.tensor([0.1, 0.3, 0.2, 0.5]))
    model.growth.fill_(0.6)
    return model.requires_grad_(False)


def explicit_model(model: ImplicitModel, edges: list[tuple[int, int]]) -> LatentCausalModel:
    scm = SCM(Graph.from_edges(N, edges), model.solution.mechanism, model.solution.noise)
    return LatentCausalModel(
        scm,
        SolutionDecoder(model.noise_decoder, scm),
        PerfectIntervention(model.solution.imposed),
        model.target_distribution,
        model.thickness,
        float(model.growth),
    )


def encoded(model: ImplicitModel, n_pairs: int = 60, seed: int = 1) -> NoisePairs:
    """Pairs of which every third has no change at all and the others one large change."""
    first = normal(n_pairs, N, seed=seed)
    change = 0.2 * normal(n_pairs, N, seed=seed + 1)
    change[torch.arange(n_pairs), torch.arange(n_pairs) % N] += 1.5
    change[::3] = 0.0
    return NoisePairs(first, first + change, torch.zeros(n_pairs), torch.zeros(n_pairs, 2, 0))


def prepared_of(model: ImplicitModel) -> Prepared:
    """Pairs whose encodings are those of `encoded`, as prepared data."""
    pairs = encoded(model)
    x, x_tilde = (model.noise_decoder(part)[0] for part in pairs[:2])
    unchanged = (pairs.normal == pairs.normal_tilde).all(1)
    x_tilde[unchanged] = x[unchanged]
    return Prepared((x, x_tilde), (x, x_tilde), ChainDecoder([EmbeddingDecoder(N, N)]), torch.eye(N))


@pytest.mark.parametrize("name", GRAPHS)
def test_where_solution_functions_are_mechanisms_the_likelihoods_agree(name: str, exact: None) -> None:
    # Every cause has the identity for a mechanism, so that z of a cause is its noise.
    model = implicit_model(GRAPHS[name])
    x, x_tilde = prepared_of(model).train
    terms = model.terms(model.encode_pairs(x, x_tilde))
    explicit = explicit_model(model, GRAPHS[name])
    torch.testing.assert_close(model.log_density(terms), explicit.pair_log_density(x, x_tilde))
    torch.testing.assert_close(model.joint(terms), explicit.joint_log_density(x, x_tilde))
    torch.testing.assert_close(encode_all(model, x, x_tilde).posterior, explicit.target_posterior(x, x_tilde))


def maximisers(model: ImplicitModel, pairs: NoisePairs, posterior: Tensor) -> tuple[Tensor, Tensor]:
    """σ and p_𝓘 that maximise the expected complete log-likelihood, by numerical optimisation."""
    log_thickness = model.thickness.log().requires_grad_()
    logits = torch.zeros(posterior.shape[1], requires_grad=True)
    optimiser = torch.optim.LBFGS([log_thickness, logits], max_iter=500, tolerance_grad=1e-12, tolerance_change=1e-15)
    without_prior = -model.target_distribution.log_probabilities()

    def closure() -> Tensor:
        optimiser.zero_grad()
        joint = model.joint(model.terms(pairs, log_thickness.exp())) + without_prior + logits.log_softmax(0)
        loss = -(posterior * joint).sum(1).mean()
        loss.backward()
        return loss

    optimiser.step(closure)  # type: ignore[no-untyped-call]
    return log_thickness.detach().exp(), logits.detach().softmax(0)


@pytest.mark.parametrize("family", ["atomic-or-empty", "all"])
def test_closed_forms_maximise_the_expected_likelihood(family: str, exact: None) -> None:
    model = implicit_model(GRAPHS["two-causes"], family)
    pairs = encoded(model)
    posterior = model.posterior(model.terms(pairs))
    thickness, probabilities = maximisers(model, pairs, posterior)
    everyone = torch.ones(len(posterior), dtype=torch.bool)
    variance = model.staying_variance(pairs, posterior, everyone)
    torch.testing.assert_close(variance.sqrt(), thickness, rtol=1e-5, atol=1e-8)
    torch.testing.assert_close(posterior.mean(0), probabilities, rtol=1e-5, atol=1e-8)


def test_unchanged_pairs_say_nothing_of_the_thickness(exact: None) -> None:
    model = implicit_model([])
    pairs = encoded(model)
    posterior = model.posterior(model.terms(pairs))
    changed = (pairs.normal != pairs.normal_tilde).any(1)
    everyone = torch.ones_like(changed)
    found = model.staying_variance(pairs, posterior, changed)
    alone = NoisePairs(*(part[changed] for part in pairs))
    torch.testing.assert_close(found, model.staying_variance(alone, posterior[changed], everyone[changed]))
    assert bool((found > model.staying_variance(pairs, posterior, everyone)).all())


def test_where_nothing_else_stays_unchanged_pairs_are_all_there_is(exact: None) -> None:
    model = implicit_model([], "atomic-or-empty")
    normal = torch.randn(60, N, generator=torch.Generator().manual_seed(0))
    change = torch.zeros(60, N)
    change[20:, 0] = 1.5
    pairs = NoisePairs(normal, normal + change, torch.zeros(60), torch.zeros(60, 2, 0))
    # only variable 0 is ever a target, so that among changed pairs it never stays, and the others always do
    posterior = torch.zeros(60, 1 + N)
    posterior[:20, 0], posterior[20:, 1] = 1.0, 1.0
    pairs.normal_tilde[20:, 1:] += 0.1
    model.growth.zero_()
    found = model.staying_variance(pairs, posterior, (change != 0).any(1))
    torch.testing.assert_close(found, torch.tensor([0.0, *[0.01] * (N - 1)]))


def objective_of(model: ImplicitModel) -> tuple[NoiseEncoderObjective, Prepared]:
    prepared = prepared_of(model)
    config = replace(CONFIG, anneal_from=2.0, anneal_share=0.4)
    return NoiseEncoderObjective(model, prepared, config, generator(0)), prepared


def test_a_step_goes_towards_the_closed_forms(exact: None) -> None:
    model = implicit_model(GRAPHS["two-causes"])
    objective, prepared = objective_of(model)
    before, prior = model.thickness.clone(), model.target_distribution.probabilities.clone()
    pairs = model.encode_pairs(*prepared.train)
    terms = model.terms(pairs)
    posterior, log_density = model.posterior(terms), model.log_density(terms)
    changed = (prepared.train[0] != prepared.train[1]).any(1)
    with torch.no_grad():
        objective.log_growth.fill_(math.log(0.6))
    loss = objective.loss(objective.batch(torch.arange(len(posterior))), 0.9)
    torch.testing.assert_close(loss, -log_density.mean())
    variance = model.staying_variance(pairs, posterior, changed)
    torch.testing.assert_close(objective.closed_form.square(), 0.98 * before.square() + 0.02 * variance)
    share = model.target_distribution.probabilities
    torch.testing.assert_close(share, 0.98 * prior + 0.02 * posterior.mean(0))
    assert float(share.sum()) == pytest.approx(1.0)


def test_the_thickness_is_annealed_first(exact: None) -> None:
    model = implicit_model([])
    objective, _ = objective_of(model)
    prior, rows, used = model.target_distribution.probabilities.clone(), torch.arange(60), []
    for progress in (0.0, 0.2, 0.3999):
        objective.loss(objective.batch(rows), progress)
        used.append(model.thickness.clone())
    # From 2 down to the floor on a logarithmic scale, but never below what the data say.
    torch.testing.assert_close(used[0], torch.full((N,), 2.0))
    assert bool((used[1] >= (2.0 * THICKNESS_FLOOR) ** 0.5 - 1e-9).all())
    assert bool((used[2] < 0.6).all()) and bool((used[2] > 0.05).all())
    assert torch.equal(model.target_distribution.probabilities, prior)
    closed_form = objective.closed_form.clone()
    objective.loss(objective.batch(rows), 0.4)
    assert torch.equal(model.thickness, closed_form)
    assert not torch.equal(model.target_distribution.probabilities, prior)


def fitted(name: str, seed: int = 0) -> ImplicitModel:
    data = small_data(name, 2000)
    prepared = prepare(data.x, data.x_tilde, 2, 0.1, 0, torch.device("cpu"))
    targets = TargetDistribution.family(2, "atomic-or-empty")
    return run_alone(fit_noise_encoder(prepared, targets, CONFIG, generator(seed)), Memory())


def flow_of(model: ImplicitModel) -> ResidualDecoder:
    assert isinstance(model.noise_decoder, ChainDecoder)
    flow = model.noise_decoder.parts[0]
    assert isinstance(flow, ResidualDecoder)
    return flow


def test_an_exactly_linear_mixing_needs_no_blocks() -> None:
    model = fitted("linear")
    flow = flow_of(model)
    assert model.linear and flow.blocks == 0
    assert isinstance(model.solution.noise.map, SplineMap) and model.solution.noise.map is flow.marginal
    assert bool((model.thickness <= 2 * THICKNESS_FLOOR).all())
    data = small_data("linear", 2000)
    assert data.targets is not None
    share = torch.tensor([float((~data.targets.any(1)).mean()), *sorted(data.targets.mean(0).tolist())])
    found = model.target_distribution.probabilities
    torch.testing.assert_close(torch.cat([found[:1], found[1:].sort().values]), share, atol=0.02, rtol=0)


def test_a_curved_mixing_gets_the_blocks_that_were_asked_for() -> None:
    model = fitted("nonlinear")
    assert not model.linear and flow_of(model).blocks == CONFIG.layers
    other = fitted("nonlinear", seed=1)
    assert not torch.equal(flow_of(model).marginal.raw, flow_of(other).marginal.raw)


def test_one_variable_keeps_a_thickness_of_its_data() -> None:
    # Only unchanged pairs could tell it; left out, the thickness would be arbitrary.
    x = normal(500, 1)
    x_tilde = torch.where(torch.arange(500).unsqueeze(1) % 2 == 0, x, normal(500, 1, seed=5))
    prepared = prepare(x.numpy(), x_tilde.numpy(), 1, 0.1, 0, torch.device("cpu"))
    targets = TargetDistribution.family(1, "atomic-or-empty")
    model = run_alone(fit_noise_encoder(prepared, targets, CONFIG, generator()), Memory())
    assert float(model.thickness) == pytest.approx(THICKNESS_FLOOR)
    assert model.target_distribution.probabilities.tolist() == pytest.approx([0.5, 0.5], abs=0.05)


@pytest.mark.parametrize(("n", "pairs", "blocks"), [(2, 12_000, 8), (3, 9_000, 8), (3, 12_000, 16)])
def test_two_variables_or_few_pairs_get_half_as_many_blocks(n: int, pairs: int, blocks: int) -> None:
    x, x_tilde = (normal(pairs, n, seed=seed) for seed in (1, 2))
    prepared = prepare(x.numpy(), x_tilde.numpy(), n, 0.1, 0, torch.device("cpu"))
    targets = TargetDistribution.family(n, "atomic-or-empty")
    config = NoiseEncoderConfig(steps=1)
    assert flow_of(run_alone(fit_noise_encoder(prepared, targets, config, generator()), Memory())).blocks == blocks
    targets = TargetDistribution.family(n, "atomic-or-empty")
    config = replace(config, layers=3)
    assert flow_of(run_alone(fit_noise_encoder(prepared, targets, config, generator()), Memory())).blocks == 3


@pytest.mark.parametrize("flow", ["residual", "spline", "affine"])
def test_every_flow_can_be_fitted(flow: str) -> None:
    data = small_data("nonlinear", 2000)
    prepared = prepare(data.x, data.x_tilde, 2, 0.1, 0, torch.device("cpu"))
    targets = TargetDistribution.family(2, "atomic-or-empty")
    memory = Memory()
    config = replace(CONFIG, flow=flow)  # type: ignore[arg-type]
    model = run_alone(fit_noise_encoder(prepared, targets, config, generator()), memory)
    start, *_, end = (record["validation_log_likelihood"] for record in memory.records)
    assert isinstance(model.noise_decoder, ChainDecoder)
    kind = ResidualDecoder if flow == "residual" else FlowDecoder
    assert isinstance(model.noise_decoder.parts[0], kind)
    assert end > start + 0.1


def test_shares_of_targets_are_those_of_the_posterior_where_no_step_helps() -> None:
    data = sampled(build_nature(NatureConfig(3), 0), 3_000)
    assert data.targets is not None
    rare = data.targets[:, 0] & (np.arange(3_000) % 3 > 0)
    rng = np.random.default_rng(0)
    x, x_tilde = (part[~rare] + 0.01 * rng.standard_normal(part[~rare].shape) for part in (data.x, data.x_tilde))
    config = replace(SHORT, noise_encoder=replace(SHORT.noise_encoder, steps=1))
    model = lcm.fit(x, x_tilde, n=3, config=config, quiet=True).model
    assert isinstance(model, LatentCausalModel)
    share = model.target_distribution.probabilities
    assert float(share.min()) < 0.13 and float(share.max()) > 0.2
