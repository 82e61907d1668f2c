"""Settings of a fit; every default is used for every data set, and no default depends on the truth."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, Literal, final


def _require(config: object, keys: tuple[str, ...], holds: Callable[[Any], bool], expected: str) -> None:
    """Raise a ValueError that names the first of `keys` whose value is given and does not hold."""
    for key in keys:
        value = getattr(config, key)
        if value is not None and not holds(value):
            raise ValueError(f"{key}: Expected {expected}; got {value}.")


def _positive(value: float) -> bool:
    return value > 0


def _at_least_one(value: float) -> bool:
    return value >= 1


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
        _require(self, ("layers",), lambda value: value >= 0, "at least 0")
        counts = ("hidden", "solution_hidden", "bins", "steps", "marginal_steps", "batch_size")
        _require(self, counts, _at_least_one, "at least 1")
        _require(self, ("learning_rate", "solution_learning_rate", "anneal_from"), _positive, "a positive number")
        _require(self, ("anneal_share",), lambda value: 0 <= value < 1, "a share of the steps in [0, 1)")

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
        _require(self, ("hidden", "bins", "steps", "batch_size"), _at_least_one, "at least 1")
        _require(self, ("learning_rate",), _positive, "a positive number")


@final
@dataclass(frozen=True)
class ReadoutConfig:
    """Family-wise error rates of the two tests that choose the graph (docs/method.md)."""

    ancestor_level: float = 0.01
    parent_level: float = 0.01

    def __post_init__(self) -> None:
        levels = ("ancestor_level", "parent_level")
        _require(self, levels, lambda value: 0 < value < 1, "an error rate strictly between 0 and 1")


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
        _require(self, ("n", "restarts"), _at_least_one, "at least 1")
        _require(self, ("validation_share",), lambda value: 0 < value < 1, "a share strictly between 0 and 1")
        _require(self, ("seed",), lambda value: value >= 0, "a non-negative seed")
