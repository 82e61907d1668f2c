"""Laws of graphs. adjacency[i, j] means i -> j in every one of them."""

from __future__ import annotations

import copy
import dataclasses
import itertools
import pickle
from collections.abc import Callable
from pathlib import Path

import networkx as nx
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from lcm.model.graph import Graph, transitive_closure, validate_adjacency

law = settings(deadline=None, max_examples=60)

GRAPHS: dict[str, Callable[[], Graph]] = {
    "no variable": lambda: Graph.from_edges(0, []),
    "one variable": lambda: Graph.from_edges(1, []),
    "empty": lambda: Graph.from_edges(5, []),
    "backward chain": lambda: Graph.from_edges(4, [(3, 2), (2, 1), (1, 0)]),
    "fork": lambda: Graph.from_edges(3, [(2, 0), (2, 1)]),
    "collider": lambda: Graph.from_edges(3, [(0, 2), (1, 2)]),
    "diamond with a shortcut": lambda: Graph.from_edges(4, [(1, 3), (1, 0), (3, 2), (0, 2), (1, 2)]),
    "two parts": lambda: Graph.from_edges(5, [(4, 0), (3, 1)]),
}
every_graph = pytest.mark.parametrize("make", GRAPHS.values(), ids=GRAPHS.keys())


@st.composite
def graphs(draw: st.DrawFn, max_n: int = 7) -> Graph:
    """A random DAG with a random variable order, built without the package's own generators."""
    n = draw(st.integers(1, max_n))
    position = draw(st.permutations(range(n)))
    wanted = draw(arrays(np.bool_, (n, n)))
    edges = [(i, j) for i in range(n) for j in range(n) if wanted[i, j] and position[i] < position[j]]
    return Graph.from_edges(n, edges)


@st.composite
def relabelled_graphs(draw: st.DrawFn, max_n: int = 7) -> tuple[Graph, list[int]]:
    graph = draw(graphs(max_n))
    return graph, draw(st.permutations(range(graph.n)))


def reachable_by_search(adjacency: np.ndarray) -> np.ndarray:
    reachable = np.zeros_like(adjacency)
    for start in range(len(adjacency)):
        frontier = [start]
        while frontier:
            for child in np.flatnonzero(adjacency[frontier.pop()]):
                if not reachable[start, child]:
                    reachable[start, child] = True
                    frontier.append(int(child))
    return reachable


def test_adjacency_i_j_means_i_causes_j() -> None:
    graph = Graph([[0, 0, 0], [1, 0, 1], [0, 0, 0]])
    assert graph.edges() == [(1, 0), (1, 2)]
    assert graph.order()[0] == 1
    assert [generation.tolist() for generation in graph.generations()] == [[1], [0, 2]]
    assert graph.ancestors()[1, 0]
    assert not graph.ancestors()[0, 1]
    assert list(graph.to_networkx().successors(1)) == [0, 2]


@every_graph
def test_graph_is_read_only_and_stays_so(make: Callable[[], Graph]) -> None:
    graph = make()
    for same in (graph, copy.deepcopy(graph), pickle.loads(pickle.dumps(graph))):
        assert same == graph
        assert not same.adjacency.flags.writeable
    with pytest.raises(dataclasses.FrozenInstanceError):
        graph.adjacency = np.zeros((2, 2), dtype=bool)  # type: ignore[misc]


def test_graph_keeps_a_copy_of_its_input_and_leaves_that_writable() -> None:
    adjacency = np.array([[False, True], [False, False]])
    graph = Graph(adjacency)
    adjacency[0, 1] = False
    assert graph.edges() == [(0, 1)]
    adjacency[1, 0] = True


@every_graph
def test_counts_edges_and_representation_agree(make: Callable[[], Graph]) -> None:
    graph = make()
    assert graph.adjacency.shape == (graph.n, graph.n)
    assert graph.n_edges == len(graph.edges())
    assert Graph.from_edges(graph.n, graph.edges()) == graph
    assert eval(repr(graph)) == graph


@pytest.mark.parametrize("dtype", [bool, np.uint8, int, float])
def test_any_dtype_of_zeros_and_ones_is_accepted(dtype: type) -> None:
    graph = Graph(np.array([[0, 0], [1, 0]], dtype=dtype))
    assert graph.adjacency.dtype == np.bool_
    assert graph.edges() == [(1, 0)]


def test_repeated_edges_count_once() -> None:
    assert Graph.from_edges(2, [(0, 1), (0, 1)]).n_edges == 1


@law
@given(graphs())
def test_order_puts_every_cause_first(graph: Graph) -> None:
    order = graph.order()
    assert sorted(order) == list(range(graph.n))
    assert all(order.index(i) < order.index(j) for i, j in graph.edges())


@law
@given(graphs())
def test_generation_is_one_more_than_the_last_parents(graph: Graph) -> None:
    level = {int(v): k for k, generation in enumerate(graph.generations()) for v in generation}
    assert len(level) == graph.n
    for j in range(graph.n):
        parents = np.flatnonzero(graph.adjacency[:, j])
        assert level[j] == max((level[int(i)] + 1 for i in parents), default=0)


