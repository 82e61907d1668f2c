"""Which edges a fit has decided: accepted, excluded by the order or by an upper limit, or not yet (docs/plan.md)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import numpy as np
from numpy.typing import NDArray

from lcm.model.graph import transitive_closure
from lcm.readout.evidence import GraphEvidence, check_rate
from lcm.readout.power import effects_of_p_value

FloatArray = NDArray[np.float64]

PRESENT, REVERSED, ABSENT, UNDECIDED = "present", "reversed", "absent", "undecided"

_NORMAL = 1.96
_MOST_INFORMATION = 1e9


@final
@dataclass(frozen=True, eq=False)
class EdgeStates:
    """The state of every possible edge [j, i], j → i, at a false discovery rate; arrays are (n, n).

    Attributes:
        state: "present": accepted. "reversed": i is an ancestor of j, so that j → i would close a cycle. "absent": the
            upper limit of the strength is at most the least strength that matters. "undecided": none of these. "" on
            the diagonal.
        strength: ≥ 0, the estimate, less what noise adds to its square.
        error: > 0, standard error of the strength; inf without enough rows for a test.
        upper: ≥ 0, upper end of a 95 % interval of the strength; inf without enough rows for a test.
        information: > 0, noncentrality of the test for one row and a strength of 1.
        predictors: int (n,), how many variables may be parents of i, at least 1.
        level: the p-value at which one more edge would be accepted, beside those that are.
    """

    state: NDArray[np.str_]
    strength: FloatArray
    error: FloatArray
    upper: FloatArray
    information: FloatArray
    predictors: NDArray[np.int64]
    level: float

    @property
    def undecided(self) -> NDArray[np.bool_]:
        """Which edges are undecided, bool (n, n)."""
        found: NDArray[np.bool_] = self.state == UNDECIDED
        return found

    @property
    def present(self) -> NDArray[np.bool_]:
        """Which edges are accepted, bool (n, n)."""
        found: NDArray[np.bool_] = self.state == PRESENT
        return found


def edge_states(
    evidence: GraphEvidence, rows: FloatArray, information: FloatArray, false_discovery_rate: float, least: float
) -> EdgeStates:
    """The state of every possible edge.

    An edge that was tested beside other candidates has a strength with its standard error. Any other one has the
    p-value of the ancestor relation, which is inverted (`effects_of_p_value`), since no ancestor is a parent unless
    effects along two paths cancel.

    Args:
        evidence: p-values and strengths of a fit.
        rows: (n,) ≥ 0, pairs of the fit in which each variable is a target.
        information: (n, n) ≥ 0, for edges that were not tested beside others.
        false_discovery_rate: strictly between 0 and 1.
        least: > 0, the least strength that matters.

    Raises:
        ValueError: another rate.
    """
    check_rate(false_discovery_rate)
    n = evidence.n
    information = np.clip(information, 1.0 / _MOST_INFORMATION, _MOST_INFORMATION)
    tested = (evidence.edge_strength_error > 0.0) & evidence.forward() & (rows > 0.0)
    strength, error, upper = _untested(evidence, rows, information)
    debiased = np.sqrt(np.maximum(0.0, evidence.edge_strength**2 - evidence.edge_strength_error**2))
    strength, error = np.where(tested, debiased, strength), np.where(tested, evidence.edge_strength_error, error)
    upper = np.where(tested, evidence.edge_strength + _NORMAL * evidence.edge_strength_error, upper)
    of_one_row = 1.0 / (np.where(rows > 0.0, rows, 1.0) * np.where(tested, error, 1.0) ** 2)
    information = np.where(tested, np.minimum(of_one_row, _MOST_INFORMATION), information)
    present = evidence.graph_at(false_discovery_rate).adjacency
    state = np.full((n, n), UNDECIDED, dtype="<U9")
    state[upper <= least] = ABSENT
    # ancestors beyond doubt: by clear relations or by accepted edges
    state[transitive_closure(evidence.clear_ancestors() | present).T] = REVERSED
    state[present] = PRESENT
    state[np.eye(n, dtype=np.bool_)] = ""
    predictors = np.maximum(1, np.isin(state, [PRESENT, UNDECIDED]).sum(0))
    return EdgeStates(state, strength, error, upper, information, predictors, evidence.next_level(false_discovery_rate))


def _untested(
    evidence: GraphEvidence, rows: FloatArray, information: FloatArray
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Strength, standard error and upper limit (n, n) of every edge from the p-value of its ancestor relation."""
    n = evidence.n
    found = np.zeros((2, n, n))
    for j, i in np.argwhere(~np.eye(n, dtype=np.bool_)):
        found[:, j, i] = effects_of_p_value(float(evidence.ancestor_p_value[j, i]), float(rows[i]), n - 1)
    known = np.isfinite(found[1])
    error = np.where(known, 1.0 / np.sqrt(np.maximum(rows, 1.0) * information), np.inf)
    return np.sqrt(found[0] / information), error, np.sqrt(found[1] / information)
