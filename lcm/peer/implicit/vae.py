"""The implicit latent causal model as a variational autoencoder (Brehmer et al. 2022, section 4 and appendix)."""

from __future__ import annotations

import math
from typing import Any, ClassVar, Literal, NamedTuple, final

import torch
from torch import Tensor, nn

from lcm.base.chunks import in_chunks
from lcm.model.decoder import ChainDecoder
from lcm.model.intervention import TargetDistribution
from lcm.model.pair_model import EncodedPairs
from lcm.peer.implicit.solution import (
    ExactPosterior,
    HeuristicPosterior,
    NetworkPosterior,
    SolutionNetworks,
    Solved,
    TargetPosterior,
)
from lcm.peer.variational import LOG_TWO_PI, Normals, Perceptron, VariationalModel, build_common

_SETTINGS = ("hidden", "layers", "activation", "posterior_kind", "projection", "linear", "variance")
_LEAST_VARIANCE = 1e-4
_START_LOG_VARIANCE = -3.0
_LOG_DEVIATION = (-7.0, 3.0)
_START_LOG_SPREAD, _START_SPREAD_GAIN = -2.0, 0.1
_START_CORRECTION = 0.1
_FIXED_DRAWS, _MOST_DECODED = 16, 256
_CHUNK_ENTRIES = 1 << 23


class Bounds(NamedTuple):
    """The parts of the bound in nats: log-likelihoods (K, N) of x and x̃, and log p(e, ẽ | I) − log q (K, N)."""

    fit: Tensor
    latent: Tensor


