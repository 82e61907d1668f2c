"""Geometry of latent spaces: product manifolds, metrics pulled back through decoders, and group actions.

docs/geometry.md has an example of each.
"""

from __future__ import annotations

from lcm.geometry.factors import Circle, Euclidean, Factor, Hyperbolic, Sphere, Torus
from lcm.geometry.group_action import (
    Axioms,
    Group,
    GroupAction,
    ProductGroup,
    Violation,
    blockwise,
    check_axioms,
    equivariance_violation,
    invariance_violation,
    product_action,
    trivial_action,
)
from lcm.geometry.groups import (
    CyclicGroup,
    IsomorphismGroup,
    RotationGroup,
    SymmetricGroup,
    circle_rotations,
    cyclic_shifts,
    noise_action,
    permutations,
    plane_rotations,
    variable_action,
)
from lcm.geometry.product import ProductManifold
from lcm.geometry.pullback import (
    Geodesics,
    curve_energy,
    curve_length,
    find_geodesics,
    jacobian,
    log_magnification,
    magnification,
    pullback_metric,
)

__all__ = [
    "Axioms",
    "Circle",
    "CyclicGroup",
    "Euclidean",
    "Factor",
    "Geodesics",
    "Group",
    "GroupAction",
    "Hyperbolic",
    "IsomorphismGroup",
    "ProductGroup",
    "ProductManifold",
    "RotationGroup",
    "Sphere",
    "SymmetricGroup",
    "Torus",
    "Violation",
    "blockwise",
    "check_axioms",
    "circle_rotations",
    "curve_energy",
    "curve_length",
    "cyclic_shifts",
    "equivariance_violation",
    "find_geodesics",
    "invariance_violation",
    "jacobian",
    "log_magnification",
    "magnification",
    "noise_action",
    "permutations",
    "plane_rotations",
    "product_action",
    "pullback_metric",
    "trivial_action",
    "variable_action",
]
