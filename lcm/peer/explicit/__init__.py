"""The explicit peers `elcm-flow` and `elcm-vae`, whose graph is learned with the rest (docs/explicit-models.md)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, final

from lcm.base.requirement import require_at_least, require_positive
from lcm.peer.base import Peer, later


@final
@dataclass(frozen=True)
class ExplicitConfig:
    """An explicit latent causal model with a learned graph, and its optimiser, for both decoders.

    Attributes:
        graph: how the graph is parametrised; `fixed` needs a known graph; `order` numbers the variables causes first.
        layers: of the flow, 8 residual blocks by default; of the autoencoder, 2 layers of both networks.
        hidden: width of each of them.
        bins: of the monotone splines of the flow.
        mechanism_hidden: width of each mechanism.
        steps: with a sampled graph.
        refit_steps: with the decided one, after them.
        batch_size: pairs a step.
        learning_rate: of decoder and encoder; None: 0.01 for the flow, 0.003 for the autoencoder.
        sparsity: nats a pair that an edge has to be worth.
        linear_start: start at the closed-form linear model, otherwise at independent variables.
        coordinates: where the flow ends, at noise or at causal variables.
        posterior: of the autoencoder over interventions: the one that its bound implies, or three learned numbers.
    """

    graph: Literal["enco", "gumbel-top-k", "order", "fixed"] = "gumbel-top-k"
    layers: int | None = None
    hidden: int = 64
    bins: int = 8
    mechanism_hidden: int = 16
    steps: int = 3000
    refit_steps: int = 500
    batch_size: int = 512
    learning_rate: float | None = None
    sparsity: float = 0.001
    linear_start: bool = True
    coordinates: Literal["noise", "causal"] = "noise"
    posterior: Literal["exact", "heuristic"] = "exact"

    def __post_init__(self) -> None:
        require_at_least(self, 1, "hidden", "bins", "mechanism_hidden", "steps", "batch_size")
        require_at_least(self, 0, "layers", "refit_steps", "sparsity")
        require_positive(self, "learning_rate")


_KNOWS = frozenset({"graph", "order"})

ELCM_FLOW_PEER = Peer(
    summary="an explicit latent causal model with a flow, its graph learned with the rest",
    section="explicit",
    config=ExplicitConfig,
    fit=later("lcm.peer.explicit.fit", "fit_explicit_flow"),
    knows=_KNOWS,
    learns_graph=True,
)

ELCM_VAE_PEER = Peer(
    summary="an explicit latent causal model with an autoencoder, its graph learned with the rest",
    section="explicit",
    config=ExplicitConfig,
    fit=later("lcm.peer.explicit.fit", "fit_explicit_vae"),
    load=later("lcm.peer.explicit.vae", "ExplicitVAE.build"),
    knows=_KNOWS,
    learns_graph=True,
)
