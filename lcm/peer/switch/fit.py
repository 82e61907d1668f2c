"""Fit the implicit model of soft interventions: its objective and its stage."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any, final

import torch
from torch import Tensor

from lcm.base.chunks import in_chunks
from lcm.learn.noise_encoder_fit import component_order
from lcm.learn.prepared import Prepared
from lcm.learn.training.objective import Job, Objective, ParameterGroup, Schedule, Stages
from lcm.model.intervention import TargetDistribution
from lcm.peer.switch import SwitchVAEConfig
from lcm.peer.switch.vae import SwitchVAE
from lcm.peer.variational import Normals

_STAGE = "switch autoencoder"
_VALIDATIONS = 40
_MOST_VALIDATED = 4_000


def fit_switch_vae(
    prepared: Prepared,
    targets: TargetDistribution,
    config: SwitchVAEConfig,
    generator: torch.Generator,
    known: object = None,
) -> Stages[SwitchVAE]:
    """Fit to pairs with known targets, from random weights or from their linear unmixing.

    The probabilities of `targets` become the shares of the training pairs. `known` is not used: a known graph is only
    reported.

    Raises:
        ValueError: pairs without targets.
    """
    if prepared.targets is None:
        raise ValueError(f"Expected targets of every pair, which {SwitchVAE.kind} is to know; got none.")
    model = SwitchVAE(prepared.standardisation, targets, config).to(generator.device)
    model.draw_weights(generator, prepared.unmixing[component_order(prepared, targets)].to(torch.get_default_dtype()))
    shares = _members(model, prepared.targets[0]).double().mean(0)
    model.target_distribution.probabilities.copy_(shares)
    objective = SwitchVAEObjective(model, prepared, generator)
    every = max(1, config.steps // _VALIDATIONS)
    yield Job(_STAGE, objective, Schedule(config.steps, config.batch_size, every, patience=_VALIDATIONS), generator)
    return model


def _members(model: SwitchVAE, targets: Tensor) -> Tensor:
    """Which of the model's target sets each pair has, bool (N, K)."""
    return (targets.unsqueeze(1) == model.target_distribution.target_sets).all(2)


@final
class SwitchVAEObjective(Objective):
    """The negative mean bound of pairs with known targets, and the cross-entropy of the posterior over target sets.

    The posterior serves pairs whose targets are not known; it gives no gradient to the encoder.
    """

    def __init__(self, model: SwitchVAE, prepared: Prepared, generator: torch.Generator) -> None:
        super().__init__()
        if prepared.targets is None:
            raise ValueError("Expected prepared pairs with targets; got none.")
        self.model, self._generator = model, generator
        self._train = (*prepared.train, prepared.targets[0])
        self._held_out = tuple(part[:_MOST_VALIDATED] for part in (*prepared.validation, prepared.targets[1]))
        # the same draws for all validations: with fresh ones, luck would choose among states
        self._draws = model.draw(len(self._held_out[0]), generator)

    def groups(self) -> list[ParameterGroup]:
        solution = list(self.model.solution.parameters())
        apart = set(solution)
        others = [part for part in self.model.parameters() if part.requires_grad and part not in apart]
        config = self.model.config
        return [ParameterGroup(others, config.learning_rate), ParameterGroup(solution, config.solution_learning_rate)]

    @property
    def n_rows(self) -> int:
        return len(self._train[0])

    def structure(self) -> Hashable:
        return str(self.model.description()), len(self._train[0])

    def batch(self, rows: Tensor) -> tuple[Tensor, ...]:
        y, y_tilde, targets = (part[rows] for part in self._train)
        return y, y_tilde, targets, self.model.draw(len(y), self._generator)

    def loss(self, batch: tuple[Tensor, ...], progress: float) -> Tensor:
        y, y_tilde, targets, draws = batch
        config, encoded = self.model.config, self.model.moments(y, y_tilde)
        parts = self.model.bound(y, y_tilde, encoded, targets, draws, progress >= config.impose_from)
        log_q = self.model.log_posterior(Normals(*(part.detach() for part in encoded.noise)))
        known = (log_q * _members(self.model, targets)).sum(1)
        return -(parts.fit + parts.displacement + config.beta_at(progress) * parts.latent + known).mean()

    def validate(self) -> dict[str, Any]:
        (values,) = in_chunks(self._bound, *self._held_out, self._draws)
        return {
            "validation_log_likelihood": float(values.mean()),
            "variance": self.model.log_variance.exp().tolist(),
        }

    def _bound(self, y: Tensor, y_tilde: Tensor, targets: Tensor, draws: Tensor) -> tuple[Tensor]:
        parts = self.model.bound(y, y_tilde, self.model.moments(y, y_tilde), targets, draws)
        return (parts.fit + parts.latent,)
