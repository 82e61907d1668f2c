"""Settings of a fit; every default is used for every data set, and no default depends on the truth."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, final, get_args

from lcm.base.config import require, require_at_least
from lcm.learn.config import FlowConfig, ImageConfig, KnownConfig, MechanismsConfig, NoiseEncoderConfig, ReadoutConfig
from lcm.peer.disentanglement.config import DisentanglementConfig
from lcm.peer.explicit.config import ExplicitConfig
from lcm.peer.implicit.config import ImplicitVAEConfig
from lcm.peer.search.config import GraphSearchConfig

ModelName = Literal[
    "flow",
    "linear",
    "elcm-flow",
    "ilcm-vae",
    "elcm-vae",
    "dvae",
    "beta-vae",
    "vae-supervised-interventions",
]


_FLOW, _VAE = ("noise_encoder", "mechanisms"), ("disentanglement", "graph_search")

MODELS: tuple[ModelName, ...] = get_args(ModelName)


_READ: dict[str, tuple[str, ...]] = {
    "flow": _FLOW,
    "linear": _FLOW,
    "elcm-flow": ("explicit",),
    "elcm-vae": ("explicit",),
    "ilcm-vae": ("implicit_vae", "graph_search"),
    "dvae": _VAE,
    "beta-vae": _VAE,
    "vae-supervised-interventions": _VAE,
}


_SECTIONS = (*_FLOW, "graph_search", "implicit_vae", "explicit", "disentanglement")


@final
@dataclass(frozen=True)
class FitConfig:
    """Everything a fit can be told.

    model: the default, `flow`, or a peer (docs/models.md), each of which reads its own section and the common keys.
    n: number of causal variables; None for dim x or, where x is rank-deficient, its estimated dimension.
    targets: the intervention family, "atomic", "atomic-or-empty", "all" or a list of target sets.
    validation_share: share of the pairs held out for early stopping and the ranking of restarts.
    image: read where the data are images, by every model.

    Example:
        >>> import lcm
        >>> lcm.FitConfig(n=3, restarts=2).model
        'flow'
    """

    model: ModelName = "flow"
    n: int | None = None
    targets: Literal["atomic", "atomic-or-empty", "all"] | tuple[tuple[int, ...], ...] = "atomic-or-empty"
    validation_share: float = 0.1
    restarts: int = 1
    seed: int = 0
    known: KnownConfig = field(default_factory=KnownConfig)
    readout: ReadoutConfig = field(default_factory=ReadoutConfig)
    noise_encoder: NoiseEncoderConfig = field(default_factory=NoiseEncoderConfig)
    mechanisms: MechanismsConfig = field(default_factory=MechanismsConfig)
    graph_search: GraphSearchConfig = field(default_factory=GraphSearchConfig)
    implicit_vae: ImplicitVAEConfig = field(default_factory=ImplicitVAEConfig)
    explicit: ExplicitConfig = field(default_factory=ExplicitConfig)
    disentanglement: DisentanglementConfig = field(default_factory=DisentanglementConfig)
    image: ImageConfig = field(default_factory=ImageConfig)

    @property
    def unread(self) -> tuple[str, ...]:
        """The sections that the model does not read."""
        return tuple(section for section in _SECTIONS if section not in _READ[self.model])

    @property
    def flow(self) -> FlowConfig:
        """What the stages of the default model are told."""
        return FlowConfig(self.noise_encoder, self.mechanisms, self.readout, self.known)

    def __post_init__(self) -> None:
        require_at_least(self, 1, "n", "restarts")
        require(self, ("validation_share",), lambda value: 0 < value < 1, "a share strictly between 0 and 1")
        require(self, ("seed",), lambda value: value >= 0, "a non-negative seed")
