"""Graph discovery on fitted variables, for any model (docs/graph-search.md). Imports no torch until it is used."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from lcm.peer.search.config import METHODS, EncoConfig, GraphSearchConfig, NetworksConfig, SearchMethod

if TYPE_CHECKING:
    from lcm.peer.search.variables import FittedVariables
    from lcm.readout.evidence import FoundGraph

__all__ = ["METHODS", "EncoConfig", "GraphSearchConfig", "NetworksConfig", "SearchMethod", "discover"]


def discover(
    variables: FittedVariables,
    method: SearchMethod | None = None,
    seed: int = 0,
    *,
    config: GraphSearchConfig | None = None,
    false_discovery_rate: float = 0.05,
) -> FoundGraph:
    """Find the graph over fitted variables, here and now; equal arguments give equal graphs.

    Args:
        variables: encodings of pairs, all (N, n).
        method: one of `METHODS`; overrides that of `config`.
        seed: of the networks, where the method trains any.
        config: all other settings.
        false_discovery_rate: of the method `tests`; the level of every test of `pc`.

    Raises:
        ValueError: an unknown method, a rate outside (0, 1), or a library that is not installed.
    """
    import torch

    from lcm.learn.training.loop import run_alone
    from lcm.learn.training.tracker import Recorder
    from lcm.peer.search.search import find_graph

    config = config or GraphSearchConfig()
    if method is not None:
        config = replace(config, method=method)
    generator = torch.Generator(variables.z.device).manual_seed(seed)
    return run_alone(
        find_graph(variables, config, generator, false_discovery_rate), Recorder().stage(0, f"graph by {config.method}")
    )
