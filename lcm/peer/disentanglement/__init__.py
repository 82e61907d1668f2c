"""Disentanglement autoencoders: `dvae`, `beta-vae` and the supervised one (docs/disentanglement-peers.md)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, final

from lcm.base.requirement import require, require_at_least, require_positive
from lcm.peer.base import Peer, later

_CHOICES = {
    "aggregation": ("adaptive", "posterior"),
    "combination": ("average", "product"),
    "start": ("random", "linear"),
}


@final
@dataclass(frozen=True)
class DisentanglementConfig:
    """The networks, the objective and the optimiser of the disentanglement peers (docs/disentanglement-peers.md).

    Attributes:
        aggregation: how dvae decides which variables a pair shares: adaptive, by divergences between the two
            posteriors, or posterior, by a mixture over the target sets. The other models have no such choice.
        combination: posterior of a shared variable from those of the two observations: their average, or their product.
        hidden, layers: of encoder and decoder; without layers they are affine.
        start: random weights, or random ones beside the linear unmixing of the differences.
        beta: weight of the divergences at the end.
        beta_start: their weight for `constant_share` of the steps.
        constant_share, ramp_share: the weight stays, then rises to `beta` linearly, for these shares of the steps.
        steps: of the optimiser.
        batch_size: pairs a step.
        learning_rate: the largest step size; it falls to a hundredth of it in the second half of the steps.
    """

    aggregation: Literal["adaptive", "posterior"] = "adaptive"
    combination: Literal["average", "product"] = "average"
    hidden: int = 64
    layers: int = 2
    start: Literal["random", "linear"] = "random"
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
        require_positive(self, "beta", "learning_rate")
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


def _peer(kind: str, summary: str, knows: frozenset[str], needs_targets: bool = False) -> Peer:
    return Peer(
        summary=summary,
        section="disentanglement",
        config=DisentanglementConfig,
        fit=_fit(kind),
        load=later("lcm.peer.disentanglement.vae", "DisentanglementVAE.build"),
        knows=knows,
        needs_targets=needs_targets,
    )


def _fit(kind: str) -> Callable[..., Any]:
    fit = later("lcm.peer.disentanglement.fit", "fit_disentanglement_vae")

    def fit_kind(prepared: Any, targets: Any, config: Any, generator: Any, known: Any) -> Any:
        return fit(prepared, targets, config, generator, kind)

    return fit_kind


_WITH_TARGETS = frozenset({"targets", "graph"})

DVAE_PEER = _peer("dvae", "an autoencoder whose pairs share all variables but a few", _WITH_TARGETS)
BETA_VAE_PEER = _peer("beta-vae", "an autoencoder of single observations, without the pairs", frozenset())
SUPERVISED_VAE_PEER = _peer("vae-supervised-interventions", "dvae, with targets that are known", _WITH_TARGETS, True)
