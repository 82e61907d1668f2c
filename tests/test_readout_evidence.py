"""Graphs at a false discovery rate: every possible edge is a hypothesis, whatever the candidates."""

from __future__ import annotations

import numpy as np
import pytest

from lcm.readout.evidence import GraphEvidence

N = 4


def evidence(edges: dict[tuple[int, int], float], order: tuple[int, ...] = (0, 1, 2, 3)) -> GraphEvidence:
    """Evidence of four variables with these p-values of edges and relations, and 1 elsewhere."""
    p_value = np.ones((N, N))
    for edge, value in edges.items():
        p_value[edge] = value
    return GraphEvidence(p_value, p_value.copy(), np.ones((N, N)), np.ones((N, N)), order)


def test_all_possible_edges_count_as_hypotheses() -> None:
    found = evidence({(0, 1): 0.02, (1, 2): 0.02})
    # of 12 hypotheses two at 0.02: 0.02 · 12 / 2 = 0.12 = q / (1 + q)
    assert found.graph_at(0.05).n_edges == 0 and found.graph_at(0.136).n_edges == 0
    assert found.graph_at(0.137).edges() == [(0, 1), (1, 2)]
    assert found.ancestors_at(0.136).sum() == 0 and found.ancestors_at(0.137).sum() == 2


def test_edges_against_the_order_count_and_are_not_accepted() -> None:
    found = evidence({(0, 1): 0.03, (1, 0): 0.03, (3, 2): 0.03, (2, 0): 0.03}, order=(0, 1, 2, 3))
    # four of twelve at 0.03, of which one is along the order: alone it would need 0.03 · 12
    assert found.graph_at(0.099).edges() == [(0, 1)] and found.graph_at(0.098).n_edges == 0


def test_clear_ancestors_exclude_the_edges_back() -> None:
    # 0 → 1 → 2 is clear, so that three edges back do not count; of the other 9, two pass the first stage
    chain = {(0, 1): 1e-6, (1, 2): 1e-6}
    found = evidence({**chain, (0, 3): 0.02})
    assert [tuple(pair) for pair in np.argwhere(found.clear_ancestors())] == [(0, 1), (0, 2), (1, 2)]
    # 7 are left for the second stage, in which the third edge needs 3 q / (1 + q) / 7 = 0.02
    assert found.graph_at(0.0490).edges() == sorted([*chain, (0, 3)])
    assert found.graph_at(0.0489).edges() == sorted(chain)
    # relations at the order's own error rate are not clear
    assert not evidence({(0, 1): 0.00084}).clear_ancestors().any()
    assert evidence({(0, 1): 0.00083}).clear_ancestors().sum() == 1


def test_the_next_edge_is_accepted_at_the_next_level() -> None:
    chain = {(0, 1): 1e-6, (1, 2): 1e-6, (2, 3): 1e-6}
    level = evidence(chain).next_level(0.05)
    # 6 hypotheses, less 3 that were rejected first, would give 4 · 0.05 / 1.05 / 3; but no level is above the rate
    assert level == 0.05 and evidence({**chain, (0, 2): 0.0499}).graph_at(0.05).n_edges == 4
    assert evidence({**chain, (0, 2): 0.0501}).graph_at(0.05).n_edges == 3
    level = evidence({(0, 1): 1e-6}).next_level(0.05)
    assert level == pytest.approx(2 * 0.05 / 1.05 / 10)
    assert evidence({(0, 1): 1e-6, (0, 2): 0.999 * level}).graph_at(0.05).n_edges == 2
    assert evidence({(0, 1): 1e-6, (0, 2): 1.001 * level}).graph_at(0.05).n_edges == 1
    with pytest.raises(ValueError, match=r"false discovery rate strictly between 0 and 1; got 1\.0"):
        evidence(chain).next_level(1.0)


@pytest.mark.parametrize("reach", [1.0, 1.96])
def test_intervals_are_as_wide_as_stated_and_stop_at_zero(reach: float) -> None:
    found = evidence({})
    interval = found.strength_interval(reach)
    np.testing.assert_allclose(interval[..., 0], max(0.0, 1.0 - reach))
    np.testing.assert_allclose(interval[..., 1], 1.0 + reach)
