"""An implicit latent causal model of soft interventions as a variational autoencoder with a switch variable.

Source: Shirahmad Gale Bagi et al., "Implicit causal representation learning via switchable mechanisms" (2024), section
3.
"""

from __future__ import annotations

from dataclasses import asdict
from typing import Any, ClassVar, NamedTuple, final

import torch
from torch import Tensor, nn

from lcm.base.chunks import in_chunks
from lcm.model.decoder import ChainDecoder
from lcm.model.intervention import TargetDistribution
from lcm.model.noise import standard_normal_log_density
from lcm.model.pair_model import EncodedPairs
from lcm.peer.implicit.solution import HeuristicPosterior, SolutionNetworks
from lcm.peer.switch import SwitchVAEConfig
from lcm.peer.variational import Normals, Perceptron, VariationalModel, build_common

_START_LOG_DEVIATION, _SPREAD_GAIN = -2.0, 0.1
_LOG_DEVIATION = (-7.0, 3.0)
_START_LOG_VARIANCE, _LEAST_VARIANCE = -3.0, 1e-4
_SMALL = 0.1
_FIXED_DRAWS = 8


class PairEncoding(NamedTuple):
    """Distributions given a pair: of the noise before and after (2, N, n), and of the switch variable (N, n)."""

    noise: Normals
    switch: Normals


class BoundParts(NamedTuple):
    """The parts (N,) of the bound in nats: log-likelihoods of x and x̃, log prior − log q, log-likelihood of x̃ − x."""

    fit: Tensor
    latent: Tensor
    displacement: Tensor


