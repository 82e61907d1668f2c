"""States of edges, and what each goal needs of every target."""

from __future__ import annotations

import numpy as np
import pytest

from lcm.readout.evidence import GraphEvidence
from lcm.readout.needs import (
    FULL_WIDTH,
    best_division,
    effect_costs,
    effect_total,
    graph_rows,
    planned_power,
    spread_of,
    variable_rows,
)
from lcm.readout.power import rows_of_full_tests
from lcm.readout.undecided import edge_states

N = 4
ROWS = np.array([2_000.0, 2_000.0, 200.0, 10.0])
INFORMATION = np.ones((N, N))


def evidence(order: tuple[int, ...] = (0, 1, 2, 3)) -> GraphEvidence:
    """0 → 1 is clear, 0 → 2 was tested and is not significant; nothing else is related. z3 was hardly a target."""
    edge, ancestor, strength, error = np.ones((N, N)), np.ones((N, N)), np.zeros((N, N)), np.zeros((N, N))
    edge[0, 1] = ancestor[0, 1] = 1e-20
    strength[0, 1], error[0, 1] = 0.5, 0.02
    edge[0, 2], ancestor[0, 2], strength[0, 2], error[0, 2] = 0.2, 0.05, 0.13, 0.07
    return GraphEvidence(edge, ancestor, strength, error, order)


def test_every_edge_is_in_the_state_that_its_evidence_gives() -> None:
    found = edge_states(evidence(), ROWS, INFORMATION, 0.05, 0.1)
    assert found.state[0, 1] == "present" and found.state[1, 0] == "reversed"
    # 2,000 rows without a sign of an edge are enough to exclude a strength of 0.1, 200 and 10 are not
    assert found.state[2, 1] == found.state[3, 1] == found.state[2, 0] == "absent"
    assert found.state[0, 2] == found.state[1, 2] == found.state[0, 3] == "undecided"
    assert (np.diag(found.state) == "").all()
    # 200 rows exclude a strength of 0.3
    assert edge_states(evidence(), ROWS, INFORMATION, 0.05, 0.3).state[1, 2] == "absent"


def test_ten_rows_are_no_test_and_no_limit() -> None:
    found = edge_states(evidence(), ROWS, INFORMATION, 0.05, 0.1)
    assert np.isinf(found.upper[0, 3]) and np.isinf(found.error[0, 3]) and found.strength[0, 3] == 0.0


def test_a_variable_that_never_was_a_target_needs_what_any_other_does() -> None:
    never = np.array([2_000.0, 2_000.0, 0.0, 0.0])
    states = edge_states(evidence(), never, INFORMATION, 0.05, 0.1)
    assert states.undecided[:3, 3].all() and states.undecided[[0, 1, 3], 2].all()
    needs = graph_rows(states, never, 0.9, 0.2, 0.1)
    assert np.isfinite(needs).all() and (needs[states.undecided] > 1_000.0).all()


def test_what_no_model_can_have_makes_no_overflow() -> None:
    for extreme in (0.0, 1e300):
        states = edge_states(evidence(), ROWS, np.full((N, N), extreme), 0.05, 0.1)
        needs = graph_rows(states, ROWS, 0.9, 0.2, 0.1)
        assert not np.isnan(needs).any() and not np.isnan(effect_costs(states, np.zeros((N, N)), 0, 2)).any()


def test_a_tested_edge_has_its_own_strength_and_error() -> None:
    found = edge_states(evidence(), ROWS, INFORMATION, 0.05, 0.1)
    assert found.error[0, 2] == 0.07 and found.upper[0, 2] == pytest.approx(0.13 + 1.96 * 0.07)
    assert found.strength[0, 2] == pytest.approx(np.sqrt(0.13**2 - 0.07**2))
    assert found.information[0, 2] == pytest.approx(1.0 / (200 * 0.07**2))
    # one edge is accepted, and clear, so that the one back does not count: 10 of 12 hypotheses are left
    assert found.level == pytest.approx(0.05 / 1.05 * 2 / 10)


