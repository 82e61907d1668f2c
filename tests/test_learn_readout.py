"""From evidence to a graph: orders, ancestors, parents and edge strengths."""

from __future__ import annotations

import hypothesis.strategies as st
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis.extra.numpy import arrays
from laws import GRAPH, SCMS, batch_jacobian, generator, graphs, normal
from numpy.typing import NDArray
from scipy.stats import norm
from small import sampled
from torch import Tensor

from lcm.data.nature.build import build_nature
from lcm.data.nature.config import NatureConfig
from lcm.data.nature.graphs import GraphConfig
from lcm.model.graph import Graph, transitive_closure
from lcm.model.mechanism import LocationScaleMechanism
from lcm.model.noise import NormalNoise
from lcm.model.scm import SCM
from lcm.readout import ancestors as readout
from lcm.readout.ancestors import Ancestry, critical_value, find_ancestry
from lcm.readout.dependence import Dependence
from lcm.readout.edges import edge_strengths, find_edges

pytestmark = pytest.mark.usefixtures("float64")

CLEAR = 20.0
evidences = st.integers(1, 6).flatmap(lambda n: arrays(np.float64, (n, n), elements=st.floats(0, 40)))


def found_of(evidence: NDArray[np.float64]) -> Dependence:
    """Test results with given statistics, as if they were normal deviates."""
    apart = ~np.eye(len(evidence), dtype=np.bool_)
    p_value = np.where(apart, np.minimum(1.0, 2.0 * norm.sf(evidence)), 1.0)
    none = torch.ones(evidence.shape)
    return Dependence(torch.from_numpy(0.5 * p_value), none, torch.from_numpy(np.where(apart, evidence, 0.0)))


def ancestry_of(evidence: NDArray[np.float64], rows: int = 1) -> Ancestry:
    """What follows from given statistics of so many rows a target, whatever the data."""
    n = len(evidence)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(readout, "independence_tests", lambda *_: found_of(evidence))
        return find_ancestry(torch.zeros(rows, n), torch.zeros(rows, n), torch.ones(rows, n), 0.01)


def test_a_chain_without_its_end_to_end_relation_is_noticed_where_that_should_be_clear() -> None:
    # 0 → 1 → 2, of correlation 0.8 each: along the chain 0.64, which 2,500 rows would show
    strong = np.zeros((3, 3))
    strong[0, 1] = strong[1, 2] = 40.0
    assert ancestry_of(strong, 2500).intransitive == ((0, 1, 2),)
    strong[0, 2] = 16.0
    assert ancestry_of(strong, 2500).intransitive == ()
    # of correlation 0.12 each: along the chain 0.015, which they would not
    weak = np.where(strong > 0, 6.25, 0.0)
    weak[0, 2] = 0.0
    assert ancestry_of(weak, 2500).intransitive == ()


@settings(max_examples=30, deadline=None)
@given(graphs, st.integers(0, 2**32 - 1))
def test_complete_ancestor_relations_are_transitive(graph: Graph, seed: int) -> None:
    ancestors = transitive_closure(graph.adjacency)
    strength = np.random.default_rng(seed).uniform(CLEAR, 100.0, ancestors.shape)
    assert ancestry_of(np.where(ancestors, strength, 0.0), 5000).intransitive == ()


def test_the_critical_value_shares_the_level_among_all_tests() -> None:
    assert norm.sf(critical_value(0.01, 6)) * 12 == pytest.approx(0.01)
    assert norm.sf(critical_value(0.01, 0)) == pytest.approx(0.01)


@settings(max_examples=50, deadline=None)
@given(graphs, st.integers(0, 2**32 - 1))
def test_true_ancestors_give_an_order_that_puts_causes_first(graph: Graph, seed: int) -> None:
    ancestors = transitive_closure(graph.adjacency)
    strength = np.random.default_rng(seed).uniform(CLEAR, 100.0, ancestors.shape)
    found = ancestry_of(np.where(ancestors, strength, 0.0))
    position = np.argsort(found.order)
    assert all(position[j] < position[i] for j, i in np.argwhere(ancestors))
    np.testing.assert_array_equal(found.candidates, ancestors)
    assert found.conflicts == ()


@settings(max_examples=100, deadline=None)
@given(evidences)
def test_no_evidence_makes_cyclic_candidates(evidence: NDArray[np.float64]) -> None:
    n = len(evidence)
    found = ancestry_of(evidence)
    # Graph refuses a cyclic adjacency.
    Graph(found.candidates)
    assert sorted(found.order) == list(range(n))
    position = np.argsort(found.order)
    forward = position[:, None] < position[None, :]
    clear = found.p_value <= 0.01 / max(1, n * (n - 1))
    assert list(found.conflicts) == [tuple(pair) for pair in np.argwhere(clear & ~forward).tolist()]
    # Only what is clearly no ancestor is left out, and nothing that clear relations imply.
    implied = transitive_closure(clear & forward)
    np.testing.assert_array_equal(found.candidates, implied | forward & (found.p_value <= 0.1))


