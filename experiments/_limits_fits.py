"""What the rows of `limits` share: a nature, fits to its pairs, and their distance from the truth."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, final

import numpy as np
from numpy.typing import NDArray

from experiments._block_r2 import block_r2
from experiments._experiment import fit_config
from lcm.data.encode import encode_pairs
from lcm.data.nature.build import build_nature, torch_generator
from lcm.data.nature.config import NatureConfig
from lcm.data.nature.graphs import EdgesConfig
from lcm.data.pairs import PairData
from lcm.data.sample import sample_data
from lcm.isomorphism.likelihood import log_densities
from lcm.isomorphism.matching import correlation_matrix, match_variables, mean_correlation
from lcm.metric.disentanglement import r2_per_variable
from lcm.metric.graph import aligned_adjacency, structural_hamming_distance
from lcm.model.intervention import InterventionConfig
from lcm.model.latent_causal_model import LatentCausalModel
from lcm.run.fitting import fit_pairs
from lcm.run.result import FitResult

GRAPH = EdgesConfig(edges=((0, 1), (0, 2), (1, 3), (2, 3)))
N = 4
THICKNESS = 0.02

Array = NDArray[np.float64]


@final
@dataclass(frozen=True)
class Budget:
    """The size of the experiment.

    Attributes:
        pairs: pairs to fit on, with n = 4 and linear mixing.
        steps: steps of the flow, if the linear start does not suffice; at most as many in other stages.
        fits: the number of model seeds where variables may mix within blocks.
        toy_pairs, toy_steps: the same for two variables behind a flow.
        models: the number of autoencoders, and of latent causal models, that are compared with each other.
        autoencoder_steps: steps of each autoencoder.
        torus_pairs: pairs in each sample of a two-sample test.
        test: pairs to score on.
    """

    pairs: int
    steps: int
    fits: int
    toy_pairs: int
    toy_steps: int
    models: int
    autoencoder_steps: int
    torus_pairs: int
    test: int

    def limited(self, pairs: int | None, steps: int | None) -> Budget:
        """The same with at most the given pairs and steps."""
        found = self
        if pairs is not None:
            fewer = {key: min(pairs, getattr(self, key)) for key in ("torus_pairs", "test")}
            found = replace(found, pairs=pairs, toy_pairs=pairs, **fewer)
        if steps is not None:
            fewer = {"autoencoder_steps": min(steps, self.autoencoder_steps)}
            found = replace(found, steps=steps, toy_steps=steps, **fewer)
        return found


FULL = Budget(
    pairs=20_000,
    steps=1000,
    fits=3,
    toy_pairs=50_000,
    toy_steps=1200,
    models=4,
    autoencoder_steps=4000,
    torus_pairs=4000,
    test=10_000,
)
QUICK = Budget(
    pairs=5000,
    steps=120,
    fits=2,
    toy_pairs=10_000,
    toy_steps=250,
    models=4,
    autoencoder_steps=600,
    torus_pairs=4000,
    test=2000,
)


@final
@dataclass(frozen=True)
class Scores:
    """A fitted model against the truth; learned variables and their noise are matched by the noise.

    Attributes:
        noise_correlation: (n, n) |Spearman| of true noise i and the learned noise that is matched with j.
        noise_r2, z_r2: (n,) held-out R² of each true noise, each true variable, on its match alone.
        noise_mcc, z_mcc: mean |Spearman| with the match.
        learned: (n, n) the learned graph in the true numbering.
        shd: structural Hamming distance.
        noise: (N, n) learned, in the true numbering.
    """

    noise_correlation: Array
    noise_r2: Array
    z_r2: Array
    noise_mcc: float
    z_mcc: float
    learned: NDArray[Any]
    shd: int
    noise: Array


def nature_of(intervention: InterventionConfig, seed: int, thickness: float = 0.0) -> LatentCausalModel:
    """Four variables, a diamond (0 → 1 → 3 and 0 → 2 → 3), linear mechanisms with normal noise, a rotation."""
    config = NatureConfig(n=N, graph=GRAPH, intervention=intervention, thickness=thickness)
    return build_nature(config, seed)


def split(nature: LatentCausalModel, name: str, seed: int, pairs: int) -> PairData:
    """Pairs of a nature; name and seed decide the draw."""
    return sample_data(nature, pairs, torch_generator(seed, name))


def fit_to(data: PairData, steps: int, seed: int = 0, targets: Sequence[Sequence[int]] | None = None) -> FitResult:
    """A fit of the defaults with at most `steps`, told the target sets where they are given."""
    config = replace(fit_config(steps), seed=seed)
    if targets is not None:
        config = replace(config, targets=tuple(map(tuple, targets)))
    return fit_pairs(data, config)


def score(model: LatentCausalModel, test: PairData) -> Scores:
    """Compare a model with the truth in `test`."""
    assert test.noise is not None and test.z is not None and test.adjacency is not None
    encoded = encode_pairs(model, test)
    noise, z = encoded.noise.double().numpy(), encoded.z.double().numpy()
    correlation = correlation_matrix(test.noise, noise)
    matching = match_variables(correlation)
    learned = aligned_adjacency(model.graph.adjacency, matching)
    return Scores(
        noise_correlation=correlation[:, matching],
        noise_r2=r2_per_variable(test.noise, noise, matching),
        z_r2=r2_per_variable(test.z, z, matching),
        noise_mcc=mean_correlation(correlation, matching),
        z_mcc=mean_correlation(correlation_matrix(test.z, z), matching),
        learned=learned,
        shd=structural_hamming_distance(test.adjacency, learned),
        noise=noise[:, matching],
    )


def found_as_block(scores: Scores, test: PairData, block: Sequence[int]) -> Array:
    """R² of each true noise of a block on the learned noise of the whole block."""
    assert test.noise is not None
    return block_r2(test.noise[:, block], scores.noise[:, block])


def gap_to_nature(nature: LatentCausalModel, model: LatentCausalModel, test: PairData) -> float:
    """Nats a pair by which a model explains pairs of a thick nature worse than that nature, at its thickness.

    The model may have been fitted to exact pairs of the same nature: both are given the thickness of `test`
    (docs/theory.md section 2, caution i).
    """
    own, other = (log_densities(each, test, nature.thickness) for each in (nature, model))
    return float((own - other).mean())
