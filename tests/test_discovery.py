"""The graph at a false discovery rate: never cyclic, nested in the rate, equivariant, and what it promises."""

from __future__ import annotations

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from lcm.readout.evidence import GraphEvidence, rejections

RATES = st.floats(1e-6, 0.999)
P_VALUES = st.integers(1, 7).flatmap(lambda n: arrays(np.float64, (n, n), elements=st.floats(0.0, 1.0)))


def evidence(p_values: NDArray[np.float64], seed: int = 0) -> GraphEvidence:
    """Any p-values, with any order."""
    order = np.random.default_rng(seed).permutation(len(p_values))
    strength = np.linspace(0.0, 1.0, p_values.size).reshape(p_values.shape)
    return GraphEvidence(p_values, p_values.T, strength, 0.1 * strength, tuple(order.tolist()))


@settings(max_examples=200, deadline=None)
@given(P_VALUES, RATES, st.integers(0, 2**32 - 1))
def test_no_p_values_make_a_cyclic_graph(p_values: NDArray[np.float64], rate: float, seed: int) -> None:
    found = evidence(p_values, seed)
    # Graph refuses a cyclic adjacency.
    graph = found.graph_at(rate)
    position = np.argsort(found.order)
    assert all(position[i] < position[j] for i, j in graph.edges())
    assert not (found.ancestors_at(rate) & ~found.forward()).any()


@settings(max_examples=100, deadline=None)
@given(P_VALUES, RATES, RATES)
def test_a_larger_rate_never_loses_an_edge(p_values: NDArray[np.float64], first: float, second: float) -> None:
    found = evidence(p_values)
    small, large = sorted((first, second))
    assert not (found.graph_at(small).adjacency & ~found.graph_at(large).adjacency).any()
    assert not (found.ancestors_at(small) & ~found.ancestors_at(large)).any()


@settings(max_examples=50, deadline=None)
@given(P_VALUES, RATES, st.integers(0, 2**32 - 1))
def test_relabelled_variables_give_the_relabelled_graph(p_values: NDArray[np.float64], rate: float, seed: int) -> None:
    found = evidence(p_values)
    new = np.random.default_rng(seed).permutation(len(p_values))
    old = np.argsort(new)
    moved = [part[np.ix_(old, old)] for part in (p_values, p_values.T, found.edge_strength, found.edge_strength_error)]
    relabelled = GraphEvidence(moved[0], moved[1], moved[2], moved[3], tuple(new[list(found.order)].tolist()))
    expected = found.graph_at(rate).adjacency[np.ix_(old, old)]
    np.testing.assert_array_equal(relabelled.graph_at(rate).adjacency, expected)


@settings(max_examples=100, deadline=None)
@given(arrays(np.float64, st.integers(0, 12), elements=st.floats(0.0, 1.0)), RATES, st.integers(0, 5))
def test_the_step_up_rule_is_that_of_its_definition(
    p_values: NDArray[np.float64], rate: float, impossible: int
) -> None:
    ordered, count = np.sort(p_values), max(1, len(p_values) - impossible)

    def step_up(hypotheses: int, factor: float) -> int:
        levels = factor * rate / (1.0 + rate) * np.arange(1, len(ordered) + 1) / hypotheses
        return max((k + 1 for k in range(len(ordered)) if ordered[k] <= levels[k]), default=0)

    # equal to the bound but for rounding, a p-value may fall on either side
    surely, perhaps = (step_up(max(1, count - step_up(count, factor)), factor) for factor in (1.0 - 1e-12, 1.0 + 1e-12))
    found = rejections(p_values, rate, impossible)
    assert found.sum() >= (ordered[:surely] <= rate).sum()
    assert set(p_values[found]) <= set(ordered[:perhaps]) and (p_values[found] <= rate).all()


def test_the_false_discovery_rate_holds_where_p_values_are_independent() -> None:
    source, rate, trials = np.random.default_rng(0), 0.1, 2000
    shares = []
    for _ in range(trials):
        p_values = source.uniform(size=30)
        p_values[:10] **= 8
        found = rejections(p_values, rate)
        shares.append(found[10:].sum() / max(1, found.sum()))
    # the rule of one stage would stop at the rate times the share of true null hypotheses
    assert rate * 2 / 3 < np.mean(shares) < rate + 4 * np.std(shares) / trials**0.5


def test_an_edge_that_is_clear_is_found_whatever_the_other_relations() -> None:
    p_values = np.ones((3, 3))
    p_values[0, 2] = 1e-6
    assert GraphEvidence(p_values, np.ones((3, 3)), p_values, p_values, (1, 0, 2)).graph_at(0.01).edges() == [(0, 2)]


def test_the_interval_of_a_strength_is_cut_off_at_zero() -> None:
    found = GraphEvidence(np.ones((2, 2)), np.ones((2, 2)), np.full((2, 2), 0.3), np.full((2, 2), 0.2), (0, 1))
    np.testing.assert_allclose(found.strength_interval()[0, 1], [0.0, 0.692])
    np.testing.assert_allclose(found.strength_interval(1.0)[0, 1], [0.1, 0.5])


@pytest.mark.parametrize("rate", [0.0, 1.0, float("nan")])
def test_a_rate_out_of_range_is_refused(rate: float) -> None:
    with pytest.raises(ValueError, match="false discovery rate strictly between 0 and 1; got"):
        evidence(np.ones((2, 2))).graph_at(rate)


def test_p_values_out_of_range_are_refused() -> None:
    for value in (-0.1, 1.1, float("nan")):
        with pytest.raises(ValueError, match=r"Expected p-values in \[0, 1\]; got others"):
            rejections([0.5, value], 0.1)
