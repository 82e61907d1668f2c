"""Variational autoencoders with independent latent variables; a pair shares all of them except a few.

Sources: Locatello et al., "Weakly-supervised disentanglement without compromises" (2020); Higgins et al., "beta-VAE"
(2017), which shares none. Brehmer et al. (2022), section 5, compare with them.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from dataclasses import asdict
from typing import Any, ClassVar, NamedTuple, final

import torch
from torch import Tensor, nn

from lcm.model.decoder import ChainDecoder
from lcm.model.intervention import TargetDistribution
from lcm.model.pair_model import EncodedPairs
from lcm.peer.disentanglement import DisentanglementConfig
from lcm.peer.variational import Normals, Perceptron, VariationalModel, build_common

_START_DEVIATION = 0.1
_LEAST_LOG_DEVIATION = math.log(1e-4)
_HEURISTIC_START = (-3.0, 15.0, 15.0)
# The standard deviation of x given z, where x has standard deviation 1: at first, and the least.
_DEVIATION, _LEAST_DEVIATION = 0.1, 0.01
# A posterior is narrower than the prior; a network need not be.
_LEAST_PRECISION = 1.001


class Terms(NamedTuple):
    """Parts of a bound, (...): expected log-likelihood of both observations, and divergence from the prior, in nats."""

    fit: Tensor
    divergence: Tensor


class DisentanglementVAE(VariationalModel):
    """Abstract: z ~ N(0, 1), y | z ~ N(decoder(z), variance), and the same of ỹ with z̃, in standardised coordinates.

    z̃ equals z except in the variables of a target set I, where it has its own normal distribution. The variational
    posterior q(z | y) is diagonal; for shared variables it is a combination of q(z | y) and q(z | ỹ).
    """

    def __init__(
        self,
        standardisation: ChainDecoder,
        target_distribution: TargetDistribution,
        config: DisentanglementConfig | None = None,
    ) -> None:
        """All weights are zero until `draw_weights` draws them."""
        super().__init__(standardisation, target_distribution)
        self.config = config or DisentanglementConfig()
        n, hidden = self.n, [self.config.hidden] * self.config.layers
        self.encoder, self.decoder = Perceptron(n, 2 * n, hidden), Perceptron(n, n, hidden)
        self.log_excess = nn.Parameter(torch.full((n,), math.log(_DEVIATION**2 - _LEAST_DEVIATION**2)))
        self.imposed_mean = nn.Parameter(torch.zeros(n))
        self.imposed_log_deviation = nn.Parameter(torch.zeros(n))
        if self.config.aggregation == "posterior":
            self.heuristic = nn.Parameter(torch.tensor(_HEURISTIC_START))
        if self.config.start == "linear":
            self.unmixing, self.mixing = nn.Parameter(torch.eye(n)), nn.Parameter(torch.eye(n))

    @torch.no_grad()
    def draw_weights(self, generator: torch.Generator, unmixing: Tensor | None = None) -> None:
        """Draw all weights, small ones beside an unmixing (n, n); the encoder starts with a small variance."""
        linear = self.config.start == "linear" and unmixing is not None
        for network in (self.encoder, self.decoder):
            network.draw_weights(generator, last=0.1 if linear else 1.0)
        self.encoder.weights[-1][self.n :] *= 0.1
        self.encoder.biases[-1][self.n :] = math.log(_START_DEVIATION)
        if linear and unmixing is not None:
            self.unmixing.copy_(unmixing)
            self.mixing.copy_(torch.linalg.inv(unmixing.double()))

    def posterior(self, y: Tensor) -> Normals:
        """q(z | y), (..., n), of observations y (..., n) each on its own."""
        mean, log_deviation = self.encoder(y).split(self.n, -1)
        if self.config.start == "linear":
            mean = mean + y @ self.unmixing.T
        return Normals(mean, log_deviation.clamp_min(_LEAST_LOG_DEVIATION))

    def likelihood(self, z: Tensor) -> Normals:
        """p(y | z), (..., n), in the coordinates of the fit."""
        mean = self.decoder(z)
        if self.config.start == "linear":
            mean = mean + z @ self.mixing.T
        log_variance = (_LEAST_DEVIATION**2 + self.log_excess.exp()).log()
        return Normals(mean, 0.5 * log_variance.expand_as(mean))

    def posteriors(self, y: Tensor, y_tilde: Tensor) -> tuple[Normals, Normals]:
        """q(z | y) and q(z̃ | ỹ) of the observations of pairs, each on its own, in one pass of the encoder."""
        return self.posterior(torch.stack([y, y_tilde])).unbind()

    def decode(self, z: Tensor) -> Tensor:
        """Means (N, d) of observations, in the units of the data, given latent variables z (N, n)."""
        return self.standardisation(self.likelihood(z).mean)[0]

    def imposed(self) -> Normals:
        """Distribution of z̃ (n,) for targets."""
        return Normals(self.imposed_mean, self.imposed_log_deviation)

    def prior(self) -> Normals:
        """Distribution of z (n,)."""
        zeros = torch.zeros_like(self.imposed_mean)
        return Normals(zeros, zeros)

    def combined(self, first: Normals, second: Normals) -> Normals:
        """Posterior of shared variables, from the posteriors of each observation on its own.

        The average has the mean of the means and of the variances (Locatello et al. 2020). The product of both
        densities is divided by the prior, which is exact where both are exact; it is never wider than the prior.
        """
        variances = [(2.0 * part.log_deviation).exp() for part in (first, second)]
        if self.config.combination == "average":
            return Normals(0.5 * (first.mean + second.mean), 0.5 * (0.5 * (variances[0] + variances[1])).log())
        precision = (1.0 / variances[0] + 1.0 / variances[1] - 1.0).clamp_min(1.0)
        weighted = first.mean / variances[0] + second.mean / variances[1]
        return Normals(weighted / precision, -0.5 * precision.log())

    def changed(self, first: Normals, second: Normals) -> Tensor:
        """Which variables a pair does not share, bool (N, n), by the adaptive rule of Locatello et al. (2020).

        These are the variables whose posteriors diverge by more than the midpoint of the least and the largest
        divergence of the pair: at least one, unless all are equal, as for x̃ = x.
        """
        divergence = first.divergence(second)
        return divergence > 0.5 * (divergence.amax(-1, keepdim=True) + divergence.amin(-1, keepdim=True))

    def target_log_posterior(self, first: Normals, second: Normals) -> Tensor:
        """log q(I | y, ỹ), (N, K), of the model's target sets.

        q(I) is p(I) times the odds of its members, normalised. With posterior aggregation, the log-odds of a variable
        are a + b |δ| + c δ², where δ is the difference of the means (Brehmer et al. 2022, appendix). Otherwise they are
        the Bayes factor of two draws against one shared draw, as if the decoder were linear and both posteriors exact.
        """
        sets = self.target_distribution.target_sets.to(first.mean.dtype)
        if self.config.aggregation == "posterior":
            difference = (second.mean - first.mean).abs()
            odds = self.heuristic[0] + self.heuristic[1] * difference + self.heuristic[2] * difference.square()
        else:
            odds = _log_overlap(second, self.imposed()) - _log_overlap(first, second)
        return torch.log_softmax(odds @ sets.T + self.target_distribution.log_probabilities(), -1)

    @abstractmethod
    def _sets(self) -> tuple[Tensor, Tensor]:
        """Target sets (M, n) that a pair may have changed, and their log-probabilities (M,)."""

    @abstractmethod
    def _log_weights(self, first: Normals, second: Normals) -> Tensor:
        """log q (N, M) of these."""

    def terms(
        self, pair: tuple[Tensor, Tensor], laws: tuple[Normals, Normals], changed: Tensor, draws: tuple[Tensor, Tensor]
    ) -> Terms:
        """The bound of log p(y, ỹ | I) for the variables that changed, with one draw for the expectation.

        Shapes broadcast: y, ỹ, the posteriors `laws`, bool `changed` and standard-normal draws are (..., n), the terms
        (...). A shared variable is drawn once, and its divergence counts once.
        """
        first, second = self._projected(laws, changed)
        z = first.at(draws[0])
        z_tilde = torch.where(changed, second.at(draws[1]), z)
        fit = self._fit(pair, z, z_tilde).sum(-1)
        other = torch.where(changed, second.divergence(self.imposed()), 0.0)
        return Terms(fit, first.divergence(self.prior()).sum(-1) + other.sum(-1))

    def _fit(self, pair: tuple[Tensor, Tensor], z: Tensor, z_tilde: Tensor) -> Tensor:
        """log p(y | z) + log p(ỹ | z̃) of each coordinate (..., n), in one pass of the decoder."""
        laws = self.likelihood(torch.stack([z, z_tilde])).unbind()
        each = (law.log_density(part) for law, part in zip(laws, pair, strict=True))
        return sum(each, torch.zeros_like(z))

    def _projected(self, laws: tuple[Normals, Normals], changed: Tensor) -> tuple[Normals, Normals]:
        return laws[0].where(changed, self.combined(*laws)), laws[1]

    def elbo(self, y: Tensor, y_tilde: Tensor, draws: Tensor) -> Tensor:
        """A lower bound (N,) of log p(y, ỹ) in nats, in the coordinates of the fit.

        Target sets are weighted by q(I | y, ỹ); in beta-vae nothing is shared.

        Args:
            y, y_tilde: (N, n).
            draws: (2, S, N, n), standard-normal, S for each expectation.
        """
        return self.mixture_bound((y, y_tilde), self.posteriors(y, y_tilde), draws)

    def mixture_bound(
        self, pair: tuple[Tensor, Tensor], laws: tuple[Normals, Normals], draws: Tensor, beta: float = 1.0
    ) -> Tensor:
        """The bound of `elbo` (N,), with its divergences weighted by `beta`, from posteriors of both observations.

        All target sets are decoded in one pass.
        """
        sets, log_prior = self._sets()
        log_weights = self._log_weights(*laws)
        terms = self.terms(
            (pair[0].unsqueeze(1), pair[1].unsqueeze(1)),
            (laws[0].unsqueeze(1), laws[1].unsqueeze(1)),
            sets,
            (draws[0].unsqueeze(2), draws[1].unsqueeze(2)),
        )
        inner = terms.fit.mean(0) - beta * (terms.divergence + log_weights - log_prior)
        return (log_weights.exp() * inner).sum(-1)

    def encode_coordinates(self, y: Tensor, y_tilde: Tensor) -> EncodedPairs:
        """Means of the posteriors of each observation on its own; the noise is z itself.

        log_density is the bound for the most probable target set only. Its expectation is the cubature of 2n points at
        ±√n on the axes, which is exact for a linear decoder and involves no random draws.
        """
        laws = self.posteriors(y, y_tilde)
        sets, log_prior = self._sets()
        best = self._log_weights(*laws).argmax(-1)
        points = math.sqrt(self.n) * torch.eye(self.n, dtype=y.dtype, device=y.device)
        points = torch.cat([points, -points]).unsqueeze(1)
        terms = self.terms((y, y_tilde), laws, sets[best], (points, points))
        log_density = terms.fit.mean(0) - terms.divergence + log_prior[best]
        posterior = self.target_log_posterior(*laws).exp()
        return EncodedPairs(laws[0].mean, laws[1].mean, laws[0].mean, laws[1].mean, posterior, log_density)

    def description(self) -> dict[str, Any]:
        return {**self.common_description(), "config": asdict(self.config)}

    @staticmethod
    def build(description: dict[str, Any]) -> DisentanglementVAE:
        """Rebuild a model of any of `DISENTANGLEMENT_KINDS`, without its tensors, from `description`."""
        config = DisentanglementConfig(**description["config"])
        return DISENTANGLEMENT_KINDS[description["type"]](*build_common(description), config)


def _log_overlap(one: Normals, other: Normals) -> Tensor:
    """log ∫ q(z) r(z) / N(z; 0, 1) dz of the distributions q in `one`, narrower than N(0, 1), and r in `other`."""
    first, second = (-2.0 * one.log_deviation).exp().clamp_min(_LEAST_PRECISION), (-2.0 * other.log_deviation).exp()
    total = first + second - 1.0
    # written without the differences of large numbers that a completed square would have
    square = first * second * (one.mean - other.mean).square()
    square = square - first * one.mean.square() - second * other.mean.square()
    return 0.5 * (first.log() + second.log() - total.log() - square / total)


class _SharingVAE(DisentanglementVAE):
    """Abstract: a pair shares all variables except those of one of the target sets."""

    def _sets(self) -> tuple[Tensor, Tensor]:
        return self.target_distribution.target_sets, self.target_distribution.log_probabilities()

    def _log_weights(self, first: Normals, second: Normals) -> Tensor:
        return self.target_log_posterior(first, second)


@final
class DVAE(_SharingVAE):
    """The disentanglement VAE, which finds for each pair the variables that it shares (Locatello et al. 2020)."""

    kind: ClassVar[str] = "dvae"


@final
class SupervisedVAE(_SharingVAE):
    """A disentanglement VAE that is fitted with known targets, which number its variables.

    Pairs without targets are encoded as in `dvae`.
    """

    kind: ClassVar[str] = "vae-supervised-interventions"


@final
class BetaVAE(DisentanglementVAE):
    """Each observation of a pair on its own (Higgins et al. 2017); the posterior over targets is that of `dvae`."""

    kind: ClassVar[str] = "beta-vae"

    def __init__(
        self,
        standardisation: ChainDecoder,
        target_distribution: TargetDistribution,
        config: DisentanglementConfig | None = None,
    ) -> None:
        super().__init__(standardisation, target_distribution, config)
        for fixed in (self.imposed_mean, self.imposed_log_deviation):
            fixed.requires_grad_(False)

    def _sets(self) -> tuple[Tensor, Tensor]:
        all_changed = torch.ones(1, self.n, dtype=torch.bool, device=self.imposed_mean.device)
        return all_changed, torch.zeros_like(self.imposed_mean[:1])

    def _log_weights(self, first: Normals, second: Normals) -> Tensor:
        return torch.zeros_like(first.mean[..., :1])


DISENTANGLEMENT_KINDS: dict[str, type[DisentanglementVAE]] = {cls.kind: cls for cls in (DVAE, BetaVAE, SupervisedVAE)}
"""The models by name."""
