"""Parts of a model seen through a relabelling π and elementwise maps of noise (k) and causal variables (h).

They wrap the parts of another model and are how `Isomorphism.apply` (lcm/isomorphism.py) pushes it forward.
Their kinds enter the tables at the end of this file, since each wraps any part of its table.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, final

import torch
from torch import Tensor, nn

from lcm.base.component import build, describe
from lcm.model.decoder import DECODER_KINDS, Decoder
from lcm.model.elementwise import ElementwiseMap, build_map
from lcm.model.intervention import INTERVENTION_KINDS, InterventionalMechanism
from lcm.model.mechanism import MECHANISM_KINDS, Mechanism
from lcm.model.noise import NOISE_KINDS, Noise
from lcm.model.scm import SCM


@final
class _Relabelling(nn.Module):
    """A permutation as index tensors, for values (N, n) of all variables and for lists of variables."""

    new_label: Tensor
    old_label: Tensor

    def __init__(self, permutation: Sequence[int]) -> None:
        super().__init__()
        new_label = torch.as_tensor(permutation)
        self.register_buffer("new_label", new_label, persistent=False)
        self.register_buffer("old_label", torch.argsort(new_label), persistent=False)

    def old(self, variables: Tensor | None) -> Tensor:
        """Old labels (k,) of the new `variables` (all n, in order, when None)."""
        return self.old_label if variables is None else self.old_label[variables]


@final
class RelabelledNoise(Noise):
    """The same noise under new labels: new variable permutation[i] has the law of old variable i."""

    kind = "relabelled"

    def __init__(self, noise: Noise | dict[str, Any], permutation: Sequence[int]) -> None:
        super().__init__()
        self.noise: Noise = build(noise, NOISE_KINDS) if isinstance(noise, dict) else noise
        self.labels, self.n = _Relabelling(permutation), self.noise.n

    @property
    def circular(self) -> Tensor:
        return self.noise.circular.to(self.labels.old_label.device)[self.labels.old_label]

    def settings(self) -> dict[str, Any]:
        return {"noise": describe(self.noise), "permutation": self.labels.new_label.tolist()}

    def from_normal(self, normal: Tensor, variables: Tensor | None = None) -> tuple[Tensor, Tensor]:
        return self.noise.from_normal(normal, self.labels.old(variables))

    def to_normal(self, noise: Tensor, variables: Tensor | None = None) -> tuple[Tensor, Tensor]:
        return self.noise.to_normal(noise, self.labels.old(variables))


@final
class ReparametrisedMechanism(Mechanism):
    """f′_{π(i)} = h_i ∘ f_i(k_i⁻¹(ε′); h⁻¹(z′_pa)), decreasing in ε′ where one of h_i, k_i is."""

    kind = "reparametrised"

    def __init__(
        self,
        mechanism: Mechanism | dict[str, Any],
        noise_map: ElementwiseMap | dict[str, Any],
        variable_map: ElementwiseMap | dict[str, Any],
        permutation: Sequence[int],
    ) -> None:
        built: Mechanism = build(mechanism, MECHANISM_KINDS) if isinstance(mechanism, dict) else mechanism
        labels = _Relabelling(permutation)
        old = labels.old_label.to(built.adjacency.device)
        super().__init__(built.adjacency[old][:, old])
        self.mechanism, self.labels = built, labels
        self.noise_map, self.variable_map = build_map(noise_map), build_map(variable_map)

    def settings(self) -> dict[str, Any]:
        return {
            "mechanism": describe(self.mechanism),
            "noise_map": describe(self.noise_map),
            "variable_map": describe(self.variable_map),
            "permutation": self.labels.new_label.tolist(),
        }

    def forward(self, noise: Tensor, z: Tensor, variables: Tensor | None = None) -> tuple[Tensor, Tensor]:
        old = self.labels.old(variables)
        old_noise, log_noise = self.noise_map.inverse(noise, old)
        old_value, log_mechanism = self.mechanism(old_noise, self._old(z), old)
        value, log_value = self.variable_map(old_value, old)
        return value, log_noise + log_mechanism + log_value

    def inverse(self, value: Tensor, z: Tensor, variables: Tensor | None = None) -> tuple[Tensor, Tensor]:
        old = self.labels.old(variables)
        old_value, log_value = self.variable_map.inverse(value, old)
        old_noise, log_mechanism = self.mechanism.inverse(old_value, self._old(z), old)
        noise, log_noise = self.noise_map(old_noise, old)
        return noise, log_noise + log_mechanism + log_value

    def _old(self, z: Tensor) -> Tensor:
        return self.variable_map.inverse(z[:, self.labels.new_label])[0]


@final
class ReparametrisedDecoder(Decoder):
    """g′ = g ∘ h⁻¹ ∘ π⁻¹, so that z′_{π(i)} = h_i(z_i) has the image of z."""

    kind = "reparametrised"

    def __init__(
        self,
        decoder: Decoder | dict[str, Any],
        variable_map: ElementwiseMap | dict[str, Any],
        permutation: Sequence[int],
    ) -> None:
        super().__init__()
        self.decoder: Decoder = build(decoder, DECODER_KINDS) if isinstance(decoder, dict) else decoder
        self.variable_map, self.labels = build_map(variable_map), _Relabelling(permutation)
        self.n, self.d = self.decoder.n, self.decoder.d

    def settings(self) -> dict[str, Any]:
        return {
            "decoder": describe(self.decoder),
            "variable_map": describe(self.variable_map),
            "permutation": self.labels.new_label.tolist(),
        }

    def forward(self, z: Tensor) -> tuple[Tensor, Tensor]:
        old_z, log_derivative = self.variable_map.inverse(z[:, self.labels.new_label])
        x, log_det = self.decoder(old_z)
        return x, log_det + log_derivative.sum(1)

    def inverse(self, x: Tensor) -> tuple[Tensor, Tensor]:
        old_z, log_det = self.decoder.inverse(x)
        z, log_derivative = self.variable_map(old_z)
        return z[:, self.labels.old_label], log_det + log_derivative.sum(1)


@final
class ReparametrisedIntervention(InterventionalMechanism):
    """Any f̃ seen through h and π; it keeps the old SCM, by whose mechanisms a shifted f̃ is defined."""

    kind = "reparametrised"

    def __init__(
        self,
        intervention: InterventionalMechanism | dict[str, Any],
        scm: SCM | dict[str, Any],
        variable_map: ElementwiseMap | dict[str, Any],
        permutation: Sequence[int],
    ) -> None:
        super().__init__()
        self.intervention: InterventionalMechanism = (
            build(intervention, INTERVENTION_KINDS) if isinstance(intervention, dict) else intervention
        )
        self.scm = SCM.build(scm) if isinstance(scm, dict) else scm
        self.variable_map, self.labels = build_map(variable_map), _Relabelling(permutation)
        self.n = self.scm.n

    def settings(self) -> dict[str, Any]:
        return {
            "intervention": describe(self.intervention),
            "scm": self.scm.description(),
            "variable_map": describe(self.variable_map),
            "permutation": self.labels.new_label.tolist(),
        }

    def value(self, normal: Tensor, z: Tensor, variables: Tensor, scm: SCM) -> Tensor:
        old = self.labels.old(variables)
        old_z = self.variable_map.inverse(z[:, self.labels.new_label])[0]
        image: Tensor = self.variable_map(self.intervention.value(normal, old_z, old, self.scm), old)[0]
        return image

    def log_density(self, z: Tensor, scm: SCM) -> Tensor:
        old_z, log_derivative = self.variable_map.inverse(z[:, self.labels.new_label])
        return (self.intervention.log_density(old_z, self.scm) + log_derivative)[:, self.labels.old_label]


NOISE_KINDS[RelabelledNoise.kind] = RelabelledNoise
MECHANISM_KINDS[ReparametrisedMechanism.kind] = ReparametrisedMechanism
DECODER_KINDS[ReparametrisedDecoder.kind] = ReparametrisedDecoder
INTERVENTION_KINDS[ReparametrisedIntervention.kind] = ReparametrisedIntervention
