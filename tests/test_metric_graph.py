"""Laws of the graph scores; adjacency[i, j] means i -> j, and a reversed edge is one error of the SHD."""

from __future__ import annotations

import re
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from sklearn.metrics import roc_auc_score

from lcm.data.nature.graphs import erdos_renyi
from lcm.metric.graph import aligned_adjacency, edge_auroc, edge_scores, structural_hamming_distance

law = settings(deadline=None, max_examples=60)
seeds = st.integers(0, 2**32 - 1)


def square(n: int) -> st.SearchStrategy[np.ndarray]:
    return arrays(np.bool_, (n, n))


pairs = st.integers(1, 6).flatmap(lambda n: st.tuples(square(n), square(n)))
triples = st.integers(1, 6).flatmap(lambda n: st.tuples(square(n), square(n), square(n)))

CHAIN = np.array([[0, 1, 0], [0, 0, 1], [0, 0, 0]])  # 0 -> 1 -> 2


@law
@given(triples)
def test_shd_is_a_metric(graphs: tuple[np.ndarray, np.ndarray, np.ndarray]) -> None:
    a, b, c = graphs
    distance = structural_hamming_distance(a, b)
    assert distance == structural_hamming_distance(b, a)
    assert (distance == 0) == np.array_equal(a, b)
    assert distance <= structural_hamming_distance(a, c) + structural_hamming_distance(c, b)


@law
@given(pairs)
def test_shd_is_the_least_number_of_edges_added_removed_or_reversed(
    graphs: tuple[np.ndarray, np.ndarray],
) -> None:
    true, learned = graphs
    n = len(true)
    expected = sum((true[i, j], true[j, i]) != (learned[i, j], learned[j, i]) for i in range(n) for j in range(i, n))
    assert structural_hamming_distance(true, learned) == expected


@law
@given(st.integers(2, 8), seeds)
def test_every_reversed_edge_is_one_error(n: int, seed: int) -> None:
    graph = erdos_renyi(n, np.random.default_rng(seed), edge_probability=0.5)
    assert structural_hamming_distance(graph.adjacency, graph.adjacency.T) == graph.n_edges


@pytest.mark.parametrize(
    ("learned", "distance"),
    [
        ([[0, 1, 0], [0, 0, 0], [0, 0, 0]], 1),  # missing
        ([[0, 1, 1], [0, 0, 1], [0, 0, 0]], 1),  # too many
        ([[0, 0, 0], [1, 0, 1], [0, 0, 0]], 1),  # reversed
        ([[0, 0, 1], [1, 0, 0], [0, 0, 0]], 3),  # one of each
    ],
)
def test_shd_by_hand(learned: list[list[int]], distance: int) -> None:
    assert structural_hamming_distance(CHAIN, learned) == distance


@law
@given(pairs)
def test_edge_scores_follow_their_definitions(graphs: tuple[np.ndarray, np.ndarray]) -> None:
    true, learned = graphs
    scores, mirrored = edge_scores(true, learned), edge_scores(learned, true)
    assert all(0 <= score <= 1 for score in scores)
    assert scores.precision == mirrored.recall
    assert scores.f1 == mirrored.f1
    if scores.precision + scores.recall > 0:
        harmonic = 2 * scores.precision * scores.recall / (scores.precision + scores.recall)
        if true.any() and learned.any():
            assert scores.f1 == pytest.approx(harmonic)
    assert (scores.f1 == 1) == np.array_equal(true, learned)


def test_edge_scores_by_hand() -> None:
    learned = [[0, 1, 1], [0, 0, 0], [0, 1, 0]]  # right: 0 -> 1; wrong: 0 -> 2 and the reversed 2 -> 1
    scores = edge_scores(CHAIN, learned)
    assert scores == (1 / 3, 1 / 2, 2 / 5)
    assert edge_scores(CHAIN, CHAIN.T) == (0.0, 0.0, 0.0)


@pytest.mark.parametrize(
    ("true_edges", "learned_edges", "expected"),
    [(False, False, (1, 1, 1)), (True, False, (1, 0, 0)), (False, True, (0, 1, 0))],
)
def test_an_empty_denominator_gives_one(
    true_edges: bool, learned_edges: bool, expected: tuple[float, float, float]
) -> None:
    assert edge_scores(CHAIN * true_edges, CHAIN * learned_edges) == expected


@law
@given(st.integers(2, 6), seeds, st.booleans())
def test_auroc_is_scikit_learns_off_the_diagonal(n: int, seed: int, ties: bool) -> None:
    generator = np.random.default_rng(seed)
    true = erdos_renyi(n, generator, edge_probability=0.6).adjacency
    strength = generator.random((n, n))
    if ties:
        strength = strength.round(1)
    off_diagonal = ~np.eye(n, dtype=bool)
    score = edge_auroc(true, strength)
    if not true.any():
        assert score is None
    else:
        assert score == pytest.approx(roc_auc_score(true[off_diagonal], strength[off_diagonal]))