@law
@given(st.integers(0, 7).flatmap(lambda n: arrays(np.bool_, (n, n))))
def test_transitive_closure_is_reachability_cyclic_or_not(adjacency: np.ndarray) -> None:
    closure = transitive_closure(adjacency)
    np.testing.assert_array_equal(closure, reachable_by_search(adjacency))
    np.testing.assert_array_equal(transitive_closure(closure), closure)


def test_transitive_closure_of_a_long_chain_is_full() -> None:
    n = 100
    chain = Graph.from_edges(n, [(k + 1, k) for k in range(n - 1)])
    np.testing.assert_array_equal(chain.ancestors(), np.tril(np.ones((n, n), dtype=bool), k=-1))


@law
@given(graphs())
def test_ancestors_are_proper_and_contain_the_parents(graph: Graph) -> None:
    ancestors = graph.ancestors()
    assert not ancestors.diagonal().any()
    assert (ancestors >= graph.adjacency).all()
    assert not (ancestors & ancestors.T).any()


@law
@given(relabelled_graphs())
def test_permuted_means_what_it_says_and_can_be_undone(case: tuple[Graph, list[int]]) -> None:
    graph, permutation = case
    new = graph.permuted(permutation)
    for a, b in itertools.product(range(graph.n), repeat=2):
        assert new.adjacency[a, b] == graph.adjacency[permutation[a], permutation[b]]
    assert new.permuted(np.argsort(permutation)) == graph


@law
@given(relabelled_graphs())
def test_isomorphism_ignores_labels(case: tuple[Graph, list[int]]) -> None:
    graph, permutation = case
    assert graph.is_isomorphic(graph.permuted(permutation))
    assert graph.permuted(permutation).is_isomorphic(graph)


@law
@given(graphs(max_n=4), graphs(max_n=4))
def test_isomorphism_is_a_relabelling_that_exists(first: Graph, second: Graph) -> None:
    exists = first.n == second.n and any(
        first.permuted(permutation) == second for permutation in itertools.permutations(range(first.n))
    )
    assert first.is_isomorphic(second) == exists


def test_reversed_edges_are_not_isomorphic_in_general() -> None:
    fork, collider = GRAPHS["fork"](), GRAPHS["collider"]()
    assert fork.n_edges == collider.n_edges
    assert not fork.is_isomorphic(collider)
    assert fork.is_isomorphic(Graph(collider.adjacency.T))


def alternating_cycle(first: int, length: int) -> list[tuple[int, int]]:
    """Edges around an even cycle of nodes, each node in turn with two children or two parents."""
    nodes = list(range(first, first + length))
    return [(nodes[k], nodes[(k + step) % length]) for k in range(0, length, 2) for step in (-1, 1)]


def test_isomorphism_is_exact_where_local_structure_agrees() -> None:
    one_cycle = Graph.from_edges(8, alternating_cycle(0, 8))
    two_cycles = Graph.from_edges(8, alternating_cycle(0, 4) + alternating_cycle(4, 4))
    assert not one_cycle.is_isomorphic(two_cycles)
    assert two_cycles.is_isomorphic(two_cycles.permuted([3, 5, 0, 7, 2, 6, 1, 4]))


@pytest.mark.parametrize("edge_probability", [0.0, 0.02, 0.2, 1.0])
def test_isomorphism_of_large_graphs_is_decided(edge_probability: float) -> None:
    generator = np.random.default_rng(0)
    n = 60
    graph = Graph(np.triu(generator.random((n, n)) < edge_probability, k=1))
    assert graph.is_isomorphic(graph.permuted(generator.permutation(n)))


@every_graph
def test_networkx_and_graphml_round_trips(make: Callable[[], Graph]) -> None:
    graph = make()
    there = graph.to_networkx()
    assert sorted(there.edges()) == graph.edges()
    assert Graph.from_networkx(there) == graph
    parsed = nx.parse_graphml(graph.to_graphml(), node_type=int)
    assert Graph.from_networkx(parsed) == graph


def test_from_networkx_goes_by_labels_and_not_by_insertion_or_weight() -> None:
    inserted_backwards = nx.DiGraph()
    inserted_backwards.add_nodes_from([2, 1, 0])
    inserted_backwards.add_edge(2, 0, weight=0.0)
    assert Graph.from_networkx(inserted_backwards).edges() == [(2, 0)]


def test_graphml_is_written_whole(tmp_path: Path) -> None:
    graph = GRAPHS["diamond with a shortcut"]()
    path = tmp_path / "graph.graphml"
    text = graph.to_graphml(path)
    assert path.read_text(encoding="utf-8") == text == graph.to_graphml()
    assert [entry.name for entry in tmp_path.iterdir()] == ["graph.graphml"]


