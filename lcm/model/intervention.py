"""Interventions: which target sets (p_𝓘), and what is imposed on the targets (docs/theory.md section 1)."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from itertools import chain, combinations
from typing import Any, final

import torch
from torch import Tensor, nn

from lcm.base.component import Component, build, describe
from lcm.model.mechanism import MECHANISM_KINDS, Mechanism
from lcm.model.noise import NOISE_KINDS, Noise
from lcm.model.scm import SCM

_PROBABILITY_TOLERANCE = 1e-6


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
        mask = torch.zeros(len(target_sets), n, dtype=torch.bool)
        for row, targets in enumerate(target_sets):
            for target in targets:
                if not 0 <= target < n:
                    raise ValueError(f"Expected intervention targets in 0..{n - 1}; got {target}.")
                mask[row, target] = True
        if len(target_sets) == 0 or len(torch.unique(mask, dim=0)) != len(mask):
            raise ValueError(f"Expected one or more distinct target sets; got {[list(s) for s in target_sets]}.")
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
            families["all"] = list(chain.from_iterable(combinations(range(n), k) for k in range(n + 1)))
        if name not in families:
            raise ValueError(f"Expected target sets atomic, atomic-or-empty, all or a list; got {name!r}.")
        return TargetDistribution(n, families[name], probabilities)

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


class InterventionalMechanism(Component):
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


@final
class PerfectIntervention(InterventionalMechanism):
    """Stochastic perfect interventions: z̃_i ~ p̃_i whatever the parents."""

    kind = "perfect"

    def __init__(self, noise: Noise | dict[str, Any]) -> None:
        super().__init__()
        self.noise: Noise = build(noise, NOISE_KINDS) if isinstance(noise, dict) else noise
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


@final
class SoftIntervention(InterventionalMechanism):
    """Soft interventions: another mechanism f̃_i with fresh noise, parents kept."""

    kind = "soft"

    def __init__(self, mechanism: Mechanism | dict[str, Any], noise: Noise | dict[str, Any]) -> None:
        """Raises ValueError when the noise has other circles than the mechanism."""
        super().__init__()
        self.mechanism: Mechanism = build(mechanism, MECHANISM_KINDS) if isinstance(mechanism, dict) else mechanism
        self.noise: Noise = build(noise, NOISE_KINDS) if isinstance(noise, dict) else noise
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


INTERVENTION_KINDS: dict[str, type[InterventionalMechanism]] = {
    cls.kind: cls for cls in (PerfectIntervention, SoftIntervention, ShiftedIntervention)
}
