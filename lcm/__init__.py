"""Latent causal models: from pairs before and after an unknown intervention to the variables and their graph.

Importing the package loads nothing heavy; each public name is imported when it is first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lcm.data.pairs import PairData, load_pairs, save_pairs
    from lcm.isomorphism import find_isomorphism
    from lcm.model.graph import Graph
    from lcm.model.latent_causal_model import LatentCausalModel
    from lcm.model.storage import load_causal_model as load
    from lcm.run.fitting import fit, fit_ensemble

__version__ = "0.1.0"

__all__ = [
    "Graph",
    "LatentCausalModel",
    "PairData",
    "__version__",
    "find_isomorphism",
    "fit",
    "fit_ensemble",
    "load",
    "load_pairs",
    "save_pairs",
]

_HOMES = {
    "Graph": ("lcm.model.graph", "Graph"),
    "LatentCausalModel": ("lcm.model.latent_causal_model", "LatentCausalModel"),
    "PairData": ("lcm.data.pairs", "PairData"),
    "find_isomorphism": ("lcm.isomorphism", "find_isomorphism"),
    "fit": ("lcm.run.fitting", "fit"),
    "fit_ensemble": ("lcm.run.fitting", "fit_ensemble"),
    "load": ("lcm.model.storage", "load_causal_model"),
    "load_pairs": ("lcm.data.pairs", "load_pairs"),
    "save_pairs": ("lcm.data.pairs", "save_pairs"),
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module, attribute = _HOMES[name]
    value = getattr(import_module(module), attribute)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
