"""Causal mechanisms, batched over all variables, each a diffeomorphism in its noise."""

from __future__ import annotations

from lcm.model.mechanism.base import Mechanism
from lcm.model.mechanism.circuit import CircuitMechanism
from lcm.model.mechanism.location_scale import (
    AdditiveMechanism,
    LinearMechanism,
    LocationScaleMechanism,
    SplineMechanism,
)
from lcm.model.mechanism.product import ProductMechanism

MECHANISM_KINDS: dict[str, type[Mechanism]] = {
    cls.kind: cls
    for cls in (
        LinearMechanism,
        AdditiveMechanism,
        LocationScaleMechanism,
        SplineMechanism,
        ProductMechanism,
        CircuitMechanism,
    )
}

__all__ = [
    "MECHANISM_KINDS",
    "AdditiveMechanism",
    "CircuitMechanism",
    "LinearMechanism",
    "LocationScaleMechanism",
    "Mechanism",
    "ProductMechanism",
    "SplineMechanism",
]
