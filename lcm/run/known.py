"""Which side information each model can use, and what it must look like."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from lcm.data.pairs import PairData
from lcm.learn.known import known_graph
from lcm.model.intervention import TargetDistribution
from lcm.peer import PEERS
from lcm.run.config import FitConfig

_MAKES_USE_OF = {
    "targets": "makes use of targets",
    "graph": "makes use of a graph",
    "order": "learns with an order",
}


def require_usable(config: FitConfig, n: int) -> None:
    """Raise ValueError for a graph or an order that does not fit n variables, or that this model cannot use."""
    known, learns_graph = config.known, config.model in PEERS and PEERS[config.model].learns_graph
    _require_known_by_model(config, "targets", known.targets)
    _require_known_by_model(config, "graph", known.graph is not None)
    if known.graph is not None:
        known_graph(known, n)
    if known.order is not None and sorted(known.order) != list(range(n)):
        raise ValueError(f"known.order: Expected each of the variables 0..{n - 1} once; got {list(known.order)}.")
    if known.order is not None and known.graph is not None:
        raise ValueError("known.order: Expected none beside known.graph, which has one; got both.")
    _require_known_by_model(config, "order", known.order is not None)
    if learns_graph and known.order not in (None, tuple(range(n))):
        raise ValueError(
            f"known.order: Expected [0, 1, …], in which {config.model} numbers its variables; got {list(known.order)}."
        )
    numbered = knows_targets(config) or learns_graph
    if not numbered and (known.graph is not None or known.order is not None):
        key = "order" if known.graph is None else "graph"
        raise ValueError(
            f"known.{key}: Expected known.targets beside it, which number the variables of {config.model}; got none."
        )


def _require_known_by_model(config: FitConfig, key: str, given: bool) -> None:
    if given and config.model in PEERS and key not in PEERS[config.model].knows:
        raise ValueError(f"known.{key}: Expected a model that {_MAKES_USE_OF[key]}; got {config.model}.")


def knows_targets(config: FitConfig) -> bool:
    """Whether the fit uses the targets of the data."""
    return config.known.targets or (config.model in PEERS and PEERS[config.model].needs_targets)


def known_targets(data: PairData, config: FitConfig, family: TargetDistribution) -> NDArray[np.bool_] | None:
    """The targets (N, n) of the data if the fit uses them, None otherwise.

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
