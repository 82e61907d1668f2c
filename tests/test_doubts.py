"""What a fit is doubted for, and that a sound one is not."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import replace

import pytest
import torch
from small import sampled

from lcm.data.nature import GraphConfig, NatureConfig, build_nature
from lcm.data.pairs import PairData
from lcm.doubts import doubts
from lcm.learn.config import FitConfig, MechanismsConfig, NoiseEncoderConfig
from lcm.learn.fit import FitResult, fit_pairs

DATA = sampled(build_nature(NatureConfig(3, GraphConfig("chain")), 0), 5000, 0)
CONFIG = FitConfig(noise_encoder=NoiseEncoderConfig(marginal_steps=100), mechanisms=MechanismsConfig(steps=50))


@pytest.fixture(scope="module")
def sound() -> FitResult:
    return fit_pairs(DATA, CONFIG)


def test_a_sound_fit_is_not_doubted(sound: FitResult) -> None:
    assert doubts(sound, DATA) == []


def test_a_wide_thickness_is_doubted(sound: FitResult) -> None:
    model = deepcopy(sound.model)
    model.thickness[1] = 0.25
    (doubt,) = doubts(replace(sound, model=model), DATA)
    assert "changes by 0.25 of its standard deviation" in doubt


def test_a_gap_between_the_models_is_doubted(sound: FitResult) -> None:
    (doubt,) = doubts(replace(sound, explicit_nll=sound.implicit_nll + 0.2), DATA)
    assert "0.20 nats worse than the implicit one" in doubt


def test_conflicts_of_the_order_are_doubted(sound: FitResult) -> None:
    (doubt,) = doubts(replace(sound, ancestry=replace(sound.ancestry, conflicts=((2, 0),))), DATA)
    assert "an assumption may be broken: z2 -> z0" in doubt


def test_a_target_that_is_never_hit_is_doubted(sound: FitResult) -> None:
    model = deepcopy(sound.model)
    model.target_distribution.probabilities.copy_(torch.tensor([0.4, 0.3, 0.3, 0.0]))
    (doubt,) = doubts(replace(sound, model=model), DATA)
    assert doubt.startswith("Almost never intervened on: z2.")


def test_fewer_variables_than_dimensions_are_doubted() -> None:
    fitted = fit_pairs(PairData(x=DATA.x, x_tilde=DATA.x_tilde), replace(CONFIG, n=2))
    assert any("x spans 3 dimensions, more than the 2 variables fitted" in doubt for doubt in doubts(fitted, DATA))
