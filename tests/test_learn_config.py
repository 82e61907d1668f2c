"""Settings of a fit: what they refuse, and the defaults that depend on the number of variables."""

from __future__ import annotations

import re
from typing import Any

import pytest
import torch

from lcm.learn.config import MechanismsConfig, NoiseEncoderConfig, ReadoutConfig
from lcm.model.decoder import Flow
from lcm.run.config import FitConfig

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
    (ReadoutConfig, "false_discovery_rate", 1.0, "an error rate strictly between 0 and 1"),
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


@pytest.mark.parametrize("flow", Flow.names())
def test_every_flow_starts_with_the_size_that_is_given_or_its_own(flow: str) -> None:
    kind, source = Flow.of_kind(flow), torch.Generator().manual_seed(0)
    decoder = kind.start(3, kind.layers, kind.hidden, 4, source)
    z = torch.randn(20, 3, generator=source)
    x, log_det = decoder(z)
    assert torch.allclose(x, z, atol=1e-5) and torch.allclose(log_det, torch.zeros(20), atol=1e-5)
    smaller = kind.start(3, 1, 5, 4, source)
    sizes = [sum(parameter.numel() for parameter in each.parameters()) for each in (smaller, decoder)]
    assert sizes[0] < sizes[1] and kind.learning_rate > 0


def test_flows_that_are_not_there_are_refused() -> None:
    with pytest.raises(
        ValueError, match=r"^flow: Expected one of 'affine', 'residual', 'spline' \(did you mean 'spline'"
    ):
        NoiseEncoderConfig(flow="splines")


@pytest.mark.parametrize(
    ("given", "n", "pairs", "steps"),
    [
        ({}, 3, 90_000, (2000, 43_945)),
        ({}, 2, 90_000, (1000, 43_945)),
        ({}, 4, 4_500, (2000, 2197)),
        ({}, 4, 225, (1000, 1000)),
        ({"batch_size": 128}, 4, 450, (1000, 1000)),
        ({"batch_size": 32}, 4, 450, (2000, 3515)),
        ({"steps": 9}, 4, 90_000, (9, 43_945)),
    ],
)
def test_steps_are_what_was_given_or_follow_from_variables_and_pairs(
    given: dict[str, Any], n: int, pairs: int, steps: tuple[int, int]
) -> None:
    config = NoiseEncoderConfig(**given)
    assert (config.first_round(n, pairs), config.most_steps(pairs)) == steps
