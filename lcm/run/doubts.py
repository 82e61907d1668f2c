"""Doubts: signs, in plain words, that a fit should not be trusted. They need only the fit and its data.

Each doubt begins with what is in doubt: an assumption of the theorem (docs/theory.md section 4) or the fit itself.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import chdtrc

from lcm.base.rows import writable
from lcm.data.pairs import PairData
from lcm.learn.rounds import usual_thickness
from lcm.model.latent_causal_model import LatentCausalModel
from lcm.run.doubts_of_data import data_doubts
from lcm.run.injective import folded_share
from lcm.run.outcome import Outcome

_INEXACT_THICKNESS = 0.1
_SPREAD_CHANGES = 0.1
_MOVES_WITH = 0.3
_WIDE_GAP = 0.05
_RARE_TARGET = 1e-3
_FOLDED = 0.1
_INDEPENDENCE_LEVEL = 1e-3
_ROWS = 5_000
_MAX_LISTED = 6


def find_doubts(result: Outcome) -> list[str]:
    """One text for each sign that an assumption is broken or that the fit fell short. An empty list proves nothing.

    Two violations leave no sign (docs/theory.md section 4). *Soft interventions* draw fresh noise and keep the parents:
    ẽ_i is independent of e, so the empty graph with z = e explains the pairs exactly. *Swapped pairs* exchange x and x̃.
    """
    if result.vectors is None:
        return []
    data = result.vectors.without_outliers
    of_data = data_doubts(result.vectors)
    if result.ancestry is None:
        return of_data
    found = [
        *of_data,
        _folded(result, data),
        _rank(result, data),
        _independent(data) or _one_sparse(result, data) or _thickness(result),
        _unconverged(result),
        _gap(result),
        _cyclic(result),
        _intransitive(result),
        _rare_targets(result),
        _inseparable(result),
        _restarts(result),
    ]
    return [doubt for doubt in found if doubt]


def _rank(result: Outcome, data: PairData) -> str:
    spanned = data.estimated_n
    if spanned <= result.model.n:
        return ""
    return (
        f"The number of variables: x spans {spanned} dimensions, more than the {result.model.n} fitted variables."
        " Some variables may be missing."
    )


def _folded(result: Outcome, data: PairData) -> str:
    share = folded_share(result, data)
    if share <= _FOLDED:
        return ""
    return (
        f"A code that tells points apart: {share:.0%} of observations have a nearest neighbour in the learned variables"
        " that is far away in x. The columns bend into more directions than the fit has coordinates. The default model"
        " flow can use them all."
    )


def _independent(data: PairData) -> str:
    """Bartlett's test that x and x̃ are uncorrelated. An observation and its counterfactual are correlated."""
    x, x_tilde = (part[:_ROWS] - part[:_ROWS].mean(0, dtype=np.float64) for part in (data.x, data.x_tilde))
    bases = [np.linalg.svd(part, full_matrices=False) for part in (x, x_tilde)]
    spans = [left[:, values > 1e-6 * values[0]] for left, values, _ in bases]
    if min(span.shape[1] for span in spans) < 2:
        return ""
    correlations = np.linalg.svd(spans[0].T @ spans[1], compute_uv=False).clip(max=1.0 - 1e-12)
    degrees = spans[0].shape[1] * spans[1].shape[1]
    weight = len(x) - 1.5 - 0.5 * (spans[0].shape[1] + spans[1].shape[1])
    if weight <= 0:
        return ""
    statistic = -weight * np.log1p(-np.square(correlations)).sum()
    if chdtrc(degrees, statistic) < _INDEPENDENCE_LEVEL:
        return ""
    return (
        "Counterfactual pairs: x and x_tilde are uncorrelated, as if they were drawn independently. Nothing stays the"
        " same within a pair, so no fit can learn from the pairs. Pair each x with its own counterfactual."
    )


def _one_sparse(result: Outcome, data: PairData) -> str:
    """Test whether the noise of a pair changes in several coordinates, and name the coordinates that move together."""
    model = result.latent
    if not isinstance(model, LatentCausalModel) or model.n < 2 or _several_targets(result):
        return ""
    change = _changes(model, data)
    squared = np.square(change)
    outside = 1.0 - squared.max(1).sum() / max(squared.sum(), 1e-300)
    if len(change) == 0 or outside <= _SPREAD_CHANGES:
        return ""
    moments = np.abs(change).T @ np.abs(change)
    together = moments / np.maximum(np.sqrt(np.outer(np.diag(moments), np.diag(moments))), 1e-300)
    pairs = [(i, j) for i, j in np.argwhere(np.triu(together, 1) > _MOVES_WITH)]
    named = ", ".join(f"z{i} with z{j}" for i, j in pairs[:_MAX_LISTED])
    return (
        f"Atomic interventions on counterfactual pairs: {outside:.0%} of the change of a pair's noise lies outside the"
        f" coordinate that changes most{f' (moving together: {named})' if named else ''}. Either interventions change"
        " several variables at once, or the noise of other variables is drawn again, or the fit has not converged. If"
        " you know that interventions have several targets, list their target sets under the key `targets`."
    )


