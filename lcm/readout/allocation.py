"""How to divide further pairs over their targets, in closed form: raised to a level, or by what each target needs."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

FloatArray = NDArray[np.float64]


def raise_by(have: ArrayLike, weights: ArrayLike, budget: float) -> FloatArray:
    """Further amounts (n,) that sum to a budget and make the least of (have + further) / weights as large as possible.

    With weights √c this minimises Σ c / (have + further), the variance of a sum of n independent estimates (Neyman
    1934); with equal weights it raises the least first. A weight of 0 gets nothing, unless all weights are 0, which
    count as equal.

    Args:
        have, weights: (n,) ≥ 0.
        budget: ≥ 0.
    """
    have, weights = np.asarray(have, dtype=np.float64), np.asarray(weights, dtype=np.float64)
    weights = weights if (weights > 0.0).any() else np.ones_like(weights)
    used = np.flatnonzero(weights > 0.0)
    order = used[np.argsort(have[used] / weights[used], kind="stable")]
    # the first k are raised to one level, with the largest k of which none would be lowered
    levels = (budget + np.cumsum(have[order])) / np.cumsum(weights[order])
    raised = levels >= have[order] / weights[order] * (1.0 - 1e-12)
    level = levels[np.flatnonzero(raised)[-1]]
    further = np.zeros_like(have)
    further[order] = np.maximum(0.0, level * weights[order] - have[order])
    return further * (budget / further.sum()) if further.sum() > 0.0 else further


def decide_most(needs: ArrayLike, budget: float) -> FloatArray:
    """Further amounts (n,) for needs [j, i] of the targets i; they sum to a budget, or are 0 if all finite needs are.

    Where the budget covers the largest need of every target, each gets that, and the rest in proportion. Where it does
    not, the next need that is met is the one with the most decisions for its amount; what is left over goes in
    proportion to what is still needed.

    Args:
        needs: (m, n) ≥ 0; 0 where nothing is needed, inf where no amount would do.
        budget: ≥ 0.
    """
    needs = np.asarray(needs, dtype=np.float64)
    needs = np.where(np.isfinite(needs), needs, 0.0)
    full = needs.max(0, initial=0.0)
    if full.sum() == 0.0:
        return np.zeros_like(full)
    if full.sum() <= budget:
        return full * (budget / full.sum())
    given = np.zeros_like(full)
    while (step := _best_step(needs, given, budget - given.sum())) is not None:
        target, amount = step
        given[target] = amount
    left = full - given
    further: FloatArray = given + left * ((budget - given.sum()) / left.sum())
    return further


def _best_step(needs: FloatArray, given: FloatArray, left: float) -> tuple[int, float] | None:
    """The target and its next amount that decide the most for what they cost, within what is left."""
    best: tuple[float, int, float] | None = None
    for target in range(len(given)):
        open_needs = np.sort(needs[:, target][needs[:, target] > given[target]])
        for count, amount in enumerate(open_needs, start=1):
            cost = float(amount - given[target])
            if cost <= left and (best is None or count / cost > best[0]):
                best = count / cost, target, float(amount)
    return None if best is None else best[1:]


def whole_numbers(amounts: ArrayLike, total: int) -> tuple[int, ...]:
    """Non-negative integers that sum to a total, in proportion to amounts (n,), by the largest remainders.

    Amounts that are all 0 count as equal.
    """
    amounts = np.asarray(amounts, dtype=np.float64)
    shares = shares_of(amounts) * total
    floors = np.floor(shares + 1e-9).astype(np.int64)
    rest = total - int(floors.sum())
    floors[np.argsort(-(shares - floors), kind="stable")[:rest]] += 1
    return tuple(int(value) for value in floors)


def shares_of(amounts: ArrayLike) -> FloatArray:
    """Shares (n,) that sum to one, in proportion to amounts (n,) ≥ 0; equal ones if all are 0."""
    amounts = np.asarray(amounts, dtype=np.float64)
    total = amounts.sum()
    return amounts / total if total > 0.0 else np.full(len(amounts), 1.0 / len(amounts))


def least_total(needed: ArrayLike, shares: Sequence[float] | FloatArray) -> float:
    """The least number of pairs which, divided by fixed shares (n,), give every target what it needs (n,).

    Returns inf where something is needed of a target without a share.
    """
    needed, shares = np.asarray(needed, dtype=np.float64), np.asarray(shares, dtype=np.float64)
    wanted = needed > 0.0
    if not wanted.any():
        return 0.0
    if (shares[wanted] <= 0.0).any():
        return float("inf")
    return float((needed[wanted] / shares[wanted]).max())
