"""The explicit model with a variational autoencoder: causal variables as latents, an SCM as their prior.

Source: the explicit latent causal models of Brehmer et al. 2022, appendix; here with location-scale mechanisms and all
target sets in one batched pass.
"""

from __future__ import annotations

import math
from typing import Any, Literal, final

import torch
from torch import Tensor, nn

from lcm.model.decoder import ChainDecoder
from lcm.model.intervention import TargetDistribution
from lcm.model.noise import standard_normal_log_density
from lcm.model.pair_model import EncodedPairs
from lcm.peer.explicit.flow import SampledMechanism
from lcm.peer.explicit.start import LinearStart
from lcm.peer.variational import Normals, Perceptron, VariationalModel, build_common

_LEAST_VARIANCE = 1e-4
_START_LOG_VARIANCE = -3.0
_START_LOG_SPREAD = -2.0
_SPREAD_BOUND = 3.0
_LAST_LAYER = 0.1
_ENCODING_DRAWS = 8
_ENCODING_ROWS = 2_048
_SETTINGS = ("layers", "hidden", "mechanism_hidden", "posterior")


@final
class ExplicitVAE(VariationalModel):
    """z ~ SCM; z̃ solves it again with standard-normal values of the targets; x | z and x̃ | z̃ are normal.

    q(z | x) is the same for both observations. Given target set I, z̃ takes its targets from q(z̃ | x̃), and the noise
    of all others from z. Encoder and decoder are linear maps plus networks, in standardised coordinates y.
    """

    kind = "elcm-vae"

    def __init__(
        self,
        standardisation: ChainDecoder,
        target_distribution: TargetDistribution,
        layers: int = 2,
        hidden: int = 64,
        mechanism_hidden: int = 16,
        posterior: Literal["exact", "heuristic"] = "exact",
        generator: torch.Generator | None = None,
    ) -> None:
        """The generator draws the weights, on its device; omit it where they are loaded."""
        super().__init__(standardisation, target_distribution)
        self.layers, self.hidden, self.mechanism_hidden, self.posterior = layers, hidden, mechanism_hidden, posterior
        generator, n = torch.Generator().manual_seed(0) if generator is None else generator, self.n
        self.encoder_linear, self.decoder_linear = nn.Parameter(torch.eye(n)), nn.Parameter(torch.eye(n))
        self.encoder, self.decoder = Perceptron(n, 2 * n, [hidden] * layers), Perceptron(n, n, [hidden] * layers)
        for network in (self.encoder, self.decoder):
            network.draw_weights(generator, _LAST_LAYER)
        self.mechanism = SampledMechanism(n, mechanism_hidden, generator)
        self.log_variance = nn.Parameter(torch.full((n,), _START_LOG_VARIANCE))
        self.heuristic = nn.Parameter(torch.tensor([-1.0, 1.0, 0.0]))
        self.to(generator.device)

    @torch.no_grad()
    def start_at(self, start: LinearStart) -> None:
        """Set encoder, decoder and mechanisms to a linear model."""
        self.encoder_linear.copy_(start.unmixing)
        self.decoder_linear.copy_(torch.linalg.inv(start.unmixing))
        self.mechanism.start_at(start.abduction)

    def log_weights(self, y: Tensor, y_tilde: Tensor, adjacency: Tensor, normal: Tensor) -> Tensor:
        """log p(y, ỹ, z, z̃, I) − log q(z, z̃ | y, ỹ, I), (S, N, K), for pairs (N, n) and draws (S, N, 2, n).

        Their exponentials, summed over target sets, are unbiased estimates of p(y, ỹ). `adjacency` (n, n) is acyclic.
        """
        first, second = self._encode(y), self._encode(y_tilde)
        of_first, of_second = normal.unbind(-2)
        z, free = first.at(of_first), second.at(of_second)
        noise, log_slope = self.mechanism.abduct(z.flatten(0, 1), adjacency)
        prior = (standard_normal_log_density(noise) + log_slope).sum(1).view(normal.shape[:2])
        z_tilde = self._all_interventions(noise.view_as(z), free, adjacency)
        sets = self.target_distribution.target_sets.to(y.dtype)
        gain = (standard_normal_log_density(free) - second.log_density_at(of_second)) @ sets.T
        before = prior - first.log_density_at(of_first).sum(-1) + self._log_likelihood(y, z)
        after = self._log_likelihood(y_tilde.unsqueeze(1), z_tilde) + gain
        return before.unsqueeze(-1) + after + self.target_distribution.log_probabilities()

    def _all_interventions(self, noise: Tensor, imposed: Tensor, adjacency: Tensor) -> Tensor:
        """z̃ (S, N, K, n) under every target set, in one batched solution."""
        sets = self.target_distribution.target_sets
        shape = (*noise.shape[:-1], *sets.shape)
        rows = [part.unsqueeze(-2).expand(shape).reshape(-1, self.n) for part in (noise, imposed)]
        z_tilde, _ = self.mechanism.solve(rows[0], adjacency, sets.expand(shape).reshape(-1, self.n), rows[1])
        return z_tilde.view(shape)

    def elbo(self, y: Tensor, y_tilde: Tensor, adjacency: Tensor, normal: Tensor) -> tuple[Tensor, Tensor]:
        """A lower bound (N,) of log p(y, ỹ), in expectation over draws (S, N, 2, n), and q(I | …) (S, N, K).

        The exact posterior over I is that of the draws themselves; it makes the bound tightest.
        """
        log_weights = self.log_weights(y, y_tilde, adjacency, normal)
        if self.posterior == "exact":
            return torch.logsumexp(log_weights, -1).mean(0), torch.softmax(log_weights, -1)
        log_posterior = self._heuristic_log_posterior(y, y_tilde, adjacency)
        posterior = log_posterior.exp().expand_as(log_weights)
        return (posterior * (log_weights - log_posterior)).sum(-1).mean(0), posterior

    def _heuristic_log_posterior(self, y: Tensor, y_tilde: Tensor, adjacency: Tensor) -> Tensor:
        """log q(I | x, x̃) (N, K), from how far each noise moved, with three learned numbers."""
        noise, noise_tilde = (self.mechanism.abduct(self._encode(part).mean, adjacency)[0] for part in (y, y_tilde))
        distance = (noise_tilde - noise).abs()
        score = self.heuristic[0] + self.heuristic[1] * distance + self.heuristic[2] * distance.square()
        return torch.log_softmax(score @ self.target_distribution.target_sets.to(score.dtype).T, -1)

    def encode_coordinates(self, y: Tensor, y_tilde: Tensor) -> EncodedPairs:
        """Posterior means, and the bound and posterior over I from the same few draws for every pair."""
        adjacency = self.adjacency.to(y.dtype)
        generator = torch.Generator().manual_seed(0)
        normal = torch.randn(_ENCODING_DRAWS, 1, 2, self.n, generator=generator).to(y)
        parts = [
            self._encode_rows(*rows, adjacency, normal)
            for rows in zip(y.split(_ENCODING_ROWS), y_tilde.split(_ENCODING_ROWS), strict=True)
        ]
        return EncodedPairs(*(torch.cat(columns) for columns in zip(*parts, strict=True)))

    def _encode_rows(self, y: Tensor, y_tilde: Tensor, adjacency: Tensor, normal: Tensor) -> EncodedPairs:
        z, z_tilde = self._encode(y).mean, self._encode(y_tilde).mean
        noise, noise_tilde = (self.mechanism.abduct(part, adjacency)[0] for part in (z, z_tilde))
        drawn = normal.expand(-1, len(y), -1, -1)
        joint = torch.logsumexp(self.log_weights(y, y_tilde, adjacency, drawn), 0) - math.log(len(normal))
        return EncodedPairs(z, z_tilde, noise, noise_tilde, torch.softmax(joint, -1), torch.logsumexp(joint, -1))

    def _encode(self, y: Tensor) -> Normals:
        """q(z | x), (N, n)."""
        mean, raw = self.encoder(y).chunk(2, -1)
        log_spread = _START_LOG_SPREAD + _SPREAD_BOUND * torch.tanh(raw / _SPREAD_BOUND)
        return Normals(y @ self.encoder_linear.T + mean, log_spread)

    def _log_likelihood(self, y: Tensor, z: Tensor) -> Tensor:
        """log p(y | z) (...,) for z (..., n)."""
        variance = _LEAST_VARIANCE + self.log_variance.exp()
        residual = (y - z @ self.decoder_linear.T - self.decoder(z)) / variance.sqrt()
        return (standard_normal_log_density(residual) - 0.5 * variance.log()).sum(-1)

    def description(self) -> dict[str, Any]:
        return {**self.common_description(), **{key: getattr(self, key) for key in _SETTINGS}}

    @staticmethod
    def build(description: dict[str, Any]) -> ExplicitVAE:
        """Rebuild a model, without its tensors, from `description`."""
        return ExplicitVAE(*build_common(description), **{key: description[key] for key in _SETTINGS})
