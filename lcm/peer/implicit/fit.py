"""Fit the implicit latent causal model as a variational autoencoder: its objective, phase by phase, and its stage."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any, final

import torch
from torch import Tensor

from lcm.base.chunks import in_chunks
from lcm.learn.config import KnownConfig
from lcm.learn.known import known_ancestors
from lcm.learn.noise_encoder_fit import component_order
from lcm.learn.prepared import Prepared
from lcm.learn.training.objective import Job, Objective, ParameterGroup, Schedule, Stages
from lcm.model.intervention import TargetDistribution
from lcm.peer.implicit import ImplicitVAEConfig
from lcm.peer.implicit.vae import Bounds, ImplicitVAE
from lcm.peer.variational import Normals

_STAGE = "implicit variational autoencoder"
_VALIDATIONS = 40
_MOST_VALIDATED = 4_000
_CLOSED_FORM_RATE = 0.02


def fit_implicit_vae(
    prepared: Prepared,
    targets: TargetDistribution,
    config: ImplicitVAEConfig,
    generator: torch.Generator,
    known: KnownConfig | None = None,
) -> Stages[ImplicitVAE]:
    """Fit to pairs, from random weights or from the linear unmixing of the pairs, all phases as one job.

    Args:
        prepared: the pairs; targets among them count as known.
        targets: the intervention family; its probabilities change in place where they are learned.
        config: all settings.
        generator: decides weights, batches and draws.
        known: a known graph or order limits the inputs of the solution functions.
    """
    ancestors = None if known is None else known_ancestors(known, targets.n)
    model = new_implicit_vae(prepared, targets, config, ancestors).to(generator.device)
    unmixing = prepared.unmixing[component_order(prepared, targets)].to(torch.get_default_dtype())
    model.draw_weights(generator, unmixing if model.linear else None)
    objective = ImplicitVAEObjective(model, prepared, config, generator)
    every = max(1, config.steps // _VALIDATIONS)
    yield Job(_STAGE, objective, Schedule(config.steps, config.batch_size, every, patience=_VALIDATIONS), generator)
    return model


def new_implicit_vae(
    prepared: Prepared, targets: TargetDistribution, config: ImplicitVAEConfig, ancestors: Tensor | None = None
) -> ImplicitVAE:
    """A model with these settings, before its weights are drawn."""
    return ImplicitVAE(
        prepared.standardisation,
        targets,
        hidden=config.hidden,
        layers=config.layers,
        activation=config.activation,
        posterior_kind=config.posterior,
        projection=config.projection,
        linear=config.start == "linear",
        variance=config.variance,
        ancestors=ancestors,
    )


@final
class ImplicitVAEObjective(Objective):
    """The negative ELBO, whose parts are weighted by phase (Brehmer et al. 2022, appendix).

    With known targets, q(I) is 1 at the true set, and the other sets are not computed.
    """

    def __init__(
        self, model: ImplicitVAE, prepared: Prepared, config: ImplicitVAEConfig, generator: torch.Generator
    ) -> None:
        super().__init__()
        self.model, self.config, self._generator = model, config, generator
        self._train = (*prepared.train, *(prepared.targets or ())[:1])
        held_out = (*prepared.validation, *(prepared.targets or ())[1:])
        self._validation = tuple(part[:_MOST_VALIDATED] for part in held_out)
        # the same draws for all validations: with fresh ones, luck would choose among states
        self._draws = model.draw(len(self._validation[0]), generator)

    def groups(self) -> list[ParameterGroup]:
        solution = set(self.model.solution.parameters())
        others = [part for part in self.model.parameters() if part.requires_grad and part not in solution]
        return [
            ParameterGroup(others, self.config.learning_rate),
            ParameterGroup(list(self.model.solution.parameters()), self.config.solution_learning_rate),
        ]

    @property
    def n_rows(self) -> int:
        return len(self._train[0])

    def structure(self) -> Hashable:
        return str(self.model.description()), self.config, len(self._train)

    def batch(self, rows: Tensor) -> tuple[Tensor, ...]:
        y, y_tilde, *known = (part[rows] for part in self._train)
        return y, y_tilde, self.model.draw(len(y), self._generator), *known

    def loss(self, batch: tuple[Tensor, ...], progress: float) -> Tensor:
        y, y_tilde, draws, *known = batch
        encoded = self.model.moments(y, y_tilde)
        if progress < self.config.pretrain_share:
            return self._single(y, y_tilde, encoded, draws)
        return self._pair(y, y_tilde, encoded, draws, progress, *known)

    def _single(self, y: Tensor, y_tilde: Tensor, encoded: Normals, draws: Tensor) -> Tensor:
        """The loss of a β-VAE of single observations."""
        noise = self.model.draw_noise(encoded, draws)
        fit = self.model.log_likelihood(torch.stack([y, y_tilde]), self.model.decode_noise(noise)).sum(0)
        squares = 0.5 * (noise.square() - draws[:, :2].transpose(0, 1).square())
        divergence = (squares - encoded.log_deviation).sum((0, 2))
        return (self.config.pretrain_beta * divergence - fit).mean()

    def _pair(
        self, y: Tensor, y_tilde: Tensor, encoded: Normals, draws: Tensor, progress: float, known: Tensor | None = None
    ) -> Tensor:
        beta, imposed = self._beta(progress), progress >= self.config.impose_from
        if known is not None:
            parts = self.model.bounds(y, y_tilde, encoded, draws, known, imposed)
            return -(parts.fit + beta * parts.latent + self._known_log_posterior(encoded, known)).mean()
        log_q = self._offset(self.model.log_posterior(encoded), beta)
        sets = self.model.target_distribution.target_sets
        self._update(encoded, log_q, y, y_tilde, beta)
        if progress >= self.config.decide_from:
            decided = self.model.bounds(y, y_tilde, encoded, draws, sets[log_q.argmax(1)], imposed)
            return -(decided.fit + beta * decided.latent).mean()
        return self._weighted(self.model.bounds(y, y_tilde, encoded, draws, None, imposed), log_q, beta)

    def _known_log_posterior(self, encoded: Normals, known: Tensor) -> Tensor:
        """log q (N,) of the known sets (N, n), without a gradient to the encoder."""
        log_q = self.model.log_posterior(Normals(*(part.detach() for part in encoded)))
        sets = self.model.target_distribution.target_sets
        return (log_q * (known.unsqueeze(1) == sets).all(2)).sum(1)

    def _weighted(self, parts: Bounds, log_q: Tensor, beta: float) -> Tensor:
        """The loss with all sets weighted by q(I)."""
        q = log_q.exp()
        twice = self.config.divergence == "published"
        divergence = (q * log_q if twice else log_q) - self.model.target_distribution.log_probabilities()
        bound = torch.add(parts.fit, parts.latent, alpha=beta).T
        cost = (q * torch.sub(bound, divergence, alpha=beta)).sum(1).mean()
        if self.config.entropy_weight == 0.0:
            return -cost
        mean = q.mean(0).clamp_min(torch.finfo(q.dtype).tiny)
        return -torch.add(cost, torch.special.entr(mean).sum(), alpha=self.config.entropy_weight)

    def _beta(self, progress: float) -> float:
        start, end = self.config.beta_from, self.config.beta_until
        return 1.0 if progress >= end else max(0.0, (progress - start) / (end - start))

    def _offset(self, log_q: Tensor, beta: float) -> Tensor:
        """log q with a small probability added to every set."""
        config = self.config
        offset = config.offset_from * (config.offset_until / config.offset_from) ** beta
        return ((log_q.exp() + offset) / (1.0 + offset * log_q.shape[1])).log()

    @torch.no_grad()
    def _update(self, encoded: Normals, log_q: Tensor, y: Tensor, y_tilde: Tensor, beta: float) -> None:
        """Update the parts with a closed form; a thickness takes the changed pairs only."""
        targets = self.model.target_distribution
        if self.model.posterior.has_closed_form:
            changed = (y != y_tilde).any(1, keepdim=True)
            stays = (1.0 - log_q.exp() @ targets.target_sets.to(log_q.dtype)) * changed
            self.model.posterior.update(encoded.mean[0], encoded.mean[1], stays)
        if self.config.learn_probabilities and beta == 1.0:
            targets.probabilities.copy_(targets.probabilities.lerp(log_q.exp().mean(0), _CLOSED_FORM_RATE))

    def validate(self) -> dict[str, Any]:
        (values,) = in_chunks(self._bound, *self._validation[:2], self._draws, *self._validation[2:])
        return {
            "validation_log_likelihood": float(values.mean()),
            "target_probabilities": self.model.target_distribution.probabilities.tolist(),
            "variance": self.model.log_variance.exp().tolist(),
        }

    def _bound(self, y: Tensor, y_tilde: Tensor, draws: Tensor, known: Tensor | None = None) -> tuple[Tensor]:
        if known is None:
            return (self.model.elbo(y, y_tilde, draws),)
        parts = self.model.bounds(y, y_tilde, self.model.moments(y, y_tilde), draws, known)
        return ((parts.fit + parts.latent)[0],)
