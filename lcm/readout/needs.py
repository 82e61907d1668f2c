"""What a goal needs of each target: rows until edges are decided, or variables or an effect known (docs/plan.md)."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from lcm.readout.allocation import raise_by
from lcm.readout.power import edge_power, rows_for_power, rows_of_full_tests
from lcm.readout.undecided import EdgeStates

FloatArray = NDArray[np.float64]

FULL_WIDTH = 2.0 * 1.96
"""The width of a 95 % interval in standard errors."""

_LEAST_STEP = 1.25
_HALVINGS = 100
_MOST = 1e12


def planned_power(states: EdgeStates, rows: FloatArray, least: float) -> FloatArray:
    """Power (n, n) of the test of every edge, were it as strong as estimated and at least of the least strength.

    Args:
        states: of the edges.
        rows: (n,) ≥ 0, pairs in which each variable is a target.
        least: > 0.
    """
    effect = states.information * np.maximum(states.strength, least) ** 2
    return edge_power(rows, effect, states.level, states.predictors)


def graph_rows(states: EdgeStates, rows: FloatArray, power: float, width: float, least: float) -> FloatArray:
    """Further rows (n, n) of target i for every edge j → i: until it is decided, or until its interval is so narrow.

    An undecided edge needs a power at the strength that is estimated, or at the least that matters, of the full tests;
    and a quarter more rows than now in any case, since those did not decide it. An accepted edge needs rows until its
    standard error, which falls with their root, gives the width.

    Args:
        states, rows, least: as in `planned_power`.
        power: in (0, 1).
        width: > 0, of the 95 % interval of a strength.
    """
    effect = states.information * np.maximum(states.strength, least) ** 2
    enough = rows_for_power(effect, states.level, power, states.predictors)
    full = np.array([rows_of_full_tests(int(count)) for count in states.predictors])
    to_decide = np.maximum(np.maximum(enough, full), _LEAST_STEP * rows)
    error = np.where(states.present & np.isfinite(states.error), states.error, 0.0)
    to_narrow = rows * (FULL_WIDTH * error / width) ** 2
    needed = np.where(states.undecided, to_decide, to_narrow)
    further: FloatArray = np.maximum(0.0, needed - rows) * (states.undecided | states.present)
    return further


def variable_rows(n: int, width: float) -> float:
    """Rows of each target that give its standard deviation to a width, as a share of itself, and full tests of edges.

    The relative standard error of a standard deviation from M normal values is 1 / √(2 M).
    """
    return max(0.5 * (FULL_WIDTH / width) ** 2, float(rows_of_full_tests(n - 1)))


def effect_costs(states: EdgeStates, slopes: FloatArray, cause: int, effect: int) -> FloatArray:
    """Costs c (n,) with which the variance of a total effect is Σ c_k / rows_k, to first order.

    The total effect is a sum over paths. Its derivative by the strength of a → k is the total effect of the cause on a
    times that of k on the effect. Errors of edges into one variable count as independent.

    Args:
        states: of the edges; edges that are absent or reversed have no error.
        slopes: (n, n), [i, j], signed, of accepted edges, in standard deviations.
        cause, effect: two variables.
    """
    total = np.linalg.inv(np.eye(len(slopes)) - slopes)
    possible = states.present | states.undecided
    per_row = np.where(possible, 1.0 / states.information, 0.0)
    costs: FloatArray = (total[cause] ** 2) @ per_row * total[:, effect] ** 2
    return costs


def spread_of(costs: FloatArray, rows: FloatArray) -> float:
    """Standard error √(Σ c / rows) of a total effect; inf where a variable that counts has no rows."""
    used = costs > 0.0
    return float(np.sqrt((costs[used] / np.maximum(rows[used], 1e-12)).sum()))


def effect_total(costs: FloatArray, rows: FloatArray, width: float, divide: Callable[[float], FloatArray]) -> float:
    """The least further rows, divided over the targets by `divide`, with which the interval is so narrow; ≥ 0."""
    if FULL_WIDTH * spread_of(costs, rows) <= width:
        return 0.0
    low, high = 0.0, _MOST
    for _ in range(_HALVINGS):
        middle = 0.5 * (low + high)
        narrow = FULL_WIDTH * spread_of(costs, rows + divide(middle)) <= width
        low, high = (low, middle) if narrow else (middle, high)
    return high


def best_division(costs: FloatArray, rows: FloatArray) -> Callable[[float], FloatArray]:
    """The division of further rows that makes a total effect as certain as possible."""
    return lambda budget: raise_by(rows, np.sqrt(costs), budget)
