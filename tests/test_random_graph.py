"""Laws of the random graphs: their shape, and that no variable order is favoured."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lcm.data.nature.graphs import chain, empty, erdos_renyi, full, scale_free
from lcm.model.graph import Graph

law = settings(deadline=None, max_examples=40)
Family = Callable[[int, np.random.Generator], Graph]

FAMILIES: dict[str, Family] = {
    "Erdős–Rényi by probability": lambda n, generator: erdos_renyi(n, generator, edge_probability=0.5),
    "Erdős–Rényi by degree": lambda n, generator: erdos_renyi(n, generator, expected_degree=2.0),
    "scale-free": lambda n, generator: scale_free(n, generator, edges_per_node=2),
    "chain": chain,
    "full": full,
    "empty": lambda n, generator: empty(n),
}
every_family = pytest.mark.parametrize("family", FAMILIES.values(), ids=FAMILIES.keys())
every_family_with_edges = pytest.mark.parametrize(
    "family", [family for name, family in FAMILIES.items() if name != "empty"]
)


@every_family
@pytest.mark.parametrize("n", [1, 2, 9])
def test_size_and_seed_decide_the_graph(family: Family, n: int) -> None:
    graph = family(n, np.random.default_rng(3))
    assert graph.n == n
    assert family(n, np.random.default_rng(3)) == graph


@every_family_with_edges
def test_different_draws_differ(family: Family) -> None:
    generator = np.random.default_rng(0)
    assert len({family(8, generator) for _ in range(10)}) > 5


@every_family_with_edges
def test_no_variable_order_is_favoured(family: Family) -> None:
    generator = np.random.default_rng(1)
    frequency = np.mean([family(4, generator).adjacency for _ in range(600)], axis=0)
    between = frequency[~np.eye(4, dtype=bool)]
    # Each frequency has a standard error of at most 0.02.
    assert np.abs(between - between.mean()).max() < 0.1


@law
@given(st.integers(1, 12), st.integers(0, 2**32 - 1))
def test_chain_is_one_path_and_full_joins_every_pair(n: int, seed: int) -> None:
    generator = np.random.default_rng(seed)
    path = chain(n, generator)
    assert len(path.generations()) == n
    assert path.edges() == sorted(zip(path.order()[:-1], path.order()[1:], strict=True))
    joined = full(n, generator)
    assert joined.n_edges == n * (n - 1) // 2
    np.testing.assert_array_equal(joined.ancestors(), joined.adjacency)
    assert empty(n).n_edges == 0


@law
@given(st.integers(1, 12), st.integers(1, 15), st.integers(0, 2**32 - 1))
def test_scale_free_gives_each_variable_its_parents(n: int, edges_per_node: int, seed: int) -> None:
    graph = scale_free(n, np.random.default_rng(seed), edges_per_node)
    n_parents = sorted(graph.adjacency.sum(axis=0))
    assert n_parents == [min(edges_per_node, earlier) for earlier in range(n)]


def test_scale_free_has_hubs_among_the_early_variables() -> None:
    generator = np.random.default_rng(0)
    sparse = [scale_free(100, generator, edges_per_node=1) for _ in range(10)]
    uniform = [erdos_renyi(100, generator, expected_degree=2.0) for _ in range(10)]

    def largest_degree(graph: Graph) -> int:
        return int((graph.adjacency.sum(axis=0) + graph.adjacency.sum(axis=1)).max())

    assert np.mean([largest_degree(graph) for graph in sparse]) > 1.5 * np.mean(
        [largest_degree(graph) for graph in uniform]
    )
    for graph in sparse:
        hub = int(graph.adjacency.sum(axis=1).argmax())
        assert graph.ancestors()[:, hub].sum() < 10


def test_edge_probability_is_the_share_of_joined_pairs() -> None:
    generator = np.random.default_rng(0)
    for probability in (0.0, 0.3, 1.0):
        graph = erdos_renyi(200, generator, edge_probability=probability)
        assert graph.n_edges / (200 * 199 / 2) == pytest.approx(probability, abs=0.02)


def test_expected_degree_counts_edges_in_and_out() -> None:
    generator = np.random.default_rng(0)
    graph = erdos_renyi(400, generator, expected_degree=6.0)
    degree = graph.adjacency.sum(axis=0) + graph.adjacency.sum(axis=1)
    assert degree.mean() == pytest.approx(6.0, rel=0.1)
    assert erdos_renyi(5, generator, expected_degree=100.0).n_edges == 10
    assert erdos_renyi(1, generator, expected_degree=2.0).n_edges == 0


@pytest.mark.parametrize(("n", "degree"), [(2, 0.5), (3, 1.0), (4, 1.5)])
def test_the_expected_degree_is_met_where_there_are_few_variables(n: int, degree: float) -> None:
    generator = np.random.default_rng(1)
    edges = [erdos_renyi(n, generator, expected_degree=degree).n_edges for _ in range(2_000)]
    # each edge is at two variables; with n in place of n - 1, the degree would be a quarter lower at least
    assert 2.0 * np.mean(edges) / n == pytest.approx(degree, rel=0.1)


@pytest.mark.parametrize("n", [0, -2])
@every_family
def test_too_few_variables_are_refused(family: Family, n: int) -> None:
    with pytest.raises(ValueError, match=f"Expected n >= 1; got {n}"):
        family(n, np.random.default_rng(0))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({}, "Expected exactly one of edge_probability and expected_degree; got None and None"),
        ({"edge_probability": 0.5, "expected_degree": 1.0}, "Expected exactly one of .*; got 0.5 and 1.0"),
        ({"edge_probability": -0.1}, r"Expected edge_probability in \[0, 1\]; got -0.1"),
        ({"edge_probability": 1.5}, r"Expected edge_probability in \[0, 1\]; got 1.5"),
        ({"edge_probability": float("nan")}, r"Expected edge_probability in \[0, 1\]; got nan"),
        ({"expected_degree": -1.0}, "Expected expected_degree >= 0; got -1.0"),
        ({"expected_degree": float("nan")}, "Expected expected_degree >= 0; got nan"),
    ],
)
def test_bad_edge_numbers_are_refused(arguments: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        erdos_renyi(3, np.random.default_rng(0), **arguments)


def test_bad_edges_per_node_is_refused() -> None:
    with pytest.raises(ValueError, match="Expected edges_per_node >= 1; got 0"):
        scale_free(3, np.random.default_rng(0), edges_per_node=0)
