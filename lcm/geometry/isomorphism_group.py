"""The group of LCM isomorphisms, acting on causal variables, on noise and on models (docs/theory.md section 1).

An element relabels the variables and maps each of them, and its noise, by a diffeomorphism of ℝ. `Isomorphism.apply`
is its action on models; p_𝓜(x, x̃) is invariant under it, and the decoder is moved as functions are, g′ = g ∘ h⁻¹.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor

from lcm.elementwise import AffineMap, ComposedMap, ElementwiseMap, InverseMap
from lcm.geometry.group_action import Group, GroupAction, require_columns
from lcm.geometry.groups import SymmetricGroup
from lcm.isomorphism import Isomorphism
from lcm.isomorphism.random import random_isomorphism


@final
@dataclass(frozen=True)
class IsomorphismGroup(Group[Isomorphism]):
    """All relabellings of n variables with elementwise diffeomorphisms of variables and noise.

    Which of them are isomorphisms of a given model is no question: each takes the model to an isomorphic one.
    """

    n: int

    def identity(self) -> Isomorphism:
        return Isomorphism(tuple(range(self.n)), AffineMap(self.n), AffineMap(self.n))

    def compose(self, a: Isomorphism, b: Isomorphism) -> Isomorphism:
        labels = [int(label) for label in b.permutation]
        return Isomorphism(
            tuple(int(a.permutation[label]) for label in labels),
            ComposedMap(b.noise_map, a.noise_map, labels),
            ComposedMap(b.variable_map, a.variable_map, labels),
        )

    def inverse(self, a: Isomorphism) -> Isomorphism:
        old_label = SymmetricGroup(self.n).inverse(tuple(int(label) for label in a.permutation))
        return Isomorphism(old_label, InverseMap(a.noise_map, old_label), InverseMap(a.variable_map, old_label))

    def sample(self, generator: torch.Generator) -> Isomorphism:
        """`lcm.isomorphism.random`, in the default dtype."""
        drawn, dtype = random_isomorphism(self.n, generator), torch.get_default_dtype()
        return Isomorphism(drawn.permutation, drawn.noise_map.to(dtype), drawn.variable_map.to(dtype))


def variable_action(n: int) -> GroupAction[Isomorphism]:
    """The action on causal variables z (N, n): z′_{π(i)} = h_i(z_i)."""

    def act(element: Isomorphism, z: Tensor) -> Tensor:
        return _moved(element, element.variable_map, z)

    return GroupAction(IsomorphismGroup(n), act)


def noise_action(n: int) -> GroupAction[Isomorphism]:
    """The action on noise (N, n): ε′_{π(i)} = k_i(ε_i)."""

    def act(element: Isomorphism, noise: Tensor) -> Tensor:
        return _moved(element, element.noise_map, noise)

    return GroupAction(IsomorphismGroup(n), act)


def _moved(element: Isomorphism, elementwise: ElementwiseMap, values: Tensor) -> Tensor:
    require_columns(values, len(element.permutation))
    images: Tensor = elementwise(values)[0]
    return images[:, list(SymmetricGroup(values.shape[1]).inverse(tuple(int(p) for p in element.permutation)))]
