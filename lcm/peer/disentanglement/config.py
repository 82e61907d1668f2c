"""Settings of the disentanglement peers: dvae, beta-vae and vae-supervised-interventions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, final

from lcm.base.config import require, require_at_least, require_positive

_CHOICES = {
    "aggregation": ("adaptive", "posterior"),
    "combination": ("average", "product"),
    "start": ("random", "linear"),
    "variance": ("learned", "fixed"),
}


@final
@dataclass(frozen=True)
class DisentanglementConfig:
    """The networks, the objective and the optimiser of the disentanglement peers (docs/disentanglement-peers.md).

    aggregation: how dvae decides which variables a pair shares: adaptive, by divergences between the two posteriors, or
    posterior, by a mixture over the target sets. The other models have no such choice.
    combination: posterior of a shared variable from those of the two observations: their average, or their product.
    beta: weight of the divergences at the end; `beta_start` until `constant_share` of the steps, from there to `beta`
    linearly over another `ramp_share`.
    start: random weights, or random ones beside the linear unmixing of the differences.
    variance: that of x given the variables, learned for each coordinate, or fixed at `deviation` squared.
    deviation: standard deviation of x given the variables at first, where x has standard deviation 1, and
    least_deviation the least.
    """

    aggregation: Literal["adaptive", "posterior"] = "adaptive"
    combination: Literal["average", "product"] = "average"
    hidden: int = 64
    layers: int = 2
    start: Literal["random", "linear"] = "random"
    variance: Literal["learned", "fixed"] = "learned"
    deviation: float = 0.1
    least_deviation: float = 0.01
    beta: float = 1.0
    beta_start: float = 1e-3
    constant_share: float = 0.1
    ramp_share: float = 0.1
    steps: int = 10_000
    batch_size: int = 256
    learning_rate: float = 1e-3

    def __post_init__(self) -> None:
        require_at_least(self, 1, "hidden", "steps", "batch_size")
        require_at_least(self, 0, "layers")
        require_positive(self, "deviation", "least_deviation", "beta", "learning_rate")
        most = self.deviation
        require(self, ("least_deviation",), lambda value: value <= most, f"at most deviation {most}")
        require(self, ("beta_start",), lambda value: value >= 0, "a number that is not negative")
        shares = ("constant_share", "ramp_share")
        require(self, shares, lambda value: 0 <= value <= 1, "a share of the steps in [0, 1]")
        for key, known in _CHOICES.items():
            require(self, (key,), known.__contains__, " or ".join(known))

    def beta_at(self, progress: float) -> float:
        """Weight of the divergences at a share of the steps in [0, 1]."""
        since = progress - self.constant_share
        if since < 0:
            return self.beta_start
        done = 1.0 if since >= self.ramp_share else since / self.ramp_share
        return self.beta_start + done * (self.beta - self.beta_start)
