"""Ground truths ("natures"): a latent causal model drawn from a config and one seed.

Every part has a generator of its own, derived from the seed and the part's name, so that a change of one part
(say the decoder's kind) leaves the draw of every other part as it was.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from lcm.data.nature.config import (
    DecoderConfig,
    GraphConfig,
    InterventionConfig,
    MechanismConfig,
    NatureConfig,
    NoiseConfig,
    WeightConfig,
    kind_settings,
)
from lcm.model import graph as random_graph
from lcm.model.decoder import (
    ChainDecoder,
    Decoder,
    EmbeddingDecoder,
    FlowDecoder,
    LinearDecoder,
    MixingDecoder,
    RotationDecoder,
)
from lcm.model.decoder.linear import random_rotation
from lcm.model.elementwise import UnitIntervalMap
from lcm.model.graph import Graph
from lcm.model.intervention import (
    InterventionalMechanism,
    PerfectIntervention,
    ShiftedIntervention,
    SoftIntervention,
    TargetDistribution,
)
from lcm.model.latent_causal_model import LatentCausalModel
from lcm.model.mechanism import (
    AdditiveMechanism,
    CircuitMechanism,
    LinearMechanism,
    LocationScaleMechanism,
    Mechanism,
    SplineMechanism,
)
from lcm.model.noise import NOISE_KINDS, Noise, NormalNoise, PushforwardNoise
from lcm.model.scm import SCM

_CALIBRATION_SAMPLES = 4096
_IMPOSED_SLOPE = 1.5

NetworkMechanism = AdditiveMechanism | LocationScaleMechanism | SplineMechanism

__all__ = [
    "DecoderConfig",
    "GraphConfig",
    "InterventionConfig",
    "MechanismConfig",
    "NatureConfig",
    "NoiseConfig",
    "WeightConfig",
    "build_nature",
    "numpy_generator",
    "torch_generator",
]


def build_nature(config: NatureConfig, seed: int) -> LatentCausalModel:
    """Draw the ground truth that `config` describes; the same seed gives the same model.

    Raises ValueError for a negative seed; everything else was checked when the config was made.
    """
    if config.mechanism.kind == "circuit":
        return _build_circuit(config, seed)
    graph = _build_graph(config.graph, config.n, numpy_generator(seed, "graph"))
    noise = _build_noise(config.noise, config.n)
    mechanism = _build_mechanism(config.mechanism, graph, noise, torch_generator(seed, "mechanism"))
    return LatentCausalModel(
        SCM(graph, mechanism, noise),
        _build_decoder(config.decoder, config.n, seed),
        _build_intervention(config, graph, torch_generator(seed, "intervention")),
        _build_targets(config.intervention, config.n),
        config.thickness,
    ).requires_grad_(False)


def _build_circuit(config: NatureConfig, seed: int) -> LatentCausalModel:
    """The arm and the three lights; imposed values lie in (0, 1) too, spread evenly over nearly all of it."""
    mechanism = CircuitMechanism()
    imposed = PushforwardNoise(NormalNoise(config.n), UnitIntervalMap(config.n, _IMPOSED_SLOPE))
    return LatentCausalModel(
        SCM(Graph.from_edges(config.n, mechanism.EDGES), mechanism, NormalNoise(config.n)),
        _build_decoder(config.decoder, config.n, seed),
        PerfectIntervention(imposed),
        _build_targets(config.intervention, config.n),
        config.thickness,
    ).requires_grad_(False)


def numpy_generator(seed: int, purpose: str) -> np.random.Generator:
    """A numpy generator for one named purpose, independent of those for other names and seeds."""
    return np.random.default_rng(_derived(seed, purpose))


def torch_generator(seed: int, purpose: str) -> torch.Generator:
    """A torch generator (CPU) for one named purpose, independent of those for other names and seeds."""
    state = _derived(seed, purpose).generate_state(1, np.uint64)
    return torch.Generator().manual_seed(int(state[0]))


def _derived(seed: int, purpose: str) -> np.random.SeedSequence:
    if seed < 0:
        raise ValueError(f"Expected a seed >= 0; got {seed}.")
    return np.random.SeedSequence(seed, spawn_key=tuple(purpose.encode()))


def _build_graph(config: GraphConfig, n: int, generator: np.random.Generator) -> Graph:
    settings = kind_settings(config)
    if config.kind == "erdos-renyi":
        return random_graph.erdos_renyi(n, generator, **settings)
    if config.kind == "scale-free":
        return random_graph.scale_free(n, generator, **settings)
    if config.kind == "edges":
        return Graph.from_edges(n, settings["edges"])
    if config.kind == "empty":
        return random_graph.empty(n)
    return {"chain": random_graph.chain, "full": random_graph.full}[config.kind](n, generator)


def _build_noise(config: NoiseConfig, n: int) -> Noise:
    noise: Noise = NOISE_KINDS[config.kind](n, **kind_settings(config))
    return noise


def _build_mechanism(config: MechanismConfig, graph: Graph, noise: Noise, generator: torch.Generator) -> Mechanism:
    adjacency = torch.tensor(graph.adjacency)
    settings: dict[str, Any] = kind_settings(config)
    if config.kind == "linear":
        weight = _draw_weights(settings["weights"], graph.n, generator) * adjacency
        if settings["normalise"]:
            weight = weight / adjacency.sum(0).clamp_min(1).sqrt()
        return LinearMechanism(adjacency, weight)
    shape = {"hidden": settings["hidden"], "layers": settings["layers"]}
    kinds = {
        "additive": AdditiveMechanism,
        "location-scale": LocationScaleMechanism,
        "spline": SplineMechanism,
    }
    mechanism: NetworkMechanism = kinds[config.kind](adjacency, **shape)
    mechanism.network.draw_weights(generator, last_scale=1.0)
    strengths = settings["strength"], settings.get("noise_strength", 0.0)
    _calibrate(mechanism, *strengths, graph, noise.sample(_CALIBRATION_SAMPLES, generator))
    return mechanism


def _draw_weights(config: WeightConfig, n: int, generator: torch.Generator) -> Tensor:
    """Weights (n, n) of all possible edges: which ones exist does not change the others."""
    settings = kind_settings(config)
    sign: Tensor = 2.0 * torch.randint(2, (n, n), generator=generator) - 1.0
    if config.kind == "bimodal":
        spread: float = settings["spread"]
        return sign + spread * torch.randn(n, n, generator=generator)
    low, high = settings["low"], settings["high"]
    magnitude: Tensor = low + (high - low) * torch.rand(n, n, generator=generator)
    return sign * magnitude


@torch.no_grad()
def _calibrate(
    mechanism: NetworkMechanism, strength: float, noise_strength: float, graph: Graph, noise: Tensor
) -> None:
    """Centre and rescale the networks: the location gets the standard deviation `strength`, every parameter
    of the noise the largest deviation `noise_strength`.

    It is done generation by generation, on the values that the calibrated parents take for `noise` (N, n),
    and so holds at any depth. A variable without parents keeps no network.
    """
    z = torch.zeros_like(noise)
    for index in graph.generations():
        variables = torch.as_tensor(index)
        outputs = mechanism.network(z, variables)
        centre = outputs.mean(0)
        unit = (outputs - centre).abs().amax(0) / max(noise_strength, 1e-6)
        unit[:, 0] = outputs[..., 0].std(0) / strength
        has_parents = mechanism.adjacency[:, variables].any(0).unsqueeze(1)
        gain = torch.where(has_parents, 1.0 / unit.clamp_min(1e-6), 0.0)
        mechanism.network.last[variables] *= gain.unsqueeze(1)
        _set_bias(mechanism, variables, -centre * gain)
        z = z.index_copy(1, variables, mechanism(noise[:, variables], z, variables)[0])


def _set_bias(mechanism: NetworkMechanism, variables: Tensor, bias: Tensor) -> None:
    """Set what is added to the network outputs of `variables` (k,) to bias (k, outputs)."""
    if isinstance(mechanism, SplineMechanism):
        mechanism.bias[variables] = bias
        return
    mechanism.bias[variables] = bias[:, 0]
    if isinstance(mechanism, LocationScaleMechanism):
        mechanism.log_scale[variables] = bias[:, 1]


def _build_targets(config: InterventionConfig, n: int) -> TargetDistribution:
    if isinstance(config.targets, str):
        return TargetDistribution.family(n, config.targets, config.probabilities)
    return TargetDistribution(n, config.targets, config.probabilities)


def _build_intervention(config: NatureConfig, graph: Graph, generator: torch.Generator) -> InterventionalMechanism:
    settings = kind_settings(config.intervention)
    if config.intervention.kind == "shifted":
        return ShiftedIntervention(config.n, torch.full((config.n,), settings["shift"]))
    noise = _build_noise(settings["noise"], config.n)
    if config.intervention.kind == "perfect":
        return PerfectIntervention(noise)
    return SoftIntervention(_build_mechanism(config.mechanism, graph, noise, generator), noise)


def _build_decoder(config: DecoderConfig, n: int, seed: int) -> Decoder:
    dim_x = n if config.dim_x is None else config.dim_x
    parts: list[Decoder] = []
    if config.kind != "embedding":
        parts.append(_build_square_decoder(config, n, torch_generator(seed, "decoder")))
    if config.kind == "embedding" or dim_x > n:
        parts.append(EmbeddingDecoder(n, dim_x, torch_generator(seed, "embedding")))
    return parts[0] if len(parts) == 1 else ChainDecoder(parts)


def _build_square_decoder(config: DecoderConfig, n: int, generator: torch.Generator) -> Decoder:
    settings = kind_settings(config)
    settings.pop("dim_x", None)
    if config.kind == "rotation":
        return RotationDecoder(n, generator)
    if config.kind == "linear":
        spread = torch.rand(n, generator=generator) - 0.5
        scale = torch.diag(settings["condition"] ** spread)
        return LinearDecoder(n, random_rotation(n, generator) @ scale @ random_rotation(n, generator))
    if config.kind == "mixing":
        return MixingDecoder(n, generator=generator, **settings)
    strength = settings.pop("strength")
    rotation, flow = RotationDecoder(n, generator), FlowDecoder(n, **settings)
    flow.draw_weights(generator, strength)
    return ChainDecoder([rotation, flow])
