"""Fits of the disentanglement peers: what they minimise, and their stage."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import replace
from typing import final

import torch
from torch import Tensor

from lcm.base.chunks import in_chunks
from lcm.learn.prepared import Prepared
from lcm.learn.training.objective import Job, Objective, ParameterGroup, Rows, Schedule, Stages
from lcm.model.intervention import TargetDistribution
from lcm.peer.disentanglement import DisentanglementConfig
from lcm.peer.disentanglement.vae import DISENTANGLEMENT_KINDS, BetaVAE, DisentanglementVAE, SupervisedVAE, Terms

_STAGE = "disentanglement autoencoder"
_HELD_OUT_DRAWS = 4
_MOST_VALIDATED = 5_000
_MOST_COUNTED = 20_000
_VALIDATIONS = 40


def fit_disentanglement_vae(
    prepared: Prepared,
    targets: TargetDistribution,
    config: DisentanglementConfig,
    generator: torch.Generator,
    kind: str,
) -> Stages[DisentanglementVAE]:
    """Fit one of the disentanglement peers, of `DISENTANGLEMENT_KINDS`, to pairs.

    All except beta-vae use the targets in `prepared`, if there are any. The probabilities of `targets` become the mean
    posterior over the training pairs, except in beta-vae, which does not use them.

    Raises:
        ValueError: vae-supervised-interventions without targets.
    """
    if kind == SupervisedVAE.kind and prepared.targets is None:
        raise ValueError(f"Expected targets of every pair, which {kind} is to know; got none.")
    if kind != "dvae" or prepared.targets is not None:
        config = replace(config, aggregation="adaptive")
    model = DISENTANGLEMENT_KINDS[kind](prepared.standardisation, targets, config).to(prepared.train[0].device)
    model.draw_weights(generator, prepared.unmixing)
    objective = DisentanglementObjective(model, prepared, generator)
    every = max(1, config.steps // _VALIDATIONS)
    yield Job(_STAGE, objective, Schedule(config.steps, config.batch_size, every, _VALIDATIONS), generator)
    model.requires_grad_(False)
    if kind != BetaVAE.kind:
        _count_targets(model, prepared.train)
    return model


def _count_targets(model: DisentanglementVAE, train: tuple[Rows, Rows]) -> None:
    """p_𝓘 from the posterior over target sets, which maximises the bound."""
    (posterior,) = in_chunks(
        lambda y, y_tilde: (model.target_log_posterior(*model.posteriors(y, y_tilde)).exp(),),
        *train,
        most=_MOST_COUNTED,
    )
    model.target_distribution.probabilities.copy_(posterior.double().mean(0))


@final
class DisentanglementObjective(Objective):
    """The negative mean bound of pairs, with one draw for each pair and the divergences weighted by β.

    On held-out pairs, β has its final value and the draws are always the same.
    """

    def __init__(self, model: DisentanglementVAE, prepared: Prepared, generator: torch.Generator) -> None:
        super().__init__()
        self.model, self._train, self._generator = model, prepared.train, generator
        targets = None if isinstance(model, BetaVAE) else prepared.targets
        self._targets = None if targets is None else targets[0]
        held_out = [part[:_MOST_VALIDATED] for part in prepared.validation]
        draws = [self._normal(len(held_out[0]), _HELD_OUT_DRAWS) for _ in range(2)]
        self._held_out = (*held_out, *draws, *([] if targets is None else [targets[1][:_MOST_VALIDATED]]))

    def _normal(self, rows: int, *shape: int) -> Tensor:
        size = (rows, *shape, self.model.n)
        return torch.randn(size, generator=self._generator, device=self._generator.device)

    def groups(self) -> list[ParameterGroup]:
        trained = [parameter for parameter in self.model.parameters() if parameter.requires_grad]
        return [ParameterGroup(trained, self.model.config.learning_rate)]

    @property
    def n_rows(self) -> int:
        return len(self._train[0])

    def batch(self, rows: Tensor) -> tuple[Tensor, ...]:
        pairs = (self._train[0][rows], self._train[1][rows], self._normal(len(rows)), self._normal(len(rows)))
        return pairs if self._targets is None else (*pairs, self._targets[rows])

    def structure(self) -> Hashable:
        return self.model.config, self.model.kind, self._targets is None

    def loss(self, batch: tuple[Tensor, ...], progress: float) -> Tensor:
        return -self._bound(batch, self.model.config.beta_at(progress)).mean()

    def validate(self) -> dict[str, float]:
        (bound,) = in_chunks(self._held_out_bound, *self._held_out)
        return {"validation_log_likelihood": float(bound.double().mean())}

    def _held_out_bound(self, *chunk: Tensor) -> tuple[Tensor]:
        each = [(*chunk[:2], chunk[2][:, k], chunk[3][:, k], *chunk[4:]) for k in range(_HELD_OUT_DRAWS)]
        return (torch.stack([self._bound(batch, self.model.config.beta) for batch in each]).mean(0),)

    def _bound(self, batch: tuple[Tensor, ...], beta: float) -> Tensor:
        """The bound (B,) of y, ỹ with draws for both, and targets where they are known."""
        y, y_tilde, *draws = batch[:4]
        laws = self.model.posteriors(y, y_tilde)
        if self._targets is None and self.model.kind == "dvae" and self.model.config.aggregation == "posterior":
            return self.model.mixture_bound((y, y_tilde), laws, torch.stack(draws).unsqueeze(1), beta)
        if isinstance(self.model, BetaVAE):
            changed = torch.ones_like(y, dtype=torch.bool)
        else:
            changed = self.model.changed(*laws) if self._targets is None else batch[4]
        terms: Terms = self.model.terms((y, y_tilde), laws, changed, (draws[0], draws[1]))
        return terms.fit - beta * terms.divergence