def test_auroc_by_hand() -> None:
    assert edge_auroc(CHAIN, CHAIN * 0.3) == 1.0
    assert edge_auroc(CHAIN, -0.3 * CHAIN) == 0.0
    assert edge_auroc(CHAIN, np.zeros((3, 3))) == 0.5
    assert edge_auroc(CHAIN, CHAIN * 0.3 + 9 * np.eye(3)) == 1.0
    assert edge_auroc(CHAIN, CHAIN.T) == pytest.approx(0.25)


def test_auroc_of_a_single_class_is_none() -> None:
    assert edge_auroc(np.zeros((3, 3)), np.ones((3, 3))) is None
    assert edge_auroc(np.ones((3, 3)), np.ones((3, 3))) is None
    assert edge_auroc([[0]], [[1.0]]) is None


@law
@given(st.integers(1, 7), seeds)
def test_alignment_undoes_the_learned_numbering(n: int, seed: int) -> None:
    generator = np.random.default_rng(seed)
    true = erdos_renyi(n, generator, edge_probability=0.5)
    permutation = generator.permutation(n)
    learned = np.zeros((n, n), dtype=bool)
    for i, j in true.edges():
        learned[permutation[i], permutation[j]] = True
    aligned = aligned_adjacency(learned, permutation)
    np.testing.assert_array_equal(aligned, true.adjacency)
    np.testing.assert_array_equal(aligned, learned[permutation][:, permutation])
    assert structural_hamming_distance(true.adjacency, aligned) == 0


@law
@given(st.integers(1, 6), seeds)
def test_scores_do_not_depend_on_the_true_numbering(n: int, seed: int) -> None:
    generator = np.random.default_rng(seed)
    true, learned = erdos_renyi(n, generator, 0.5), erdos_renyi(n, generator, 0.5)
    strength = generator.random((n, n))
    relabelling = generator.permutation(n)
    relabelled = [aligned_adjacency(array, relabelling) for array in (true.adjacency, learned.adjacency, strength)]
    assert structural_hamming_distance(true.adjacency, learned.adjacency) == structural_hamming_distance(
        relabelled[0], relabelled[1]
    )
    assert edge_scores(true.adjacency, learned.adjacency) == edge_scores(relabelled[0], relabelled[1])
    assert edge_auroc(true.adjacency, strength) == edge_auroc(relabelled[0], relabelled[2])


def test_alignment_by_hand_with_unmatched_variables_on_both_sides() -> None:
    # Learned 2 -> 0 is true 0 -> 2; true 1 has no match, and neither has learned 1.
    learned = np.array([[0, 1, 0], [0, 0, 0], [5, 1, 0]])
    aligned = aligned_adjacency(learned, [2, -1, 0])
    assert aligned.tolist() == [[0, 0, 5], [0, 0, 0], [0, 0, 0]]
    assert aligned.dtype == learned.dtype
    assert aligned_adjacency(learned, [0, 2]).tolist() == [[0, 0], [5, 0]]
    assert aligned_adjacency(np.ones((1, 1)), [-1, 0, -1]).tolist() == [[0, 0, 0], [0, 1, 0], [0, 0, 0]]
    assert aligned_adjacency(np.zeros((0, 0)), [-1]).tolist() == [[0]]


@pytest.mark.parametrize("score", [structural_hamming_distance, edge_scores])
def test_bad_graphs_are_refused(score: Callable[[object, object], object]) -> None:
    with pytest.raises(ValueError, match="Expected graphs of the same size; got 3 and 2 variables"):
        score(CHAIN, np.zeros((2, 2)))
    with pytest.raises(ValueError, match=r"Expected a square \(n, n\) adjacency; got shape \(2, 3\)"):
        score(CHAIN, np.zeros((2, 3)))
    with pytest.raises(ValueError, match=r"Expected adjacency entries 0 or 1; got 0\.2"):
        score(CHAIN, CHAIN * 0.2)


def test_bad_strengths_are_refused() -> None:
    for shape in ((2, 2), (4, 4), (3, 3, 1)):
        with pytest.raises(ValueError, match=rf"Expected strengths of shape \(3, 3\); got {re.escape(str(shape))}"):
            edge_auroc(CHAIN, np.zeros(shape))
    with pytest.raises(ValueError, match="Expected edge strengths without NaN; got 6 NaN"):
        edge_auroc(CHAIN, np.full((3, 3), np.nan))


def test_bad_alignments_are_refused() -> None:
    with pytest.raises(ValueError, match=r"Expected a square learned graph; got shape \(2, 3\)"):
        aligned_adjacency(np.zeros((2, 3)), [0, 1])
    with pytest.raises(ValueError, match=r"Expected a permutation of 2 different entries in 0\.\.2, or -1"):
        aligned_adjacency(CHAIN, [0, 3])
