"""Small data sets and short fits, for the tests of what surrounds a fit."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from lcm.data.nature.build import build_nature, torch_generator
from lcm.data.nature.config import NatureConfig
from lcm.data.nature.graphs import EdgesConfig, FullConfig
from lcm.data.pairs import PairData
from lcm.data.sample import sample_data
from lcm.learn.config import MechanismsConfig, NoiseEncoderConfig
from lcm.model.decoder import FlowDecoderConfig
from lcm.model.intervention import InterventionConfig, PerfectInterventionConfig
from lcm.model.latent_causal_model import LatentCausalModel
from lcm.model.mechanism import LocationScaleMechanismConfig
from lcm.run import runs
from lcm.run.config import FitConfig
from lcm.run.result import FitResult
from lcm.run.runs import fit_run

_DRAW = runs._draw

EDGE = EdgesConfig(edges=((0, 1),))
NATURES = {
    "linear": NatureConfig(2, EDGE),
    "nonlinear": NatureConfig(2, EDGE, LocationScaleMechanismConfig(), decoder=FlowDecoderConfig()),
}
"""The two paths of a fit: a linear mixing needs no flow."""

STEPS = 105
"""Of a short fit: a checkpoint after 100, and a record at the end, after which a fit can be interrupted."""

SHORT = FitConfig(
    noise_encoder=NoiseEncoderConfig(layers=2, hidden=8, bins=4, steps=STEPS, marginal_steps=STEPS, batch_size=32),
    mechanisms=MechanismsConfig(hidden=4, bins=4, steps=20, batch_size=32),
)
"""Long enough for a checkpoint of the first stage (every 100 steps), too short to learn anything."""

SHORT_YAML = """\
noise_encoder: {layers: 2, hidden: 8, bins: 4, steps: 105, marginal_steps: 105, batch_size: 32}
mechanisms: {hidden: 4, bins: 4, steps: 20, batch_size: 32}
"""

RUN_FILES = {  # beside report.html and the figures, which many tests leave out
    *("model.safetensors", "config.yaml", "run.json", "fit.json", "graph.json", "report.md", "metrics.jsonl"),
    *("README.md", "config.json"),
}


def small_nature(name: str, seed: int = 0) -> LatentCausalModel:
    """One of `NATURES`."""
    return build_nature(NATURES[name], seed)


def small_data(name: str, n_pairs: int = 300, seed: int = 0) -> PairData:
    """Pairs of one of `NATURES`, with their truth."""
    return sample_data(small_nature(name, seed), n_pairs, torch_generator(seed, "pairs"))


def fit_in(out: Path, name: str = "linear", config: FitConfig = SHORT, **options: Any) -> FitResult:
    """Fit to the small data of one nature."""
    return fit_run(small_data(name), out, config, device="cpu", progress=False, **options)


@contextmanager
def figures_drawn() -> Iterator[None]:
    """Draw the figures and the page of each fit, as a user has them; tests leave them out elsewhere."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(runs, "_draw", _DRAW)
        yield


def thick_nature(n: int = 3, targets: InterventionConfig | None = None) -> LatentCausalModel:
    """A nature whose pairs have a density at its own thickness."""
    config = NatureConfig(
        n,
        FullConfig(),
        LocationScaleMechanismConfig(),
        intervention=targets or PerfectInterventionConfig(),
        decoder=FlowDecoderConfig(),
        thickness=0.02,
    )
    return build_nature(config, 1)


def sampled(model: LatentCausalModel, n_pairs: int, seed: int = 0) -> PairData:
    """Pairs of any model."""
    return sample_data(model, n_pairs, torch_generator(seed, "pairs"))


def without(data: PairData, *keys: str) -> PairData:
    """The same data without some of the truth."""
    return PairData.from_arrays(**{key: value for key, value in data.tensors().items() if key not in keys})


def relabelled(data: PairData, order: list[int]) -> PairData:
    """The same data with the true variables in another order: new variable a is the old order[a]."""
    tensors = data.tensors()
    for key in ("z", "z_tilde", "noise", "noise_tilde", "targets"):
        tensors[key] = tensors[key][:, order]
    tensors["adjacency"] = tensors["adjacency"][np.ix_(order, order)]
    return PairData.from_arrays(**tensors)


def equal_weights(first: LatentCausalModel, second: LatentCausalModel) -> bool:
    """Whether all tensors of two models are bitwise equal."""
    one, two = first.state_dict(), second.state_dict()
    return one.keys() == two.keys() and all(torch.equal(one[name], two[name]) for name in one)


def content(folder: Path) -> dict[str, bytes]:
    """Every file below a folder, by its path; folders are keys too."""
    return {str(path.relative_to(folder)): path.read_bytes() if path.is_file() else b"" for path in folder.rglob("*")}
