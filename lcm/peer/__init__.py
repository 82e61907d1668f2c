"""The peers: other models of the same pairs, a folder each, and searches for a graph over the variables of any."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import Any

from lcm.model.pair_model import MODEL_TYPES, PairModel


def _later(module: str, name: str) -> Callable[[dict[str, Any]], PairModel]:
    """What rebuilds a model of a class that is imported when it is needed."""

    def build(description: dict[str, Any]) -> PairModel:
        model: PairModel = getattr(import_module(module), name).build(description)
        return model

    return build


MODEL_TYPES["ilcm-vae"] = _later("lcm.peer.implicit.vae", "ImplicitVAE")
MODEL_TYPES["elcm-vae"] = _later("lcm.peer.explicit.vae", "ExplicitVAE")
for kind in ("dvae", "beta-vae", "vae-supervised-interventions"):
    MODEL_TYPES[kind] = _later("lcm.peer.disentanglement.vae", "DisentanglementVAE")
