"""The implicit latent causal model `ilcm-vae` of the paper (docs/ilcm-vae.md)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, final

from lcm.base.requirement import require, require_at_least, require_positive
from lcm.peer.base import Peer, later


@final
@dataclass(frozen=True)
class ImplicitVAEConfig:
    """The model, its phases and its optimiser (Brehmer et al. 2022, section 4; docs/ilcm-vae.md).

    Phases are shares of the steps.

    Attributes:
        hidden, layers, activation: of every network; without layers it is affine.
        posterior: q(I | x, x̃): a heuristic with three learned scalars, a network, or the thickened pair likelihood of
            the mean encodings (docs/theory.md section 2).
        projection: how the two encodings of a coordinate that stays are combined: by their average, or a random mean.
        start: random weights, or a linear map beside each network, which starts as the linear unmixing of the pairs.
        variance: of x in standardised coordinates; None learns it.
        learn_probabilities: whether p_𝓘 is learned, once β is 1; otherwise it stays uniform.
        divergence: of q(I) from p_𝓘 in the loss: correct, or with the entropy of q weighted twice, as in published
            code.
        steps: all phases together.
        batch_size: pairs a step.
        learning_rate, solution_learning_rate: of encoder and decoder, and of the solution functions.
        pretrain_share: a β-VAE of single observations, at `pretrain_beta`.
        pretrain_beta: its β.
        beta_from, beta_until: β rises linearly from 0 to 1 between them.
        impose_from: from here on the density of imposed values counts, and solution functions learn.
        decide_from: from here on only the most probable target set of each pair counts.
        offset_from, offset_until: probability added to every set, falling exponentially from the first to the second
            while β rises.
        entropy_weight: of the entropy of the mean posterior of a batch, which keeps every set in use.
    """

    hidden: int = 64
    layers: int = 2
    activation: Literal["silu", "relu"] = "silu"
    posterior: Literal["heuristic", "mlp", "exact"] = "heuristic"
    projection: Literal["average", "stochastic"] = "average"
    start: Literal["random", "linear"] = "linear"
    variance: float | None = None
    learn_probabilities: bool = False
    divergence: Literal["correct", "published"] = "correct"
    steps: int = 8_000
    batch_size: int = 256
    learning_rate: float = 3e-3
    solution_learning_rate: float = 5e-3
    pretrain_share: float = 0.0
    pretrain_beta: float = 1e-3
    beta_from: float = 0.2
    beta_until: float = 0.5
    impose_from: float = 0.3
    decide_from: float = 1.0
    offset_from: float = 0.025
    offset_until: float = 1e-4
    entropy_weight: float = 1.0

    def __post_init__(self) -> None:
        require_at_least(self, 1, "hidden", "steps", "batch_size")
        require_at_least(self, 0, "layers", "pretrain_beta", "entropy_weight")
        require_positive(self, "learning_rate", "solution_learning_rate", "variance", "offset_from", "offset_until")
        shares = ("pretrain_share", "beta_from", "beta_until", "impose_from", "decide_from")
        require(self, shares, lambda value: 0 <= value <= 1, "a share of the steps in [0, 1]")
        if self.beta_until < self.beta_from:
            raise ValueError(f"beta_until: Expected at least beta_from = {self.beta_from}; got {self.beta_until}.")


ILCM_VAE_PEER = Peer(
    summary="the implicit latent causal model of the paper, an autoencoder",
    section="implicit_vae",
    config=ImplicitVAEConfig,
    fit=later("lcm.peer.implicit.fit", "fit_implicit_vae"),
    load=later("lcm.peer.implicit.vae", "ImplicitVAE.build"),
    knows=frozenset({"targets", "graph", "order"}),
)
