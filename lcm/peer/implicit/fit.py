"""Fit the implicit latent causal model as a variational autoencoder."""

from __future__ import annotations

import torch
from torch import Tensor

from lcm.learn.noise_encoder import component_order
from lcm.learn.prepared import Prepared
from lcm.learn.training.objective import Job, Schedule, Stages
from lcm.model.intervention import TargetDistribution
from lcm.peer.implicit.config import ImplicitVAEConfig
from lcm.peer.implicit.objective import ImplicitVAEObjective
from lcm.peer.implicit.vae import ImplicitVAE

_STAGE = "implicit variational autoencoder"
_VALIDATIONS = 40


def fit_implicit_vae(
    prepared: Prepared,
    targets: TargetDistribution,
    config: ImplicitVAEConfig,
    generator: torch.Generator,
    ancestors: Tensor | None = None,
) -> Stages[ImplicitVAE]:
    """Fit to pairs, from random weights or from the linear unmixing of the pairs, all phases as one job.

    Args:
        prepared: the pairs; targets among them are taken as known.
        targets: the intervention family; its probabilities change in place where they are learned.
        config: all settings.
        generator: decides weights, batches and draws.
        ancestors: bool (n, n), [j, i]: j may be an ancestor of i, where that is known.
    """
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
    """A model of these settings whose weights are not drawn yet."""
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
