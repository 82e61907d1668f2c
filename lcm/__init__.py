"""Latent causal models: from pairs before and after an unknown intervention to the variables and their graph.

Importing the package loads nothing heavy; each public name is imported when it is first used.
"""

from __future__ import annotations

import os
from importlib import import_module
from typing import TYPE_CHECKING, Any

from lcm.base import __version__
from lcm.base.clash import warn_of_other_distributions

if TYPE_CHECKING:
    from lcm.data.pair_files import load_pairs, save_pairs
    from lcm.data.pairs import PairData
    from lcm.isomorphism import find_isomorphism
    from lcm.metric.scores import evaluate
    from lcm.model.do import Do
    from lcm.model.graph import Graph
    from lcm.model.latent_causal_model import LatentCausalModel
    from lcm.model.scm import SCM
    from lcm.run.assumption import Certificate
    from lcm.run.check import check_pairs
    from lcm.run.config import FitConfig
    from lcm.run.estimator import LatentCausalRepresentation
    from lcm.run.fitting import fit_ensemble
    from lcm.run.naming import name_variables
    from lcm.run.planning import plan_pairs
    from lcm.run.public import fit, load, save
    from lcm.run.refitting import refit
    from lcm.run.result import FitResult

_HOMES = {
    "Certificate": "lcm.run.assumption",
    "Do": "lcm.model.do",
    "FitConfig": "lcm.run.config",
    "FitResult": "lcm.run.result",
    "Graph": "lcm.model.graph",
    "LatentCausalModel": "lcm.model.latent_causal_model",
    "LatentCausalRepresentation": "lcm.run.estimator",
    "PairData": "lcm.data.pairs",
    "SCM": "lcm.model.scm",
    "check_pairs": "lcm.run.check",
    "evaluate": "lcm.metric.scores",
    "find_isomorphism": "lcm.isomorphism",
    "fit": "lcm.run.public",
    "fit_ensemble": "lcm.run.fitting",
    "load": "lcm.run.public",
    "load_pairs": "lcm.data.pair_files",
    "name_variables": "lcm.run.naming",
    "plan_pairs": "lcm.run.planning",
    "refit": "lcm.run.refitting",
    "save": "lcm.run.public",
    "save_pairs": "lcm.data.pair_files",
}

__all__ = [
    "SCM",
    "Certificate",
    "Do",
    "FitConfig",
    "FitResult",
    "Graph",
    "LatentCausalModel",
    "LatentCausalRepresentation",
    "PairData",
    "__version__",
    "check_pairs",
    "evaluate",
    "find_isomorphism",
    "fit",
    "fit_ensemble",
    "load",
    "load_pairs",
    "name_variables",
    "plan_pairs",
    "refit",
    "save",
    "save_pairs",
]

# another package of this name, for messages between robots, may write to the same folder
warn_of_other_distributions(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
