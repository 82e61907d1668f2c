"""From noise encodings to a graph: ancestors, an order, parents, and edge strengths (docs/theory.md section 3).

No threshold is tuned: relations and edges have p-values, and are accepted at error rates that are stated.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import ndtri
from torch import Tensor

from lcm.model.graph import transitive_closure
from lcm.model.mechanism import require_trainable
from lcm.model.scm import SCM
from lcm.readout.dependence import Dependence, allowed_share, independence_tests
from lcm.readout.evidence import GraphEvidence
from lcm.readout.parents import fitted_mechanisms, parent_tests, strength_errors

_EXCLUDED_ABOVE = 0.1
_CLEARLY = 8.0
_SLOPE_ROWS = 1024


@final
@dataclass(frozen=True)
class Ancestry:
    """What the ancestor tests found.

    p_value: (n, n), [j, i]: that j is no ancestor of i. evidence: (n, n) ≥ 0, about √M times a correlation.
    slack: (n, n) share of variance that counts as no dependence.
    order: variables, causes first. candidates: bool (n, n), acyclic, [j, i]: j may be a parent of i.
    conflicts: clear relations [(j, i), …] against the order; any at all is a sign of a broken assumption.
    intransitive: chains [(j, i, k), …] of strong relations j → i → k where j → k should show clearly and does not.
    """

    p_value: NDArray[np.float64]
    evidence: NDArray[np.float64]
    slack: Tensor
    order: tuple[int, ...]
    candidates: NDArray[np.bool_]
    conflicts: tuple[tuple[int, int], ...]
    intransitive: tuple[tuple[int, int, int], ...] = ()


def find_ancestry(noise: Tensor, noise_tilde: Tensor, weights: Tensor, level: float) -> Ancestry:
    """Test every ancestor relation, order the variables, and say which may be parents of which.

    A candidate is any variable earlier in the order whose relation is not clearly absent, at a p-value up to 0.1, or
    an ancestor of an ancestor, where both relations are clear: effects along two paths may cancel. The candidates need
    not be right, only hold the parents.

    Args:
        noise, noise_tilde: (N, n) noise encodings ε, ε̃.
        weights: (N, n) posterior probability that each variable is a target.
        level: family-wise error rate over all n (n − 1) relations, of those that count as clear.
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
    """Chains whose composed effect should be far above the critical value and is below it.

    For small effects a statistic is about r √M, r the correlation and M the rows of its response, and correlations
    multiply along a chain; `_CLEARLY` times the critical value leaves room for what this neglects.
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
    """Repeatedly the variable that depends least on those left: an order, whatever errors the relations hold."""
    left, order = list(range(len(evidence))), []
    while left:
        incoming = evidence[np.ix_(left, left)].max(0)
        order.append(left.pop(int(incoming.argmin())))
    return tuple(order)


def find_edges(
    scm: SCM, ancestry: Ancestry, train: tuple[Tensor, Tensor, Tensor], held_out: tuple[Tensor, Tensor]
) -> GraphEvidence:
    """p-value, strength and standard error of every edge, around the mechanisms of all candidates.

    Args:
        scm: fitted with the candidates of `ancestry` as parents.
        train: ε̃, z and the posterior probability of being a target, each (N, n), of the pairs of the fit.
        held_out: ε and z, each (P, n), of others, at which the strengths are averaged.

    Raises:
        ValueError: mechanisms of a kind that a fit cannot learn.
    """
    mechanism = require_trainable(scm.mechanism)
    fitted = fitted_mechanisms(mechanism, *train)
    p_value = parent_tests(mechanism, fitted, ancestry.slack).p_value().cpu().numpy()
    return GraphEvidence(
        edge_p_value=np.where(ancestry.candidates, p_value, 1.0),
        ancestor_p_value=ancestry.p_value,
        edge_strength=edge_strengths(scm, held_out[1]),
        edge_strength_error=strength_errors(mechanism, fitted, *held_out).cpu().numpy(),
        order=ancestry.order,
    )


def edge_strengths(scm: SCM, z: Tensor) -> NDArray[np.float64]:
    """edge_strength[i, j] for i → j: RMS over z (N, n) of ∂f_j/∂z_i at fixed noise, times sd(z_i)/sd(z_j).

    One backward pass per variable j gives its row of the mechanism Jacobian, some points at once; n passes in all.
    """
    squares = torch.stack([_squared_slopes(scm, part) for part in z.split(_SLOPE_ROWS)]).sum(0) / len(z)
    spread = z.std(0)
    strength: NDArray[np.float64] = (squares.sqrt() * spread.unsqueeze(1) / spread).cpu().numpy()
    return strength * scm.graph.adjacency


def _squared_slopes(scm: SCM, z: Tensor) -> Tensor:
    """Sums (n, n), [i, j], over points z (M, n) of the squares of ∂f_j/∂z_i at fixed noise."""
    with torch.enable_grad():
        points = z.detach().requires_grad_()
        noise = scm.abduct(z.detach())[0].detach()
        values = scm.mechanism(noise, points)[0]
        rows = [torch.autograd.grad(values[:, j].sum(), points, retain_graph=True)[0] for j in range(scm.n)]
    return torch.stack([row.square().sum(0) for row in rows], 1).detach()
