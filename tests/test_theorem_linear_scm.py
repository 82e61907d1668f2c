"""Linear SCMs in closed form, against samples, and edges of an exact strength."""

from __future__ import annotations

import hypothesis.strategies as st
import numpy as np
import pytest
import torch
from hypothesis import given
from laws import BASE_MODELS, GRAPH, MECHANISMS, NOISES, N, adjacency, generator, randomised

from experiments._theorem.linear_scm import linear_moments, noise_moments, weight_of_strength, with_edge_strength
from lcm.model.decoder import RotationDecoder
from lcm.model.graph import Graph
from lcm.model.intervention import PerfectIntervention, TargetDistribution
from lcm.model.latent_causal_model import LatentCausalModel
from lcm.model.mechanism import LinearMechanism
from lcm.model.noise import NormalNoise
from lcm.model.scm import SCM
from lcm.readout.edges import edge_strengths

pytestmark = pytest.mark.usefixtures("float64")
EDGES = [(2, 0), (0, 3), (2, 3), (1, 3)]
ROWS = 200_000


def linear_model(graph: Graph = GRAPH, weight: torch.Tensor | None = None, seed: int = 2) -> LatentCausalModel:
    """A linear model with normal noise, random biases and scales, and random weights unless given."""
    mechanism = randomised(LinearMechanism(adjacency(graph)), seed=seed)
    if weight is not None:
        mechanism.weight = torch.nn.Parameter(weight)
    scm = SCM(graph, mechanism, NormalNoise(graph.n))
    family = TargetDistribution.family(graph.n, "atomic-or-empty")
    return LatentCausalModel(scm, RotationDecoder(graph.n), PerfectIntervention(NormalNoise(graph.n)), family, 0.02)


@pytest.mark.parametrize("name", NOISES)
def test_moments_of_noise_are_those_of_samples(name: str) -> None:
    noise = NOISES[name]()
    mean, variance = noise_moments(noise)
    values = noise.sample(ROWS // 4, generator())
    spread = np.sqrt(variance)
    assert np.allclose(values.mean(0).detach(), mean, atol=10.0 * spread.max() / ROWS**0.5)
    assert np.allclose(values.std(0).detach(), spread, rtol=0.04)


def test_moments_of_noise_of_unit_variance_are_exact() -> None:
    for name in ("normal", "laplace", "logistic"):
        mean, variance = noise_moments(NOISES[name]())
        assert np.allclose(mean, 0.0, atol=1e-9)
        assert np.allclose(variance, 1.0, atol=1e-4 if name == "laplace" else 1e-6)


@pytest.mark.parametrize("name", ["normal", "laplace", "skewed", "pushforward-affine"])
def test_moments_of_causal_variables_are_those_of_samples(name: str) -> None:
    scm = SCM(GRAPH, MECHANISMS["linear"](GRAPH), NOISES[name]())
    moments, z = linear_moments(scm), scm.sample(ROWS, generator()).detach()
    assert np.allclose(z.mean(0), moments.mean, atol=0.03)
    assert np.allclose(np.cov(z.numpy().T), moments.covariance, atol=0.04 * moments.covariance.max())
    assert np.allclose(moments.strengths, edge_strengths(scm, z), atol=0.01)


@given(st.sampled_from(EDGES), st.floats(0.0, 0.99), st.integers(0, 100))
def test_an_edge_gets_exactly_its_strength_and_nothing_else_changes(
    edge: tuple[int, int], strength: float, seed: int
) -> None:
    model = linear_model(seed=seed)
    image = with_edge_strength(model, edge, strength)
    old, new = linear_moments(model.scm).weight, linear_moments(image.scm).weight
    assert linear_moments(image.scm).strengths[edge] == pytest.approx(strength, abs=1e-12)
    assert np.sign(new[edge]) in (0.0, np.sign(old[edge]))
    new[edge] = old[edge]
    assert np.array_equal(old, new)
    assert torch.equal(image.scm.mechanism.log_scale, model.scm.mechanism.log_scale)  # type: ignore[arg-type]


def test_a_weight_of_zero_becomes_positive_and_the_original_stays() -> None:
    model = linear_model(weight=torch.zeros(N, N))
    image = with_edge_strength(model, (2, 0), 0.3)
    assert linear_moments(image.scm).weight[2, 0] > 0.0
    assert linear_moments(model.scm).weight[2, 0] == 0.0


def test_a_strength_above_one_is_reached_only_against_other_parents() -> None:
    with pytest.raises(ValueError, match=r"Expected a strength within reach, as any below 1 is; got 1\.2"):
        with_edge_strength(linear_model(), (2, 0), 1.2)
    # what the parent adds, the other parents take away again
    parent, others = np.array([1.0, 0.0]), np.array([-2.0, 0.1])
    weight = weight_of_strength(parent, others, 1.2, 1.0)
    assert weight > 0.0
    assert weight == pytest.approx(1.2 * float(np.linalg.norm(weight * parent + others)))


def test_bad_edges_mechanisms_and_strengths_are_errors() -> None:
    for edge in ((0, 2), (0, 0), (0, 4), (-1, 0)):
        with pytest.raises(ValueError, match=rf"Expected an edge of the graph; got {edge[0]} -> {edge[1]}"):
            with_edge_strength(linear_model(), edge, 0.2)
    with pytest.raises(ValueError, match="Expected linear mechanisms; got additive"):
        with_edge_strength(BASE_MODELS["additive"](), (2, 0), 0.2)
    with pytest.raises(ValueError, match=r"Expected a strength >= 0; got -0\.1"):
        with_edge_strength(linear_model(), (2, 0), -0.1)
