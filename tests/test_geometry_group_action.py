"""Laws of group actions over one dict of them, what breaks an axiom, and how equivariant maps are."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from laws import N, drawn_flow, generator, normal
from torch import Tensor

from lcm.geometry import (
    Circle,
    CyclicGroup,
    GroupAction,
    ProductManifold,
    RotationGroup,
    SymmetricGroup,
    blockwise,
    check_axioms,
    circle_rotations,
    cyclic_shifts,
    equivariance_violation,
    invariance_violation,
    noise_action,
    permutations,
    plane_rotations,
    product_action,
    trivial_action,
    variable_action,
)
from lcm.model.circle import wrap

pytestmark = pytest.mark.usefixtures("float64")

ACTIONS: dict[str, tuple[Callable[[], GroupAction[Any]], int]] = {
    "plane": (plane_rotations, 2),
    "circle": (circle_rotations, 1),
    "several-angles": (circle_rotations, 3),
    "shifts": (lambda: cyclic_shifts(5), 5),
    "permutations": (lambda: permutations(4), 4),
    "trivial": (lambda: trivial_action(SymmetricGroup(3)), 2),
    "product": (lambda: product_action([plane_rotations(), cyclic_shifts(3), circle_rotations()], [2, 3, 1]), 6),
    "nested": (lambda: product_action([product_action([permutations(3)], [3]), permutations(2)], [3, 2]), 5),
    "isomorphisms-of-variables": (lambda: variable_action(N), N),
    "isomorphisms-of-noise": (lambda: noise_action(N), N),
}
"""Actions with the number of columns that they act on."""

every_action = pytest.mark.parametrize("name", ACTIONS)


def built(name: str) -> tuple[GroupAction[Any], Tensor]:
    factory, columns = ACTIONS[name]
    return factory(), 3.0 * torch.rand(40, columns, generator=generator(5)) - 1.5


@every_action
def test_actions_obey_the_axioms(name: str) -> None:
    action, points = built(name)
    axioms = check_axioms(action, points, generator())
    assert max(axioms.identity, axioms.composition, axioms.inverse) < 1e-10


@every_action
def test_actions_do_something_unless_they_are_trivial(name: str) -> None:
    action, points = built(name)
    moved = action(action.group.sample(generator(2)), points)
    assert moved.shape == points.shape
    assert torch.equal(moved, points) == (name == "trivial")


@every_action
def test_elements_are_reproducible(name: str) -> None:
    action, points = built(name)
    one, other = (action(action.group.sample(generator(2)), points) for _ in range(2))
    assert torch.equal(one, other)


@every_action
def test_the_action_on_functions_is_an_action_from_the_left(name: str) -> None:
    action, points = built(name)
    weight = normal(points.shape[1], 3, seed=8).round()

    def function(x: Tensor) -> Tensor:
        # of whole period in every angle
        return torch.sin(x @ weight)

    a, b = (action.group.sample(generator(seed)) for seed in (2, 3))
    twice = action.induced(a, action.induced(b, function))
    once = action.induced(action.group.compose(a, b), function)
    assert torch.allclose(twice(points), once(points), atol=1e-9)
    # f(x) = (T_g f)(g x)
    assert torch.allclose(action.induced(a, function)(action(a, points)), function(points), atol=1e-9)


def scaling(angle: float, points: Tensor) -> Tensor:
    return points * (1.0 + 0.1 * angle)


def one_way(shift: int, points: Tensor) -> Tensor:
    """A right action: (ab)·x = b·(a·x)."""
    return points[:, list(shift)]  # type: ignore[call-overload]


BROKEN: dict[str, tuple[GroupAction[Any], str]] = {
    "no identity": (GroupAction(CyclicGroup(2), lambda a, x: x + 1.0), r"act\(identity, x\) = x"),
    "no composition": (GroupAction(RotationGroup(), scaling), r"act\(a, act\(b, x\)\) = act\(ab, x\)"),
    "from the right": (GroupAction(SymmetricGroup(3), one_way), r"act\(a, act\(b, x\)\) = act\(ab, x\)"),
    "too few turns": (GroupAction(CyclicGroup(2), lambda a, x: x.roll(a, 1)), r"act\(a, act\(b, x\)\) = act\(ab, x\)"),
    "not a number": (GroupAction(CyclicGroup(2), lambda a, x: x * torch.nan), r"act\(identity, x\) = x"),
}


@pytest.mark.parametrize(("action", "law"), BROKEN.values(), ids=BROKEN)
def test_what_breaks_an_axiom_is_no_action(action: GroupAction[Any], law: str) -> None:
    with pytest.raises(ValueError, match=f"Expected {law}; got a difference of .*, relative to the points"):
        check_axioms(action, normal(10, 3), generator())


def test_wrong_inverses_are_found() -> None:
    action = cyclic_shifts(5)

    class WrongInverse(CyclicGroup):  # type: ignore[misc]
        def inverse(self, a: int) -> int:
            return a

    with pytest.raises(ValueError, match=r"Expected act\(inverse of a, act\(a, x\)\) = x; got a difference of 2\.\d+"):
        check_axioms(replace(action, group=WrongInverse(5)), normal(10, 5), generator())


def test_a_small_violation_is_one_unless_it_is_tolerated() -> None:
    action = replace(plane_rotations(), act=lambda angle, x: plane_rotations()(angle, x) + 1e-5)
    with pytest.raises(ValueError, match=r"act\(identity, x\) = x; got a difference of 1\.\d+e-05"):
        check_axioms(action, torch.tensor([[1.0, 0.0]]), generator())
    axioms = check_axioms(action, torch.tensor([[1.0, 0.0]]), generator(), tolerance=1e-3)
    assert axioms.identity == pytest.approx(2**0.5 * 1e-5)
    assert check_axioms(plane_rotations(), normal(5, 2).float(), generator()).composition < 1e-6


# Equivariant maps, and what is not.


def radial(x: Tensor) -> Tensor:
    return x * (1.0 + x.square().sum(1, keepdim=True))


def convolution(x: Tensor) -> Tensor:
    kernel = torch.tensor([0.5, -1.0, 0.25])
    return torch.tanh(sum(weight * x.roll(shift, 1) for shift, weight in enumerate(kernel)))  # type: ignore[arg-type]


def pooled(x: Tensor) -> Tensor:
    return x.sin() + x.square().mean(1, keepdim=True)


EQUIVARIANT: dict[str, tuple[Callable[[Tensor], Tensor], str]] = {
    "radial on the plane": (radial, "plane"),
    "circular convolution": (convolution, "shifts"),
    "pooling over a set": (pooled, "permutations"),
    "an angle shifted": (lambda x: wrap(x + 3.0), "circle"),
    "the identity": (lambda x: x, "product"),
}


@pytest.mark.parametrize(("function", "name"), EQUIVARIANT.values(), ids=EQUIVARIANT)
def test_equivariant_maps_are_equivariant_to_rounding(function: Callable[[Tensor], Tensor], name: str) -> None:
    action, points = built(name)
    violation = equivariance_violation(function, action, action, points, generator())
    assert violation.rms <= violation.largest < 1e-13


@pytest.mark.parametrize("name", ["plane", "shifts", "permutations"])
def test_random_networks_are_not(name: str) -> None:
    action, points = built(name)
    flow = drawn_flow(points.shape[1], "affine")
    violation = equivariance_violation(lambda x: flow(x)[0], action, action, points, generator())
    assert violation.largest > violation.rms > 0.05


def test_the_size_of_a_violation_is_that_of_the_perturbation() -> None:
    action, points = built("plane")
    sizes = [
        equivariance_violation(lambda x, s=s: x + s * x.square(), action, action, points, generator()).rms
        for s in (0.01, 0.02)
    ]
    assert sizes[1] == pytest.approx(2 * sizes[0], rel=0.05)


def test_invariant_functions() -> None:
    for function, name in ((lambda x: x.norm(dim=1), "plane"), (lambda x: x.sort(1).values, "permutations")):
        action, points = built(name)
        assert invariance_violation(function, action, points, generator()).largest < 1e-14
        assert invariance_violation(lambda x: x[:, 0], action, points, generator()).rms > 0.5
    action, points = built("plane")
    assert invariance_violation(torch.zeros_like, action, points, generator()).largest == 0.0


def test_groups_have_to_be_the_same() -> None:
    with pytest.raises(
        ValueError, match=r"Expected two actions of one group; got RotationGroup\(\) and CyclicGroup\(n=2"
    ):
        equivariance_violation(lambda x: x, plane_rotations(), cyclic_shifts(2), normal(5, 2), generator())


def test_a_decoder_that_is_equivariant_block_by_block() -> None:
    # two latents for a position in the plane, three for what is passed around a ring; each has its own group
    widths = [2, 3]
    latents = product_action([plane_rotations(), cyclic_shifts(3)], widths)
    # it turns the position in x, and shifts the ring's entries by two places, each of which has two numbers
    observations = product_action([plane_rotations(), _shifted_pairs()], [2, 6])
    decode = blockwise([radial, lambda ring: torch.stack([convolution(ring), ring**3], 2).flatten(1)], widths)
    z = normal(30, 5)
    check_axioms(observations, decode(z), generator())
    assert equivariance_violation(decode, latents, observations, z, generator()).largest < 1e-13
    # an entangled decoder of the same latents is not, nor is this one with its blocks in another order
    mixing = torch.linalg.qr(normal(5, 5, seed=4))[0]
    entangled = equivariance_violation(lambda z: decode(z @ mixing), latents, observations, z, generator())
    assert entangled.rms > 0.3
    swapped = equivariance_violation(lambda z: decode(z.roll(2, 1)), latents, observations, z, generator())
    assert swapped.rms > 0.3


def _shifted_pairs() -> GroupAction[int]:
    return GroupAction(CyclicGroup(3), lambda shift, x: x.roll(2 * shift, 1))


# The rotations of the circle behind the torus counterexample, docs/theory.md section 4.


def conditional_density(scale: float) -> Callable[[Tensor], Tensor]:
    """A density p̃_1 of an angle (N, 1): a wrapped normal, nearly uniform when it is wide."""
    circle = ProductManifold([Circle()])
    return lambda angle: circle.wrapped_normal_log_density(angle, torch.full_like(angle, 0.7), scale).exp()


def test_rotations_leave_the_uniform_density_alone_and_no_other() -> None:
    grid = math.pi - 2 * math.pi * torch.arange(200.0).unsqueeze(1) / 200
    action = circle_rotations()
    uniform = conditional_density(30.0)
    assert torch.allclose(uniform(grid), torch.tensor(1 / (2 * math.pi)))
    assert invariance_violation(uniform, action, grid, generator()).largest < 1e-12
    assert invariance_violation(conditional_density(1.0), action, grid, generator()).rms > 0.5


def test_the_shear_keeps_a_uniform_intervened_variable_uniform_and_independent() -> None:
    # z'_1 = z_1 + z_0 turns the circle of z_1 by an angle that depends on z_0
    torus = ProductManifold([Circle(), Circle()])
    z = torus.sample_wrapped_normal(torch.zeros(100_000, 2), 0.8, generator())
    uniform = z.clone()
    uniform[:, 1:] = ProductManifold([Circle()]).sample_uniform(len(z), generator(1))

    def moment(angles: Tensor, first: int, second: int) -> float:
        """|E exp(i (first z_0 + second z_1))|; zero for all second ≥ 1 iff z_1 is uniform given z_0."""
        phase = first * angles[:, 0] + second * angles[:, 1]
        return float(torch.polar(torch.ones_like(phase), phase).mean().abs())

    def shear(angles: Tensor) -> Tensor:
        return torch.stack([angles[:, 0], wrap(angles[:, 0] + angles[:, 1])], 1)

    for first in range(-2, 3):
        for second in (1, 2):
            assert moment(uniform, first, second) < 0.012
            assert moment(shear(uniform), first, second) < 0.012
    # a variable that is not uniform comes out dependent on z_0: without dependence the moment would factorise
    sheared = shear(z)
    assert moment(z, -1, 1) == pytest.approx(moment(z, -1, 0) * moment(z, 0, 1), abs=0.01)
    assert moment(sheared, -1, 1) > moment(sheared, -1, 0) * moment(sheared, 0, 1) + 0.3


def test_wrong_arguments_are_errors() -> None:
    for action, columns in (
        (plane_rotations(), 2),
        (cyclic_shifts(4), 4),
        (permutations(3), 3),
        (variable_action(2), 2),
    ):
        with pytest.raises(ValueError, match=rf"Expected points of shape \(N, {columns}\); got \(5, 6\)"):
            action(action.group.identity(), normal(5, 6))  # type: ignore[attr-defined]
    with pytest.raises(ValueError, match="Expected 2 widths, one for each block; got 1"):
        product_action([plane_rotations(), cyclic_shifts(3)], [5])
    with pytest.raises(ValueError, match="Expected 1 widths, one for each block; got 2"):
        blockwise([radial], [2, 3])
    with pytest.raises(ValueError, match=r"Expected points of shape \(N, 5\); got \(4, 3\)"):
        blockwise([radial, radial], [2, 3])(normal(4, 3))
    for group in (CyclicGroup, SymmetricGroup):
        with pytest.raises(ValueError, match="Expected a group on at least 1 entry; got 0"):
            group(0)
