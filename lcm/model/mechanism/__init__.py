"""Causal mechanisms, batched over all variables, each a diffeomorphism in its noise.

A new kind is one file with a `Mechanism` (a `TrainableMechanism` if fits may use it), a `MechanismConfig` if natures
may draw it, and one line here.
"""

from __future__ import annotations

from lcm.model.mechanism.base import (
    Mechanism,
    MechanismConfig,
    ReparametrisedMechanism,
    TrainableMechanism,
    require_trainable,
)
from lcm.model.mechanism.circuit import CircuitMechanism, CircuitMechanismConfig
from lcm.model.mechanism.location_scale import (
    AdditiveMechanism,
    AdditiveMechanismConfig,
    BimodalWeightConfig,
    LinearMechanism,
    LinearMechanismConfig,
    LocationScaleMechanism,
    LocationScaleMechanismConfig,
    UniformWeightConfig,
    raw_log_scale,
)
from lcm.model.mechanism.product import ProductMechanism
from lcm.model.mechanism.spline import SplineMechanism, SplineMechanismConfig

__all__ = [
    "AdditiveMechanism",
    "AdditiveMechanismConfig",
    "BimodalWeightConfig",
    "CircuitMechanism",
    "CircuitMechanismConfig",
    "LinearMechanism",
    "LinearMechanismConfig",
    "LocationScaleMechanism",
    "LocationScaleMechanismConfig",
    "Mechanism",
    "MechanismConfig",
    "ProductMechanism",
    "ReparametrisedMechanism",
    "SplineMechanism",
    "SplineMechanismConfig",
    "TrainableMechanism",
    "UniformWeightConfig",
    "raw_log_scale",
    "require_trainable",
]
