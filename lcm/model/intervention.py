"""Interventions: which target sets (p_𝓘), and what is imposed on the targets (docs/theory.md section 1)."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import chain, combinations
from typing import Any, Literal, final

import torch
from torch import Tensor, nn

from lcm.base.component import Component, describe
from lcm.base.kinds import KindConfig
from lcm.base.settings import is_entries
from lcm.base.text import shown
from lcm.model.elementwise import ElementwiseMap, Relabelling
from lcm.model.graph import Graph
from lcm.model.mechanism import Mechanism, MechanismConfig
from lcm.model.noise import Noise, NoiseConfig, NormalNoiseConfig
from lcm.model.scm import SCM

_PROBABILITY_TOLERANCE = 1e-6
_MOST_FOR_ALL = 16


@final
class TargetDistribution(nn.Module):
    """p_𝓘: probabilities of K target sets over n variables."""

    target_sets: Tensor
    probabilities: Tensor

    def __init__(self, n: int, target_sets: Sequence[Sequence[int]], probabilities: Sequence[float] | None) -> None:
        """`target_sets` lists 0-based variables, () for the empty set; probabilities are uniform when None.

        Raises:
            ValueError: a target out of range, a set twice, or probabilities that are negative, of the wrong
                number or do not sum to one.
        """
        super().__init__()
        self.n = n
        if not isinstance(target_sets, Sequence) or not all(map(is_entries, map(_as_list, target_sets))):
            raise ValueError(f"Expected target sets as lists of variables; got {shown(target_sets)}.")
        mask = torch.zeros(len(target_sets), n, dtype=torch.bool)
        for row, targets in enumerate(target_sets):
            for target in targets:
                if not 0 <= target < n:
                    raise ValueError(f"Expected intervention targets in 0..{n - 1}; got {target}.")
                mask[row, target] = True
        if len(target_sets) == 0 or len(torch.unique(mask, dim=0)) != len(mask):
            raise ValueError(f"Expected one or more distinct target sets; got {shown(list(target_sets))}.")
        self.register_buffer("target_sets", mask, persistent=False)
        self.register_buffer("probabilities", _checked_probabilities(probabilities, len(mask)))

    @staticmethod
    def family(n: int, name: str, probabilities: Sequence[float] | None = None) -> TargetDistribution:
        """A named family: "atomic", "atomic-or-empty" (∅ first) or "all" (2^n subsets, smallest first)."""
        single: list[tuple[int, ...]] = [(i,) for i in range(n)]
        families: dict[str, list[tuple[int, ...]]] = {
            "atomic": single,
            "atomic-or-empty": [(), *single],
        }
        if name == "all":
            if n > _MOST_FOR_ALL:
                raise ValueError(f"Expected at most {_MOST_FOR_ALL} variables with target sets all; got {n}.")
            families["all"] = list(chain.from_iterable(combinations(range(n), k) for k in range(n + 1)))
        if name not in families:
            raise ValueError(f"Expected target sets atomic, atomic-or-empty, all or a list; got {name!r}.")
        return TargetDistribution(n, families[name], probabilities)

    def require_sound(self) -> None:
        """Raise ValueError for probabilities that are negative or do not sum to one."""
        _checked_probabilities(self.probabilities.tolist(), len(self.target_sets))

    def as_lists(self) -> list[list[int]]:
        """The target sets as lists of 0-based variables."""
        return [torch.nonzero(row).flatten().tolist() for row in self.target_sets]

    def log_probabilities(self) -> Tensor:
        """log p_𝓘 (K,), with −∞ replaced by the smallest normal number's logarithm."""
        return self.probabilities.clamp_min(torch.finfo(self.probabilities.dtype).tiny).log()

    def sample(self, n_samples: int, generator: torch.Generator) -> Tensor:
        """Target masks (n_samples, n), bool."""
        if n_samples == 0:
            return self.target_sets[:0]
        weights = self.probabilities.to(generator.device)
        drawn = torch.multinomial(weights, n_samples, replacement=True, generator=generator)
        return self.target_sets.to(generator.device)[drawn]


def _as_list(targets: Any) -> Any:
    return list(targets) if isinstance(targets, tuple) else targets


def _checked_probabilities(probabilities: Sequence[float] | None, count: int) -> Tensor:
    if probabilities is None:
        return torch.full((count,), 1.0 / count)
    if len(probabilities) != count:
        raise ValueError(f"Expected {count} probabilities, one for each target set; got {len(probabilities)}.")
    values = torch.as_tensor(probabilities, dtype=torch.float64)
    # in this form NaN is refused too
    if not (bool((values >= 0).all()) and abs(float(values.sum()) - 1.0) <= _PROBABILITY_TOLERANCE):
        raise ValueError(f"Expected non-negative probabilities that sum to 1; got a sum of {float(values.sum()):.6g}.")
    return values.to(torch.get_default_dtype())


