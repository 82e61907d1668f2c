"""How nearly a map is equivariant or invariant under a group: f(g·x) against g·f(x)."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from lcm.geometry.group_action import Element, GroupAction, row_norms, row_scale, trivial_action


class Violation(NamedTuple):
    """The largest and the RMS difference of a row, both relative to the RMS norm of the rows of f(x)."""

    largest: float
    rms: float


@torch.no_grad()
def equivariance_violation(
    function: Callable[[Tensor], Tensor],
    action_in: GroupAction[Element],
    action_out: GroupAction[Element],
    points: Tensor,
    generator: torch.Generator,
    n_elements: int = 32,
) -> Violation:
    """The size of g·f(x) − f(g·x) over points x (N, …) and random g; rounding errors alone for an equivariant f.

    Args:
        function: takes (N, …), returns (N, …).
        action_in, action_out: of one group, before and behind the function.
        points: where to try.
        generator: for the elements.
        n_elements: how many g.

    Raises:
        ValueError: actions of different groups.
    """
    if action_in.group != action_out.group:
        raise ValueError(f"Expected two actions of one group; got {action_in.group} and {action_out.group}.")
    values = function(points)
    elements = [action_in.group.sample(generator) for _ in range(n_elements)]
    norms = torch.stack(
        [row_norms(action_out.difference(action_out(g, values), function(action_in(g, points)))) for g in elements]
    )
    scale = row_scale(values)
    return Violation(float(norms.max()) / scale, float(norms.square().mean().sqrt()) / scale)


def invariance_violation(
    function: Callable[[Tensor], Tensor],
    action: GroupAction[Element],
    points: Tensor,
    generator: torch.Generator,
    n_elements: int = 32,
) -> Violation:
    """The size of f(x) − f(g·x): equivariance with the trivial action behind the function."""
    return equivariance_violation(function, action, trivial_action(action.group), points, generator, n_elements)
