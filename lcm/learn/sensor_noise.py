"""Noise on each column of x, learned after a fit from how its noise encodings differ (docs/theory.md section 2)."""

from __future__ import annotations

from typing import final

import torch
from torch import Tensor

from lcm.base.rows import writable
from lcm.data.pairs import PairData
from lcm.learn.training.optimiser import Adam
from lcm.model.latent_causal_model import LatentCausalModel
from lcm.model.likelihood import THICKNESS_FLOOR, PairParts, pair_log_density
from lcm.model.sensor_noise import SensorNoise, Slopes

_EXACT = 0.01
"""Thickness below which targets are told apart anyway."""
_ROWS, _MOST_ENTRIES = 1_500, 1 << 24
_SHARES, _REST = (0.003, 0.01, 0.03, 0.1), 0.1
_STEPS, _TRIED, _RATE = 100, 40, 0.15
_LEAST_GAIN, _ERRORS = 0.1, 2.0
"""Nats a pair that other pairs than those it is learned from must gain, beyond so many standard errors."""


def learn_sensor_noise(model: LatentCausalModel, data: PairData) -> None:
    """Give the model its sensor noise, if pairs that it was not learned from are likelier with it.

    The covariance of what stays explains pairs; it is learned by maximum likelihood, with the encoder as it is.

    Args:
        model: fitted, in the units of the data; changed in place.
        data: the pairs of the fit.
    """
    sets = model.target_distribution.target_sets
    if float(model.thickness.max()) < _EXACT or bool((sets.sum(1) > 1).any()):
        return
    rows = min(_ROWS, _MOST_ENTRIES // (model.n * model.d), len(data) // 2)
    few = data.first(2 * rows)
    x, x_tilde = (torch.from_numpy(writable(part)).to(model.like_observations) for part in (few.x, few.x_tilde))
    with torch.no_grad():
        parts, slopes = model.pair_parts(model.encoding(x), model.encoding(x_tilde)), model.slopes(x, x_tilde)
        plain = model.pair_log_density(x, x_tilde, model.thickness.clamp_min(THICKNESS_FLOOR))
    learned, judged = (_Pairs(model, parts, slopes, rows) for rows in (slice(0, rows), slice(rows, 2 * rows)))
    start = max(
        (_logarithms(share * x.std(0), _REST * model.thickness) for share in _SHARES),
        key=lambda each: float(learned.log_density(_noise(each, model.d)).mean()),
    )
    noise = _likeliest(start, learned, model.d, float(plain[:rows].mean()))
    if noise is None:
        return
    gain = judged.log_density(noise) - plain[rows:]
    if float(gain.mean() - _ERRORS * gain.std() / len(gain) ** 0.5) > _LEAST_GAIN:
        model.sensor_noise = noise


@final
class _Pairs:
    """Some of the pairs, encoded."""

    def __init__(self, model: LatentCausalModel, parts: PairParts, slopes: Slopes, rows: slice) -> None:
        self._parts, self._slopes = PairParts(*(each[rows] for each in parts)), Slopes(*(each[rows] for each in slopes))
        targets = model.target_distribution
        self._targets = targets.target_sets, targets.log_probabilities().detach()

    def log_density(self, noise: SensorNoise) -> Tensor:
        """Of each pair (N,), in nats."""
        return pair_log_density(noise.terms(self._parts, self._slopes), *self._targets)


@torch.enable_grad()
def _likeliest(start: Tensor, pairs: _Pairs, d: int, without: float) -> SensorNoise | None:
    """The noise at which the pairs are likeliest, from logarithms (d + n,); None if they are likelier `without` it."""
    logarithms, downwards = start.clone().requires_grad_(), torch.zeros_like(start)
    adam = Adam(logarithms.data, downwards)
    for step in range(1, _STEPS + 1):
        found = pairs.log_density(_noise(logarithms, d)).mean()
        if step == _TRIED and float(found.detach()) < without:
            return None
        downwards.copy_(-torch.autograd.grad(found, logarithms)[0])
        adam.step(_RATE, step)
    return _noise(logarithms.detach(), d)


def _logarithms(deviation: Tensor, rest: Tensor) -> Tensor:
    return torch.cat([deviation, rest]).clamp_min(torch.finfo(deviation.dtype).tiny).log()


def _noise(logarithms: Tensor, d: int) -> SensorNoise:
    return SensorNoise(logarithms[:d].exp(), logarithms[d:].exp().clamp_min(THICKNESS_FLOOR))
