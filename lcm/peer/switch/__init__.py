"""The implicit model of soft interventions `icrl-sm`, with a switch variable beside the noise (docs/ilcm-vae.md)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, final

from lcm.base.requirement import require, require_at_least, require_positive
from lcm.peer.base import Peer, later


@final
@dataclass(frozen=True)
class SwitchVAEConfig:
    """The model and its optimiser (Shirahmad Gale Bagi et al. 2024, section 3.4; docs/ilcm-vae.md).

    Attributes:
        hidden, layers: of every network; without layers it is affine.
        start: random weights, or a linear map beside encoder and decoder, which starts as the linear unmixing of the
            pairs.
        switch: whether the switch variable is used; without it, imposed values have their own noise alone for a cause.
        steps: of the optimiser.
        batch_size: pairs a step.
        learning_rate, solution_learning_rate: of encoder and decoder, and of the solution functions.
        beta_from, beta_until: the weight of the divergences rises linearly from 0 to 1 between these shares of the
            steps.
        impose_from: from this share of the steps on, the density of what is imposed counts, and solution functions
            learn.
    """

    hidden: int = 64
    layers: int = 2
    start: Literal["random", "linear"] = "linear"
    switch: bool = True
    steps: int = 8_000
    batch_size: int = 256
    learning_rate: float = 3e-3
    solution_learning_rate: float = 5e-3
    beta_from: float = 0.2
    beta_until: float = 0.5
    impose_from: float = 0.3

    def __post_init__(self) -> None:
        require_at_least(self, 1, "hidden", "steps", "batch_size")
        require_at_least(self, 0, "layers")
        require_positive(self, "learning_rate", "solution_learning_rate")
        shares = ("beta_from", "beta_until", "impose_from")
        require(self, shares, lambda value: 0 <= value <= 1, "a share of the steps in [0, 1]")
        require(self, ("start",), ("random", "linear").__contains__, "random or linear")
        if self.beta_until < self.beta_from:
            raise ValueError(f"beta_until: Expected at least beta_from = {self.beta_from}; got {self.beta_until}.")

    def beta_at(self, progress: float) -> float:
        """Weight of the divergences at a share of the steps in [0, 1]."""
        if progress >= self.beta_until:
            return 1.0
        return max(0.0, (progress - self.beta_from) / (self.beta_until - self.beta_from))


ICRL_SM_PEER = Peer(
    summary="an implicit model of soft interventions with known targets, an autoencoder",
    section="switch_vae",
    config=SwitchVAEConfig,
    fit=later("lcm.peer.switch.fit", "fit_switch_vae"),
    load=later("lcm.peer.switch.vae", "SwitchVAE.build"),
    knows=frozenset({"targets", "graph"}),
    needs_targets=True,
)
