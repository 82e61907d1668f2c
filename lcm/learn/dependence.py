"""Does a noise that an intervention moved depend on other variables? Regressions and tests, closed form and batched.

Among pairs with target i, ẽ_i depends on e_j iff j is an ancestor of i, and given the other causal variables on z_j iff
j is a parent (docs/theory.md section 3). The mean of ẽ_i and its spread are tested in turn.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

_ROWS_PER_REGRESSOR = 10
_CLIP = 4.0
_FOLDS = 5
_RIDGE = 1e-6


class Dependence(NamedTuple):
    """Evidence (n, n), [j, i]: candidate j → response i, as t-statistics; 0 where j is not a candidate for i."""

    mean: Tensor
    spread: Tensor

    def strongest(self) -> Tensor:
        """The larger of the two statistics (n, n)."""
        return torch.maximum(self.mean, self.spread)


def dependence(responses: Tensor, predictors: Tensor, weights: Tensor, candidates: Tensor) -> Dependence:
    """Cross-validated evidence that response i depends on each candidate predictor, given all its other candidates.

    For every fold, the response is regressed on Hermite polynomials of the candidates (up to degree 3, or 1 where there
    are few rows), with and without candidate j; the
    statistic is the mean difference of the held-out losses over its standard error. Under independence its mean is
    negative, since needless regressors only add error, so that a normal quantile bounds the error rate from above.

    Args:
        responses: (N, n) ẽ.
        predictors: (N, n) e or z.
        weights: (N, n) posterior probability that i is a target; rows with at least one half count for response i.
        candidates: bool (n, n), [j, i]: j may be a predictor of i.

    Returns:
        t-statistics for the mean and for the spread of each response.
    """
    statistics = [
        _one_response(responses[:, i], predictors, weights[:, i] > 0.5, candidates[:, i])
        for i in range(responses.shape[1])
    ]
    return Dependence(*(torch.stack(columns, 1) for columns in zip(*statistics, strict=True)))


def _one_response(response: Tensor, predictors: Tensor, chosen: Tensor, candidates: Tensor) -> tuple[Tensor, Tensor]:
    n = predictors.shape[1]
    none = torch.zeros(n, dtype=torch.float64, device=predictors.device)
    index = torch.nonzero(candidates).flatten()
    degrees = _degrees(int(chosen.sum()), len(index))
    if degrees == 0:
        return none, none.clone()
    features = _features(predictors[chosen][:, index].double(), degrees)
    target = _standardise(response[chosen].double())
    residual, gain = _held_out(features, target)
    spread = _standardise(torch.log(residual.abs() + 0.1))
    _, spread_gain = _held_out(features, spread)
    return none.index_copy(0, index, _t_statistic(gain)), none.index_copy(0, index, _t_statistic(spread_gain))


def _standardise(values: Tensor) -> Tensor:
    values = (values - values.mean(0)) / values.std(0).clamp_min(1e-12)
    return values.clamp(-_CLIP, _CLIP)


def _degrees(rows: int, candidates: int) -> int:
    """Degree of the polynomials that this many rows can bear: 3, 1, or 0 for none."""
    if candidates == 0:
        return 0
    bearable = [degree for degree in (3, 1) if rows >= _ROWS_PER_REGRESSOR * (degree * candidates + 1)]
    return bearable[0] if bearable else 0


def _features(values: Tensor, degrees: int) -> Tensor:
    """The first Hermite polynomials of standardised values (M, k): (M, k, degrees)."""
    v = _standardise(values)
    return torch.stack([v, v.square() - 1.0, v * (v.square() - 3.0)][:degrees], -1)


def _held_out(features: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """Held-out residuals (M,) of the full regression and the loss each candidate's block saves, (M, k)."""
    m, k, degrees = features.shape
    design = torch.cat([features.reshape(m, -1), torch.ones_like(target).unsqueeze(1)], 1)
    fold = torch.arange(m, device=target.device) % _FOLDS
    residual, saved = torch.empty_like(target), target.new_empty(m, k)
    total, moment = design.T @ design, design.T @ target
    for f in range(_FOLDS):
        rows = design[fold == f]
        gram = total - rows.T @ rows
        gram.diagonal().add_(_RIDGE * m)
        inverse = torch.linalg.inv(gram)
        weights = inverse @ (moment - rows.T @ target[fold == f])
        reduced = weights.unsqueeze(1) - _removal(inverse, weights, k, degrees)
        held_out = target[fold == f]
        full = held_out - rows @ weights
        residual[fold == f] = full
        saved[fold == f] = (held_out.unsqueeze(1) - rows @ reduced).square() - full.square().unsqueeze(1)
    return residual, saved


def _removal(inverse: Tensor, weights: Tensor, k: int, degrees: int) -> Tensor:
    """Change (p, k) of the least-squares weights when each of the k blocks of regressors is left out."""
    p = inverse.shape[0]
    columns = inverse[:, : k * degrees].reshape(p, k, degrees)
    blocks = torch.stack([columns[j * degrees : (j + 1) * degrees, j] for j in range(k)])
    share = torch.linalg.solve(blocks, weights[: k * degrees].reshape(k, degrees, 1)).squeeze(-1)
    return torch.einsum("pkd,kd->pk", columns, share)


def _t_statistic(gain: Tensor) -> Tensor:
    return gain.mean(0) / gain.std(0).clamp_min(1e-12) * len(gain) ** 0.5