@final
class SwitchVAE(VariationalModel):
    """Noise e and switch v ~ N(0, 1), x | e ~ N(decoder(e), variance), x̃ − x | v likewise, and z = s(e).

    A coordinate that is no target keeps its noise. For a target, z̃_i = s_i(ẽ_i − h_i(v); e_others) is normal with
    variance 1 and a mean that is affine in e_i. q(e | x), q(ẽ | x̃) and q(v | x̃ − x) are normal.
    """

    kind: ClassVar[str] = "icrl-sm"

    def __init__(
        self,
        standardisation: ChainDecoder,
        target_distribution: TargetDistribution,
        config: SwitchVAEConfig | None = None,
    ) -> None:
        """All weights are zero until `draw_weights` draws them."""
        super().__init__(standardisation, target_distribution)
        self.config = config or SwitchVAEConfig()
        n, hidden = self.n, [self.config.hidden] * self.config.layers
        self.encoder, self.decoder = Perceptron(n, 2 * n, hidden), Perceptron(n, n, hidden)
        self.solution = SolutionNetworks(n, self.config.hidden, self.config.layers)
        self.posterior = HeuristicPosterior()
        self.log_variance = nn.Parameter(torch.full((n,), _START_LOG_VARIANCE))
        if self.config.start == "linear":
            self.unmixing, self.mixing = nn.Parameter(torch.eye(n)), nn.Parameter(torch.eye(n))
        if self.config.switch:
            self.switch_encoder, self.switch_decoder = Perceptron(n, 2 * n, hidden), Perceptron(n, n, hidden)
            self.effect = Perceptron(n, n, hidden)
            self.imposed_slope, self.imposed_offset = nn.Parameter(torch.zeros(n)), nn.Parameter(torch.zeros(n))
            self.displacement_log_variance = nn.Parameter(torch.full((n,), _START_LOG_VARIANCE))

    @torch.no_grad()
    def draw_weights(self, generator: torch.Generator, unmixing: Tensor | None = None) -> None:
        """Draw the weights of all networks, small ones beside an unmixing (n, n); h starts small."""
        linear = self.config.start == "linear" and unmixing is not None
        networks = [self.encoder, self.switch_encoder] if self.config.switch else [self.encoder]
        for encoder in networks:
            encoder.draw_weights(generator, _SMALL if linear and encoder is self.encoder else 1.0)
            encoder.weights[-1][self.n :] *= _SPREAD_GAIN
            encoder.biases[-1][self.n :] = _START_LOG_DEVIATION
        self.decoder.draw_weights(generator, _SMALL if linear else 1.0)
        self.solution.draw_weights(generator)
        if self.config.switch:
            self.switch_decoder.draw_weights(generator)
            self.effect.draw_weights(generator, _SMALL)
        if linear and unmixing is not None:
            self.unmixing.copy_(unmixing)
            self.mixing.copy_(torch.linalg.inv(unmixing.double()))

    def draw(self, count: int, generator: torch.Generator) -> Tensor:
        """Standard-normal draws (count, 3, n) for pairs: noise before, noise after, switch."""
        shape = (count, 3, self.n)
        return torch.randn(shape, generator=generator, device=generator.device, dtype=self._like().dtype)

    def moments(self, y: Tensor, y_tilde: Tensor) -> PairEncoding:
        """The distributions given pairs (N, n) in the coordinates of the fit."""
        both = torch.stack([y, y_tilde])
        noise = _normals(self.encoder(both))
        if self.config.start == "linear":
            noise = Normals(noise.mean + both @ self.unmixing.T, noise.log_deviation)
        if not self.config.switch:
            return PairEncoding(noise, Normals(torch.zeros_like(y), torch.zeros_like(y)))
        return PairEncoding(noise, _normals(self.switch_encoder(y_tilde - y)))

    def decode_noise(self, noise: Tensor) -> Tensor:
        """Means (..., n) of observations, in the coordinates of the fit, given noise (..., n)."""
        mean: Tensor = self.decoder(noise)
        return mean + noise @ self.mixing.T if self.config.start == "linear" else mean

    def log_posterior(self, noise: Normals) -> Tensor:
        """log q(I | x, x̃) (N, K), for pairs whose targets are not known."""
        found: Tensor = self.posterior(noise.mean[0], noise.mean[1], None, self.target_distribution)
        return found

    def bound(
        self,
        y: Tensor,
        y_tilde: Tensor,
        encoded: PairEncoding,
        targets: Tensor,
        draws: Tensor,
        imposed: bool = True,
    ) -> BoundParts:
        """The bound for the given target sets, bool (N, n), at draws (N, 3, n).

        Without `imposed`, the density of imposed values is left out. The first two parts bound log p(y, ỹ | targets);
        the third is the objective's term for ỹ − y, which is a function of both and adds no evidence.
        """
        laws = encoded.noise.unbind()
        # what stays has one encoding: the mean of two independent ones
        variance = 0.25 * ((2.0 * laws[0].log_deviation).exp() + (2.0 * laws[1].log_deviation).exp())
        shared = Normals(0.5 * (laws[0].mean + laws[1].mean), 0.5 * variance.log())
        before = laws[0].where(targets, shared)
        noise = before.at(draws[:, 0])
        after = torch.where(targets, laws[1].at(draws[:, 1]), noise)
        decoded = self.decode_noise(torch.stack([noise, after]))
        fit = self._log_likelihood(torch.stack([y, y_tilde]), decoded, self.log_variance).sum(0)
        switch = encoded.switch.at(draws[:, 2]) if self.config.switch else torch.zeros_like(y)
        latent = standard_normal_log_density(noise) - before.log_density_at(draws[:, 0])
        of_target = -laws[1].log_density_at(draws[:, 1])
        if imposed:
            of_target = of_target + self.imposed_log_density(noise, after, switch)
        latent = (latent + torch.where(targets, of_target, 0.0)).sum(1)
        if not self.config.switch:
            return BoundParts(fit, latent, torch.zeros_like(fit))
        zeros = torch.zeros_like(y)
        latent = latent - encoded.switch.divergence(Normals(zeros, zeros)).sum(1)
        moved = self._log_likelihood(y_tilde - y, self.switch_decoder(switch), self.displacement_log_variance)
        return BoundParts(fit, latent, moved)

    def imposed_log_density(self, noise: Tensor, after: Tensor, switch: Tensor) -> Tensor:
        """log p(ẽ_i | e, v) (N, n), as if each i were a target: of z̃_i and its slope in ẽ_i (source, eqs. 5 and 6)."""
        shift, log_scale = self.solution.shift_and_scale(noise)
        if not self.config.switch:
            return standard_normal_log_density(shift + log_scale.exp() * after) + log_scale
        z = shift + log_scale.exp() * (after - self.effect(switch))
        return standard_normal_log_density(z - self.imposed_offset - self.imposed_slope * noise) + log_scale

    def _log_likelihood(self, y: Tensor, mean: Tensor, log_variance: Tensor) -> Tensor:
        variance = log_variance.exp() + _LEAST_VARIANCE
        log_deviation = 0.5 * variance.log()
        return Normals(mean, log_deviation.expand_as(mean)).log_density(y).sum(-1)

    def encode_coordinates(self, y: Tensor, y_tilde: Tensor) -> EncodedPairs:
        """Noise from the means of the encoder, and z = s(noise): the switch is left out, as in the source.

        log_density is the bound without the term for ỹ − y, for the most probable target set only, at eight fixed
        quasi-random draws.
        """
        encoded = self.moments(y, y_tilde)
        log_q = self.log_posterior(encoded.noise)
        z, z_tilde = self.solution(encoded.noise.mean).z
        best = log_q.argmax(1)
        (bound,) = in_chunks(self._fixed_bound, y, y_tilde, self.target_distribution.target_sets[best])
        log_density = bound + self.target_distribution.log_probabilities().to(bound)[best]
        mean = encoded.noise.mean
        return EncodedPairs(z, z_tilde, mean[0], mean[1], log_q.exp(), log_density)

    def _fixed_bound(self, y: Tensor, y_tilde: Tensor, targets: Tensor) -> tuple[Tensor]:
        encoded = self.moments(y, y_tilde)
        uniform = torch.quasirandom.SobolEngine(3 * self.n, scramble=True, seed=0).draw(_FIXED_DRAWS)
        normal = torch.special.ndtri(uniform.clamp(1e-6, 1.0 - 1e-6)).view(_FIXED_DRAWS, 3, self.n).to(y)
        parts = [self.bound(y, y_tilde, encoded, targets, each.expand(len(y), 3, self.n)) for each in normal]
        return (torch.stack([part.fit + part.latent for part in parts]).mean(0),)

    def description(self) -> dict[str, Any]:
        """JSON description that `SwitchVAE.build` turns back into a model without its tensors."""
        return {**self.common_description(), "config": asdict(self.config)}

    @staticmethod
    def build(description: dict[str, Any]) -> SwitchVAE:
        """Rebuild a model, without its tensors, from `description`."""
        return SwitchVAE(*build_common(description), SwitchVAEConfig(**description["config"]))


def _normals(outputs: Tensor) -> Normals:
    mean, log_deviation = outputs.chunk(2, -1)
    return Normals(mean, nn.functional.hardtanh(log_deviation, *_LOG_DEVIATION))
