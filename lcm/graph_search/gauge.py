"""Noise encodings of any model brought to a common gauge, and parted into rows to train on and rows held out."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from scipy.special import ndtr
from torch import Tensor

from lcm.graph_search.variables import FittedVariables

_FAR_FROM_NORMAL = 0.1
_KNOTS = 257
_HELD_OUT = 0.1


class NoiseRows(NamedTuple):
    """Rows of pairs in the gauge: u, ũ, z and z̃ in standard deviations, P(i ∈ I | x, x̃); all (N, n)."""

    normal: Tensor
    normal_tilde: Tensor
    z: Tensor
    z_tilde: Tensor
    weights: Tensor


def in_gauge(variables: FittedVariables) -> tuple[NoiseRows, NoiseRows]:
    """Training rows and the last tenth, held out, all in the default precision.

    Noise is put in standard deviations from its mean, since p_ε need not be normal: the mechanisms learn a monotone map
    of it. Only where it is far from normal (a Kolmogorov distance above 0.1) does it become normal scores. Its sign is
    that of the causal variable.
    """
    noise, noise_tilde = _normal_gauge(variables.noise.double(), variables.noise_tilde.double())
    z, spread = variables.z.double(), variables.z.double().std(0).clamp_min(1e-12)
    center = z.mean(0)
    z, z_tilde = (z - center) / spread, (variables.z_tilde.double() - center) / spread
    sign = torch.where((noise * z).mean(0) < 0, -1.0, 1.0)
    parts = noise * sign, noise_tilde * sign, z, z_tilde, variables.target_weights
    first = len(z) - max(1, round(_HELD_OUT * len(z)))
    rows = [part.to(torch.get_default_dtype()) for part in parts]
    return NoiseRows(*(part[:first] for part in rows)), NoiseRows(*(part[first:] for part in rows))


def _normal_gauge(noise: Tensor, noise_tilde: Tensor) -> tuple[Tensor, Tensor]:
    center, spread = noise.mean(0), noise.std(0).clamp_min(1e-12)
    first, second = (noise - center) / spread, (noise_tilde - center) / spread
    ranked = np.sort(first.cpu().numpy(), 0)
    share = (np.arange(len(ranked)) + 0.5) / len(ranked)
    far = np.abs(ndtr(ranked) - share[:, None]).max(0) > _FAR_FROM_NORMAL
    if far.any():
        first, second = first.clone(), second.clone()
        columns = torch.from_numpy(np.flatnonzero(far)).to(noise.device)
        scored = _normal_scores(first[:, columns], torch.cat([first, second])[:, columns]).split(len(first))
        first[:, columns], second[:, columns] = scored
    return first, second


def _normal_scores(reference: Tensor, values: Tensor) -> Tensor:
    """Values (M, k) through the piecewise linear map that makes a reference (N, k) normal, extended by lines."""
    first, device = 0.5 / len(reference), reference.device
    inside = torch.linspace(first, 1.0 - first, _KNOTS, dtype=reference.dtype, device=device)
    scores = torch.special.ndtri(inside)
    quantiles = torch.quantile(_thinned(reference), inside, dim=0).T
    # equal values are parted a little, or the knots would not increase
    knots = (quantiles + 1e-9 * torch.arange(_KNOTS, device=device)).contiguous()
    index = torch.searchsorted(knots, values.T.contiguous()).clamp(1, _KNOTS - 1)
    low, high = knots.gather(1, index - 1), knots.gather(1, index)
    share = (values.T - low) / (high - low).clamp_min(1e-6)
    # beyond the outer knots a line, but not far: its slope is poorly known
    share = share.clamp(-20.0, 20.0)
    return (scores[index - 1] + share * (scores[index] - scores[index - 1])).T


def _thinned(values: Tensor) -> Tensor:
    """At most 100,000 rows: torch takes no quantiles of many more."""
    return values[:: max(1, len(values) // 100_000)]
