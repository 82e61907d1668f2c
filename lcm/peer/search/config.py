"""Settings of graph discovery on fitted variables. Imports no torch."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, final, get_args

from lcm.base.config import require, require_at_least, require_positive

SearchMethod = Literal["tests", "jacobian", "dependence", "enco", "pc", "ges", "gies", "lingam", "none"]

METHODS: tuple[SearchMethod, ...] = get_args(SearchMethod)
LIBRARY_METHODS: tuple[SearchMethod, ...] = ("pc", "ges", "gies", "lingam")
"""Those that need the extra `discovery`."""
RATED_METHODS: tuple[SearchMethod, ...] = ("tests", "pc")
"""Those that take a false discovery rate, `pc` as the level of its tests."""


@final
@dataclass(frozen=True)
class NetworksConfig:
    """Mechanisms (tests) and solution functions (jacobian, dependence) fitted on the encodings, and their optimiser.

    `steps` 0: linear closed forms alone, and no networks.
    """

    hidden: int = 32
    bins: int = 8
    steps: int = 1000
    batch_size: int = 2048
    learning_rate: float = 1e-2

    def __post_init__(self) -> None:
        require_at_least(self, 1, "hidden", "bins", "batch_size")
        require_positive(self, "learning_rate")
        require_at_least(self, 0, "steps")


@final
@dataclass(frozen=True)
class EncoConfig:
    """ENCO (Lippe et al. 2022): conditional networks and graph parameters, fitted in turn in every step.

    hidden: width of each conditional network. steps: of networks and graph. graphs: K, sampled in every step.
    batch_size: rows, observed and intervened on, for every step. warm_up: share of the steps before the graph moves.
    sparsity: nats that an edge must gain. edge_rate, orientation_rate: step sizes of γ and θ.
    """

    hidden: int = 16
    steps: int = 2000
    graphs: int = 32
    batch_size: int = 256
    learning_rate: float = 1e-2
    warm_up: float = 0.2
    sparsity: float = 0.004
    edge_rate: float = 2e-2
    orientation_rate: float = 5e-2

    def __post_init__(self) -> None:
        require_at_least(self, 1, "hidden", "steps", "batch_size")
        require_at_least(self, 2, "graphs")
        require_positive(self, "learning_rate", "edge_rate", "orientation_rate")
        if self.graphs > self.batch_size:
            raise ValueError(f"graphs: Expected at most batch_size, {self.batch_size}; got {self.graphs}.")
        require(self, ("warm_up",), lambda value: 0 <= value < 1, "a share of the steps in [0, 1)")
        require_at_least(self, 0, "sparsity")


@final
@dataclass(frozen=True)
class GraphSearchConfig:
    """How the graph over fitted variables is found (docs/graph-search.md).

    method: none leaves it empty; pc, ges, gies and lingam need the extra `discovery`.
    threshold: least strength of an edge for jacobian, dependence and lingam, in standard deviations of the effect for
    one of the cause.
    """

    method: SearchMethod = "tests"
    threshold: float = 0.1
    networks: NetworksConfig = field(default_factory=NetworksConfig)
    enco: EncoConfig = field(default_factory=EncoConfig)

    def __post_init__(self) -> None:
        if self.method not in METHODS:
            raise ValueError(f"method: Expected one of {', '.join(METHODS)}; got {self.method!r}.")
        require_positive(self, "threshold")