@final
class ImplicitVAE(VariationalModel):
    """Noise encodings e ~ N(0, 1), x | e ~ N(decoder(e), diag(variance)), and z = s(e) by solution functions.

    q(e, ẽ | x, x̃, I) comes from one normal encoder. A coordinate that stays has one encoding, a mean of those of x and
    x̃; a target has one before and one after. s_i(ẽ_i; ẽ_others) of a target i is standard normal.
    """

    kind: ClassVar[str] = "ilcm-vae"

    def __init__(
        self,
        standardisation: ChainDecoder,
        target_distribution: TargetDistribution,
        *,
        hidden: int = 64,
        layers: int = 2,
        activation: Literal["silu", "relu"] = "silu",
        posterior_kind: Literal["heuristic", "mlp", "exact"] = "heuristic",
        projection: Literal["average", "stochastic"] = "average",
        linear: bool = False,
        variance: float | None = None,
        ancestors: Tensor | None = None,
    ) -> None:
        """Networks of `layers` hidden layers of `hidden` units; `linear` adds a linear map to encoder and decoder.

        All weights are zero until `draw_weights` draws them. `variance` is that of x in standardised coordinates; None
        learns it. `ancestors` bool (n, n), [j, i]: j may be an ancestor of i, where that is known.
        """
        super().__init__(standardisation, target_distribution)
        n, sizes = standardisation.n, [hidden] * layers
        self.hidden, self.layers, self.activation = hidden, layers, activation
        self.posterior_kind, self.projection, self.linear, self.variance = posterior_kind, projection, linear, variance
        self.encoder = Perceptron(n, 2 * n, sizes, activation=activation)
        self.decoder = Perceptron(n, n, sizes, activation=activation)
        self.solution = SolutionNetworks(n, hidden, layers, activation, ancestors)
        self.posterior = self._posterior(n, sizes)
        start = _START_LOG_VARIANCE if variance is None else math.log(variance)
        self.log_variance = nn.Parameter(torch.full((n,), start), requires_grad=variance is None)
        if linear:
            self.unmixing, self.mixing = (nn.Parameter(torch.eye(n)) for _ in range(2))
        self._atomic = bool((target_distribution.target_sets.sum(1) <= 1).all())

    def _posterior(self, n: int, sizes: list[int]) -> TargetPosterior:
        if self.posterior_kind == "heuristic":
            return HeuristicPosterior()
        if self.posterior_kind == "exact":
            return ExactPosterior(n)
        count = len(self.target_distribution.target_sets)
        return NetworkPosterior(Perceptron(2 * n, count, sizes, activation=self.activation))

    @torch.no_grad()
    def draw_weights(self, generator: torch.Generator, unmixing: Tensor | None = None) -> None:
        """Draw the weights of all networks; `unmixing` (n, n) starts the linear maps of a model that has them."""
        gain = _START_CORRECTION if self.linear else 1.0
        self.encoder.draw_weights(generator, gain)
        self.encoder.weights[-1][self.n :] *= _START_SPREAD_GAIN
        self.encoder.biases[-1][self.n :] = _START_LOG_SPREAD
        self.decoder.draw_weights(generator, gain)
        self.solution.draw_weights(generator)
        if isinstance(self.posterior, NetworkPosterior):
            self.posterior.network.draw_weights(generator)
        if self.linear and unmixing is not None:
            self.unmixing.copy_(unmixing)
            self.mixing.copy_(torch.linalg.inv(unmixing))

    @property
    def n_draws(self) -> int:
        """Number of draws (n,) for a pair: two normal ones, and one in [0, 1) for a stochastic projection."""
        return 3 if self.projection == "stochastic" else 2

    def draw(self, count: int, generator: torch.Generator) -> Tensor:
        """Draws (count, n_draws, n) for `count` pairs."""
        device, dtype = generator.device, self._like().dtype
        normal = torch.randn(count, 2, self.n, generator=generator, device=device, dtype=dtype)
        if self.projection == "average":
            return normal
        return torch.cat([normal, torch.rand(count, 1, self.n, generator=generator, device=device, dtype=dtype)], 1)

    def moments(self, y: Tensor, y_tilde: Tensor) -> Normals:
        """The encodings (2, N, n) of pairs (N, n) in the coordinates of the fit, before and after."""
        both = torch.stack([y, y_tilde])
        mean, log_deviation = self.encoder(both).chunk(2, -1)
        mean = mean + both @ self.unmixing.T if self.linear else mean
        return Normals(mean, nn.functional.hardtanh(log_deviation, *_LOG_DEVIATION))

    def decode_noise(self, noise: Tensor) -> Tensor:
        """Means (..., n) of observations, in the coordinates of the fit, given noise (..., n)."""
        mean: Tensor = self.decoder(noise)
        return mean + noise @ self.mixing.T if self.linear else mean

    def solve(self, noise: Tensor) -> Solved:
        """Causal variables z = s(e) (..., n) of noise e (..., n), and log ∂z_i/∂e_i."""
        solved: Solved = self.solution(noise)
        return solved

    def log_posterior(self, encoded: Normals) -> Tensor:
        """log q(I | x, x̃) (N, K)."""
        solved = self.solve(encoded.mean[1]) if self.posterior.needs_solution else None
        found: Tensor = self.posterior(encoded.mean[0], encoded.mean[1], solved, self.target_distribution)
        return found

    def log_likelihood(self, y: Tensor, mean: Tensor) -> Tensor:
        """log p(y | e) (...) of observations y (..., n), in their coordinates, given the decoded mean (..., n)."""
        variance = self.log_variance.exp() + (_LEAST_VARIANCE if self.variance is None else 0.0)
        misfit = (y - mean).square() @ variance.reciprocal()
        return -0.5 * (misfit + (variance.log().sum() + self.n * LOG_TWO_PI))

    def draw_noise(self, encoded: Normals, draws: Tensor) -> Tensor:
        """Noise (2, N, n) of x and of x̃, each from its own encoding, at draws (N, n_draws, n)."""
        return torch.addcmul(encoded.mean, encoded.log_deviation.exp(), draws[:, :2].transpose(0, 1))

    def _stay(self, encoded: Normals, draws: Tensor) -> tuple[Tensor, Tensor]:
        """Noise (N, n) of coordinates that stay, from a mean of two independent encodings, with its variance."""
        variances = (2.0 * encoded.log_deviation).exp()
        if self.projection == "average":
            mean, variance = encoded.mean.mean(0), 0.25 * variances.sum(0)
        else:
            share = torch.stack([draws[:, 2], 1.0 - draws[:, 2]])
            mean, variance = (share * encoded.mean).sum(0), (share.square() * variances).sum(0)
        return torch.addcmul(mean, variance.sqrt(), draws[:, 0]), variance

    def bounds(
        self,
        y: Tensor,
        y_tilde: Tensor,
        encoded: Normals,
        draws: Tensor,
        sets: Tensor | None = None,
        imposed: bool = True,
    ) -> Bounds:
        """The parts of the bound for every target set, in one pass of the decoder, at draws (N, n_draws, n).

        `sets`, bool (N, n), replaces the K sets by one for each pair. Without `imposed`, the bound leaves out the
        density of imposed values, as in the phases before the solution functions learn.
        """
        masks = self.target_distribution.target_sets.unsqueeze(1) if sets is None else sets.unsqueeze(0)
        moved = self.draw_noise(encoded, draws)
        stay, variance = self._stay(encoded, draws)
        decoded = self._decode(masks, moved, stay)
        fit = self.log_likelihood(torch.stack([y, y_tilde]), decoded).sum(1)
        # all terms are doubled, so that one factor of a half suffices
        of_stay = variance.log() - stay.square()
        change = torch.add(draws[:, 1].square(), encoded.log_deviation.sum(0), alpha=2.0) - moved[0].square() - of_stay
        change = change + self._imposed(masks, moved[1], stay) if imposed else change
        latent = (draws[:, 0].square() + of_stay).sum(1) + self._over_targets(masks, change, sets is None)
        return Bounds(fit, 0.5 * latent)

    @staticmethod
    def _over_targets(masks: Tensor, change: Tensor, shared: bool) -> Tensor:
        """Sums (K, N) over the targets of each set; `shared`: all pairs have the same sets."""
        weights = masks.to(change.dtype)
        if shared and change.dim() == 2:
            return weights.squeeze(1) @ change.T
        return (change * weights).sum(-1)

    def _decode(self, masks: Tensor, moved: Tensor, stay: Tensor) -> Tensor:
        """Means (K, 2, N, n) of x and x̃ for sets (K, 1, n) or (1, N, n) of changed noise."""
        return self.decode_noise(torch.where(masks.unsqueeze(1), moved, stay))

    def _imposed(self, masks: Tensor, after: Tensor, stay: Tensor) -> Tensor:
        """2 log p̃(ζ_i) + 2 log ∂ζ_i/∂ẽ_i + log 2π, as if each i were a target: (N, n) or (K, N, n)."""
        if not self._atomic:
            solved = self.solve(torch.where(masks, after, stay))
            return 2.0 * solved.log_slope - solved.z.square()
        # with no other target, all inputs of the network of i have stayed
        shift, log_slope = self.solution.shift_and_scale(stay)
        return 2.0 * log_slope - torch.addcmul(shift, log_slope.exp(), after).square()

    def elbo(self, y: Tensor, y_tilde: Tensor, draws: Tensor) -> Tensor:
        """A lower bound (N,) of log p(y, ỹ) in nats, at draws (N, n_draws, n), in expectation over them."""
        encoded = self.moments(y, y_tilde)
        parts, log_q = self.bounds(y, y_tilde, encoded, draws), self.log_posterior(encoded)
        gain = parts.fit.T + parts.latent.T + self.target_distribution.log_probabilities() - log_q
        return (log_q.exp() * gain).sum(1)

    def encode_coordinates(self, y: Tensor, y_tilde: Tensor) -> EncodedPairs:
        """Noise from the means of the encoder, and z = s(noise); log_density is the ELBO at fixed quasi-random draws.

        There are 16 of them, or fewer with more than 16 target sets.
        """
        encoded = self.moments(y, y_tilde)
        posterior = self.log_posterior(encoded).exp()
        z, z_tilde = self.solve(encoded.mean).z
        return EncodedPairs(z, z_tilde, encoded.mean[0], encoded.mean[1], posterior, self._fixed_elbo(y, y_tilde))

    def _fixed_elbo(self, y: Tensor, y_tilde: Tensor) -> Tensor:
        count = len(self.target_distribution.target_sets)
        draws = self._fixed_draws(max(1, min(_FIXED_DRAWS, _MOST_DECODED // count)))

        def bound(first: Tensor, second: Tensor) -> tuple[Tensor]:
            each = [self.elbo(first, second, draw.expand(len(first), *draw.shape)) for draw in draws]
            return (torch.stack(each).mean(0),)

        rows = max(1, min(len(y), _CHUNK_ENTRIES // (2 * count * max(self.hidden, self.n))))
        return in_chunks(bound, y, y_tilde, size=rows)[0]

    def _fixed_draws(self, count: int) -> Tensor:
        """Draws (count, n_draws, n) of a scrambled Sobol sequence."""
        uniform = torch.quasirandom.SobolEngine(self.n_draws * self.n, scramble=True, seed=0).draw(count)
        draws = uniform.view(count, self.n_draws, self.n).clamp(1e-6, 1.0 - 1e-6).to(self._like())
        return torch.cat([torch.special.ndtri(draws[:, :2]), draws[:, 2:]], 1)

    def description(self) -> dict[str, Any]:
        """JSON description that `ImplicitVAE.build` turns back into a model without its tensors."""
        return {**self.common_description(), **{key: getattr(self, key) for key in _SETTINGS}}

    @staticmethod
    def build(description: dict[str, Any]) -> ImplicitVAE:
        """Rebuild a model, without its tensors, from `description`."""
        return ImplicitVAE(*build_common(description), **{key: description[key] for key in _SETTINGS})
