"""Pairs that a model draws of itself, reaching farther out than its own distribution, with their weights.

Two models can be compared on as many of them as needed, also where the data at hand have no pair: at rare target sets
and at rare values of one noise variable or one imposed value.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from lcm.model.latent_causal_model import LatentCausalModel

_WIDENING = 3.0


class Probes(NamedTuple):
    """M pairs drawn from a mixture of which the model's own distribution is a part.

    x, x_tilde: (M, d).
    targets: (M, n) bool.
    plain: (M,) bool, pairs whose noise and imposed values are the model's own; of these, target sets alone may be
        drawn more evenly.
    weights: (M,) density of the model over that of the mixture, in (0, 4], with mean 1.
    """

    x: Tensor
    x_tilde: Tensor
    targets: Tensor
    plain: Tensor
    weights: Tensor


@torch.no_grad()
def probe_pairs(model: LatentCausalModel, count: int, generator: torch.Generator) -> Probes:
    """Draw pairs of a model in float64.

    Half are plain. In the others one of the 2n normal draws, noise of x and imposed values, is three times as wide.
    Target sets are drawn from the model's distribution or, in half of all pairs, evenly from the sets that it has.
    """
    n = model.n
    draws = torch.randn(count, 3 * n, generator=generator, device=generator.device, dtype=torch.float64)
    plain = torch.rand(count, generator=generator, device=generator.device) < 0.5
    widened = torch.randint(2 * n, (count, 1), generator=generator, device=generator.device)
    scale = torch.ones_like(draws).scatter_(1, widened, _WIDENING)
    draws = torch.where(plain[:, None], draws, draws * scale)
    targets, target_weights = _even_targets(model, count, generator)
    noise = model.scm.noise.from_normal(draws[:, :n])[0]
    pairs = model.pairs_from(noise, draws[:, n : 2 * n], draws[:, 2 * n :], targets)
    return Probes(pairs.x, pairs.x_tilde, targets, plain, target_weights * _weights(draws[:, : 2 * n]))


def _weights(draws: Tensor) -> Tensor:
    """Density (M,) of independent normals over that of the mixture with one widened of them."""
    log_ratio = 0.5 * draws.square() * (1.0 - _WIDENING**-2) - math.log(_WIDENING)
    log_widened = log_ratio.logsumexp(1) - math.log(draws.shape[1])
    return 2.0 * torch.sigmoid(-log_widened)


def _even_targets(model: LatentCausalModel, count: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Masks (M, n) of target sets that the model has, and the weight (M,) of each."""
    shares = model.target_distribution.probabilities.to(generator.device)
    even = (shares > 0).to(shares) / (shares > 0).sum()
    mixed = 0.5 * (shares / shares.sum() + even)
    drawn = torch.multinomial(mixed, count, replacement=True, generator=generator)
    sets = model.target_distribution.target_sets.to(generator.device)
    return sets[drawn], (shares / mixed)[drawn]
