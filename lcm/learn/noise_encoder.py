"""The implicit model that is fitted first: a noise encoder φ with its solution functions (docs/theory.md section 2)."""

from __future__ import annotations

from typing import NamedTuple, final

import torch
from torch import Tensor, nn

from lcm.model.decoder import ChainDecoder
from lcm.model.elementwise import SplineMap
from lcm.model.intervention import TargetDistribution
from lcm.model.likelihood import (
    Changes,
    PairTerms,
    joint_log_density,
    pair_log_density,
    stay_log_density,
    target_posterior,
)
from lcm.model.mechanism import LocationScaleMechanism
from lcm.model.noise import NormalNoise, PushforwardNoise, standard_normal_log_density

_FEW_STAYING = 0.05


class NoisePairs(NamedTuple):
    """Standard-normal noise encodings u, ũ (N, n) of a batch of pairs and the summed log-determinants (N,).

    log_det: where the first pairs alone were measured, theirs over their share, and 0 for the others, so that the mean
    is right in expectation.
    across: w and w̃ (N, 2, r − n), how far the two observations lie off the sheet of dimension n in r coordinates. Their
    log-density is part of `log_det`.
    """

    normal: Tensor
    normal_tilde: Tensor
    log_det: Tensor
    across: Tensor


@final
class SolutionFunctions(nn.Module):
    """ζ_i = s_i(ẽ_i; ẽ_anc(i)) for every i at once, each location-scale between two monotone splines.

    `mask` bool (n, n), [j, i], says which noise j function i may depend on; all others while ancestors are unknown.
    ζ_i follows the learned p̃_i, the push-forward of a standard normal by a spline.
    """

    def __init__(self, mask: Tensor, hidden: int, bins: int, generator: torch.Generator) -> None:
        super().__init__()
        n = mask.shape[0]
        self.noise = PushforwardNoise(NormalNoise(n), SplineMap(n, bins))
        self.mechanism = LocationScaleMechanism(mask, hidden)
        self.mechanism.network.draw_weights(generator)
        self.imposed = PushforwardNoise(NormalNoise(n), SplineMap(n, bins))

    def move_log_density(self, normal_tilde: Tensor) -> Tensor:
        """log-density (N, n) of each ũ_i as if i were a target: log p̃_i(ζ_i) + log|∂ζ_i/∂ũ_i|."""
        noise, log_gauge = self.noise.from_normal(normal_tilde)
        value, log_slope = self.mechanism(noise, noise)
        return self.imposed.log_density(value) + log_slope + log_gauge


