"""Settings of a fit; every default is used for every data set, and no default depends on the truth."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, final, get_args

from lcm.baseline.disentanglement_config import DisentanglementConfig
from lcm.baseline.explicit_config import ExplicitConfig
from lcm.baseline.implicit_config import ImplicitVAEConfig
from lcm.graph_search.config import GraphSearchConfig
from lcm.image.config import ImageConfig
from lcm.requirement import require, require_at_least, require_positive

_STEPS, _FEW_STEPS, _LEAST_STEPS = 4000, 1800, 1000
_MOST_PASSES = 250


@final
@dataclass(frozen=True)
class NoiseEncoderConfig:
    """The flow φ, its size, and its optimiser.

    flow: residual blocks, or couplings with monotone splines or affine maps.
    `layers`, its blocks or couplings, and `hidden` None: 8 of width 64 for residual, 6 of width 48 for couplings.
    `learning_rate` None: 0.02 for residual, 0.003 for couplings.
    `steps` None: 4,000, or 1,800 at n ≤ 2, and with few pairs no more than 250 passes over them.
    `marginal_steps` replace `steps` where the mixing turns out to be linear.
    `anneal_share` of the steps take the thickness down from `anneal_from` before the data set it alone.
    """

    flow: Literal["residual", "spline", "affine"] = "residual"
    layers: int | None = None
    hidden: int | None = None
    bins: int = 8
    steps: int | None = None
    marginal_steps: int = 500
    batch_size: int = 512
    learning_rate: float | None = None
    solution_learning_rate: float = 1e-2
    solution_hidden: int = 16
    anneal_from: float = 1.0
    anneal_share: float = 0.4

    def __post_init__(self) -> None:
        require_at_least(self, 0, "layers")
        require_at_least(self, 1, "hidden", "solution_hidden", "bins", "steps", "marginal_steps", "batch_size")
        require_positive(self, "learning_rate", "solution_learning_rate", "anneal_from")
        require(self, ("anneal_share",), lambda value: 0 <= value < 1, "a share of the steps in [0, 1)")

    @property
    def size(self) -> tuple[int, int]:
        """Number and width of the layers of the flow, defaults filled in."""
        layers, hidden = (8, 64) if self.flow == "residual" else (6, 48)
        return layers if self.layers is None else self.layers, hidden if self.hidden is None else self.hidden

    @property
    def rate(self) -> float:
        """Step size of the flow, default filled in."""
        return (2e-2 if self.flow == "residual" else 3e-3) if self.learning_rate is None else self.learning_rate

    def steps_for(self, n: int, n_pairs: int) -> int:
        """Steps of the flow for n variables and this many pairs to train on, the default filled in."""
        if self.steps is not None:
            return self.steps
        passes = _MOST_PASSES * n_pairs // self.batch_size
        return min(_FEW_STEPS if n <= 2 else _STEPS, max(_LEAST_STEPS, passes))


@final
@dataclass(frozen=True)
class MechanismsConfig:
    """The causal mechanisms fitted on the noise encodings, and their optimiser."""

    hidden: int = 32
    bins: int = 8
    steps: int = 1000
    batch_size: int = 2048
    learning_rate: float = 1e-2

    def __post_init__(self) -> None:
        require_at_least(self, 1, "hidden", "bins", "steps", "batch_size")
        require_positive(self, "learning_rate")


@final
@dataclass(frozen=True)
class ReadoutConfig:
    """Error rates of the tests that choose the graph (docs/method.md).

    false_discovery_rate: expected share of false edges among those of the graph, at most.
    ancestor_level: family-wise error rate over all ancestor relations, of those that a doubt may rest on.
    """

    false_discovery_rate: float = 0.05
    ancestor_level: float = 0.01

    def __post_init__(self) -> None:
        levels = ("false_discovery_rate", "ancestor_level")
        require(self, levels, lambda value: 0 < value < 1, "an error rate strictly between 0 and 1")


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


MODELS: tuple[ModelName, ...] = get_args(ModelName)

_FLOW, _VAE = ("noise_encoder", "mechanisms"), ("disentanglement", "graph_search")
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
class KnownConfig:
    """Side information: what is known besides the pairs, in one numbering of the variables.

    targets: whether the targets in the data are known to the fit, and so number the variables.
    graph: the edges [i, j], i → j; None where the graph is not known, [] for none.
    order: all variables, causes first; None where it is not known.
    """

    targets: bool = False
    graph: tuple[tuple[int, int], ...] | None = None
    order: tuple[int, ...] | None = None


@final
@dataclass(frozen=True)
class FitConfig:
    """Everything a fit can be told.

    model: the default, `flow`, or a peer (docs/models.md), each of which reads its own section and the common keys.
    n: number of causal variables; None for dim x or, where x is rank-deficient, its estimated dimension.
    targets: the intervention family, "atomic", "atomic-or-empty", "all" or a list of target sets.
    validation_share: share of the pairs held out for early stopping and the ranking of restarts.
    image: read where the data are images, by every model.
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

    def __post_init__(self) -> None:
        require_at_least(self, 1, "n", "restarts")
        require(self, ("validation_share",), lambda value: 0 < value < 1, "a share strictly between 0 and 1")
        require(self, ("seed",), lambda value: value >= 0, "a non-negative seed")