class InterventionalMechanism(Component, family=True):
    """Abstract: the mechanisms f̃_i of n variables that replace f_i on the targets, with fresh noise."""

    n: int

    @property
    def circular(self) -> Tensor | None:
        """Which variables are imposed as angles, bool (n,); None where that is as in the SCM, whichever it is."""
        return None

    @abstractmethod
    def value(self, normal: Tensor, z: Tensor, variables: Tensor, scm: SCM) -> Tensor:
        """Imposed values (N, k) of `variables` from standard-normal (N, k) and solved parents in z (N, n)."""

    @abstractmethod
    def log_density(self, z: Tensor, scm: SCM) -> Tensor:
        """log p̃_i(z̃_i | z̃_pa) of every variable as if it were a target: (N, n), in nats."""

    @abstractmethod
    def to_normal(self, z: Tensor, scm: SCM) -> Tensor:
        """Standard-normal score of z̃_i given z̃_pa, of every variable as if it were a target: (N, n).

        It is the fresh noise of `value` up to its sign, and the same for all isomorphic models up to that sign."""


@final
class PerfectIntervention(InterventionalMechanism):
    """Stochastic perfect interventions: z̃_i ~ p̃_i whatever the parents."""

    kind = "perfect"

    def __init__(self, noise: Noise | dict[str, Any]) -> None:
        super().__init__()
        self.noise = Noise.build(noise)
        self.n = self.noise.n

    @property
    def circular(self) -> Tensor:
        return self.noise.circular

    def settings(self) -> dict[str, Any]:
        return {"noise": describe(self.noise)}

    def value(self, normal: Tensor, z: Tensor, variables: Tensor, scm: SCM) -> Tensor:
        return self.noise.from_normal(normal, variables)[0]

    def log_density(self, z: Tensor, scm: SCM) -> Tensor:
        return self.noise.log_density(z)

    def to_normal(self, z: Tensor, scm: SCM) -> Tensor:
        return self.noise.to_normal(z)[0]


@final
class SoftIntervention(InterventionalMechanism):
    """Soft interventions: another mechanism f̃_i with fresh noise, parents kept."""

    kind = "soft"

    def __init__(self, mechanism: Mechanism | dict[str, Any], noise: Noise | dict[str, Any]) -> None:
        """Raises ValueError when the noise has other circles than the mechanism."""
        super().__init__()
        self.mechanism = Mechanism.build(mechanism)
        self.noise = Noise.build(noise)
        circles, noise_circles = (part.circular.int().tolist() for part in (self.mechanism, self.noise))
        if noise_circles != circles:
            raise ValueError(f"Expected noise with the circles of the mechanism, {circles}; got {noise_circles}.")
        self.n = self.mechanism.n

    @property
    def circular(self) -> Tensor:
        return self.mechanism.circular

    def settings(self) -> dict[str, Any]:
        return {"mechanism": describe(self.mechanism), "noise": describe(self.noise)}

    def value(self, normal: Tensor, z: Tensor, variables: Tensor, scm: SCM) -> Tensor:
        fresh = self.noise.from_normal(normal, variables)[0]
        value: Tensor = self.mechanism(fresh, z, variables)[0]
        return value

    def log_density(self, z: Tensor, scm: SCM) -> Tensor:
        fresh, log_derivative = self.mechanism.inverse(z, z)
        return self.noise.log_density(fresh) + log_derivative

    def to_normal(self, z: Tensor, scm: SCM) -> Tensor:
        return self.noise.to_normal(self.mechanism.inverse(z, z)[0])[0]


@final
class ShiftedIntervention(InterventionalMechanism):
    """Shifted interventions: the model's own mechanism with fresh noise, moved by shift_i, parents kept."""

    kind = "shifted"

    def __init__(self, n: int, shift: Tensor | None = None) -> None:
        super().__init__()
        self.n = n
        self.shift = nn.Parameter(torch.ones(n) if shift is None else shift)

    def settings(self) -> dict[str, Any]:
        return {"n": self.n}

    def value(self, normal: Tensor, z: Tensor, variables: Tensor, scm: SCM) -> Tensor:
        fresh = scm.noise.from_normal(normal, variables)[0]
        value: Tensor = scm.mechanism(fresh, z, variables)[0] + self.shift[variables]
        return value

    def log_density(self, z: Tensor, scm: SCM) -> Tensor:
        fresh, log_derivative = scm.mechanism.inverse(z - self.shift, z)
        return scm.noise.log_density(fresh) + log_derivative

    def to_normal(self, z: Tensor, scm: SCM) -> Tensor:
        return scm.noise.to_normal(scm.mechanism.inverse(z - self.shift, z)[0])[0]


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
        self.intervention = InterventionalMechanism.build(intervention)
        self.scm = SCM.build(scm) if isinstance(scm, dict) else scm
        self.variable_map, self.labels = ElementwiseMap.build(variable_map), Relabelling(permutation)
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

    def to_normal(self, z: Tensor, scm: SCM) -> Tensor:
        old_z = self.variable_map.inverse(z[:, self.labels.new_label])[0]
        return self.intervention.to_normal(old_z, self.scm)[:, self.labels.old_label]


