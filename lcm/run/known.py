"""Which side information each model can use, and what it must look like."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from lcm.data.pairs import PairData
from lcm.learn.known import known_graph
from lcm.model.intervention import TargetDistribution
from lcm.run.config import FitConfig

SUPERVISED = "vae-supervised-interventions"
_LEARNED_GRAPH = ("elcm-flow", "elcm-vae")
_NO_TARGETS = (*_LEARNED_GRAPH, "beta-vae")
_NO_GRAPH = ("beta-vae",)
_NO_ORDER = ("dvae", "beta-vae", SUPERVISED)


def require_usable(config: FitConfig, n: int) -> None:
    """Raise ValueError for a graph or an order that does not fit n variables, or that this model cannot use."""
    known = config.known
    if known.targets and config.model in _NO_TARGETS:
        raise ValueError(f"known.targets: Expected a model that makes use of targets; got {config.model}.")
    if known.graph is not None and config.model in _NO_GRAPH:
        raise ValueError(f"known.graph: Expected a model that makes use of a graph; got {config.model}.")
    if known.graph is not None:
        known_graph(known, n)
    if known.order is not None and sorted(known.order) != list(range(n)):
        raise ValueError(f"known.order: Expected each of the variables 0..{n - 1} once; got {list(known.order)}.")
    if known.order is not None and known.graph is not None:
        raise ValueError("known.order: Expected none beside known.graph, which has one; got both.")
    if known.order is not None and config.model in _NO_ORDER:
        raise ValueError(f"known.order: Expected a model that learns with an order; got {config.model}.")
    if config.model in _LEARNED_GRAPH and known.order not in (None, tuple(range(n))):
        raise ValueError(
            f"known.order: Expected [0, 1, …], in which {config.model} numbers its variables; got {list(known.order)}."
        )
    numbered = knows_targets(config) or config.model in _LEARNED_GRAPH
    if not numbered and (known.graph is not None or known.order is not None):
        key = "order" if known.graph is None else "graph"
        raise ValueError(
            f"known.{key}: Expected known.targets beside it, which number the variables of {config.model}; got none."
        )


def knows_targets(config: FitConfig) -> bool:
    """Whether the fit is to know the targets of the data."""
    return config.known.targets or config.model == SUPERVISED


def known_targets(data: PairData, config: FitConfig, family: TargetDistribution) -> NDArray[np.bool_] | None:
    """The targets (N, n) of the data where the fit is to know them, None otherwise.

    Raises:
        ValueError: data without targets, or with targets of another number of variables or outside the family.
    """
    if not knows_targets(config):
        return None
    at = f"{data.source}: targets" if data.source else "targets"
    if data.targets is None:
        raise ValueError(f"{at}: Expected the targets of every pair, which this fit is to know; got none.")
    if data.targets.shape[1] != family.n:
        raise ValueError(f"{at}: Expected {family.n} variables, as fitted; got {data.targets.shape[1]}.")
    sets = {tuple(row) for row in family.target_sets.tolist()}
    strange = [row for row in np.unique(data.targets, axis=0).tolist() if tuple(row) not in sets]
    if strange:
        listed = np.flatnonzero(strange[0]).tolist()
        raise ValueError(f"{at}: Expected sets of the intervention family; got {listed}.")
    return data.targets
