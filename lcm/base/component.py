"""The common ground of everything a latent causal model is built from: settings that rebuild a module.

A component is saved as its `kind`, its `settings` (plain JSON values that its constructor takes) and its
tensors, and is rebuilt without unpickling anything.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, Self

from torch import nn

from lcm.base.kinds import Kinds
from lcm.base.settings import require_mapping, require_settings
from lcm.base.text import shown


class Component(Kinds, nn.Module, ABC):
    """Abstract: a part of a latent causal model, rebuilt from `kind` and `settings`, then filled with its tensors."""

    @abstractmethod
    def settings(self) -> dict[str, Any]:
        """Constructor arguments as JSON values; nested components as {"kind": …, "settings": …}."""

    @classmethod
    def build(cls, part: Self | dict[str, Any]) -> Self:
        """A component of this family as it is, or rebuilt from what `describe` gives.

        Raises:
            ValueError: a kind that the family does not have, or settings that its constructor does not take.
        """
        if isinstance(part, Component):
            return part
        given = require_mapping(part, "a component", ("kind", "settings"))
        kind = given["kind"]
        if not isinstance(kind, str) or kind not in cls.kinds:
            raise ValueError(f"Expected a component of kind {', '.join(sorted(cls.kinds))}; got {shown(kind)}.")
        found: Callable[..., Self] = cls.kinds[kind]
        return found(**require_settings(given["settings"], cls.kinds[kind], kind))


def describe(component: Component) -> dict[str, Any]:
    """JSON description of a component, without its tensors."""
    return {"kind": component.kind, "settings": component.settings()}
