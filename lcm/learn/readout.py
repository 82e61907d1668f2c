"""From noise encodings to a graph: ancestors, an order, parents, and edge strengths (docs/theory.md section 3).

No threshold is tuned: both tests cut their statistics at the normal quantile of a stated family-wise error rate,
divided by the number of hypotheses (Bonferroni).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import numpy as np
import torch
from scipy.stats import norm
from torch import Tensor

from lcm.graph import Graph, transitive_closure
from lcm.learn.dependence import Dependence, dependence
from lcm.scm import SCM

_CLEARLY = 4.0


@final
@dataclass(frozen=True)
class Ancestry:
    """What the ancestor test found.

    evidence: (n, n) t-statistics, [j, i]: j is an ancestor of i.
    order: variables, causes first. candidates: bool (n, n), transitive and acyclic, [j, i]: j may be a parent of i.
    conflicts: accepted relations [(j, i), …] that the order had to drop; any at all is a sign of a broken assumption.
    intransitive: chains [(j, i, k), …] of strong relations j → i → k where j → k should show clearly and does not.
    """

    evidence: np.ndarray
    order: tuple[int, ...]
    candidates: np.ndarray
    conflicts: tuple[tuple[int, int], ...]
    intransitive: tuple[tuple[int, int, int], ...] = ()


def critical_value(level: float, hypotheses: int) -> float:
    """One-sided normal quantile for a family-wise error rate over a number of hypotheses, two tests each."""
    return float(norm.isf(level / max(1, 2 * hypotheses)))


def find_ancestry(noise: Tensor, noise_tilde: Tensor, weights: Tensor, level: float) -> Ancestry:
    """Test every ancestor relation and order the variables.

    Args:
        noise, noise_tilde: (N, n) noise encodings ε, ε̃.
        weights: (N, n) posterior probability that each variable is a target.
        level: family-wise error rate over all n (n − 1) relations.
    """
    n = noise.shape[1]
    everyone = ~torch.eye(n, dtype=torch.bool, device=noise.device)
    evidence = dependence(noise_tilde, noise, weights, everyone).strongest().cpu().numpy()
    critical = critical_value(level, n * (n - 1))
    accepted = evidence > critical
    order = _order(np.where(accepted, evidence, 0.0))
    position = np.argsort(order)
    forward = position[:, None] < position[None, :]
    dropped = tuple((int(j), int(i)) for j, i in np.argwhere(accepted & ~forward))
    rows = (weights > 0.5).sum(0).cpu().numpy()
    broken = _intransitive(evidence, accepted, rows, critical)
    return Ancestry(evidence, order, transitive_closure(accepted & forward), dropped, broken)


def _intransitive(
    evidence: np.ndarray, accepted: np.ndarray, rows: np.ndarray, critical: float
) -> tuple[tuple[int, int, int], ...]:
    """Chains whose composed effect should be far above the critical value and is below it.

    For small effects a statistic is about r √M / 2, r the correlation and M the rows of its response, and correlations
    multiply along a chain; `_CLEARLY` times the critical value leaves room for what this neglects.
    """
    correlation = np.where(accepted, np.minimum(1.0, 2.0 * evidence / np.sqrt(np.maximum(rows, 1))), 0.0)
    expected = 0.5 * correlation[:, :, None] * correlation[None, :, :] * np.sqrt(rows)
    missing = (expected > _CLEARLY * critical) & ~accepted[:, None, :]
    return tuple((int(j), int(i), int(k)) for j, i, k in np.argwhere(missing) if j != k)


def _order(evidence: np.ndarray) -> tuple[int, ...]:
    """Repeatedly the variable that depends least on those left: causes first, whatever errors the relations hold."""
    left, order = list(range(len(evidence))), []
    while left:
        incoming = evidence[np.ix_(left, left)].max(0)
        order.append(left.pop(int(incoming.argmin())))
    return tuple(order)


def find_parents(noise_tilde: Tensor, z: Tensor, weights: Tensor, candidates: np.ndarray, level: float) -> Graph:
    """Keep the candidate edges j → i on which ε̃_i depends given the other candidates' causal variables z (N, n)."""
    allowed = torch.from_numpy(candidates).to(z.device)
    evidence: Dependence = dependence(noise_tilde, z, weights, allowed)
    kept = evidence.strongest().cpu().numpy() > critical_value(level, int(candidates.sum()))
    return Graph(kept & candidates)


def edge_strengths(scm: SCM, z: Tensor) -> np.ndarray:
    """edge_strength[i, j] for i → j: RMS over z (N, n) of ∂f_j/∂z_i at fixed noise, times sd(z_i)/sd(z_j).

    One backward pass per variable j gives its row of the mechanism Jacobian, all points at once; n passes in all.
    """
    with torch.enable_grad():
        points = z.detach().requires_grad_()
        noise = scm.abduct(z.detach())[0].detach()
        values = scm.mechanism(noise, points)[0]
        rows = [torch.autograd.grad(values[:, j].sum(), points, retain_graph=True)[0] for j in range(scm.n)]
    squares = torch.stack([row.square().mean(0) for row in rows], 1)
    spread = z.std(0)
    strength: np.ndarray = (squares.sqrt() * spread.unsqueeze(1) / spread).detach().cpu().numpy()
    return strength * scm.graph.adjacency
