"""LCM isomorphisms (docs/theory.md section 1), applied to a model, and drawn at random."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor, nn

from lcm.model.decoder import Decoder, ReparametrisedDecoder, SolutionDecoder
from lcm.model.elementwise import AffineMap, ElementwiseMap, SplineMap
from lcm.model.intervention import (
    InterventionalMechanism,
    PerfectIntervention,
    ReparametrisedIntervention,
    TargetDistribution,
)
from lcm.model.latent_causal_model import LatentCausalModel
from lcm.model.mechanism import ReparametrisedMechanism
from lcm.model.noise import PushforwardNoise, RelabelledNoise
from lcm.model.scm import SCM
from lcm.model.sensor_noise import SensorNoise


@final
@dataclass(frozen=True, eq=False)
class Isomorphism:
    """A relabelling with elementwise diffeomorphisms of noise and causal variables.

    Attributes:
        permutation: old variable i becomes new variable permutation[i].
        noise_map: k_i, in the old numbering.
        variable_map: h_i, in the old numbering; like k_i, it may reverse the orientation.
    """

    permutation: Sequence[int]
    noise_map: ElementwiseMap
    variable_map: ElementwiseMap

    def __post_init__(self) -> None:
        """Raises ValueError for an invalid permutation, or maps of another number of variables."""
        n = len(self.permutation)
        if sorted(self.permutation) != list(range(n)):
            raise ValueError(f"Expected a permutation of 0..{n - 1}; got {list(self.permutation)}.")
        for name, elementwise in (("noise", self.noise_map), ("variable", self.variable_map)):
            if elementwise.n != n:
                raise ValueError(f"Expected a {name} map of {n} variables; got {elementwise.n}.")

    def apply(self, model: LatentCausalModel) -> LatentCausalModel:
        """The isomorphic model, in the finest precision of model and maps; it shares no tensors with `model`.

        Raises:
            ValueError: the model has another number of variables, or variables on a circle.
        """
        require_real(model)
        if model.n != len(self.permutation):
            raise ValueError(f"Expected a model of {len(self.permutation)} variables; got {model.n}.")
        model, k, h = copy.deepcopy((model, self.noise_map, self.variable_map))
        # maps found by comparison are in float64, where their knots can be told apart
        finest = max((tensor.dtype for part in (model, k, h) for tensor in _tensors(part)), key=lambda t: t.itemsize)
        device = model.thickness.device
        model, k, h = model.to(device, finest), k.to(device, finest), h.to(device, finest)
        labels = [int(label) for label in self.permutation]
        old_label = torch.argsort(torch.as_tensor(labels))
        scm = SCM(
            model.scm.graph.permuted(old_label.tolist()),
            ReparametrisedMechanism(model.scm.mechanism, k, h, labels),
            RelabelledNoise(PushforwardNoise(model.scm.noise, k), labels),
        )
        image = LatentCausalModel(
            scm,
            _reparametrised_decoder(model.decoder, scm, h, labels),
            _reparametrised_intervention(model, h, labels),
            _relabelled_targets(model.target_distribution, labels),
            growth=model.growth,
        )
        image.thickness = model.thickness[old_label]
        if model.sensor_noise is not None:
            image.sensor_noise = SensorNoise(model.sensor_noise.deviation, model.sensor_noise.rest[old_label])
        return image.to(model.thickness.device)


def _tensors(part: nn.Module) -> list[Tensor]:
    return [tensor for tensor in [*part.parameters(), *part.buffers()] if tensor.is_floating_point()]


def require_real(model: LatentCausalModel) -> None:
    """Raise ValueError for a model with variables on a circle, for which monotone maps are not enough."""
    circles = torch.nonzero(model.scm.circular).flatten().tolist()
    if circles:
        raise ValueError(f"Expected real variables for elementwise monotone maps; got circles at {circles}.")


def _reparametrised_decoder(decoder: Decoder, scm: SCM, h: ElementwiseMap, labels: list[int]) -> Decoder:
    if not isinstance(decoder, SolutionDecoder):
        return ReparametrisedDecoder(decoder, h, labels)
    # it decodes from standard-normal noise, which the maps leave alone, by the solution map of the new model
    identity = AffineMap(scm.n).to(scm.mechanism.adjacency.device)
    return SolutionDecoder(ReparametrisedDecoder(decoder.noise_decoder, identity, labels), scm)


def _reparametrised_intervention(
    model: LatentCausalModel, h: ElementwiseMap, labels: list[int]
) -> InterventionalMechanism:
    intervention = model.intervention
    if isinstance(intervention, PerfectIntervention):
        return PerfectIntervention(RelabelledNoise(PushforwardNoise(intervention.noise, h), labels))
    return ReparametrisedIntervention(intervention, model.scm, h, labels)


def _relabelled_targets(targets: TargetDistribution, labels: list[int]) -> TargetDistribution:
    moved = [[labels[target] for target in target_set] for target_set in targets.as_lists()]
    image = TargetDistribution(targets.n, moved, None)
    # past the constructor, which takes Python numbers and would round them to the default precision
    image.probabilities = targets.probabilities
    return image


def random_isomorphism(n: int, generator: torch.Generator) -> Isomorphism:
    """Draw a uniform permutation of n variables and, for noise and variables each, affine maps or splines.

    Affine maps have scales within a factor e of one, with random signs, and standard-normal shifts; splines are
    increasing and clearly bent. All are float64.

    Raises:
        ValueError: n < 1.
    """
    if n < 1:
        raise ValueError(f"Expected n >= 1; got {n}.")
    permutation = torch.randperm(n, generator=generator).tolist()
    noise_map, variable_map = random_elementwise(n, generator), random_elementwise(n, generator)
    return Isomorphism(permutation, noise_map, variable_map)


def random_elementwise(n: int, generator: torch.Generator) -> ElementwiseMap:
    """Strictly monotone maps of n variables, float64: with equal probability all affine or all splines."""
    if bool(torch.rand((), generator=generator) < 0.5):
        return _random_affine(n, generator)
    spline = SplineMap(n).double()
    with torch.no_grad():
        spline.raw.copy_(torch.randn(spline.raw.shape, generator=generator, dtype=torch.float64))
    return spline.requires_grad_(False)


def _random_affine(n: int, generator: torch.Generator) -> AffineMap:
    sign = 2.0 * torch.randint(2, (n,), generator=generator, dtype=torch.float64) - 1.0
    scale = torch.exp(2.0 * torch.rand(n, generator=generator, dtype=torch.float64) - 1.0)
    shift = torch.randn(n, generator=generator, dtype=torch.float64)
    return AffineMap(n, shift, sign * scale).requires_grad_(False)
