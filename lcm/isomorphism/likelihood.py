"""Pair likelihoods of two models on the same pairs: on data, and on what either model draws of itself.

Isomorphic models have the same density at every pair (docs/theory.md section 1). Without a thickness pairs have no
density; the two are then compared at the floor of 0.001, or at the thickness of the other.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from lcm.base.chunks import in_chunks
from lcm.base.rows import writable
from lcm.data.pairs import PairData
from lcm.isomorphism.matching import FloatArray, IntArray
from lcm.isomorphism.probes import Probes
from lcm.model.latent_causal_model import LatentCausalModel
from lcm.model.likelihood import THICKNESS_FLOOR

_EXACT = THICKNESS_FLOOR * (1.0 + 1e-6)
_CHUNK_ROWS, _CHUNK_ENTRIES = 2_048, 1 << 22


class Thickness(NamedTuple):
    """Thicknesses (n,) at which two models are compared, in A's numbering.

    a, b: of A and of B: their own, at least the floor. Where one has none and the other has, both take the other's.
    growth: of the thickness of A and of B: their own, but a model of exact pairs takes the other's.
    one_sided: (n,) bool, variables of which that is so.
    """

    a: Tensor
    b: Tensor
    growth: tuple[float, float]
    one_sided: Tensor


def thicknesses(a: LatentCausalModel, b: LatentCausalModel, permutation: IntArray) -> Thickness:
    """The thicknesses at which two models are compared, float64 on the CPU."""
    first, second = a.thickness.double().cpu(), b.thickness.double().cpu()[torch.from_numpy(permutation)]
    one_sided = (first <= _EXACT) != (second <= _EXACT)
    wider = torch.maximum(first, second)
    own_a, own_b = (torch.where(one_sided, wider, part).clamp_min(THICKNESS_FLOOR) for part in (first, second))
    exact = [bool((part <= _EXACT).all()) for part in (first, second)]
    growth = (b.growth if exact[0] else a.growth), (a.growth if exact[1] else b.growth)
    return Thickness(own_a, own_b, growth, one_sided)


def likelihoods(
    a: LatentCausalModel, b: LatentCausalModel, data: PairData, permutation: IntArray
) -> dict[str, tuple[float, float] | None]:
    """Mean log p(x, x̃) of both at one thickness, the wider of the two for each variable, with the larger growth.

    None for both where a density is not finite.
    """
    width = thicknesses(a, b, permutation)
    wider, growth = torch.maximum(width.a, width.b), max(width.growth)
    values = tuple(
        log_densities(model, data, at, growth).numpy() for model, at in ((a, wider), (b, _in_b(wider, permutation)))
    )
    difference = values[0] - values[1]
    if not np.isfinite(difference).all():
        return {"log_likelihood": None, "log_likelihood_difference": None}
    error = float(difference.std() / math.sqrt(len(difference)))
    return {
        "log_likelihood": (float(values[0].mean()), float(values[1].mean())),
        "log_likelihood_difference": (float(difference.mean()), error),
    }


def divergences(
    a: LatentCausalModel, b: LatentCausalModel, probes: tuple[Probes, Probes], permutation: IntArray
) -> dict[str, tuple[float, float] | None]:
    """Kullback-Leibler divergence of B from A, on pairs of A, and of A from B, on pairs of B, with standard errors.

    None in place of both where a density is NaN, infinite where one model rules out what the other draws.
    """
    width = thicknesses(a, b, permutation)
    widths = width.a, _in_b(width.b, permutation)
    found: list[tuple[float, float]] = []
    for number, drawn in enumerate(probes):
        own, other = (
            _log_densities(model, drawn.x, drawn.x_tilde, at, growth).numpy()
            for model, at, growth in zip((a, b), widths, width.growth, strict=True)
        )
        ratio = own - other if number == 0 else other - own
        if np.isnan(ratio).any():
            return {"divergence": None, "divergence_error": None}
        found.append(_mean_and_error(ratio * drawn.weights.cpu().numpy()))
    (first, first_error), (second, second_error) = found
    return {"divergence": (first, second), "divergence_error": (first_error, second_error)}


def _mean_and_error(values: FloatArray) -> tuple[float, float]:
    if np.isinf(values).any():
        return math.inf, 0.0
    return float(values.mean()), float(values.std() / math.sqrt(len(values)))


def log_densities(model: LatentCausalModel, data: PairData, thickness: Tensor, growth: float | None = None) -> Tensor:
    """log p(x, x̃) (N,) of all pairs at a thickness (n,) and its growth, the model's own by default; float64, CPU."""
    x, x_tilde = (torch.from_numpy(writable(part)) for part in (data.x, data.x_tilde))
    return _log_densities(model, x, x_tilde, thickness, growth)


def _log_densities(
    model: LatentCausalModel, x: Tensor, x_tilde: Tensor, thickness: Tensor, growth: float | None
) -> Tensor:
    pairs = (part.to(model.like_observations) for part in (x, x_tilde))
    # one number for each pair and target set is held at a time
    size = max(1, min(_CHUNK_ROWS, _CHUNK_ENTRIES // len(model.target_distribution.target_sets)))
    (values,) = in_chunks(
        lambda x, x_tilde: (model.pair_log_density(x, x_tilde, thickness, growth),), *pairs, size=size
    )
    return values.double().cpu()


def _in_b(values: Tensor, permutation: IntArray) -> Tensor:
    """Values (n,) in A's numbering, in B's."""
    moved = torch.empty_like(values)
    moved[torch.from_numpy(permutation)] = values
    return moved
