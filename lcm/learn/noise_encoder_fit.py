"""The stage of the noise encoder φ, fitted by the exact likelihood of docs/theory.md section 2 (docs/method.md)."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from lcm.learn.config import NoiseEncoderConfig
from lcm.learn.known import assign_components, label_components
from lcm.learn.noise_encoder import ImplicitModel, SolutionFunctions
from lcm.learn.noise_encoder_objective import (
    MarginalObjective,
    NoiseEncoderObjective,
    encode_prepared,
    known_labels,
)
from lcm.learn.prepared import Prepared
from lcm.learn.rounds import STAGE, fit_in_rounds
from lcm.learn.thickness import set_likeliest_thickness
from lcm.learn.training.objective import Job, Schedule, Stages
from lcm.learn.warm_start import still_components
from lcm.model.decoder import ChainDecoder, Decoder, Flow, LinearDecoder, ResidualDecoder
from lcm.model.intervention import TargetDistribution
from lcm.model.likelihood import THICKNESS_FLOOR

_EXACT_THICKNESS = 2.0 * THICKNESS_FLOOR
_START_ROWS = 20_000
_FEW_VARIABLES, _FEW_PAIRS = 2, 10_000


def fit_noise_encoder(
    prepared: Prepared,
    targets: TargetDistribution,
    config: NoiseEncoderConfig,
    generator: torch.Generator,
    closed_form: bool = False,
) -> Stages[ImplicitModel]:
    """Fit the implicit model from its linear start, or, with `closed_form`, stay there.

    When the linear start already leaves one-sparse differences, to twice the thickness floor, φ can only differ from it
    by one monotone map per variable (docs/theory.md section 2), and the rest of the flow is left out.
    """
    n, r, device = targets.n, prepared.n, generator.device
    unmixing = prepared.unmixing[component_order(prepared, targets)]
    linear = LinearDecoder(r, torch.linalg.inv(unmixing).float().cpu()).to(device)
    mask = ~torch.eye(n, dtype=torch.bool)
    solution = SolutionFunctions(mask, config.solution_hidden, config.bins, torch.Generator().manual_seed(0))
    elementwise = ResidualDecoder(r, blocks=0, bins=config.bins)
    model = ImplicitModel(ChainDecoder([elementwise, linear]), solution, targets).to(device)
    _start_closed_form(model, prepared)
    if closed_form or (r == n and bool((model.thickness <= _EXACT_THICKNESS).all())):
        model.share_marginal(elementwise.marginal)
        if not closed_form:
            schedule = Schedule(config.marginal_steps, config.batch_size)
            yield Job(STAGE, MarginalObjective(model, prepared, config), schedule, generator)
            _start_closed_form(model, prepared)
        _set_shares_of_targets(model, prepared)
        return model
    model.noise_decoder = ChainDecoder([_flow(prepared, config, generator), linear])
    objective = NoiseEncoderObjective(model, prepared, config, generator)
    progress = yield from fit_in_rounds(objective, config, generator)
    model.converged = not progress.limited
    # where the start is what validated best, they are those of the start
    _set_shares_of_targets(model, prepared)
    return model


def _flow(prepared: Prepared, config: NoiseEncoderConfig, generator: torch.Generator) -> Decoder:
    """The flow that is configured, at the identity, its inner weights drawn by the generator, on its device."""
    flow = Flow.of_kind(config.flow)
    small = prepared.n <= _FEW_VARIABLES or len(prepared.train[0]) < _FEW_PAIRS
    layers = (flow.layers // 2 if small else flow.layers) if config.layers is None else config.layers
    hidden = flow.hidden if config.hidden is None else config.hidden
    return flow.start(prepared.n, layers, hidden, config.bins, generator)


def component_order(prepared: Prepared, targets: TargetDistribution) -> Tensor:
    """Order (r,) of the components of the linear start: first n that suit the target sets, or the known targets.

    Where there are more components than variables, the n are those that most pairs leave still.
    """
    n, device = targets.n, prepared.unmixing.device
    x, x_tilde = ((part[:_START_ROWS].double() @ prepared.unmixing.T).cpu().numpy() for part in prepared.train)
    if prepared.targets is not None:
        found = assign_components(x_tilde - x, prepared.targets[0][:_START_ROWS].cpu().numpy())
    else:
        still = still_components(x_tilde - x, n)
        found = still[label_components(x[:, still], x_tilde[:, still], targets.target_sets.cpu().numpy())]
    rest = np.setdiff1d(np.arange(prepared.n), found)
    return torch.from_numpy(np.concatenate([found, rest])).to(device)


def _set_shares_of_targets(model: ImplicitModel, prepared: Prepared) -> None:
    """Make p_𝓘 what maximises the likelihood given the posterior of the training pairs."""
    share = encode_prepared(model, prepared)[0].posterior.mean(0)
    model.target_distribution.probabilities.copy_(share)


def _start_closed_form(model: ImplicitModel, prepared: Prepared) -> None:
    labels = known_labels(prepared, model.target_distribution)
    set_likeliest_thickness(model, *prepared.train, None if labels is None else labels[0])
