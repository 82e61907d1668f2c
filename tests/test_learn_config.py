"""Settings of a fit: what they refuse, and the defaults that depend on the number of variables."""

from __future__ import annotations

from typing import Any

import pytest

from lcm.learn.config import FitConfig, MechanismsConfig, NoiseEncoderConfig, ReadoutConfig

NAN = float("nan")
REFUSED: list[tuple[type, str, Any, str]] = [
    (NoiseEncoderConfig, "layers", -1, "a number of layers of at least 0; got -1"),
    (NoiseEncoderConfig, "hidden", 0, "at least 1 hidden unit; got 0"),
    (NoiseEncoderConfig, "solution_hidden", 0, "at least 1 hidden unit; got 0"),
    (NoiseEncoderConfig, "bins", 0, "at least 1 bin; got 0"),
    (NoiseEncoderConfig, "steps", 0, "at least 1 step and 1 pair in a batch; got 0"),
    (NoiseEncoderConfig, "marginal_steps", 0, "at least 1 step and 1 pair in a batch; got 0"),
    (NoiseEncoderConfig, "batch_size", 0, "at least 1 step and 1 pair in a batch; got 0"),
    (NoiseEncoderConfig, "learning_rate", 0.0, "a positive learning rate; got 0.0"),
    (NoiseEncoderConfig, "learning_rate", NAN, "a positive learning rate; got nan"),
    (NoiseEncoderConfig, "solution_learning_rate", -1.0, "a positive learning rate; got -1.0"),
    (NoiseEncoderConfig, "anneal_from", 0.0, "a positive thickness to anneal from; got 0.0"),
    (NoiseEncoderConfig, "anneal_share", 1.0, r"a share of the steps in \[0, 1\); got 1.0"),
    (NoiseEncoderConfig, "anneal_share", -0.1, r"a share of the steps in \[0, 1\); got -0.1"),
    (MechanismsConfig, "hidden", 0, "at least 1 hidden unit; got 0"),
    (MechanismsConfig, "bins", 0, "at least 1 bin; got 0"),
    (MechanismsConfig, "steps", 0, "at least 1 step and 1 pair in a batch; got 0"),
    (MechanismsConfig, "batch_size", 0, "at least 1 step and 1 pair in a batch; got 0"),
    (MechanismsConfig, "learning_rate", 0.0, "a positive learning rate; got 0.0"),
    (ReadoutConfig, "ancestor_level", 0.0, "an error rate strictly between 0 and 1; got 0.0"),
    (ReadoutConfig, "parent_level", 1.0, "an error rate strictly between 0 and 1; got 1.0"),
    (FitConfig, "n", 0, "n of at least 1; got 0"),
    (FitConfig, "validation_share", 0.0, r"a share in \(0, 1\); got 0.0"),
    (FitConfig, "validation_share", 1.0, r"a share in \(0, 1\); got 1.0"),
    (FitConfig, "restarts", 0, "at least 1 restart; got 0"),
    (FitConfig, "seed", -1, "a non-negative seed; got -1"),
]


@pytest.mark.parametrize(("config", "key", "value", "message"), REFUSED)
def test_values_out_of_range_are_refused(config: type, key: str, value: object, message: str) -> None:
    with pytest.raises(ValueError, match=f"^Expected {message}"):
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
