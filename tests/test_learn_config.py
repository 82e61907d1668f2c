"""Settings of a fit: what they refuse, and the defaults that depend on the number of variables."""

from __future__ import annotations

import re
from typing import Any

import pytest

from lcm.learn.config import FitConfig, MechanismsConfig, NoiseEncoderConfig, ReadoutConfig

NAN = float("nan")
REFUSED: list[tuple[type, str, Any, str]] = [
    (NoiseEncoderConfig, "layers", -1, "at least 0"),
    (NoiseEncoderConfig, "hidden", 0, "at least 1"),
    (NoiseEncoderConfig, "solution_hidden", 0, "at least 1"),
    (NoiseEncoderConfig, "bins", 0, "at least 1"),
    (NoiseEncoderConfig, "steps", 0, "at least 1"),
    (NoiseEncoderConfig, "marginal_steps", 0, "at least 1"),
    (NoiseEncoderConfig, "batch_size", 0, "at least 1"),
    (NoiseEncoderConfig, "learning_rate", 0.0, "a positive number"),
    (NoiseEncoderConfig, "learning_rate", NAN, "a positive number"),
    (NoiseEncoderConfig, "solution_learning_rate", -1.0, "a positive number"),
    (NoiseEncoderConfig, "anneal_from", 0.0, "a positive number"),
    (NoiseEncoderConfig, "anneal_share", 1.0, "a share of the steps in [0, 1)"),
    (NoiseEncoderConfig, "anneal_share", -0.1, "a share of the steps in [0, 1)"),
    (MechanismsConfig, "hidden", 0, "at least 1"),
    (MechanismsConfig, "bins", 0, "at least 1"),
    (MechanismsConfig, "steps", 0, "at least 1"),
    (MechanismsConfig, "batch_size", 0, "at least 1"),
    (MechanismsConfig, "learning_rate", 0.0, "a positive number"),
    (ReadoutConfig, "ancestor_level", 0.0, "an error rate strictly between 0 and 1"),
    (ReadoutConfig, "parent_level", 1.0, "an error rate strictly between 0 and 1"),
    (FitConfig, "n", 0, "at least 1"),
    (FitConfig, "validation_share", 0.0, "a share strictly between 0 and 1"),
    (FitConfig, "validation_share", 1.0, "a share strictly between 0 and 1"),
    (FitConfig, "restarts", 0, "at least 1"),
    (FitConfig, "seed", -1, "a non-negative seed"),
]


@pytest.mark.parametrize(("config", "key", "value", "expected"), REFUSED)
def test_values_out_of_range_are_refused(config: type, key: str, value: object, expected: str) -> None:
    with pytest.raises(ValueError, match=re.escape(f"{key}: Expected {expected}; got {value}")):
        config(**{key: value})


def test_values_at_the_edge_of_the_range_are_taken() -> None:
    NoiseEncoderConfig(layers=0, hidden=1, bins=1, steps=1, marginal_steps=1, batch_size=1, anneal_share=0.0)
    MechanismsConfig(hidden=1, bins=1, steps=1, batch_size=1)
    FitConfig(n=1, restarts=1, seed=0)


@pytest.mark.parametrize(("n", "layers", "steps"), [(1, 4, 1200), (2, 4, 1200), (3, 6, 2500), (10, 6, 2500)])
def test_more_variables_get_more_layers_and_steps(n: int, layers: int, steps: int) -> None:
    settled = NoiseEncoderConfig(hidden=7).for_variables(n)
    assert settled == NoiseEncoderConfig(hidden=7, layers=layers, steps=steps)
    assert settled.for_variables(3 if n <= 2 else 2) == settled


@pytest.mark.parametrize("given", [{"layers": 0}, {"steps": 9}, {"layers": 3, "steps": 9}])
def test_what_is_given_stays(given: dict[str, int]) -> None:
    settled = NoiseEncoderConfig(**given).for_variables(2)  # type: ignore[arg-type]
    assert (settled.layers, settled.steps) == (given.get("layers", 4), given.get("steps", 1200))