def test_the_weakest_relation_of_a_cycle_is_dropped() -> None:
    evidence = np.zeros((3, 3))
    evidence[0, 1], evidence[1, 2], evidence[2, 0] = 30.0, 25.0, 8.0
    found = ancestry_of(evidence)
    assert found.order == (0, 1, 2) and found.conflicts == ((2, 0),)


def test_a_relation_that_is_neither_clear_nor_clearly_absent_stays_a_candidate() -> None:
    evidence = np.zeros((3, 3))
    evidence[0, 1], evidence[1, 2], evidence[0, 2] = 30.0, 2.0, 1.0
    assert ancestry_of(evidence).candidates.nonzero()[0].tolist() == [0, 1]


def fitted_scm(graph: Graph, noise_tilde: Tensor, z: Tensor, weights: Tensor) -> SCM:
    """Linear mechanisms by least squares on the pairs in which each variable is a target."""
    mechanism = LocationScaleMechanism(torch.from_numpy(graph.adjacency.copy()), hidden=1)
    with torch.no_grad():
        for i in range(graph.n):
            rows, parents = weights[:, i] > 0.5, torch.from_numpy(graph.adjacency[:, i].copy())
            design = torch.cat([z[rows][:, parents], torch.ones_like(z[rows][:, :1])], 1)
            solution = torch.linalg.lstsq(design, noise_tilde[rows, i : i + 1]).solution[:, 0]
            mechanism.network.linear[i, parents, 0] = -solution[:-1]
            mechanism.bias[i] = -solution[-1]
    return SCM(graph, mechanism, NormalNoise(graph.n))


@pytest.mark.parametrize("graph", ["chain", "full", "empty", "erdos-renyi"])
@pytest.mark.parametrize("pairs", [2_500, 20_000])
@pytest.mark.parametrize("seed", range(3))
def test_true_noise_of_a_linear_model_gives_its_graph(graph: str, pairs: int, seed: int) -> None:
    nature = build_nature(NatureConfig(4, GraphConfig.of_kind(graph)()), seed)  # type: ignore[arg-type]
    truth = sampled(nature, pairs, seed).tensors()
    noise, noise_tilde, z = (torch.from_numpy(truth[key]).double() for key in ("noise", "noise_tilde", "z"))
    weights = torch.from_numpy(truth["targets"]).double()
    ancestry = find_ancestry(noise, noise_tilde, weights, 0.01)
    position = np.argsort(ancestry.order)
    assert all(position[i] < position[j] for i, j in nature.scm.graph.edges())
    scm = fitted_scm(Graph(ancestry.candidates), noise_tilde, z, weights)
    evidence = find_edges(scm, ancestry, (noise_tilde, z, weights), (noise[:500], z[:500]))
    # of 24 graphs at 1 %, one has a false edge, with a p-value of 0.009
    assert evidence.graph_at(0.005) == nature.scm.graph
    # An ancestor may be missed where effects along two paths cancel, as they nearly do here twice; its edge is not.
    assert not (evidence.ancestors_at(0.01) & ~transitive_closure(truth["adjacency"])).any()
    interval = evidence.strength_interval(4.0)
    strength = edge_strengths(nature.scm.double(), z)
    edges = nature.scm.graph.adjacency
    assert ((interval[..., 0] <= strength) & (strength <= interval[..., 1]))[edges].all()


def test_the_strength_of_a_linear_edge_is_its_weight_in_units_of_the_variables() -> None:
    scm = SCMS["linear-normal"](GRAPH)
    z = scm.sample(2000, generator()).detach()
    expected = scm.mechanism.weight.detach().abs() * scm.mechanism.adjacency * z.std(0).unsqueeze(1) / z.std(0)
    np.testing.assert_allclose(edge_strengths(scm, z), expected, rtol=1e-9)


@pytest.mark.parametrize("name", SCMS)
def test_strengths_agree_with_the_jacobian_of_the_solution_map(name: str) -> None:
    scm = SCMS[name](GRAPH).requires_grad_(False)
    noise = scm.noise.from_normal(normal(50, GRAPH.n, scale=0.7))[0]
    z = scm.solve(noise)[0]
    inverse = torch.linalg.inv(batch_jacobian(lambda e: scm.solve(e)[0], noise))
    effect = -inverse / torch.diagonal(inverse, dim1=1, dim2=2).unsqueeze(2)
    # Row i of the effect are the causes of i; edges are numbered the other way.
    expected = effect.square().mean(0).sqrt().T * z.std(0).unsqueeze(1) / z.std(0)
    expected.fill_diagonal_(0.0)
    np.testing.assert_allclose(edge_strengths(scm, z), expected.numpy(), rtol=1e-6, atol=1e-9)


def test_strengths_leave_parameters_and_values_alone() -> None:
    scm = SCMS["location-scale-skewed"](GRAPH)
    with torch.no_grad():
        z = scm.sample(20, generator())
        edge_strengths(scm, z)
    assert not z.requires_grad and all(parameter.grad is None for parameter in scm.parameters())