def _several_targets(result: Outcome) -> bool:
    return any(len(targets) > 1 for targets in result.model.target_distribution.as_lists())


@torch.no_grad()
def _changes(model: LatentCausalModel, data: PairData) -> NDArray[np.float64]:
    """ũ − u (M, n), in standard-normal gauge, for those of the first pairs that differ."""
    normal = [
        model.scm.noise.to_normal(model.encode(torch.from_numpy(writable(part[:_ROWS]))).noise)[0]
        .double()
        .cpu()
        .numpy()
        for part in (data.x, data.x_tilde)
    ]
    changed = (data.x[:_ROWS] != data.x_tilde[:_ROWS]).any(1)
    difference: NDArray[np.float64] = (normal[1] - normal[0])[changed]
    return difference


def _thickness(result: Outcome) -> str:
    if not isinstance(result.latent, LatentCausalModel):
        return ""
    widest = float(result.latent.thickness.max())
    if widest <= _INEXACT_THICKNESS:
        return ""
    return (
        f"The fit, or exact pairs: noise of variables that are not targets changes by {widest:.2f} of its standard"
        " deviation. Either the encoder is inexact, or the pairs are noisy or rounded. More steps, more pairs or"
        " --restarts may help."
    )


def _unconverged(result: Outcome) -> str:
    if result.implicit is None or result.implicit.converged:
        return ""
    changes = usual_thickness(result.implicit)
    limit = result.config.noise_encoder.time_limit(result.model.n, changes)
    return (
        f"The fit: the limit of {limit:g} seconds ended the noise encoder while its likelihood still rose; noise of"
        f" variables that are not targets changes by {changes:.3f} of its standard deviation. More time may help:"
        " noise_encoder.most_seconds in a config."
    )


def _gap(result: Outcome) -> str:
    gap = 0.0 if result.implicit_nll is None else result.held_out_nll - result.implicit_nll
    if gap <= _WIDE_GAP:
        return ""
    return (
        f"The graph: the explicit model explains held-out pairs {gap:.2f} nats worse than the implicit model. Edges may"
        " be missing."
    )


def _cyclic(result: Outcome) -> str:
    if result.ancestry is None or not result.ancestry.conflicts:
        return ""
    listed = ", ".join(f"z{j} -> z{i}" for j, i in result.ancestry.conflicts[:_MAX_LISTED])
    return (
        "Acyclic mechanisms, perfect interventions: the ancestor relations form a cycle. These relations contradict the"
        f" causal order: {listed}. Imperfect interventions or an inexact encoder can cause this."
    )


def _intransitive(result: Outcome) -> str:
    if result.ancestry is None or not result.ancestry.intransitive:
        return ""
    listed = ", ".join(f"z{j} -> z{i} -> z{k}" for j, i, k in result.ancestry.intransitive[:_MAX_LISTED])
    return (
        "Perfect interventions, faithfulness: an ancestor of an ancestor should be an ancestor, but in these chains the"
        f" first variable clearly has no effect on the last: {listed}. Interventions that keep some parents can cause"
        " this, and so can effects that cancel along two paths."
    )


def _rare_targets(result: Outcome) -> str:
    distribution = result.model.target_distribution
    shares = distribution.probabilities @ distribution.target_sets.to(distribution.probabilities.dtype)
    rare = [f"z{i}" for i, share in enumerate(shares.tolist()) if share < _RARE_TARGET]
    if not rare:
        return ""
    return (
        f"Interventions on every variable: almost no intervention targets {', '.join(rare)}. If two or more variables"
        " are never targets, the fit finds them only as a block, and finds no parents of any of them."
    )


def _inseparable(result: Outcome) -> str:
    distribution = result.model.target_distribution
    hit = distribution.target_sets[distribution.probabilities >= _RARE_TARGET].cpu().numpy()
    same = [
        f"z{i} and z{j}"
        for i in range(distribution.n)
        for j in range(i + 1, distribution.n)
        if hit[:, i].any() and np.array_equal(hit[:, i], hit[:, j])
    ]
    if not same:
        return ""
    return (
        f"Atomic interventions: these variables are always targets together: {', '.join(same[:_MAX_LISTED])}. The fit"
        " finds them only as a block."
    )


def _restarts(result: Outcome) -> str:
    apart = [restart for restart in result.other_restarts if restart.as_likely and not restart.agrees]
    if not apart:
        return ""
    first, several = apart[0], len(apart) > 1
    listed = ", ".join(str(restart.restart) for restart in apart)
    s, reach, are = ("s", "reach", "are") if several else ("", "reaches", "is")
    return (
        f"Identifiability: restart{s} {listed} {reach} the likelihood of the best restart but {are} not isomorphic to"
        f" it ({first.reasons[0].rstrip('.')}). Either the data do not identify the model, or the fits have not"
        " converged (see the training curves). Trust only what the restarts share."
    )
