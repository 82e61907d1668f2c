"""The contracts of mechanisms z_i = f_i(ε_i; z_pa), batched over all variables (docs/theory.md section 1)."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar, NamedTuple, Self, final

import torch
from torch import Tensor

from lcm.base.component import Component, describe
from lcm.base.kinds import KindConfig
from lcm.model.elementwise import ElementwiseMap, Relabelling
from lcm.model.graph import Graph
from lcm.model.noise import Noise


class Mechanism(Component, family=True):
    """Abstract: n mechanisms, each a diffeomorphism in its noise given the parents.

    It is one of ℝ, and then strictly monotone, or of the circle where `circular` (n,) bool says so.

    All values are batched: `noise` and `value` are (N, k), for the k `variables` asked for (all n, in order,
    when None); `z` is always the full (N, n), of which mechanism i reads its parents only.
    """

    adjacency: Tensor
    circular: Tensor
    in_unit_interval: ClassVar[bool] = False
    """Whether every value lies in (0, 1)."""

    def __init__(self, adjacency: Tensor | list[list[int]]) -> None:
        """`adjacency` is (n, n), [i, j]: i → j. Raises ValueError if it is not square."""
        super().__init__()
        given = adjacency if isinstance(adjacency, Tensor) else torch.as_tensor(adjacency)
        if given.dim() != 2 or given.shape[0] != given.shape[1]:
            raise ValueError(f"Expected a square (n, n) adjacency; got shape {tuple(given.shape)}.")
        self.register_buffer("adjacency", given.to(torch.bool), persistent=False)
        self.n = self.adjacency.shape[0]
        self.register_buffer("circular", torch.zeros_like(self.adjacency[0]), persistent=False)

    def adjacency_list(self) -> list[list[int]]:
        """The adjacency as nested lists of 0 and 1, for settings."""
        rows: list[list[int]] = self.adjacency.int().tolist()
        return rows

    @abstractmethod
    def forward(self, noise: Tensor, z: Tensor, variables: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Values f_i(ε_i; z_pa) and log|∂f_i/∂ε_i|, both (N, k)."""

    @abstractmethod
    def inverse(self, value: Tensor, z: Tensor, variables: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Noise f_i⁻¹(z_i; z_pa) and log|∂ε_i/∂z_i|, both (N, k)."""


class TrainableMechanism(Mechanism):
    """Abstract: mechanisms that a fit can learn and read a graph from: the choices of `mechanisms.kind` in a config."""

    @classmethod
    @abstractmethod
    def untrained(cls, adjacency: Tensor, hidden: int) -> Self:
        """Mechanisms f_i = ε_i over an adjacency (n, n); a network of the parents has hidden layers of this width."""

    @abstractmethod
    def set_linear(self, i: int, parents: Tensor, weight: Tensor, bias: Tensor, log_scale: Tensor) -> None:
        """Make untrained mechanism i bias + Σ_k weight_k z_parents[k] + exp(log_scale) ε_i; parents and weight (k,)."""

    @abstractmethod
    def location_and_log_scale(self, z: Tensor, variables: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """f_i and log|∂f_i/∂ε_i| at ε_i = 0, both (N, k)."""


def require_trainable(mechanism: Mechanism) -> TrainableMechanism:
    """The mechanism as it is; ValueError where it is of a kind that no graph can be read from."""
    if not isinstance(mechanism, TrainableMechanism):
        raise ValueError(f"Expected mechanisms that a fit can learn; got mechanisms of kind {mechanism.kind}.")
    return mechanism


class Prescribed(NamedTuple):
    """What comes with mechanisms of a kind: their graph, and the law of the values that interventions impose."""

    graph: Graph
    imposed: Noise


class MechanismConfig(KindConfig, ABC, family=True):
    """Abstract: the settings from which a nature draws mechanisms, a subclass for each kind."""

    default = "linear"

    @abstractmethod
    def draw(self, graph: Graph, noise: Noise, generator: torch.Generator) -> Mechanism:
        """Random mechanisms over a graph, calibrated to the noise that they will have."""

    def prescribed(self) -> Prescribed | None:
        """What comes with this kind; None where the graph and the interventions are chosen freely."""
        return None


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
        built, labels = Mechanism.build(mechanism), Relabelling(permutation)
        old = labels.old_label.to(built.adjacency.device)
        super().__init__(built.adjacency[old][:, old])
        self.mechanism, self.labels = built, labels
        self.noise_map, self.variable_map = ElementwiseMap.build(noise_map), ElementwiseMap.build(variable_map)

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
