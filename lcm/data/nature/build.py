"""Ground truths ("natures"): a latent causal model drawn from a config and one seed.

Every part has a generator of its own, derived from the seed and the part's name, so that a change of one part
(say the decoder's kind) leaves the draw of every other part as it was.
"""

from __future__ import annotations

import numpy as np
import torch

from lcm.base.entry_budget import EntryBudget
from lcm.base.memory import available_bytes
from lcm.data.nature.config import NatureConfig
from lcm.model.decoder import ChainDecoder, Decoder, DecoderConfig, EmbeddingDecoder
from lcm.model.intervention import PerfectIntervention
from lcm.model.latent_causal_model import LatentCausalModel
from lcm.model.scm import SCM

# of a weight, its draw and its calibration
_BYTES_OF_AN_ENTRY = 16


def build_nature(config: NatureConfig, seed: int) -> LatentCausalModel:
    """Draw the ground truth that `config` describes; the same seed gives the same model.

    Raises ValueError for a negative seed, and for a model whose weights do not fit into the memory at hand; everything
    else was checked when the config was made.
    """
    with EntryBudget(available_bytes() // _BYTES_OF_AN_ENTRY, "which fit into the memory at hand"):
        return _build(config, seed)


def _build(config: NatureConfig, seed: int) -> LatentCausalModel:
    given = config.mechanism.prescribed()
    graph = config.graph.draw(config.n, numpy_generator(seed, "graph")) if given is None else given.graph
    noise = config.noise.draw(config.n)
    mechanism = config.mechanism.draw(graph, noise, torch_generator(seed, "mechanism"))
    generator = torch_generator(seed, "intervention")
    return LatentCausalModel(
        SCM(graph, mechanism, noise),
        _build_decoder(config.decoder, config.n, seed),
        config.intervention.draw(graph, config.mechanism, generator)
        if given is None
        else PerfectIntervention(given.imposed),
        config.intervention.target_distribution(config.n),
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


def _build_decoder(config: DecoderConfig, n: int, seed: int) -> Decoder:
    dimension = config.dimension(n)
    drawn = config.draw(n, torch_generator(seed, "decoder"))
    if drawn is not None and drawn.d == dimension:
        return drawn
    embedding = EmbeddingDecoder(n, dimension, torch_generator(seed, "embedding"))
    return embedding if drawn is None else ChainDecoder([drawn, embedding])