def test_states_follow_the_labels() -> None:
    order = [2, 0, 3, 1]
    original, found = evidence(), edge_states(evidence(), ROWS, INFORMATION, 0.05, 0.1)
    parts = (
        original.edge_p_value,
        original.ancestor_p_value,
        original.edge_strength,
        original.edge_strength_error,
    )
    names = tuple(int(np.flatnonzero(np.array(order) == i)[0]) for i in original.order)
    turned = GraphEvidence(*(part[np.ix_(order, order)] for part in parts), order=names)
    again = edge_states(turned, ROWS[order], INFORMATION, 0.05, 0.1)
    np.testing.assert_array_equal(again.state, found.state[np.ix_(order, order)])
    needs = graph_rows(found, ROWS, 0.9, 0.2, 0.1)
    np.testing.assert_allclose(graph_rows(again, ROWS[order], 0.9, 0.2, 0.1), needs[np.ix_(order, order)])


def test_what_the_graph_needs_reaches_the_power_and_the_width() -> None:
    states = edge_states(evidence(), ROWS, INFORMATION, 0.05, 0.1)
    needs = graph_rows(states, ROWS, 0.9, 0.05, 0.1)
    after = planned_power(states, ROWS + needs.max(0), 0.1)
    assert (after[states.undecided] >= 0.9 - 1e-6).all()
    assert (planned_power(states, ROWS, 0.1)[states.undecided] < 0.9).all()
    width = FULL_WIDTH * states.error[0, 1] * np.sqrt(ROWS[1] / (ROWS[1] + needs[0, 1]))
    assert width == pytest.approx(0.05)
    assert not needs[~(states.undecided | states.present)].any()
    # a width that is reached needs nothing
    assert graph_rows(states, ROWS, 0.9, 0.1, 0.1)[0, 1] == 0.0


def test_an_undecided_edge_always_needs_more() -> None:
    rows = np.full(N, 6_000.0)
    weak = edge_states(evidence(), rows, 0.05 * INFORMATION, 0.05, 0.1)
    assert weak.undecided[1, 2]
    assert (graph_rows(weak, rows, 0.2, 0.2, 0.1)[weak.undecided] >= 0.25 * 6_000 - 1e-6).all()


def test_a_variable_needs_its_width_or_the_full_tests() -> None:
    rows = variable_rows(3, 0.1)
    assert FULL_WIDTH / np.sqrt(2.0 * rows) == pytest.approx(0.1)
    assert variable_rows(3, 10.0) == rows_of_full_tests(2)


def test_the_variance_of_a_total_effect_is_that_of_its_paths() -> None:
    states = edge_states(evidence(), ROWS, INFORMATION, 0.05, 0.1)
    slopes = np.zeros((N, N))
    slopes[0, 1], slopes[1, 2] = 0.5, -2.0
    costs = effect_costs(states, slopes, 0, 2)
    # into z1: of 0 → 1, carried on by −2; into z2: of 0 → 2 by 1, of 1 → 2 by 0.5, and of z3, on which z0 does not act
    of_first = 1.0 / states.information[0, 1] * 4.0
    of_second = 1.0 / states.information[0, 2] + 0.25 / states.information[1, 2]
    np.testing.assert_allclose(costs, [0.0, of_first, of_second, 0.0])
    assert spread_of(costs, ROWS) == pytest.approx(np.sqrt(of_first / 2_000 + of_second / 200))


def test_the_total_for_an_effect_reaches_its_width_and_no_division_does_with_less() -> None:
    costs, rows = np.array([0.0, 4.0, 1.0, 0.0]), np.array([100.0, 50.0, 400.0, 5.0])
    best = best_division(costs, rows)
    total = effect_total(costs, rows, 0.5, best)
    assert FULL_WIDTH * spread_of(costs, rows + best(total)) == pytest.approx(0.5)
    assert total <= effect_total(costs, rows, 0.5, lambda budget: np.full(4, budget / 4))
    assert effect_total(costs, rows, 5.0, best) == 0.0
    assert spread_of(costs, np.zeros(4)) > 1e5
