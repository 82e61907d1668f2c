"""Laws of structural causal models."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from laws import (
    GRAPH,
    MECHANISMS,
    PERMUTATION,
    REAL_MECHANISMS,
    SCMS,
    N,
    adjacency,
    batch_jacobian,
    default_dtype,
    finite_gradients,
    generator,
    graphs,
    normal,
    points,
)
from scipy import stats
from torch import Tensor
from torch.distributions import MultivariateNormal

from lcm.model.do import Do
from lcm.model.elementwise import AffineMap
from lcm.model.graph import Graph
from lcm.model.mechanism import LinearMechanism, Mechanism
from lcm.model.noise import LaplaceNoise, LogisticNoise, NormalNoise, PushforwardNoise
from lcm.model.scm import SCM

pytestmark = pytest.mark.usefixtures("float64")
every_scm = pytest.mark.parametrize("name", SCMS)


@every_scm
@settings(max_examples=15, deadline=None)
@given(graph=graphs)
def test_abduction_undoes_the_solution_map(name: str, graph: Graph) -> None:
    scm = SCMS[name](graph)
    noise = scm.sample_noise(20, generator())
    z, log_det = scm.solve(noise)
    returned, log_inverse = scm.abduct(z)
    assert torch.allclose(returned, noise, atol=1e-7)
    assert torch.allclose(log_inverse, -log_det, atol=1e-6)


@every_scm
def test_solution_map_undoes_abduction(name: str) -> None:
    scm = SCMS[name](GRAPH)
    z = points(scm.circular, 50)
    assert torch.allclose(scm.solve(scm.abduct(z)[0])[0], z, atol=1e-8)


@every_scm
def test_log_determinants_are_those_of_the_jacobians(name: str) -> None:
    scm, values = SCMS[name](GRAPH), normal(50, N)
    for apply in (scm.solve, scm.abduct):
        jacobian = batch_jacobian(lambda rows, apply=apply: apply(rows)[0], values)  # type: ignore[misc]
        assert torch.allclose(torch.linalg.slogdet(jacobian)[1], apply(values)[1], atol=1e-7)


@every_scm
def test_the_factors_of_the_log_determinant_are_the_own_derivatives(name: str) -> None:
    scm, noise = SCMS[name](GRAPH), normal(50, N)
    z, log_derivative = scm.solve_each(noise)
    jacobian = batch_jacobian(lambda rows: scm.solve(rows)[0], noise)
    own = torch.diagonal(jacobian, dim1=1, dim2=2)
    assert torch.allclose(own.abs().log(), log_derivative, atol=1e-7)
    assert torch.equal(z, scm.solve(noise)[0])


@every_scm
@settings(max_examples=15, deadline=None)
@given(graph=graphs)
def test_noise_moves_the_descendants_alone(name: str, graph: Graph) -> None:
    scm = SCMS[name](graph)
    jacobian = batch_jacobian(lambda noise: scm.solve(noise)[0], normal(20, graph.n))
    influence = jacobian.abs().amax(0).T
    reached = torch.tensor(graph.ancestors() | np.eye(graph.n, dtype=np.bool_))
    assert bool((influence[~reached] == 0).all())
    assert bool((influence[torch.tensor(graph.adjacency)] > 1e-6).all())


@every_scm
def test_samples_are_seeded_and_follow_the_mechanisms(name: str) -> None:
    scm = SCMS[name](GRAPH)
    z = scm.sample(30, generator(3))
    assert torch.equal(z, scm.sample(30, generator(3)))
    assert not torch.equal(z, scm.sample(30, generator(4)))
    assert torch.allclose(scm.mechanism(scm.noise.sample(30, generator(3)), z)[0], z, atol=1e-10)


@every_scm
def test_density_integrates_to_one_and_agrees_with_samples(name: str) -> None:
    scm = SCMS[name](Graph.from_edges(2, [(1, 0)]))
    samples = scm.sample(20_000, generator()).detach()
    low, high = samples.amin(0), samples.amax(0)
    low = torch.where(scm.circular, -math.pi, 1.3 * low - 0.3 * high)
    high = torch.where(scm.circular, math.pi, 1.3 * high - 0.3 * samples.amin(0))
    axes = [torch.linspace(float(a), float(b), 401) for a, b in zip(low, high, strict=True)]
    grid = torch.stack(torch.meshgrid(*axes, indexing="ij"), -1)
    with torch.no_grad():
        density = scm.log_density(grid.reshape(-1, 2)).exp().reshape(401, 401)

    def integral(values: Tensor) -> float:
        return float(torch.trapezoid(torch.trapezoid(values * density, axes[1]), axes[0]))

    assert integral(torch.ones(())) == pytest.approx(1.0, abs=2e-3)
    statistic = torch.cos(grid[..., 0] - grid[..., 1])
    sampled = torch.cos(samples[:, 0] - samples[:, 1])
    assert integral(statistic) == pytest.approx(float(sampled.mean()), abs=5.0 * float(sampled.std()) / 20_000**0.5)


def test_linear_gaussian_density_is_the_closed_form() -> None:
    scm, z = SCMS["linear-normal"](GRAPH), normal(50, N)
    assert isinstance(scm.mechanism, LinearMechanism)
    weight = (scm.mechanism.weight * scm.mechanism.adjacency).T
    solution = torch.linalg.inv(torch.eye(N) - weight)
    factor = solution * scm.mechanism.log_scale.exp()
    law = MultivariateNormal(solution @ scm.mechanism.bias, factor @ factor.T)
    assert torch.allclose(scm.log_density(z), law.log_prob(z), atol=1e-10)


def test_density_of_one_variable_is_that_of_its_noise() -> None:
    scm, z = SCM(Graph([[0]]), LinearMechanism([[0]]), LaplaceNoise(1)), normal(20, 1)
    assert np.allclose(scm.log_density(z).detach(), stats.laplace(scale=0.5**0.5).logpdf(z[:, 0].numpy()))


@every_scm
def test_nan_empty_batches_and_gradients(name: str) -> None:
    scm, values = SCMS[name](GRAPH), normal(6, N)
    for apply in (scm.solve, scm.abduct):
        assert apply(torch.zeros(0, N))[0].shape == (0, N)
        assert apply(torch.zeros(0, N))[1].shape == (0,)
        broken = values.clone()
        broken[2, 2] = torch.nan
        result, log_det = apply(broken)
        # row 2 may be NaN anywhere, but no other row
        assert torch.equal(result.isnan().any(1), torch.arange(6) == 2)
        assert bool(result[2, [2, 0, 3]].isnan().all())
        assert bool(log_det[[0, 1, 3, 4, 5]].isfinite().all())
    far = (100.0 * values).requires_grad_()
    assert finite_gradients(scm.solve(far)[0], far, scm)
    assert finite_gradients(scm.log_density(values.requires_grad_()), values, scm)


@every_scm
def test_float32_round_trip_and_precision_of_samples(name: str) -> None:
    with default_dtype(torch.float32):
        scm = SCMS[name](GRAPH)
        noise = scm.sample_noise(50, generator())
        returned = scm.abduct(scm.solve(noise)[0])[0]
        assert returned.dtype == torch.float32
        assert torch.allclose(returned, noise, atol=1e-2)
        scm = scm.double()
        assert scm.sample(5, generator()).dtype == torch.float64
        assert scm.sample_interventional(5, Do({0: 0.1}), generator())[0, 0] == 0.1


@every_scm
def test_rebuilds_from_its_description(name: str) -> None:
    scm, z = SCMS[name](GRAPH), normal(5, N)
    rebuilt = SCM.build(scm.description())
    rebuilt.load_state_dict(scm.state_dict())
    assert rebuilt.graph == scm.graph
    assert torch.equal(rebuilt.log_density(z), scm.log_density(z))


@every_scm
def test_hard_intervention_sets_the_value_and_moves_descendants_alone(name: str) -> None:
    scm = SCMS[name](GRAPH)
    z = scm.sample(50, generator())
    counterfactual = scm.counterfactual(z, Do({0: 1.25}))
    assert torch.equal(counterfactual[:, 0], torch.full((50,), 1.25))
    assert torch.allclose(counterfactual[:, [1, 2]], z[:, [1, 2]], atol=1e-8)
    assert bool(((counterfactual[:, 3] - z[:, 3]).abs() > 1e-6).all())


@every_scm
def test_intervention_cuts_the_edges_into_its_target(name: str) -> None:
    scm = SCMS[name](GRAPH)
    noise = scm.sample_noise(20, generator())
    targets = torch.zeros(20, N, dtype=torch.bool)
    targets[:, 0] = True
    jacobian = batch_jacobian(
        lambda rows: scm.solve_intervened(rows, targets, lambda z, k: torch.full((20, len(k)), 0.3)), noise
    )
    influence = jacobian.abs().amax(0).T
    cut = scm.intervened_graph(Do({0: 0.3})).ancestors() | np.eye(N, dtype=np.bool_)
    cut[0] = False
    assert torch.equal(influence > 0, torch.tensor(cut))


@every_scm
def test_several_targets_take_their_values_and_the_rest_their_mechanisms(name: str) -> None:
    scm = SCMS[name](GRAPH)
    noise = scm.sample_noise(50, generator())
    z = scm.solve(noise)[0]
    counterfactual = scm.counterfactual(z, Do({3: -2.0, 2: 0.5}))
    assert torch.equal(counterfactual[:, [2, 3]], torch.tensor([[0.5, -2.0]]).expand(50, 2))
    assert torch.allclose(counterfactual[:, 1], z[:, 1], atol=1e-8)
    assert torch.allclose(counterfactual[:, 0], scm.mechanism(noise, counterfactual)[0][:, 0], atol=1e-6)


@every_scm
def test_rows_may_have_different_targets(name: str) -> None:
    scm = SCMS[name](GRAPH)
    noise = scm.sample_noise(2 * N, generator())
    targets, values = torch.eye(N, dtype=torch.bool).repeat(2, 1), normal(2 * N, N, seed=5)
    z = scm.solve_intervened(noise, targets, lambda _, k: values[:, k])
    for row in range(2 * N):
        target = row % N
        alone = scm.counterfactual(scm.solve(noise[row : row + 1])[0], Do({target: float(values[row, target])}))
        assert torch.allclose(z[row : row + 1], alone, atol=1e-7)


@every_scm
def test_counterfactual_without_intervention_is_the_fact(name: str) -> None:
    scm = SCMS[name](GRAPH)
    z = scm.sample(50, generator())
    assert torch.allclose(scm.counterfactual(z, Do({})), z, atol=1e-8)


# on a circle the law is wrapped: tests/test_circle.py
@pytest.mark.parametrize("name", [name for name in SCMS if name != "torus"])
def test_stochastic_intervention_draws_from_its_law_whatever_the_parents(name: str) -> None:
    scm = SCMS[name](GRAPH)
    law = PushforwardNoise(LogisticNoise(1), AffineMap(1, torch.tensor([2.0]), torch.tensor([0.5])))
    z = scm.sample_interventional(3000, Do({3: law, 1: -1.0}), generator(5)).detach()
    reference = stats.logistic(loc=2.0, scale=0.5 * 3.0**0.5 / np.pi)
    assert stats.kstest(z[:, 3].numpy(), reference.cdf).pvalue > 0.01
    assert bool((z[:, 1] == -1.0).all())
    for parent in (0, 2):
        assert abs(stats.spearmanr(z[:, 3], z[:, parent]).statistic) < 0.07
    assert torch.equal(z, scm.sample_interventional(3000, Do({3: law, 1: -1.0}), generator(5)))


def test_interventional_samples_have_the_closed_form_mean() -> None:
    scm = SCMS["linear-normal"](GRAPH)
    assert isinstance(scm.mechanism, LinearMechanism)
    w, b = scm.mechanism.weight.detach(), scm.mechanism.bias.detach()
    z = scm.sample_interventional(20_000, Do({0: 2.0}), generator()).detach()
    expected = b[3] + w[0, 3] * 2.0 + w[2, 3] * b[2] + w[1, 3] * b[1]
    assert float(z[:, 3].mean()) == pytest.approx(float(expected), abs=5.0 * float(z[:, 3].std()) / 20_000**0.5)


def test_intervened_graph() -> None:
    scm = SCMS["linear-normal"](GRAPH)
    assert scm.intervened_graph(Do({3: 0.0})).edges() == [(2, 0)]
    assert scm.intervened_graph(Do({})) == GRAPH


PERMUTED_DIMENSIONS = {
    "weight": (0, 1),
    "network.linear": (0, 1),
    "network.first": (0, 1),
    "network.inner": (1,),
    "network.inner_bias": (1,),
}
"""The dimensions of a mechanism's parameters that count variables; the first for those that are not named."""


