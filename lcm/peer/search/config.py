"""Settings of graph searches over fitted variables. Imports no torch."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, final, get_args

from lcm.base.requirement import require, require_at_least, require_positive

SearchMethod = Literal["tests", "jacobian", "dependence", "enco", "pc", "ges", "gies", "lingam", "none"]

METHODS: tuple[SearchMethod, ...] = get_args(SearchMethod)
LIBRARY_METHODS: tuple[SearchMethod, ...] = ("pc", "ges", "gies", "lingam")
"""The methods that need the extra `discovery`."""
RATED_METHODS: tuple[SearchMethod, ...] = ("tests", "pc")
"""The methods that take a false discovery rate; `pc` uses it as the level of its tests."""


@final
@dataclass(frozen=True)
class NetworksConfig:
    """Mechanisms (tests) and solution functions (jacobian, dependence) fitted on the encodings, and their optimiser.

    Attributes:
        hidden: width of each network.
        bins: of monotone splines.
        steps: at most; with 0, they are linear closed forms without networks.
        batch_size: pairs a step.
        learning_rate: the largest step size; it falls to a hundredth of it in the second half of the steps.
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

    Attributes:
        hidden: width of each conditional network.
        steps: of networks and graph.
        graphs: number K sampled in every step.
        batch_size: rows, observed and intervened on, in every step.
        warm_up: share of the steps before the graph moves.
    """

    hidden: int = 16
    steps: int = 2000
    graphs: int = 32
    batch_size: int = 256
    warm_up: float = 0.2

    def __post_init__(self) -> None:
        require_at_least(self, 1, "hidden", "steps", "batch_size")
        require_at_least(self, 2, "graphs")
        if self.graphs > self.batch_size:
            raise ValueError(f"graphs: Expected at most batch_size, {self.batch_size}; got {self.graphs}.")
        require(self, ("warm_up",), lambda value: 0 <= value < 1, "a share of the steps in [0, 1)")


@final
@dataclass(frozen=True)
class GraphSearchConfig:
    """The search for the graph over fitted variables (docs/graph-search.md).

    Attributes:
        method: none leaves the graph empty; pc, ges, gies and lingam need the extra `discovery`.
        threshold: least strength of an edge for jacobian, dependence and lingam, in standard deviations of the effect
            per standard deviation of the cause.
        networks: of the methods tests, jacobian and dependence.
        enco: of the method enco.
    """

    method: SearchMethod = "tests"
    threshold: float = 0.1
    networks: NetworksConfig = field(default_factory=NetworksConfig)
    enco: EncoConfig = field(default_factory=EncoConfig)

    def __post_init__(self) -> None:
        if self.method not in METHODS:
            raise ValueError(f"method: Expected one of {', '.join(METHODS)}; got {self.method!r}.")
        require_positive(self, "threshold")
