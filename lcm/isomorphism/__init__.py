"""LCM isomorphisms (docs/theory.md section 1): applied to a model, and found between two."""

from __future__ import annotations

from lcm.isomorphism.apply import Isomorphism
from lcm.isomorphism.comparison import Comparison
from lcm.isomorphism.find import find_isomorphism
from lcm.isomorphism.findings import Tolerances

__all__ = ["Comparison", "Isomorphism", "Tolerances", "find_isomorphism"]
