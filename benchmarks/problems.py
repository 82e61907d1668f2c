"""The ground truths that are timed, and pairs from them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

from benchmarks.row import Plan
from lcm.data.nature.build import build_nature, torch_generator
from lcm.data.nature.config import NatureConfig
from lcm.data.nature.graphs import ChainConfig, ErdosRenyiConfig
from lcm.data.pairs import PairData
from lcm.data.sample import sample_data
from lcm.model.decoder import FlowDecoderConfig, MixingDecoderConfig
from lcm.model.latent_causal_model import LatentCausalModel
from lcm.model.mechanism import LinearMechanismConfig, LocationScaleMechanismConfig, UniformWeightConfig


def linear(n: int) -> NatureConfig:
    """A linear SCM of expected degree 2 behind a rotation, its weights such that no value explodes with n."""
    weights = UniformWeightConfig(low=0.7, high=1.5)
    graph = ErdosRenyiConfig(expected_degree=min(2.0, n - 1))
    return NatureConfig(n, graph, LinearMechanismConfig(weights=weights, normalise=True))


def toy2d() -> NatureConfig:
    """Two variables, a location-scale mechanism, behind a random flow."""
    return NatureConfig(2, ChainConfig(), LocationScaleMechanismConfig(), decoder=FlowDecoderConfig())


def curved(n: int, strength: float = 0.25) -> NatureConfig:
    """Location-scale mechanisms of expected degree 2 behind a curved mixing: the path of a fit that needs a flow."""
    graph = ErdosRenyiConfig(expected_degree=min(2.0, n - 1))
    return NatureConfig(n, graph, LocationScaleMechanismConfig(), decoder=MixingDecoderConfig(strength=strength))


@final
@dataclass(frozen=True)
class Problem:
    """A ground truth, pairs to fit on, and pairs to score on, with their truth."""

    nature: LatentCausalModel
    train: PairData
    test: PairData


def draw(config: NatureConfig, pairs: int, seed: int, test_pairs: int = 10_000) -> Problem:
    """A ground truth and its pairs, all decided by the seed."""
    nature = build_nature(config, seed)
    train = sample_data(nature, pairs, torch_generator(seed, "train"))
    return Problem(nature, train, sample_data(nature, test_pairs, torch_generator(seed, "test")))


def usual_pairs(plan: Plan) -> int:
    """Pairs to fit on where nothing else is said."""
    return 4_000 if plan.quick else 100_000
