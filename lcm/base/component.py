"""The common ground of everything a latent causal model is built from: settings that rebuild a module.

A component is saved as its `kind`, its `settings` (plain JSON values that its constructor takes) and its
tensors, and is rebuilt without unpickling anything.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, Self

from torch import nn

from lcm.base.kinds import Kinds


class Component(Kinds, nn.Module, ABC):
    """Abstract: a part of a latent causal model, rebuilt from `kind` and `settings`, then filled with its tensors."""

    @abstractmethod
    def settings(self) -> dict[str, Any]:
        """Constructor arguments as JSON values; nested components as {"kind": …, "settings": …}."""

    @classmethod
    def build(cls, part: Self | dict[str, Any]) -> Self:
        """A component of this family as it is, or rebuilt from what `describe` gives.

        Raises:
            ValueError: a kind that the family does not have.
        """
        if not isinstance(part, dict):
            return part
        kind = part.get("kind")
        if kind not in cls.kinds:
            raise ValueError(f"Expected a component of kind {', '.join(sorted(cls.kinds))}; got {kind!r}.")
        built: Self = cls.kinds[kind](**part["settings"])
        return built


def describe(component: Component) -> dict[str, Any]:
    """JSON description of a component, without its tensors."""
    return {"kind": component.kind, "settings": component.settings()}