def permuted_mechanism(name: str, old_labels: list[int]) -> Mechanism:
    """The mechanism of GRAPH with its variables in another order, by permuting its parameters."""
    original, permuted = MECHANISMS[name](GRAPH), MECHANISMS[name](GRAPH.permuted(old_labels))
    with torch.no_grad():
        for (key, source), target in zip(original.named_parameters(), permuted.parameters(), strict=True):
            values = source.detach()
            for dimension in PERMUTED_DIMENSIONS.get(key, (0,)):
                values = values.index_select(dimension, torch.tensor(old_labels))
            target.copy_(values)
    return permuted


@pytest.mark.parametrize("name", [name for name in REAL_MECHANISMS if name != "reparametrised"])
def test_permuted_variables_give_permuted_results(name: str) -> None:
    old_labels = list(PERMUTATION)
    scm = SCM(GRAPH, MECHANISMS[name](GRAPH), LaplaceNoise(N))
    permuted = SCM(GRAPH.permuted(old_labels), permuted_mechanism(name, old_labels), LaplaceNoise(N))
    noise = normal(30, N)
    z, log_det = scm.solve(noise)
    permuted_z, permuted_log_det = permuted.solve(noise[:, old_labels])
    assert torch.allclose(permuted_z, z[:, old_labels], atol=1e-10)
    assert torch.allclose(permuted_log_det, log_det, atol=1e-10)
    assert torch.allclose(permuted.log_density(permuted_z), scm.log_density(z), atol=1e-8)
    acted = permuted.counterfactual(permuted_z, Do({old_labels.index(2): 0.7}))
    assert torch.allclose(acted, scm.counterfactual(z, Do({2: 0.7}))[:, old_labels], atol=1e-8)


def test_errors() -> None:
    scm = SCMS["linear-normal"](GRAPH)
    z = scm.sample(3, generator())
    for target in (-1, N):
        with pytest.raises(ValueError, match=rf"Expected intervention targets in 0\.\.3; got {target}"):
            scm.counterfactual(z, Do({target: 1.0}))
    with pytest.raises(ValueError, match="Expected a generator for a stochastic intervention; got None"):
        scm.counterfactual(z, Do({0: NormalNoise(1)}))
    with pytest.raises(ValueError, match="Expected mechanisms over the graph's adjacency; got a different"):
        SCM(GRAPH, LinearMechanism(adjacency(GRAPH.permuted(PERMUTATION))), NormalNoise(N))
    with pytest.raises(ValueError, match="Expected noise of 4 variables; got 3"):
        SCM(GRAPH, LinearMechanism(adjacency(GRAPH)), NormalNoise(3))
