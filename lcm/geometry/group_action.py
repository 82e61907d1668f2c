"""Groups that act on points, the axioms of an action checked numerically, and the action on functions.

A group G acts on points x when e·x = x and a·(b·x) = (ab)·x for all of its elements (docs/geometry.md section 3).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, NamedTuple, TypeVar, final

import torch
from torch import Tensor

_LAWS = {
    "identity": "act(identity, x) = x",
    "composition": "act(a, act(b, x)) = act(ab, x)",
    "inverse": "act(inverse of a, act(a, x)) = x",
}

Element = TypeVar("Element")


class Group(ABC, Generic[Element]):
    """Abstract: a group, with elements of any type."""

    @abstractmethod
    def identity(self) -> Element:
        """e."""

    @abstractmethod
    def compose(self, a: Element, b: Element) -> Element:
        """ab, which acts as b first and then a."""

    @abstractmethod
    def inverse(self, a: Element) -> Element:
        """a⁻¹."""

    @abstractmethod
    def sample(self, generator: torch.Generator) -> Element:
        """A random element; uniform where the group is compact."""


@final
@dataclass(frozen=True, eq=False)
class GroupAction(Generic[Element]):
    """A group with the map (g, x) → g·x on points x (N, …), row by row.

    Attributes:
        group: the elements and their law.
        act: takes an element and points.
        difference: of two batches of points, zero where they are equal; for angles it wraps.
    """

    group: Group[Element]
    act: Callable[[Element, Tensor], Tensor]
    difference: Callable[[Tensor, Tensor], Tensor] = torch.sub

    def __call__(self, element: Element, points: Tensor) -> Tensor:
        """g·x (N, …)."""
        return self.act(element, points)

    def induced(self, element: Element, function: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
        """T_g f: x → f(g⁻¹·x), the action on functions of points; T_a T_b = T_ab."""
        inverse = self.group.inverse(element)
        return lambda points: function(self.act(inverse, points))


def trivial_action(group: Group[Element]) -> GroupAction[Element]:
    """The action that leaves every point where it is."""
    return GroupAction(group, lambda _, points: points)


@final
@dataclass(frozen=True)
class Axioms:
    """By how much an action misses its axioms: the largest difference of a row, relative to the RMS norm of rows.

    identity: e·x and x. composition: a·(b·x) and (ab)·x, which implies that products are associative as far as points
    can tell. inverse: a⁻¹·(a·x) and x.
    """

    identity: float
    composition: float
    inverse: float


@torch.no_grad()
def check_axioms(
    action: GroupAction[Element],
    points: Tensor,
    generator: torch.Generator,
    n_pairs: int = 16,
    tolerance: float | None = None,
) -> Axioms:
    """Try the axioms on points (N, …) and random pairs of elements; what passes is likely, not certain.

    Args:
        action: what claims to be one.
        points: on which to try, not all alike.
        generator: for the elements.
        n_pairs: how many pairs (a, b).
        tolerance: the largest relative difference that counts as rounding; default: the square root of the
            precision of `points`.

    Raises:
        ValueError: an axiom that does not hold, with the size of the difference.
    """
    group = action.group
    tolerance = torch.finfo(points.dtype).eps ** 0.5 if tolerance is None else tolerance
    scale = row_scale(points)
    sizes: dict[str, list[Tensor]] = {law: [] for law in _LAWS}

    def compare(law: str, one: Tensor, other: Tensor) -> None:
        sizes[law].append(row_norms(action.difference(one, other)).max() / scale)

    compare("identity", action(group.identity(), points), points)
    for _ in range(n_pairs):
        a, b = group.sample(generator), group.sample(generator)
        compare("composition", action(a, action(b, points)), action(group.compose(a, b), points))
        compare("inverse", action(group.inverse(a), action(a, points)), points)
    # torch's maximum keeps a NaN
    found = {law: float(torch.stack(each).max()) for law, each in sizes.items()}
    for law, size in found.items():
        if not size <= tolerance:
            raise ValueError(f"Expected {_LAWS[law]}; got a difference of {size:.3g}, relative to the points.")
    return Axioms(**found)


def row_norms(values: Tensor) -> Tensor:
    """Norms (N,) of rows (N, …)."""
    return torch.linalg.vector_norm(values.reshape(len(values), -1), dim=1)


def row_scale(values: Tensor) -> float:
    """The RMS norm of rows (N, …), or 1 where all are zero."""
    return float(row_norms(values).square().mean().sqrt()) or 1.0


@final
@dataclass(frozen=True)
class ProductGroup(Group[tuple[Any, ...]]):
    """G_1 × … × G_k, whose elements are tuples of one element each."""

    groups: tuple[Group[Any], ...]

    def identity(self) -> tuple[Any, ...]:
        return tuple(group.identity() for group in self.groups)

    def compose(self, a: tuple[Any, ...], b: tuple[Any, ...]) -> tuple[Any, ...]:
        return tuple(group.compose(*pair) for group, *pair in zip(self.groups, a, b, strict=True))

    def inverse(self, a: tuple[Any, ...]) -> tuple[Any, ...]:
        return tuple(group.inverse(part) for group, part in zip(self.groups, a, strict=True))

    def sample(self, generator: torch.Generator) -> tuple[Any, ...]:
        return tuple(group.sample(generator) for group in self.groups)


def product_action(actions: Sequence[GroupAction[Any]], widths: Sequence[int]) -> GroupAction[tuple[Any, ...]]:
    """Each group acts on a block of columns of its own: points (N, D) are split into `widths`, which sum to D.

    Raises:
        ValueError: another number of widths than of actions; when acting, points of another D.
    """
    _require_equal_counts("widths", len(widths), len(actions))

    def act(element: tuple[Any, ...], points: Tensor) -> Tensor:
        blocks = _split(points, widths)
        return torch.cat([action(g, x) for action, g, x in zip(actions, element, blocks, strict=True)], 1)

    def difference(one: Tensor, other: Tensor) -> Tensor:
        blocks = zip(actions, _split(one, widths), _split(other, widths), strict=True)
        return torch.cat([action.difference(x, y) for action, x, y in blocks], 1)

    return GroupAction(ProductGroup(tuple(action.group for action in actions)), act, difference)


def blockwise(functions: Sequence[Callable[[Tensor], Tensor]], widths: Sequence[int]) -> Callable[[Tensor], Tensor]:
    """The map that takes points (N, D), block by block, through a function each, and joins the results.

    Raises:
        ValueError: another number of widths than of functions; when called, points of another D.
    """
    _require_equal_counts("widths", len(widths), len(functions))
    return lambda points: torch.cat([f(x) for f, x in zip(functions, _split(points, widths), strict=True)], 1)


def _require_equal_counts(what: str, count: int, expected: int) -> None:
    if count != expected:
        raise ValueError(f"Expected {expected} {what}, one for each block; got {count}.")


def _split(points: Tensor, widths: Sequence[int]) -> tuple[Tensor, ...]:
    require_columns(points, sum(widths))
    return points.split(list(widths), 1)


def require_columns(points: Tensor, columns: int) -> None:
    """Raises ValueError when points are not (N, columns)."""
    if points.dim() != 2 or points.shape[1] != columns:
        raise ValueError(f"Expected points of shape (N, {columns}); got {tuple(points.shape)}.")


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
