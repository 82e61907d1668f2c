"""Settings of a fit; every default is used for every data set, and no default depends on the truth."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Literal, final


def _require(condition: bool, expected: str, got: object) -> None:
    if not condition:
        raise ValueError(f"Expected {expected}; got {got}.")


@final
@dataclass(frozen=True)
class NoiseEncoderConfig:
    """The flow φ: couplings, their size, and its optimiser.

    `marginal_steps` replace `steps` where the mixing turns out to be linear.
    `layers` and `steps` None: 4 and 1,200 at n ≤ 2, else 6 and 2,500.
    `anneal_share` of the steps take the thickness down from `anneal_from` before the data set it alone.
    """

    coupling: Literal["affine", "spline"] = "spline"
    layers: int | None = None
    hidden: int = 48
    bins: int = 8
    steps: int | None = None
    marginal_steps: int = 500
    batch_size: int = 512
    learning_rate: float = 3e-3
    solution_learning_rate: float = 1e-2
    solution_hidden: int = 16
    anneal_from: float = 1.0
    anneal_share: float = 0.4

    def __post_init__(self) -> None:
        _require(self.layers is None or self.layers >= 0, "a number of layers of at least 0", self.layers)
        for units in (self.hidden, self.solution_hidden):
            _require(units >= 1, "at least 1 hidden unit", units)
        _require(self.bins >= 1, "at least 1 bin", self.bins)
        for count in (self.steps, self.marginal_steps, self.batch_size):
            _require(count is None or count >= 1, "at least 1 step and 1 pair in a batch", count)
        _require(self.learning_rate > 0, "a positive learning rate", self.learning_rate)
        _require(self.solution_learning_rate > 0, "a positive learning rate", self.solution_learning_rate)
        _require(self.anneal_from > 0, "a positive thickness to anneal from", self.anneal_from)
        _require(0 <= self.anneal_share < 1, "a share of the steps in [0, 1)", self.anneal_share)

    def for_variables(self, n: int) -> NoiseEncoderConfig:
        """The same with `layers` and `steps` filled in: two variables need fewer couplings to reach each other."""
        layers, steps = (4, 1200) if n <= 2 else (6, 2500)
        return replace(
            self,
            layers=layers if self.layers is None else self.layers,
            steps=steps if self.steps is None else self.steps,
        )


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
        _require(self.hidden >= 1, "at least 1 hidden unit", self.hidden)
        _require(self.bins >= 1, "at least 1 bin", self.bins)
        for count in (self.steps, self.batch_size):
            _require(count >= 1, "at least 1 step and 1 pair in a batch", count)
        _require(self.learning_rate > 0, "a positive learning rate", self.learning_rate)


@final
@dataclass(frozen=True)
class ReadoutConfig:
    """Family-wise error rates of the two tests that choose the graph (docs/method.md)."""

    ancestor_level: float = 0.01
    parent_level: float = 0.01

    def __post_init__(self) -> None:
        for level in (self.ancestor_level, self.parent_level):
            _require(0 < level < 1, "an error rate strictly between 0 and 1", level)


@final
@dataclass(frozen=True)
class FitConfig:
    """Everything a fit can be told.

    n: number of causal variables; None for dim x or, where x is rank-deficient, its estimated dimension.
    targets: the intervention family, "atomic", "atomic-or-empty", "all" or a list of target sets.
    validation_share: share of the pairs held out for early stopping and the ranking of restarts.
    """

    n: int | None = None
    targets: Literal["atomic", "atomic-or-empty", "all"] | tuple[tuple[int, ...], ...] = "atomic-or-empty"
    validation_share: float = 0.1
    restarts: int = 1
    seed: int = 0
    noise_encoder: NoiseEncoderConfig = field(default_factory=NoiseEncoderConfig)
    mechanisms: MechanismsConfig = field(default_factory=MechanismsConfig)
    readout: ReadoutConfig = field(default_factory=ReadoutConfig)

    def __post_init__(self) -> None:
        _require(self.n is None or self.n >= 1, "n of at least 1", self.n)
        _require(0 < self.validation_share < 1, "a share in (0, 1)", self.validation_share)
        _require(self.restarts >= 1, "at least 1 restart", self.restarts)
        _require(self.seed >= 0, "a non-negative seed", self.seed)
