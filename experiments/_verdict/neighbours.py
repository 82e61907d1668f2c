"""Models that differ from a nature in one thing only, of every kind that an isomorphism must carry along."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import nn

from experiments._theorem.neighbour import without_edge
from lcm.data.nature.build import numpy_generator, torch_generator
from lcm.model.decoder import SolutionDecoder
from lcm.model.elementwise import AffineMap
from lcm.model.intervention import (
    InterventionalMechanism,
    PerfectIntervention,
    ShiftedIntervention,
    SoftIntervention,
    TargetDistribution,
)
from lcm.model.latent_causal_model import LatentCausalModel, noise_decoder
from lcm.model.mechanism import LinearMechanism
from lcm.model.noise import NormalNoise, PushforwardNoise
from lcm.model.scm import SCM

Neighbour = Callable[[LatentCausalModel, int], LatentCausalModel | None]


def _edge(model: LatentCausalModel, seed: int) -> LatentCausalModel | None:
    """One edge of a linear model is taken away, and the noise encoder or the decoder is kept."""
    edges = list(model.scm.graph.edges())
    linear = isinstance(model.scm.mechanism, LinearMechanism) and isinstance(model.intervention, PerfectIntervention)
    if not edges or not linear:
        return None
    edge = edges[seed % len(edges)]
    return without_edge(model, (int(edge[0]), int(edge[1])), "noise encoder" if seed % 2 else "decoder").double()


def _mechanism(model: LatentCausalModel, seed: int) -> LatentCausalModel | None:
    """The mechanism of one variable is moved; the noise encoder is kept, and so are the interventions.

    A shifted intervention is the mechanism's own, so that it is moved with it.
    """
    scm = SCM(model.scm.graph, _perturbed(model.scm.mechanism, seed), copy.deepcopy(model.scm.noise))
    decoder = SolutionDecoder(noise_decoder(model), scm)
    return _with(model, scm=scm, decoder=decoder)


def _imposed_law(model: LatentCausalModel, seed: int) -> LatentCausalModel | None:
    """p̃ of one variable, or the noise of a soft intervention, is shifted or widened."""
    intervention = model.intervention
    if not isinstance(intervention, PerfectIntervention | SoftIntervention):
        return None
    draw = numpy_generator(seed, "verdict size")
    shift, scale = torch.zeros(model.n, dtype=torch.float64), torch.ones(model.n, dtype=torch.float64)
    variable = int(draw.integers(model.n))
    if draw.uniform() < 0.5:
        shift[variable] = _size(draw)
    else:
        scale[variable] = 1.0 + _size(draw)
    noise = PushforwardNoise(copy.deepcopy(intervention.noise), AffineMap(model.n, shift, scale))
    changed: InterventionalMechanism = (
        PerfectIntervention(noise)
        if isinstance(intervention, PerfectIntervention)
        else SoftIntervention(copy.deepcopy(intervention.mechanism), noise)
    )
    return _with(model, intervention=changed)


def _kind(model: LatentCausalModel, seed: int) -> LatentCausalModel | None:
    """Another kind of intervention."""
    mechanism = copy.deepcopy(model.scm.mechanism)
    normal = NormalNoise(model.n)
    kinds = [
        PerfectIntervention(normal),
        SoftIntervention(mechanism, normal),
        ShiftedIntervention(model.n, torch.full((model.n,), 0.5, dtype=torch.float64)),
    ]
    others = [kind for kind in kinds if kind.kind != model.intervention.kind]
    return _with(model, intervention=others[seed % 2])


def _soft_mechanism(model: LatentCausalModel, seed: int) -> LatentCausalModel | None:
    """The soft mechanism of an intervention is moved; one in two linear ones changes its sign."""
    intervention = model.intervention
    if not isinstance(intervention, SoftIntervention):
        return None
    mechanism = copy.deepcopy(intervention.mechanism)
    if isinstance(mechanism, LinearMechanism) and seed % 2:
        mechanism.weight = nn.Parameter(-mechanism.weight)
    else:
        mechanism = _perturbed(mechanism, seed)
    return _with(model, intervention=SoftIntervention(mechanism, copy.deepcopy(intervention.noise)))


def _shift(model: LatentCausalModel, seed: int) -> LatentCausalModel | None:
    """The shift of one variable is changed; one in two changes its sign."""
    if not isinstance(model.intervention, ShiftedIntervention):
        return None
    draw = numpy_generator(seed, "verdict size")
    shift = model.intervention.shift.detach().clone()
    variable = int(draw.integers(model.n))
    shift[variable] = -shift[variable] if seed % 2 else shift[variable] + _size(draw)
    return _with(model, intervention=ShiftedIntervention(model.n, shift))


def _target_probability(model: LatentCausalModel, seed: int) -> LatentCausalModel | None:
    """A share of one target set's probability goes to another."""
    old = model.target_distribution
    if len(old.probabilities) < 2:
        return None
    draw = numpy_generator(seed, "verdict size")
    source, destination = draw.choice(len(old.probabilities), 2, replace=False).tolist()
    probabilities = old.probabilities.clone()
    moved = probabilities[source] * min(0.9, _size(draw))
    probabilities[source] -= moved
    probabilities[destination] += moved
    changed = TargetDistribution(model.n, old.as_lists(), None)
    changed.probabilities = probabilities
    return _with(model, target_distribution=changed)


def _thickness(model: LatentCausalModel, seed: int) -> LatentCausalModel | None:
    """The thickness of one variable is larger."""
    draw = numpy_generator(seed, "verdict size")
    image = copy.deepcopy(model)
    variable = int(draw.integers(model.n))
    image.thickness[variable] = image.thickness[variable].clamp_min(0.005) * (1.0 + _size(draw))
    return image


NEIGHBOURS: dict[str, Neighbour] = {
    "edge": _edge,
    "mechanism": _mechanism,
    "imposed law": _imposed_law,
    "kind of intervention": _kind,
    "soft mechanism": _soft_mechanism,
    "shift": _shift,
    "p_I": _target_probability,
    "thickness": _thickness,
}
"""What differs, and the function that makes the neighbour of a model by a seed; None where a model has no such part."""


def _size(draw: np.random.Generator) -> float:
    """The size of a change, from slight to large."""
    return float(np.exp(draw.uniform(np.log(0.1), np.log(1.5))))


@torch.no_grad()
def _perturbed(mechanism: Any, seed: int) -> Any:
    """A mechanism with other parameters."""
    changed, generator = copy.deepcopy(mechanism), torch_generator(seed, "verdict size")
    size = _size(numpy_generator(seed, "verdict size"))
    for parameter in changed.parameters():
        parameter += 0.3 * size * torch.randn(parameter.shape, generator=generator, dtype=parameter.dtype)
    return changed


def _with(model: LatentCausalModel, **parts: Any) -> LatentCausalModel:
    """A copy of a model with other parts."""
    own = {name: getattr(model, name) for name in ("scm", "decoder", "intervention", "target_distribution")}
    copied = copy.deepcopy({name: part for name, part in own.items() if name not in parts})
    image = LatentCausalModel(**copied, **parts).double().requires_grad_(False)
    # past the constructor, which takes the default precision
    image.thickness = model.thickness.clone()
    return image