def test_nothing_is_left_behind_where_writing_fails(tmp_path: Path) -> None:
    occupied = tmp_path / "graph.graphml"
    (occupied / "folder").mkdir(parents=True)
    with pytest.raises(OSError):
        GRAPHS["fork"]().to_graphml(occupied)
    assert [entry.name for entry in tmp_path.iterdir()] == ["graph.graphml"]


def test_dot_lists_variables_and_edges() -> None:
    assert Graph.from_edges(3, [(2, 0)]).to_dot() == "digraph {\n  0;\n  1;\n  2;\n  2 -> 0;\n}\n"


def test_strengths_of_another_shape_are_refused() -> None:
    graph = Graph.from_edges(3, [(2, 0)])
    for export in (graph.to_dot, graph.to_graphml, graph.to_networkx):
        with pytest.raises(ValueError, match=r"strength: Expected shape \(3, 3\); got \(2, 3\)"):
            export(strength=np.ones((2, 3)))


def test_equality_and_hash_go_by_labelled_edges() -> None:
    graph = Graph.from_edges(3, [(2, 0)])
    assert {graph, Graph.from_edges(3, [(2, 0)])} == {graph}
    assert graph != Graph.from_edges(3, [(0, 2)])
    assert graph != Graph.from_edges(4, [(2, 0)])
    assert graph != graph.adjacency.tolist()


@law
@given(st.integers(1, 6).flatmap(lambda n: arrays(np.bool_, (n, n))))
def test_a_cycle_is_named_iff_there_is_one(adjacency: np.ndarray) -> None:
    if not reachable_by_search(adjacency).diagonal().any():
        np.testing.assert_array_equal(validate_adjacency(adjacency), adjacency)
        return
    with pytest.raises(ValueError, match="Expected an acyclic adjacency") as caught:
        validate_adjacency(adjacency)
    cycle = [int(node) for node in str(caught.value).rstrip(".").split("the cycle ")[1].split(" -> ")]
    assert cycle[0] == cycle[-1] == min(cycle)
    assert len(set(cycle)) == len(cycle) - 1
    assert all(adjacency[i, j] for i, j in itertools.pairwise(cycle))


@pytest.mark.parametrize(
    ("edges", "cycle"),
    [
        ([(0, 2), (2, 0)], "0 -> 2 -> 0"),
        ([(1, 1)], "1 -> 1"),
        ([(2, 1), (1, 3), (3, 2), (0, 1)], "1 -> 3 -> 2 -> 1"),
    ],
)
def test_the_cycle_is_named_along_its_edges(edges: list[tuple[int, int]], cycle: str) -> None:
    with pytest.raises(ValueError, match=f"got the cycle {cycle}\\."):
        Graph.from_edges(4, edges)


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.zeros((2, 3)), r"Expected a square \(n, n\) adjacency; got shape \(2, 3\)\."),
        (np.zeros(4), r"Expected a square \(n, n\) adjacency; got shape \(4,\)\."),
        ([[0, 2], [0, 0]], r"Expected adjacency entries 0 or 1; got 2 at \[0, 1\]\."),
        ([[0, 0.5], [0, 0]], r"Expected adjacency entries 0 or 1; got 0\.5 at \[0, 1\]\."),
        ([[0, 0], [np.nan, 0]], r"Expected adjacency entries 0 or 1; got nan at \[1, 0\]\."),
        ([["0", "1"], ["0", "0"]], r"Expected adjacency entries 0 or 1; got 0 at \[0, 0\]\."),
    ],
)
def test_bad_adjacency_is_refused(array: object, message: str) -> None:
    for refuse in (Graph, validate_adjacency, transitive_closure):
        with pytest.raises(ValueError, match=message):
            refuse(array)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("edges", "message"),
    [
        ([(0, 1), (0, 3)], r"Expected edges between variables 0\.\.2; got 0 -> 3\."),
        ([(-1, 0)], r"Expected edges between variables 0\.\.2; got -1 -> 0\."),
        ([(0.0, 1.0)], r"Expected edges as pairs of integers; got float64 of shape \(1, 2\)\."),
        ([(0, 1, 2)], r"Expected edges as pairs of integers; got int64 of shape \(1, 3\)\."),
    ],
)
def test_bad_edges_are_refused(edges: list[tuple[int, int]], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Graph.from_edges(3, edges)


@pytest.mark.parametrize("permutation", [[0, 1], [0, 0, 1], [0, 1, 3], [-1, 0, 1]])
def test_bad_permutation_is_refused(permutation: list[int]) -> None:
    with pytest.raises(ValueError, match=r"Expected a permutation of 0\.\.2; got"):
        GRAPHS["fork"]().permuted(permutation)


def test_bad_networkx_graphs_are_refused() -> None:
    with pytest.raises(ValueError, match="Expected a directed networkx graph; got Graph"):
        Graph.from_networkx(nx.Graph([(0, 1)]))
    with pytest.raises(ValueError, match=r"Expected the nodes 0\.\.1; got \['a', 'b'\]"):
        Graph.from_networkx(nx.DiGraph([("a", "b")]))
