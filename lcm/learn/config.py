"""Settings of a fit; every default is used for every data set, and no default depends on the truth."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, final

from lcm.base.requirement import require, require_at_least, require_one_of, require_positive

_FIRST_ROUND, _LEAST_STEPS = 2000, 1000
_MOST_PASSES = 250
_FAR = 0.1
_SECONDS_PER_VARIABLE, _SECONDS_WHERE_FAR = 10.0, 30.0


@final
@dataclass(frozen=True)
class NoiseEncoderConfig:
    """The flow φ, its size, and its optimiser (docs/method.md section 2).

    Attributes:
        flow: residual blocks, couplings by splines ("spline") or by affine maps ("affine"), or any other `Flow` of
            `lcm.model.decoder`.
        layers: None: 16 blocks of residual, 6 couplings of the others; half as many with at most two coordinates, or
            with fewer than 10,000 pairs to train on. Where variables that are not targets still change by a tenth of
            their noise's standard deviation after the first round, a residual flow gets twice as many as it had.
        hidden: width of each layer; None: 64 of residual, 48 of the others.
        bins: of monotone splines.
        solution_hidden: width of the solution functions.
        batch_size: pairs a step.
        steps: None: rounds of steps, until the encoder has converged; a number: that many.
        marginal_steps: in place of `steps` where the mixing turns out to be linear.
        learning_rate: of the flow; None: 0.04 of residual, 0.003 of the others.
        solution_learning_rate: of the solution functions.
        anneal_share, anneal_from: this share of the steps takes the thickness down from this value before the data set
            it alone.
        precision: rounds end if the noise of variables that are not targets changes by at most this share of its
            standard deviation.
        least_gain: rounds also end if one adds less than so many nats a pair to the held-out likelihood.
        most_seconds: no round begins that would probably end later; None: 10 seconds a variable, or 30 where variables
            that are not targets change by a tenth. There are no more steps than 250 passes over the pairs, or 1,000
            where that is more.
    """

    flow: str = "residual"
    layers: int | None = None
    hidden: int | None = None
    bins: int = 8
    steps: int | None = None
    precision: float = 0.02
    least_gain: float = 0.1
    most_seconds: float | None = None
    marginal_steps: int = 500
    batch_size: int = 512
    learning_rate: float | None = None
    solution_learning_rate: float = 1e-2
    solution_hidden: int = 16
    anneal_from: float = 1.0
    anneal_share: float = 0.4

    def __post_init__(self) -> None:
        _require_kind(self, "flow")
        require_at_least(self, 0, "layers")
        require_at_least(self, 1, "hidden", "solution_hidden", "bins", "steps", "marginal_steps", "batch_size")
        require_positive(self, "learning_rate", "solution_learning_rate", "anneal_from", "precision", "most_seconds")
        require_at_least(self, 0, "least_gain")
        require(self, ("anneal_share",), lambda value: 0 <= value < 1, "a share of the steps in [0, 1)")

    def is_far(self, change: float) -> bool:
        """Whether an encoder is far from exact, by the share of its standard deviation by which noise changes."""
        return change > _FAR

    def time_limit(self, n: int, change: float) -> float:
        """Seconds in which the last round for n variables is to end, where noise still changes by such a share."""
        if self.most_seconds is not None:
            return self.most_seconds
        return n * (_SECONDS_WHERE_FAR if self.is_far(change) else _SECONDS_PER_VARIABLE)

    def first_round(self, n: int, n_pairs: int) -> int:
        """Steps of the first round for n variables and this many pairs to train on."""
        if self.steps is not None:
            return self.steps
        return min(_LEAST_STEPS if n <= 2 else _FIRST_ROUND, self.most_steps(n_pairs))

    def most_steps(self, n_pairs: int) -> int:
        """Steps of all rounds that this many pairs to train on allow."""
        return max(_LEAST_STEPS, _MOST_PASSES * n_pairs // self.batch_size)


@final
@dataclass(frozen=True)
class MechanismsConfig:
    """The causal mechanisms fitted on the noise encodings, and their optimiser (docs/method.md section 4).

    Attributes:
        kind: location-scale, linear, additive, spline, or any other `TrainableMechanism` of `lcm.model.mechanism`.
        hidden: width of the hidden layer of kinds that have one.
        bins: of the splines of p_ε and p̃.
        steps: at most.
        batch_size: pairs a step.
        learning_rate: the largest step size; it falls to a hundredth of it in the second half of the steps.
    """

    kind: str = "location-scale"
    hidden: int = 32
    bins: int = 8
    steps: int = 1000
    batch_size: int = 2048
    learning_rate: float = 1e-2

    def __post_init__(self) -> None:
        _require_kind(self, "kind")
        require_at_least(self, 1, "hidden", "bins", "steps", "batch_size")
        require_positive(self, "learning_rate")


@final
@dataclass(frozen=True)
class ReadoutConfig:
    """Error rates of the tests that choose the graph (docs/readout.md).

    Attributes:
        false_discovery_rate: expected share of false edges among those of the graph, at most.
        ancestor_level: family-wise error rate over all ancestor relations, of those that a verdict may rest on.
    """

    false_discovery_rate: float = 0.05
    ancestor_level: float = 0.01

    def __post_init__(self) -> None:
        levels = ("false_discovery_rate", "ancestor_level")
        require(self, levels, lambda value: 0 < value < 1, "an error rate strictly between 0 and 1")


@final
@dataclass(frozen=True)
class KnownConfig:
    """Side information: what is known besides the pairs, in one numbering of the variables.

    Attributes:
        targets: whether the targets in the data are known to the fit, and so number the variables.
        graph: the edges [i, j], i → j; None where the graph is not known, [] for none.
        order: all variables, causes first; None where it is not known.
    """

    targets: bool = False
    graph: tuple[tuple[int, int], ...] | None = None
    order: tuple[int, ...] | None = None


@final
@dataclass(frozen=True)
class FlowConfig:
    """What the stages of the default model are told."""

    noise_encoder: NoiseEncoderConfig = field(default_factory=NoiseEncoderConfig)
    mechanisms: MechanismsConfig = field(default_factory=MechanismsConfig)
    readout: ReadoutConfig = field(default_factory=ReadoutConfig)
    known: KnownConfig = field(default_factory=KnownConfig)


@final
@dataclass(frozen=True)
class ImageConfig:
    """The convolutional autoencoder of images (docs/images.md).

    Attributes:
        code: dimension of the code, at least n; None for n.
        channels: of the convolutions, each of which halves height and width.
        hidden: width of the fully connected layers between them and the code.
        passes: over all images.
        batch_size: single images, of x or of x_tilde.
    """

    code: int | None = None
    channels: tuple[int, ...] = (16, 32, 64, 64)
    hidden: int = 256
    passes: float = 10.0
    batch_size: int = 64

    def __post_init__(self) -> None:
        require_at_least(self, 1, "code", "hidden", "batch_size")
        require_positive(self, "passes")
        require(
            self, ("channels",), lambda value: len(value) > 0 and min(value) >= 1, "one or more numbers of channels"
        )


def _require_kind(config: Any, key: str) -> None:
    """Raise ValueError where the kind that `key` names is not in its table.

    The table comes with torch, so it is loaded for other kinds than the default alone.
    """
    if getattr(config, key) != getattr(type(config), key):
        from lcm.model.decoder import Flow
        from lcm.model.mechanism import TrainableMechanism

        require_one_of(config, key, (Flow if key == "flow" else TrainableMechanism).names())