@dataclass(frozen=True, kw_only=True)
class InterventionConfig(KindConfig, ABC, family=True):
    """Abstract: which target sets are intervened on, and, by subclass, what is imposed.

    targets: atomic, atomic-or-empty, all (every subset), or a list of target sets, [] for the empty one.
    probabilities: one for each target set, in order (atomic-or-empty: the empty set first; all: smallest sets first);
        uniform when null.
    """

    default = "perfect"
    kind: str
    targets: Literal["atomic", "atomic-or-empty", "all"] | tuple[tuple[int, ...], ...] = "atomic-or-empty"
    probabilities: tuple[float, ...] | None = None

    def __post_init__(self) -> None:
        TargetsConfig(targets=self.targets, probabilities=self.probabilities)

    @abstractmethod
    def draw(self, graph: Graph, mechanism: MechanismConfig, generator: torch.Generator) -> InterventionalMechanism:
        """What is imposed on the variables of a graph, in a nature whose own mechanisms are drawn from `mechanism`."""

    def target_set_count(self, n: int) -> int:
        """How many target sets over n variables have a probability."""
        if isinstance(self.targets, str):
            return {"atomic": n, "atomic-or-empty": n + 1, "all": 1 << n}[self.targets]
        return len(self.targets)

    def target_distribution(self, n: int) -> TargetDistribution:
        """p_𝓘 over n variables."""
        return TargetsConfig(targets=self.targets, probabilities=self.probabilities).target_distribution(n)


@final
@dataclass(frozen=True, kw_only=True)
class TargetsConfig:
    """Which target sets are intervened on, alone in a file; the keys are those of `InterventionConfig`."""

    targets: Literal["atomic", "atomic-or-empty", "all"] | tuple[tuple[int, ...], ...]
    probabilities: tuple[float, ...] | None = None

    def __post_init__(self) -> None:
        if self.probabilities is not None:
            _require_probabilities(self.probabilities)
        if not isinstance(self.targets, str):
            _require_distinct(self.targets)

    def target_distribution(self, n: int) -> TargetDistribution:
        """p_𝓘 over n variables. Raises ValueError if the sets or their probabilities are not of n variables."""
        if isinstance(self.targets, str):
            return TargetDistribution.family(n, self.targets, self.probabilities)
        return TargetDistribution(n, self.targets, self.probabilities)


@final
@dataclass(frozen=True, kw_only=True)
class PerfectInterventionConfig(InterventionConfig):
    """The parents are ignored; `noise` is the law of the imposed value."""

    kind: Literal["perfect"] = "perfect"
    noise: NoiseConfig = field(default_factory=NormalNoiseConfig)

    def draw(self, graph: Graph, mechanism: MechanismConfig, generator: torch.Generator) -> PerfectIntervention:
        return PerfectIntervention(self.noise.draw(graph.n))


@final
@dataclass(frozen=True, kw_only=True)
class SoftInterventionConfig(InterventionConfig):
    """Another mechanism of the same kind, parents kept; `noise` is the law of the fresh noise."""

    kind: Literal["soft"] = "soft"
    noise: NoiseConfig = field(default_factory=NormalNoiseConfig)

    def draw(self, graph: Graph, mechanism: MechanismConfig, generator: torch.Generator) -> SoftIntervention:
        noise = self.noise.draw(graph.n)
        return SoftIntervention(mechanism.draw(graph, noise, generator), noise)


@final
@dataclass(frozen=True, kw_only=True)
class ShiftedInterventionConfig(InterventionConfig):
    """The variable's own mechanism with fresh noise, parents kept, and its value moved by `shift`."""

    kind: Literal["shifted"] = "shifted"
    shift: float = 1.0

    def draw(self, graph: Graph, mechanism: MechanismConfig, generator: torch.Generator) -> ShiftedIntervention:
        return ShiftedIntervention(graph.n, torch.full((graph.n,), self.shift))


def _require_probabilities(probabilities: tuple[float, ...]) -> None:
    if any(probability < 0.0 for probability in probabilities):
        raise ValueError(f"Expected probabilities >= 0; got {min(probabilities)}.")
    if not abs(sum(probabilities) - 1.0) <= _PROBABILITY_TOLERANCE:
        raise ValueError(f"Expected probabilities that sum to 1; got a sum of {sum(probabilities):.6g}.")


def _require_distinct(targets: tuple[tuple[int, ...], ...]) -> None:
    if not targets:
        raise ValueError("Expected one or more target sets; got none.")
    seen: set[frozenset[int]] = set()
    for row in targets:
        if frozenset(row) in seen:
            raise ValueError(f"Expected each target set once; got {list(row)} again.")
        seen.add(frozenset(row))
