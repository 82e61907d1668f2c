"""SO(2), ℤ_n, S_n and the group of LCM isomorphisms, with their usual actions."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor

from lcm.geometry.group_action import Group, GroupAction, require_columns
from lcm.isomorphism import Isomorphism
from lcm.isomorphism.apply import random_isomorphism
from lcm.model.circle import wrap
from lcm.model.elementwise import AffineMap, ComposedMap, ElementwiseMap, InverseMap


@final
@dataclass(frozen=True)
class RotationGroup(Group[float]):
    """SO(2): angles in radians, with addition."""

    def identity(self) -> float:
        return 0.0

    def compose(self, a: float, b: float) -> float:
        return math.remainder(a + b, 2.0 * math.pi)

    def inverse(self, a: float) -> float:
        return -a

    def sample(self, generator: torch.Generator) -> float:
        share = torch.rand((), generator=generator, device=generator.device, dtype=torch.float64)
        return math.pi * (2.0 * float(share) - 1.0)


@final
@dataclass(frozen=True)
class CyclicGroup(Group[int]):
    """ℤ_n: 0 to n − 1, with addition modulo n."""

    n: int

    def __post_init__(self) -> None:
        """Raises ValueError when n < 1."""
        _require_positive(self.n)

    def identity(self) -> int:
        return 0

    def compose(self, a: int, b: int) -> int:
        return (a + b) % self.n

    def inverse(self, a: int) -> int:
        return -a % self.n

    def sample(self, generator: torch.Generator) -> int:
        return int(torch.randint(self.n, (), generator=generator, device=generator.device))


@final
@dataclass(frozen=True)
class SymmetricGroup(Group[tuple[int, ...]]):
    """S_n: permutations p, which move entry i to position p[i]."""

    n: int

    def __post_init__(self) -> None:
        """Raises ValueError when n < 1."""
        _require_positive(self.n)

    def identity(self) -> tuple[int, ...]:
        return tuple(range(self.n))

    def compose(self, a: tuple[int, ...], b: tuple[int, ...]) -> tuple[int, ...]:
        return tuple(a[place] for place in b)

    def inverse(self, a: tuple[int, ...]) -> tuple[int, ...]:
        return tuple(sorted(range(self.n), key=a.__getitem__))

    def sample(self, generator: torch.Generator) -> tuple[int, ...]:
        return tuple(torch.randperm(self.n, generator=generator, device=generator.device).tolist())


def plane_rotations() -> GroupAction[float]:
    """SO(2) on the plane, x (N, 2), counter-clockwise; when acting, ValueError for points of another shape."""

    def act(angle: float, points: Tensor) -> Tensor:
        require_columns(points, 2)
        cosine, sine = math.cos(angle), math.sin(angle)
        return points @ points.new_tensor([[cosine, sine], [-sine, cosine]])

    return GroupAction(RotationGroup(), act)


def circle_rotations() -> GroupAction[float]:
    """SO(2) on angles (N, k) in radians, all rotated by the same angle."""
    return GroupAction(RotationGroup(), lambda angle, points: wrap(points + angle), lambda x, y: wrap(x - y))


def cyclic_shifts(n: int) -> GroupAction[int]:
    """ℤ_n on sequences (N, n): entry i moves to position i + k modulo n; ValueError for n < 1 or, acting, another n."""

    def act(shift: int, points: Tensor) -> Tensor:
        require_columns(points, n)
        return points.roll(shift, 1)

    return GroupAction(CyclicGroup(n), act)


def permutations(n: int) -> GroupAction[tuple[int, ...]]:
    """S_n on tuples (N, n): entry i moves to position p[i]; ValueError for n < 1 or, acting, another n."""
    group = SymmetricGroup(n)

    def act(permutation: tuple[int, ...], points: Tensor) -> Tensor:
        require_columns(points, n)
        return points[:, list(group.inverse(permutation))]

    return GroupAction(group, act)


def _require_positive(n: int) -> None:
    if n < 1:
        raise ValueError(f"Expected a group on at least 1 entry; got {n}.")


@final
@dataclass(frozen=True)
class IsomorphismGroup(Group[Isomorphism]):
    """All relabellings of n variables with elementwise diffeomorphisms of variables and noise.

    Each element takes any model of n real variables to an isomorphic one.
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
        """A draw of `random_isomorphism`, in the default dtype."""
        drawn, dtype = random_isomorphism(self.n, generator), torch.get_default_dtype()
        return Isomorphism(drawn.permutation, drawn.noise_map.to(dtype), drawn.variable_map.to(dtype))


def variable_action(n: int) -> GroupAction[Isomorphism]:
    """The action on causal variables z (N, n): z′_{π(i)} = h_i(z_i); when acting, ValueError for another n."""

    def act(element: Isomorphism, z: Tensor) -> Tensor:
        return _moved(element, element.variable_map, z)

    return GroupAction(IsomorphismGroup(n), act)


def noise_action(n: int) -> GroupAction[Isomorphism]:
    """The action on noise (N, n): ε′_{π(i)} = k_i(ε_i); when acting, ValueError for another n."""

    def act(element: Isomorphism, noise: Tensor) -> Tensor:
        return _moved(element, element.noise_map, noise)

    return GroupAction(IsomorphismGroup(n), act)


def _moved(element: Isomorphism, elementwise: ElementwiseMap, values: Tensor) -> Tensor:
    require_columns(values, len(element.permutation))
    images: Tensor = elementwise(values)[0]
    return images[:, list(SymmetricGroup(values.shape[1]).inverse(tuple(int(p) for p in element.permutation)))]
