"""Settings of the implicit latent causal model as a variational autoencoder."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, final

from lcm.base.config import require, require_at_least, require_positive


@final
@dataclass(frozen=True)
class ImplicitVAEConfig:
    """The model, its phases and its optimiser (Brehmer et al. 2022, section 4; docs/ilcm-vae.md).

    hidden, layers, activation: of every network; no layers make them affine.
    posterior: q(I | x, x̃): a heuristic with three learned scalars, a network, or the thickened pair likelihood of the
    mean encodings (docs/theory.md section 2).
    projection: what a coordinate that stays takes of its two encodings: their average, or a random mean of both.
    start: random weights, or a linear map beside each network that starts as the linear unmixing of the pairs.
    variance: of x in standardised coordinates; None learns it.
    learn_probabilities: p_𝓘 from the pairs, once β is 1; otherwise it stays as it is.
    divergence: of q(I) from p_𝓘 in the loss: correct, or with the entropy of q weighted twice, as in published code.
    steps: all phases together.

    Phases, as shares of the steps, in this order at most:
    pretrain_share: a β-VAE of single observations, at `pretrain_beta`.
    beta_from, beta_until: β rises linearly from 0 to 1 between them.
    impose_from: from here the density of imposed values counts, and solution functions learn.
    decide_from: from here on only the most probable target set of each pair counts.
    offset_from, offset_until: probability added to every set, falling exponentially from the first to the second
    while β rises.
    entropy_weight: of the entropy of the mean posterior of a batch, which keeps sets from never being used.
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

    @staticmethod
    def published(**changed: Any) -> ImplicitVAEConfig:
        """The settings of the paper's scaling experiment, as far as this model has them: 90 epochs of 100,000 pairs.

        β waits for ten epochs after the pretraining ends at a ninth, and rises for ten; the imposed values count from
        a third on, and sets are decided on from two thirds on. A learning rate that restarts twice is not provided.
        """
        published: dict[str, Any] = {
            "activation": "relu",
            "projection": "stochastic",
            "start": "random",
            "divergence": "published",
            "steps": 140_625,
            "batch_size": 64,
            "learning_rate": 3e-4,
            "solution_learning_rate": 3e-4,
            "pretrain_share": 1 / 9,
            "beta_from": 1 / 9,
            "beta_until": 2 / 9,
            "impose_from": 1 / 3,
            "decide_from": 2 / 3,
        }
        return ImplicitVAEConfig(**(published | changed))
