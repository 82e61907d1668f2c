"""Ancestors and an order of the variables, from tests on their noise encodings (docs/theory.md section 3)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri
from torch import Tensor

from lcm.model.graph import transitive_closure
from lcm.readout.dependence import (
    Dependence,
    allowed_share,
    independence_tests,
)

_EXCLUDED_ABOVE = 0.1
_CLEARLY = 8.0


@final
@dataclass(frozen=True)
class Ancestry:
    """Results of the ancestor tests.

    p_value: (n, n), [j, i]: of j not being an ancestor of i. evidence: (n, n) ≥ 0, about √M times a correlation.
    slack: (n, n) share of variance that counts as independence.
    order: variables, causes first. candidates: bool (n, n), acyclic, [j, i]: j may be a parent of i.
    conflicts: clear relations [(j, i), …] against the order; each one is a sign of a broken assumption.
    intransitive: chains [(j, i, k), …] of strong relations j → i → k whose expected relation j → k is missing.
    """

    p_value: NDArray[np.float64]
    evidence: NDArray[np.float64]
    slack: Tensor
    order: tuple[int, ...]
    candidates: NDArray[np.bool_]
    conflicts: tuple[tuple[int, int], ...]
    intransitive: tuple[tuple[int, int, int], ...] = ()


def find_ancestry(noise: Tensor, noise_tilde: Tensor, weights: Tensor, level: float) -> Ancestry:
    """Test every ancestor relation, order the variables, and list the candidate parents of each.

    A candidate is an earlier variable whose relation has a p-value of at most 0.1, or an ancestor of an ancestor where
    both relations are clear, since effects along two paths may cancel. The candidates may include variables that are
    not parents, but must include all parents.

    Args:
        noise, noise_tilde: (N, n) noise encodings ε, ε̃.
        weights: (N, n) posterior probability that each variable is a target.
        level: family-wise error rate, over all n (n − 1) relations, at which a relation is clear.
    """
    n = noise.shape[1]
    slack = allowed_share(noise, noise_tilde, weights)
    found: Dependence = independence_tests(noise_tilde, noise, weights, slack)
    p_value, evidence = found.p_value().cpu().numpy(), found.statistic.cpu().numpy()
    clear = p_value <= level / max(1, n * (n - 1))
    order = causes_first(evidence)
    position = np.argsort(order)
    forward = position[:, None] < position[None, :]
    against = tuple((int(j), int(i)) for j, i in np.argwhere(clear & ~forward))
    rows = (weights > 0.5).sum(0).cpu().numpy()
    broken = _intransitive(evidence, clear, rows, level)
    candidates = forward & (p_value <= _EXCLUDED_ABOVE) | transitive_closure(clear & forward)
    return Ancestry(p_value, evidence, slack, order, candidates, against, broken)


def _intransitive(
    evidence: NDArray[np.float64], clear: NDArray[np.bool_], rows: NDArray[np.int64], level: float
) -> tuple[tuple[int, int, int], ...]:
    """Chains whose composed effect should be far above the critical value but is below it.

    For small effects a statistic is about r √M, for correlation r and M rows of the response, and correlations multiply
    along a chain. `_CLEARLY` times the critical value leaves room for the error of this approximation.
    """
    critical = critical_value(level, clear.size - len(clear))
    correlation = np.where(clear, np.minimum(1.0, evidence / np.sqrt(np.maximum(rows, 1))), 0.0)
    expected = correlation[:, :, None] * correlation[None, :, :] * np.sqrt(rows)
    missing = (expected > _CLEARLY * critical) & ~clear[:, None, :]
    return tuple((int(j), int(i), int(k)) for j, i, k in np.argwhere(missing) if j != k)


def critical_value(level: float, hypotheses: int) -> float:
    """One-sided normal quantile for a family-wise error rate over a number of hypotheses, two tests each."""
    return float(-ndtri(level / max(1, 2 * hypotheses)))


def causes_first(evidence: NDArray[np.float64]) -> tuple[int, ...]:
    """An order that repeatedly takes the variable that depends least on the rest; it exists for any relations."""
    left, order = list(range(len(evidence))), []
    while left:
        incoming = evidence[np.ix_(left, left)].max(0)
        order.append(left.pop(int(incoming.argmin())))
    return tuple(order)
