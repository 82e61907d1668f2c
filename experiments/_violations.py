"""Pairs that break one assumption of a certificate, more or less strongly, from a nature that satisfies all of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import final

import numpy as np
import torch
from torch import Tensor

from lcm.data.pairs import PairData
from lcm.model.intervention import SoftIntervention, TargetDistribution
from lcm.model.latent_causal_model import LatentCausalModel
from lcm.model.pair_model import Pairs

Break = Callable[[LatentCausalModel, float, int, torch.Generator], PairData]


@final
@dataclass(frozen=True)
class Violation:
    """One way to break an assumption.

    Attributes:
        title: in words.
        unit: what a strength measures.
        strengths: one to three, ascending.
        rows: the keys of the rows of a certificate that name it; empty where no data can show it.
        draw: (nature, strength, pairs, generator) → data.
        n_off: the number of variables that the fit is told, minus the right one.
        columns: columns of x for each variable, 1 or 2.
        scales: whether strengths are in the unit of `smallest` of the first of `rows`.
    """

    title: str
    unit: str
    strengths: tuple[float, ...]
    rows: tuple[str, ...]
    draw: Break
    n_off: Callable[[float], int] = lambda _: 0
    columns: int = 1
    scales: bool = False


@torch.no_grad()
def sound(nature: LatentCausalModel, pairs: int, generator: torch.Generator) -> PairData:
    """Pairs that break nothing."""
    return _data(nature.sample_pairs(pairs, generator))


def _data(pairs: Pairs) -> PairData:
    return _of(pairs.x, pairs.x_tilde)


def _of(x: Tensor, x_tilde: Tensor) -> PairData:
    return PairData(x=x.float().numpy(), x_tilde=x_tilde.float().numpy())


@torch.no_grad()
def _several(nature: LatentCausalModel, share: float, pairs: int, generator: torch.Generator) -> PairData:
    """A share of the pairs has two targets, any two."""
    drawn = nature.sample_pairs(pairs, generator)
    n = nature.n
    sets = TargetDistribution(n, [[i, j] for i in range(n) for j in range(i + 1, n)], None)
    targets = torch.where(_some(share, pairs, generator), sets.sample(pairs, generator), drawn.targets)
    return _data(_drawn(nature, drawn.noise, targets, generator))


def _some(share: float, pairs: int, generator: torch.Generator) -> Tensor:
    """A mask (N, 1) of so many rows, at random."""
    return (torch.rand(pairs, 1, generator=generator) < share).to(torch.bool)


def _drawn(nature: LatentCausalModel, noise: Tensor, targets: Tensor, generator: torch.Generator) -> Pairs:
    fresh, jitter = (torch.randn(noise.shape, generator=generator) for _ in range(2))
    return nature.pairs_from(noise, fresh, jitter, targets)


@torch.no_grad()
def _strangers(nature: LatentCausalModel, share: float, pairs: int, generator: torch.Generator) -> PairData:
    """A share of the x̃ belong to another x."""
    drawn = nature.sample_pairs(pairs, generator)
    others = nature.sample_pairs(pairs, generator)
    return _of(drawn.x, torch.where(_some(share, pairs, generator), others.x_tilde, drawn.x_tilde))


@torch.no_grad()
def _common_cause(nature: LatentCausalModel, correlation: float, pairs: int, generator: torch.Generator) -> PairData:
    """The noises of the first two variables have a correlation, in standard-normal gauge."""
    drawn = nature.sample_pairs(pairs, generator)
    normal = torch.randn(drawn.noise.shape, generator=generator)
    normal[:, 1] = correlation * normal[:, 0] + np.sqrt(1.0 - correlation**2) * normal[:, 1]
    noise = nature.scm.noise.from_normal(normal)[0]
    return _data(_drawn(nature, noise, drawn.targets, generator))


@torch.no_grad()
def _loop(nature: LatentCausalModel, weight: float, pairs: int, generator: torch.Generator) -> PairData:
    """Linear mechanisms z = Wᵀz + ε with 0 → 1 and a feedback 1 → 0 of the given weight; other effects are acyclic."""
    n, drawn = nature.n, nature.sample_pairs(pairs, generator)
    weights = torch.zeros(n, n)
    weights[0, 1], weights[1, 0] = 0.8, weight
    for j in range(2, n):
        weights[j - 1, j] = 0.7
    noise, fresh = (torch.randn(pairs, n, generator=generator) for _ in range(2))
    eye = torch.eye(n)
    z = torch.linalg.solve(eye - weights.T, noise.T).T
    # a target keeps no parents: its column of the weights is cleared, and its noise is fresh
    kept = weights.T.expand(pairs, n, n) * ~drawn.targets.unsqueeze(2)
    forced = torch.where(drawn.targets, fresh, noise)
    z_tilde = torch.linalg.solve(eye - kept, forced.unsqueeze(2))[:, :, 0]
    return _of(nature.decode(z), nature.decode(z_tilde))


@torch.no_grad()
def _soft(nature: LatentCausalModel, share: float, pairs: int, generator: torch.Generator) -> PairData:
    """In a share of the pairs, the target gets fresh noise and keeps its parents."""
    drawn = nature.sample_pairs(pairs, generator)
    soft = LatentCausalModel(
        nature.scm,
        nature.decoder,
        SoftIntervention(nature.scm.mechanism, nature.scm.noise),
        nature.target_distribution,
    )
    fresh, jitter = (torch.randn(drawn.noise.shape, generator=generator) for _ in range(2))
    kept = soft.pairs_from(drawn.noise, fresh, jitter, drawn.targets)
    perfect = nature.pairs_from(drawn.noise, fresh, jitter, drawn.targets)
    return _of(drawn.x, torch.where(_some(share, pairs, generator), kept.x_tilde, perfect.x_tilde))


@torch.no_grad()
def _followed(nature: LatentCausalModel, correlation: float, pairs: int, generator: torch.Generator) -> PairData:
    """The new noise of a target is correlated with the old one: the value is moved instead of replaced."""
    drawn = nature.sample_pairs(pairs, generator)
    normal = nature.scm.noise.to_normal(drawn.noise)[0]
    after = nature.scm.noise.to_normal(drawn.noise_tilde)[0]
    moved = correlation * normal + np.sqrt(1.0 - correlation**2) * after
    noise = nature.scm.noise.from_normal(torch.where(drawn.targets, moved, normal))[0]
    return _of(drawn.x, nature.decode(nature.scm.solve(noise)[0]))


@torch.no_grad()
def _unsupported(nature: LatentCausalModel, count: float, pairs: int, generator: torch.Generator) -> PairData:
    """So many variables are never targets."""
    n = nature.n
    sets: list[list[int]] = [[], *([i] for i in range(int(count), n))]
    targets = TargetDistribution(n, sets, None).sample(pairs, generator)
    return _data(_drawn(nature, nature.scm.sample_noise(pairs, generator), targets, generator))


@torch.no_grad()
def _folded(nature: LatentCausalModel, share: float, pairs: int, generator: torch.Generator) -> PairData:
    """The first variable reaches x through |z_0 − c|, which folds the given share of its values onto others."""
    drawn = nature.sample_pairs(pairs, generator)
    crease = torch.quantile(drawn.z[:10_000, 0], share / 2.0)

    def observed(z: Tensor) -> Tensor:
        return nature.decode(torch.cat([(z[:, :1] - crease).abs(), z[:, 1:]], 1))

    return _of(observed(drawn.z), observed(drawn.z_tilde))


@torch.no_grad()
def _shifted(nature: LatentCausalModel, shift: float, pairs: int, generator: torch.Generator) -> PairData:
    """All x̃ come from noise that is shifted in every variable, in standard-normal gauge."""
    drawn = nature.sample_pairs(pairs, generator)
    normal = nature.scm.noise.to_normal(drawn.noise)[0] + shift
    after = _drawn(nature, nature.scm.noise.from_normal(normal)[0], drawn.targets, generator)
    return _of(drawn.x, after.x_tilde)


@torch.no_grad()
def _noisy(nature: LatentCausalModel, _: float, pairs: int, generator: torch.Generator) -> PairData:
    """Noise of 1 % of its spread on each column: without it, too large an n is refused, as x has fewer directions."""
    drawn = nature.sample_pairs(pairs, generator)
    width = 0.01 * drawn.x.std(0)
    x, x_tilde = (part + width * torch.randn(part.shape, generator=generator) for part in (drawn.x, drawn.x_tilde))
    return _of(x, x_tilde)


def _as_is(strength: float) -> int:
    return int(strength)


_SHARES = (0.03, 0.1, 0.3)
VIOLATIONS: Mapping[str, Violation] = {
    "soft": Violation("soft interventions", "share of pairs", (1.0,), (), _soft),
    "partially-soft": Violation("partially soft interventions", "share of pairs", (0.2, 0.5, 0.8), (), _soft),
    "followed": Violation(
        "values moved instead of replaced", "correlation", (0.2, 0.5, 0.8), ("perfect",), _followed, scales=True
    ),
    "several-targets": Violation("two targets", "share of pairs", _SHARES, ("atomic",), _several, scales=True),
    "common-cause": Violation(
        "hidden common cause", "correlation of noises", (0.1, 0.3, 0.6), ("common_cause",), _common_cause, scales=True
    ),
    "loop": Violation("feedback loop", "weight of the feedback", (0.1, 0.3, 0.6), ("acyclic",), _loop),
    "independent": Violation(
        "independent pairs", "share of pairs", (0.5, 0.8, 1.0), ("counterfactual", "atomic"), _strangers
    ),
    "unsupported": Violation("variables never targets", "number of them", (1.0, 2.0, 3.0), ("support",), _unsupported),
    "folded": Violation(
        "folded decoder",
        "share folded",
        (0.05, 0.2, 0.5),
        ("diffeomorphic", "converged", "atomic", "counterfactual"),
        _folded,
    ),
    "n": Violation("n wrong by one", "n told minus n", (-1.0, 1.0), ("n",), _noisy, _as_is, columns=2),
    "contaminated": Violation(
        "pairs of strangers", "share of pairs", _SHARES, ("counterfactual",), _strangers, scales=True
    ),
    "shift": Violation(
        "noise shifted in all x̃", "standard deviations", (0.05, 0.2, 0.5), ("drift",), _shifted, scales=True
    ),
}
"""By name: what is broken, at which strengths, and which rows of a certificate name it."""