@final
class ImplicitModel(nn.Module):
    """Noise encoder (the inverse of `noise_decoder`), solution functions, thickness σ with its growth ρ, and p_𝓘.

    The noise decoder has r ≥ n inputs. The first n are noise encodings. The others are how far an observation lies off
    the sheet that n variables span in r coordinates: independent normal noise of each single observation, whose
    standard deviations are `width`, (r − n,).
    linear: whether φ is linear up to one map per variable. converged: whether no limit of time
    ended its fit early.
    """

    thickness: Tensor
    growth: Tensor
    width: Tensor

    def __init__(
        self, noise_decoder: ChainDecoder, solution: SolutionFunctions, target_distribution: TargetDistribution
    ) -> None:
        super().__init__()
        self.noise_decoder, self.solution = noise_decoder, solution
        self.target_distribution = target_distribution
        n = target_distribution.n
        self.register_buffer("thickness", torch.ones(n))
        self.register_buffer("width", torch.ones(noise_decoder.n - n))
        self.register_buffer("growth", torch.zeros(()))
        self.linear, self.converged = False, True

    def share_marginal(self, marginal: SplineMap) -> None:
        """Make the noise of the solution functions the linear coordinates of x, of which `marginal` is the gauge.

        Where φ is linear up to one map per variable, these coordinates are the ones in which mechanisms are simplest.
        """
        self.solution.noise = PushforwardNoise(self.solution.noise.noise, marginal)
        self.linear = True

    def encode_pairs(self, x: Tensor, x_tilde: Tensor, measured: int | None = None) -> NoisePairs:
        """Noise encodings of both observations (N, r) in one pass; log-determinants of the first `measured` pairs."""
        n, size = len(self.thickness), len(x)
        measured = size if measured is None else measured
        rows = torch.cat([x[:measured], x_tilde[:measured], x[measured:], x_tilde[measured:]])
        found, log_det = self.noise_decoder.inverse_measuring(rows, 2 * measured)
        parts = (
            found[: 2 * measured].unflatten(0, (2, measured)),
            found[2 * measured :].unflatten(0, (2, size - measured)),
        )
        first, second = both = torch.cat(parts, 1)
        across = both[..., n:].transpose(0, 1)
        log_det = log_det.view(2, -1).sum(0)
        if measured < size:
            log_det = nn.functional.pad(log_det * (size / measured), (0, size - measured))
        off_sheet = stay_log_density(across, self.width).sum((1, 2))
        return NoisePairs(first[:, :n], second[:, :n], log_det + off_sheet, across)

    def terms(self, pairs: NoisePairs, thickness: Tensor | None = None, growth: Tensor | None = None) -> PairTerms:
        """Likelihood terms of encoded pairs, at a thickness (n,) and a growth in place of the model's own."""
        thickness = self.thickness if thickness is None else thickness
        growth = self.growth if growth is None else growth
        base = standard_normal_log_density(pairs.normal).sum(1) + pairs.log_det
        difference = pairs.normal_tilde - pairs.normal
        stay = stay_log_density(difference, thickness)
        changes = Changes.of(difference, thickness, growth)
        return PairTerms(base, stay, self.solution.move_log_density(pairs.normal_tilde), changes)

    def log_density(self, terms: PairTerms) -> Tensor:
        """log p(x, x̃) (N,) in nats."""
        return pair_log_density(terms, *self.target_sets())

    def posterior(self, terms: PairTerms, labels: Tensor | None = None) -> Tensor:
        """p(I | x, x̃) (N, K); where the target set (N,) of each pair is known, all of it on that."""
        if labels is None:
            return target_posterior(terms, *self.target_sets())
        return nn.functional.one_hot(labels, len(self.target_sets()[0])).to(terms.base.dtype)

    def joint(self, terms: PairTerms, labels: Tensor | None = None) -> Tensor:
        """log p(x, x̃, I) (N, K); where the target set (N,) of each pair is known, −∞ for all others."""
        joint = joint_log_density(terms, *self.target_sets())
        if labels is None:
            return joint
        known = torch.arange(joint.shape[1], device=joint.device) == labels.unsqueeze(1)
        return joint.masked_fill(~known, -torch.inf)

    def target_sets(self) -> tuple[Tensor, Tensor]:
        """Target sets (K, n) and log p_𝓘 (K,)."""
        return self.target_distribution.target_sets, self.target_distribution.log_probabilities()

    @torch.no_grad()
    def staying_variance(self, pairs: NoisePairs, posterior: Tensor, changed: Tensor) -> Tensor:
        """Closed-form σ² (n,) given the posterior (N, K) and the growth (docs/theory.md section 2).

        Pairs with x = x̃ exactly (`changed` False) say nothing of σ and are left out; but where a coordinate hardly ever
        stays in the others (one variable, or one that alone is ever a target), they are all there is.
        """
        sets = self.target_distribution.target_sets
        staying = (~sets).to(posterior.dtype)
        stays = posterior @ staying
        among_changed = stays * changed.to(stays.dtype).unsqueeze(1)
        alone = among_changed.sum(0) < _FEW_STAYING * stays.sum(0)
        kept = torch.where(alone, 1.0, changed.to(stays.dtype).unsqueeze(1))
        changes = Changes.of(pairs.normal_tilde - pairs.normal, self.thickness, self.growth)
        squared = (posterior / changes.variance_ratio(sets)) @ staying * changes.squared
        return (kept * squared).sum(0) / (kept * stays).sum(0).clamp_min(1e-6)
