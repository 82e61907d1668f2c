"""Laws of causal mechanisms."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from laws import (
    GRAPH,
    IDENTITY_MECHANISMS,
    MECHANISMS,
    REAL_MECHANISMS,
    N,
    adjacency,
    batch_jacobian,
    default_dtype,
    finite_gradients,
    generator,
    graphs,
    normal,
    points,
    randomised,
)

from lcm.base.component import describe
from lcm.model.graph import Graph
from lcm.model.mechanism import (
    AdditiveMechanism,
    CircuitMechanism,
    LinearMechanism,
    Mechanism,
    TrainableMechanism,
    require_trainable,
)
from lcm.model.mechanism.location_scale import BimodalWeightConfig, UniformWeightConfig, WeightConfig
from lcm.model.mechanism.network import ParentNetwork

pytestmark = pytest.mark.usefixtures("float64")
every_mechanism = pytest.mark.parametrize("name", MECHANISMS)


@every_mechanism
def test_inverse_undoes_forward(name: str) -> None:
    mechanism, z = MECHANISMS[name](GRAPH), normal(50, N, seed=2)
    noise = points(mechanism.circular, 50, scale=3.0)
    value, log_derivative = mechanism(noise, z)
    returned, log_inverse = mechanism.inverse(value, z)
    assert torch.allclose(returned, noise, atol=1e-8)
    assert torch.allclose(log_inverse, -log_derivative, atol=1e-7)
    assert torch.allclose(mechanism(mechanism.inverse(noise, z)[0], z)[0], noise, atol=1e-8)


@every_mechanism
def test_each_value_depends_on_its_own_noise_alone_with_the_stated_derivative(name: str) -> None:
    mechanism, noise, z = MECHANISMS[name](GRAPH), normal(50, N, scale=3.0), normal(50, N, seed=2)
    for apply in (mechanism, mechanism.inverse):
        jacobian = batch_jacobian(lambda rows, apply=apply: apply(rows, z)[0], noise)  # type: ignore[misc]
        diagonal = torch.diagonal(jacobian, dim1=1, dim2=2)
        assert torch.equal(jacobian, torch.diag_embed(diagonal))
        assert torch.allclose(diagonal.abs().log(), apply(noise, z)[1], atol=1e-7)


@pytest.mark.parametrize("name", REAL_MECHANISMS)
def test_strictly_monotone_in_the_noise(name: str) -> None:
    mechanism, z = MECHANISMS[name](GRAPH), normal(1, N).expand(400, N)
    grid = torch.linspace(-10.0, 10.0, 400).unsqueeze(1).expand(400, N)
    rises = mechanism(grid, z)[0].diff(dim=0) > 0
    assert torch.equal(rises, rises[:1].expand_as(rises))
    # only a reparametrisation may reverse the orientation
    assert bool(rises.all()) == (name != "reparametrised")


@every_mechanism
@settings(max_examples=15, deadline=None)
@given(graph=graphs)
def test_jacobian_in_the_causal_variables_has_the_pattern_of_the_adjacency(name: str, graph: Graph) -> None:
    mechanism, noise, z = MECHANISMS[name](graph), normal(20, graph.n), normal(20, graph.n, seed=2)
    for apply in (mechanism, mechanism.inverse):
        for output in (0, 1):
            jacobian = batch_jacobian(lambda rows, a=apply, o=output: a(noise, rows)[o], z)  # type: ignore[misc]
            influence = jacobian.abs().amax(0).T
            assert bool((influence[~torch.tensor(graph.adjacency)] == 0).all())
            if output == 0:
                assert bool((influence[torch.tensor(graph.adjacency)] > 1e-4).all())


@every_mechanism
def test_variables_select_columns(name: str) -> None:
    mechanism, noise, z = MECHANISMS[name](GRAPH), normal(50, N), normal(50, N, seed=2)
    for variables in (torch.tensor([3, 0]), torch.tensor([1]), torch.arange(N)):
        for apply in (mechanism, mechanism.inverse):
            for part, full in zip(apply(noise[:, variables], z, variables), apply(noise, z), strict=True):
                assert torch.allclose(part, full[:, variables], atol=1e-12)


@pytest.mark.parametrize("name", IDENTITY_MECHANISMS)
def test_starts_at_the_identity_in_the_noise(name: str) -> None:
    mechanism, z = IDENTITY_MECHANISMS[name](GRAPH), normal(50, N, seed=2)
    noise = points(mechanism.circular, 50, scale=3.0)
    for apply in (mechanism, mechanism.inverse):
        value, log_derivative = apply(noise, z)
        assert torch.allclose(value, noise, atol=1e-12)
        assert torch.allclose(log_derivative, torch.zeros_like(noise), atol=1e-12)


@every_mechanism
def test_gradients_are_finite_far_out(name: str) -> None:
    mechanism = MECHANISMS[name](GRAPH)
    far = torch.tensor([-1e4, -10.0, 0.0, 1e4]).unsqueeze(1).expand(4, N)
    inputs = torch.cat([far, normal(4, N, scale=30.0)]).requires_grad_()
    noise, z = inputs.chunk(2)
    for apply in (mechanism, mechanism.inverse):
        value, log_derivative = apply(noise, z)
        assert finite_gradients(value + log_derivative, inputs, mechanism)


@every_mechanism
def test_nan_and_empty_batches(name: str) -> None:
    mechanism, noise, z = MECHANISMS[name](GRAPH), normal(5, N), normal(5, N, seed=2)
    noise[2, 1] = torch.nan
    for apply in (mechanism, mechanism.inverse):
        assert torch.equal(apply(noise, z)[0].isnan(), noise.isnan())
        value, log_derivative = apply(torch.zeros(0, N), torch.zeros(0, N))
        assert value.shape == log_derivative.shape == (0, N)
    z[3] = torch.nan
    with_parents = torch.tensor(GRAPH.adjacency).any(0)
    assert bool(mechanism(normal(5, N), z)[0][3, with_parents].isnan().all())


@every_mechanism
def test_float32_round_trip(name: str) -> None:
    with default_dtype(torch.float32):
        mechanism, z = MECHANISMS[name](GRAPH), normal(50, N, seed=2)
        noise = points(mechanism.circular, 50, scale=2.0)
        returned = mechanism.inverse(mechanism(noise, z)[0], z)[0]
    assert returned.dtype == torch.float32
    assert torch.allclose(returned, noise, atol=1e-3)


@every_mechanism
def test_rebuilds_from_its_description(name: str) -> None:
    mechanism, noise, z = MECHANISMS[name](GRAPH), normal(5, N), normal(5, N, seed=2)
    rebuilt = Mechanism.build(describe(mechanism))
    rebuilt.load_state_dict(mechanism.state_dict())
    assert torch.equal(rebuilt(noise, z)[0], mechanism(noise, z)[0])
    assert torch.equal(rebuilt.adjacency, mechanism.adjacency)


def test_unknown_kind_is_an_error() -> None:
    with pytest.raises(ValueError, match=r"Expected a component of kind additive, .*; got 'quadratic'"):
        Mechanism.build({"kind": "quadratic", "settings": {}})


def test_only_mechanisms_that_can_be_learned_pass_where_they_are_required() -> None:
    with pytest.raises(ValueError, match=r"Expected mechanisms that a fit can learn; got mechanisms of kind circuit\."):
        require_trainable(CircuitMechanism())


TRAINABLE = sorted(kind for kind, found in Mechanism.kinds.items() if issubclass(found, TrainableMechanism))


@pytest.mark.parametrize("kind", TRAINABLE)
def test_trainable_mechanisms_start_at_the_noise_and_can_be_made_linear(kind: str) -> None:
    mechanism = TrainableMechanism.of_kind(kind).untrained(torch.tensor(GRAPH.adjacency), 5)
    noise, z = normal(20, N), normal(20, N, seed=2)
    assert torch.allclose(mechanism(noise, z)[0], noise)
    weights, parents = torch.tensor([0.7]), torch.nonzero(mechanism.adjacency[:, 0]).flatten()[:1]
    for log_scale in (-3.5, 0.1, 2.0):
        mechanism.set_linear(0, parents, weights, torch.tensor(-0.3), torch.tensor(log_scale))
        value = mechanism(noise, z)[0]
        assert torch.allclose(value[:, 0], 0.7 * z[:, parents[0]] - 0.3 + math.exp(log_scale) * noise[:, 0])
        assert torch.allclose(value[:, 1:], noise[:, 1:])


@pytest.mark.parametrize("kind", TRAINABLE)
def test_location_and_log_scale_are_those_at_no_noise(kind: str) -> None:
    mechanism = randomised(TrainableMechanism.of_kind(kind).untrained(torch.tensor(GRAPH.adjacency), 5))
    z, variables = normal(20, N, seed=2), torch.tensor([2, 0])
    value, log_slope = mechanism(torch.zeros(20, 2), z, variables)
    location, log_scale = mechanism.location_and_log_scale(z, variables)
    assert torch.allclose(location, value) and torch.allclose(log_scale, log_slope)


def test_linear_mechanism_is_its_formula() -> None:
    mechanism = LinearMechanism(adjacency(GRAPH), normal(N, N))
    with torch.no_grad():
        mechanism.bias.copy_(normal(N, seed=3))
        mechanism.log_scale.copy_(normal(N, seed=4))
    noise, z = normal(7, N), normal(7, N, seed=2)
    value = mechanism(noise, z)[0]
    w, b, s = mechanism.weight, mechanism.bias, mechanism.log_scale.exp()
    assert torch.allclose(value[:, 1], b[1] + s[1] * noise[:, 1])
    assert torch.allclose(value[:, 0], b[0] + w[2, 0] * z[:, 2] + s[0] * noise[:, 0])


def test_drawn_network_is_seeded_and_starts_linear_or_not() -> None:
    def drawn(seed: int, last_scale: float) -> ParentNetwork:
        network = ParentNetwork(torch.tensor(GRAPH.adjacency), outputs=2, hidden=5, layers=2)
        network.draw_weights(generator(seed), last_scale)
        return network

    z = normal(20, N)
    assert torch.equal(drawn(0, 1.0)(z), drawn(0, 1.0)(z))
    assert not torch.equal(drawn(0, 1.0)(z), drawn(1, 1.0)(z))
    assert torch.equal(drawn(0, 0.0)(z), torch.zeros(20, N, 2))
    values = drawn(0, 1.0)(torch.cat([z, -z]))[:, 3]
    # a linear map is odd; this one is not
    assert bool(((values[:20] + values[20:]).abs() > 1e-3).any())


def test_network_of_a_mechanism_without_parents_is_constant() -> None:
    mechanism = MECHANISMS["additive"](GRAPH)
    assert isinstance(mechanism, AdditiveMechanism)
    values = mechanism.network(normal(20, N))[:, 1:3]
    assert torch.equal(values, values[:1].expand_as(values))


@pytest.mark.parametrize(
    ("weights", "least", "most"), [(BimodalWeightConfig(spread=0.0), 1.0, 1.0), (UniformWeightConfig(), 0.5, 1.5)]
)
def test_drawn_weights_have_both_signs_and_the_stated_sizes(weights: WeightConfig, least: float, most: float) -> None:
    drawn = weights.draw(40, generator(3))
    assert least <= float(drawn.abs().min()) and float(drawn.abs().max()) <= most
    # of 1,600 random signs
    assert 0.45 < float((drawn > 0).double().mean()) < 0.55
