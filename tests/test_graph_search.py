"""Laws of all methods that find a graph over fitted variables."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from fitted_variables import CHAIN, CLOSED_FORM, OWN_METHODS, SHORT, any_variables, chain_variables, noise_alone
from hypothesis import given, settings
from hypothesis import strategies as st
from laws import default_dtype

from lcm.data.pairs import PairData
from lcm.learn.training.loop import run_together
from lcm.learn.training.tracker import Recorder
from lcm.model.graph import Graph
from lcm.model.intervention import TargetDistribution
from lcm.model.pair_model import EncodedPairs
from lcm.peer.search import discover, find_graph
from lcm.peer.search.config import METHODS, EncoConfig, GraphSearchConfig, NetworksConfig, SearchMethod
from lcm.peer.search.variables import FittedVariables
from lcm.readout.evidence import FoundGraph, directed, strongest_acyclic

FINDING = tuple(method for method in OWN_METHODS if method != "none")
ON_NOISE: tuple[SearchMethod, ...] = ("tests", "jacobian", "dependence")
TRUE = Graph.from_edges(3, CHAIN)
# one of the absent edges has a p-value of 0.05
RATE = 0.01


def assert_equal(first: FoundGraph, second: FoundGraph) -> None:
    assert (first.graph, first.order) == (second.graph, second.order)
    np.testing.assert_allclose(first.edge_strength, second.edge_strength, rtol=1e-5, atol=1e-8)


@pytest.mark.parametrize("method", FINDING)
def test_the_graph_of_true_variables_is_found(method: SearchMethod) -> None:
    found = discover(chain_variables(), method, config=SHORT, false_discovery_rate=RATE)
    assert found.graph == TRUE
    assert found.order == (2, 0, 1)
    assert found.edge_strength.dtype == np.float64
    off = ~TRUE.adjacency & ~np.eye(3, dtype=bool)
    assert found.edge_strength[TRUE.adjacency].min() > 2 * found.edge_strength[off].max()
    assert found.seconds > 0


@pytest.mark.parametrize("method", ON_NOISE)
def test_the_noise_encodings_and_targets_are_enough(method: SearchMethod) -> None:
    variables = noise_alone(chain_variables())
    assert discover(variables, method, config=SHORT, false_discovery_rate=RATE).graph == TRUE


@pytest.mark.parametrize("method", ON_NOISE)
def test_the_sign_and_scale_of_noise_do_not_matter(method: SearchMethod) -> None:
    variables, gauge = noise_alone(chain_variables()), torch.tensor([-3.0, 0.1, 1.0])
    moved = FittedVariables(*(part * gauge for part in vars_of(variables)[:4]), variables.target_weights)
    assert discover(moved, method, config=CLOSED_FORM, false_discovery_rate=RATE).graph == TRUE


def vars_of(variables: FittedVariables) -> tuple[torch.Tensor, ...]:
    v = variables
    return v.z, v.z_tilde, v.noise, v.noise_tilde, v.target_weights


def test_the_tests_bear_noise_far_from_normal() -> None:
    variables = noise_alone(chain_variables())
    bent = [torch.sign(part) * part.abs().sqrt() + 2.0 * torch.sign(part) for part in vars_of(variables)[:4]]
    found = discover(FittedVariables(*bent, variables.target_weights), "tests", config=SHORT)
    assert found.order == (2, 0, 1)
    assert found.graph.adjacency[TRUE.adjacency].all()


def test_the_tests_give_evidence_and_a_graph_at_any_rate() -> None:
    found = discover(chain_variables(), "tests", config=CLOSED_FORM, false_discovery_rate=0.01)
    assert found.evidence is not None
    assert found.graph == found.evidence.graph_at(0.01)
    assert discover(chain_variables(), "jacobian", config=CLOSED_FORM).evidence is None


@pytest.mark.parametrize("method", ON_NOISE)
@pytest.mark.parametrize("permutation", [[1, 2, 0], [2, 1, 0]])
def test_closed_forms_are_equivariant(method: SearchMethod, permutation: list[int]) -> None:
    with default_dtype(torch.float64):
        variables = chain_variables(2000)
        first = discover(variables, method, config=CLOSED_FORM)
        second = discover(variables.permuted(permutation), method, config=CLOSED_FORM)
    assert second.graph == first.graph.permuted(permutation)
    expected = first.edge_strength[permutation][:, permutation]
    np.testing.assert_allclose(second.edge_strength, expected, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("method", FINDING)
def test_equal_seeds_find_equal_graphs(method: SearchMethod) -> None:
    few = replace(SHORT, networks=replace(SHORT.networks, steps=4), enco=replace(SHORT.enco, steps=8))
    first, second = (discover(chain_variables(), method, 7, config=few) for _ in range(2))
    # rounding depends on where arrays lie in memory; another seed gives other first digits
    np.testing.assert_allclose(first.edge_strength, second.edge_strength, rtol=1e-6, atol=1e-9)


def test_another_seed_draws_other_networks() -> None:
    first, second = (discover(any_variables(3, 0), "dependence", seed, config=SHORT) for seed in (0, 1))
    assert not np.array_equal(first.edge_strength, second.edge_strength)


@pytest.mark.parametrize("method", FINDING)
def test_searches_that_are_done_together_end_as_alone(method: SearchMethod) -> None:
    few = replace(SHORT, networks=replace(SHORT.networks, steps=6), enco=replace(SHORT.enco, steps=10))
    config = replace(few, method=method)
    with default_dtype(torch.float64):
        variables = [chain_variables(2000), chain_variables(2000).permuted([1, 0, 2])]
        searches = [
            find_graph(part, config, torch.Generator().manual_seed(seed)) for seed, part in enumerate(variables)
        ]
        together = run_together(searches, Recorder())
        alone = [discover(part, seed=seed, config=config) for seed, part in enumerate(variables)]
    for first, second in zip(together, alone, strict=True):
        assert_equal(first, second)


@pytest.mark.parametrize("method", OWN_METHODS)
@settings(max_examples=8, deadline=None)
@given(n=st.integers(1, 4), seed=st.integers(0, 99))
def test_whatever_the_variables_there_is_a_graph_along_its_order(method: SearchMethod, n: int, seed: int) -> None:
    few = replace(CLOSED_FORM, enco=EncoConfig(hidden=2, steps=2, graphs=4, batch_size=16))
    found = discover(any_variables(n, seed), method, config=few)
    position = np.argsort(found.order)
    assert all(position[i] < position[j] for i, j in found.graph.edges())
    assert (found.edge_strength >= 0).all() and np.isfinite(found.edge_strength).all()
    assert found.edge_strength.shape == (n, n) and not found.edge_strength.diagonal().any()


@pytest.mark.parametrize("method", OWN_METHODS)
def test_variables_that_never_change_have_no_edges(method: SearchMethod) -> None:
    still = torch.zeros(300, 2)
    few = replace(CLOSED_FORM, enco=EncoConfig(hidden=2, steps=40, graphs=4, batch_size=16))
    assert discover(FittedVariables(still, still, still, still, still), method, config=few).graph.n_edges == 0


def test_none_finds_nothing() -> None:
    found = discover(chain_variables(), "none")
    assert (found.graph, found.order) == (Graph.from_edges(3, []), (0, 1, 2))


@settings(max_examples=100, deadline=None)
@given(n=st.integers(1, 6), seed=st.integers(0, 10**6))
def test_the_strongest_edges_are_kept_unless_they_close_a_cycle(n: int, seed: int) -> None:
    random = np.random.default_rng(seed)
    strength, accepted = random.random((n, n)), random.random((n, n)) < 0.6
    graph = strongest_acyclic(strength, accepted)
    assert not (graph.adjacency & ~accepted).any()
    left_out = accepted & ~graph.adjacency & ~np.eye(n, dtype=bool)
    for i, j in np.argwhere(left_out):
        stronger = Graph(graph.adjacency & (strength > strength[i, j]))
        assert stronger.ancestors()[j, i]


def test_undirected_edges_follow_the_order_unless_that_closes_a_cycle() -> None:
    edges, undirected = np.zeros((2, 3, 3), dtype=bool)
    edges[0, 1] = True
    undirected[1, 2] = undirected[2, 1] = True
    assert directed(edges, undirected, (0, 1, 2)) == Graph.from_edges(3, [(0, 1), (1, 2)])
    assert directed(edges, undirected, (2, 1, 0)) == Graph.from_edges(3, [(0, 1), (2, 1)])
    edges[1, 2], undirected[:] = True, False
    undirected[0, 2] = undirected[2, 0] = True
    assert directed(edges, undirected, (2, 1, 0)) == Graph.from_edges(3, [(0, 1), (1, 2), (0, 2)])


def test_encodings_and_truth_are_variables() -> None:
    z = torch.randn(30, 2, generator=torch.Generator().manual_seed(0))
    posterior = torch.tensor([[0.5, 0.25, 0.25]]).expand(30, 3)
    targets = TargetDistribution(2, [[], [0], [0, 1]], None)
    variables = FittedVariables.from_encoded(EncodedPairs(z, z, z, z, posterior, z[:, 0]), targets)
    np.testing.assert_allclose(variables.target_weights[0].numpy(), [0.5, 0.25])
    assert not variables.has_mechanisms
    data = PairData.from_arrays(z.numpy(), z.numpy() + 1, z=z.numpy())
    with pytest.raises(ValueError, match=r"z_tilde: Expected the truth in the data; got none\."):
        FittedVariables.from_truth(data)


ROWS = torch.zeros(30, 2)
BAD_VARIABLES: dict[str, tuple[tuple[torch.Tensor, ...], str]] = {
    "shape": ((ROWS[:, 0],) * 5, r"z: Expected shape \(N, n\) with N >= 20; got \(30,\)\."),
    "few": ((ROWS[:5],) * 5, r"z: Expected shape \(N, n\) with N >= 20; got \(5, 2\)\."),
    "unequal": ((*(ROWS,) * 3, ROWS[1:], ROWS), r"noise_tilde: Expected shape \(30, 2\), that of z; got \(29, 2\)\."),
    "nan": ((ROWS, ROWS.log(), *(ROWS,) * 3), r"z_tilde: Expected finite entries; got 60 others\."),
    "weights": ((*(ROWS,) * 4, ROWS + 2), r"target_weights: Expected probabilities in \[0, 1\]; got others\."),
}


@pytest.mark.parametrize("case", BAD_VARIABLES)
def test_bad_variables_are_refused(case: str) -> None:
    parts, message = BAD_VARIABLES[case]
    with pytest.raises(ValueError, match=message):
        FittedVariables(*parts)


BAD_CONFIGS: dict[str, tuple[type, dict[str, Any], str]] = {
    "method": (GraphSearchConfig, {"method": "guess"}, r"method: Expected one of tests, .*, none; got 'guess'\."),
    "threshold": (GraphSearchConfig, {"threshold": 0}, r"threshold: Expected a positive number; got 0\."),
    "steps": (NetworksConfig, {"steps": -1}, r"steps: Expected at least 0; got -1\."),
    "bins": (NetworksConfig, {"bins": 0}, r"bins: Expected at least 1; got 0\."),
    "graphs": (EncoConfig, {"graphs": 1}, r"graphs: Expected at least 2; got 1\."),
    "more graphs": (EncoConfig, {"batch_size": 8}, r"graphs: Expected at most batch_size, 8; got 32\."),
    "warm-up": (EncoConfig, {"warm_up": 1}, r"warm_up: Expected a share of the steps in \[0, 1\); got 1\."),
}


@pytest.mark.parametrize("case", BAD_CONFIGS)
def test_bad_settings_are_refused(case: str) -> None:
    config, settings_, message = BAD_CONFIGS[case]
    with pytest.raises(ValueError, match=message):
        config(**settings_)


def test_a_bad_rate_is_refused() -> None:
    with pytest.raises(ValueError, match=r"Expected a false discovery rate strictly between 0 and 1; got 1\.0"):
        discover(chain_variables(), "none", false_discovery_rate=1.0)


def test_the_settings_need_no_torch() -> None:
    code = "import sys, lcm.peer.search.config; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
    assert set(OWN_METHODS) < set(METHODS)


@pytest.mark.parametrize("method", [method for method in FINDING if method != "enco"])
@pytest.mark.parametrize("constants", [(0,), (0, 1)])
def test_a_constant_is_cause_and_effect_of_nothing(constants: tuple[int, ...], method: SearchMethod) -> None:
    variables = chain_variables()
    parts = (variables.z, variables.z_tilde, variables.noise, variables.noise_tilde)
    tables = [part.index_fill(1, torch.tensor(constants), 0.3) for part in parts]
    found = discover(FittedVariables(*tables, variables.target_weights), method, config=CLOSED_FORM)
    assert np.isfinite(found.edge_strength).all()
    assert not any(constant in edge for edge in found.graph.edges() for constant in constants)
