"""The common ground of everything a latent causal model is built from: settings that rebuild a module.

A component is saved as its `kind`, its `settings` (plain JSON values that its constructor takes) and its
tensors, and is rebuilt without unpickling anything.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, ClassVar

from torch import nn


class Component(nn.Module, ABC):
    """A part of a latent causal model, rebuilt from `kind` and `settings`, then filled with its tensors."""

    kind: ClassVar[str]

    @abstractmethod
    def settings(self) -> dict[str, Any]:
        """Constructor arguments as JSON values; nested components as {"kind": …, "settings": …}."""


def describe(component: Component) -> dict[str, Any]:
    """JSON description of a component, without its tensors."""
    return {"kind": component.kind, "settings": component.settings()}


def build(description: dict[str, Any], kinds: dict[str, type]) -> Any:
    """Rebuild a component from `describe`'s output.

    Raises:
        ValueError: the kind is not one of `kinds`.
    """
    kind = description.get("kind")
    if kind not in kinds:
        raise ValueError(f"Expected a component of kind {', '.join(sorted(kinds))}; got {kind!r}.")
    return kinds[kind](**description["settings"])
