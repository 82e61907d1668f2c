"""What the settings of a config must hold; imports no torch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


def require(config: object, keys: tuple[str, ...], holds: Callable[[Any], bool], expected: str) -> None:
    """Raise a ValueError that names the first of `keys` whose value is given and does not hold."""
    for key in keys:
        value = getattr(config, key)
        if value is not None and not holds(value):
            raise ValueError(f"{key}: Expected {expected}; got {value}.")


def require_positive(config: object, *keys: str) -> None:
    """`require` for numbers above 0."""
    require(config, keys, lambda value: value > 0, "a positive number")


def require_at_least(config: object, least: float, *keys: str) -> None:
    """`require` for numbers of at least `least`."""
    require(config, keys, lambda value: value >= least, f"at least {least:g}")
