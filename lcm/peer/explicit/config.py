"""Settings of the explicit models, whose graph is learned together with everything else (docs/explicit-models.md)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, final

from lcm.base.config import require, require_at_least, require_positive


@final
@dataclass(frozen=True)
class ExplicitConfig:
    """An explicit latent causal model with a learned graph, and its optimiser, for both decoders.

    graph: how it is parametrised; fixed takes a graph, order means causes first in the numbering.
    layers, hidden: of the flow, residual blocks, 8 by default; of the autoencoder, layers of both networks, 2.
    steps: those with a sampled graph, 3,000 by default; `refit_steps` follow with the decided one.
    learning_rate: of decoder and encoder.
    sparsity: nats a pair that an edge has to be worth. acyclicity: final weight of the penalty on cycles (enco alone).
    linear_start: begin at the closed-form linear model, else at independent variables.
    order_start: log-odds, of neighbours, by which the order of variables begins as that of the linear start.
    coordinates: where the flow ends, at noise or at causal variables.
    anneal_from: floor of the flow's thickness, in units of the start's, that comes down in `anneal_share` of the steps.
    posterior: of the autoencoder over interventions: that of its bound, or three learned numbers on what moved.
    """

    graph: Literal["enco", "gumbel-top-k", "order", "fixed"] = "gumbel-top-k"
    layers: int | None = None
    hidden: int = 64
    bins: int = 8
    mechanism_hidden: int = 16
    steps: int | None = None
    refit_steps: int = 500
    batch_size: int = 512
    learning_rate: float | None = None
    mechanism_learning_rate: float = 1e-2
    graph_learning_rate: float = 5e-2
    sparsity: float = 0.001
    acyclicity: float = 1.0
    temperature: float = 1.0
    linear_start: bool = True
    order_start: float = 3.0
    coordinates: Literal["noise", "causal"] = "noise"
    anneal_from: float = 1.0
    anneal_share: float = 0.4
    posterior: Literal["exact", "heuristic"] = "exact"

    def __post_init__(self) -> None:
        require_at_least(self, 1, "hidden", "bins", "mechanism_hidden", "steps", "batch_size")
        require_at_least(self, 0, "layers", "refit_steps", "sparsity", "acyclicity", "order_start")
        rates = ("learning_rate", "mechanism_learning_rate", "graph_learning_rate")
        require_positive(self, *rates, "temperature", "anneal_from")
        require(self, ("anneal_share",), lambda value: 0 <= value < 1, "a share of the steps in [0, 1)")
