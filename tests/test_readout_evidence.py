"""Graphs at a false discovery rate: every possible edge is a hypothesis, whatever the candidates."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lcm.readout.evidence import GraphEvidence, rejections

N = 4


def evidence(edges: dict[tuple[int, int], float], order: tuple[int, ...] = (0, 1, 2, 3)) -> GraphEvidence:
    """Evidence of four variables with these p-values of edges and relations, and 1 elsewhere."""
    p_value = np.ones((N, N))
    for edge, value in edges.items():
        p_value[edge] = value
    return GraphEvidence(p_value, p_value.copy(), np.ones((N, N)), np.ones((N, N)), order)


def test_all_possible_edges_count_as_hypotheses() -> None:
    found = evidence({(0, 1): 0.02, (1, 2): 0.02})
    # of 12 hypotheses two at 0.02: 0.02 · 12 / 2 = 0.12
    assert found.graph_at(0.05).n_edges == 0 and found.graph_at(0.119).n_edges == 0
    assert found.graph_at(0.121).edges() == [(0, 1), (1, 2)]
    assert found.ancestors_at(0.119).sum() == 0 and found.ancestors_at(0.121).sum() == 2


def test_edges_against_the_order_count_and_are_not_accepted() -> None:
    found = evidence({(0, 1): 0.03, (1, 0): 0.03, (3, 2): 0.03, (2, 0): 0.03}, order=(0, 1, 2, 3))
    # four of twelve at 0.03, of which one is along the order: alone it would need 0.03 · 12
    assert found.graph_at(0.091).edges() == [(0, 1)] and found.graph_at(0.089).n_edges == 0


@given(st.lists(st.floats(0.0, 1.0), min_size=1, max_size=30), st.floats(0.01, 0.5))
def test_the_step_up_rule_is_that_of_its_definition(values: list[float], rate: float) -> None:
    ordered = sorted(values)
    passing = [k + 1 for k in range(len(values)) if ordered[k] <= rate * (k + 1) / len(values) * (1.0 - 1e-12)]
    surely = np.array(values) <= (ordered[passing[-1] - 1] if passing else -1.0)
    assert bool((rejections(values, rate) >= surely).all())
    loose = [k + 1 for k in range(len(values)) if ordered[k] <= rate * (k + 1) / len(values) * (1.0 + 1e-12)]
    at_most = np.array(values) <= (ordered[loose[-1] - 1] if loose else -1.0)
    assert bool((rejections(values, rate) <= at_most).all())


@pytest.mark.parametrize("reach", [1.0, 1.96])
def test_intervals_are_as_wide_as_stated_and_stop_at_zero(reach: float) -> None:
    found = evidence({})
    interval = found.strength_interval(reach)
    np.testing.assert_allclose(interval[..., 0], max(0.0, 1.0 - reach))
    np.testing.assert_allclose(interval[..., 1], 1.0 + reach)
