"""theorem, (2 ⇒ 1): random models and their images under random isomorphisms have one distribution of pairs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from experiments._cells import run_once
from experiments._theorem.likelihood_ratio import likelihood_ratio_test
from experiments._theorem.two_sample import mmd_test, pair_rows
from lcm.data.nature.build import build_nature, numpy_generator, torch_generator
from lcm.data.nature.config import NatureConfig
from lcm.data.nature.graphs import ErdosRenyiConfig
from lcm.isomorphism.apply import random_isomorphism
from lcm.model.decoder import DecoderConfig
from lcm.model.intervention import PerfectInterventionConfig
from lcm.model.latent_causal_model import LatentCausalModel
from lcm.model.mechanism import MechanismConfig
from lcm.model.noise import NoiseConfig

THICKNESS = 0.02
LEVEL = 0.01
BLOCK = 10
MECHANISMS = ("linear", "additive", "location-scale", "spline")
DECODERS = ("rotation", "mixing", "flow")
NOISES = ("normal", "laplace", "logistic", "skewed", "uniform")
HISTOGRAM = (-17.0, -8.0, 45)
"""The histogram of log10 |difference of log p|: lower end, upper end, bins; the end bins hold values outside."""


def run_images(out: Path, count: int, rows: int) -> list[dict[str, Any]]:
    """The records of `count` random models, ten per file; `rows` pairs enter the tests, half of them the densities."""
    records = []
    for start in range(0, count, BLOCK):
        seeds = range(start, min(start + BLOCK, count))
        settings = {"first": start, "models": len(seeds), "rows": rows}
        path = out / "cells" / f"images-{start:03d}.json"
        block = run_once(path, settings, lambda seeds=seeds: {"records": [_image(seed, rows) for seed in seeds]})
        records += block["records"]
    return records


def random_nature(seed: int) -> tuple[NatureConfig, LatentCausalModel]:
    """A nature of 2 to 5 variables, everything about it drawn, in float64."""
    draw = numpy_generator(seed, "theorem")
    n = int(draw.integers(2, 6))
    probabilities = draw.dirichlet([5.0] * (n + 1))
    noise, imposed = (NoiseConfig.of_kind(str(kind))() for kind in draw.choice(NOISES, 2))
    config = NatureConfig(
        n,
        ErdosRenyiConfig(expected_degree=2.0),
        MechanismConfig.of_kind(str(draw.choice(MECHANISMS)))(),  # type: ignore[arg-type]
        noise,
        PerfectInterventionConfig(probabilities=tuple(probabilities.tolist()), noise=imposed),
        DecoderConfig.of_kind(str(draw.choice(DECODERS)))(),  # type: ignore[arg-type]
        THICKNESS,
    )
    return config, build_nature(config, seed).double()


@torch.no_grad()
def _image(seed: int, rows: int) -> dict[str, Any]:
    """Compare one model with one image of it: densities point by point, then samples."""
    config, model = random_nature(seed)
    generator = torch_generator(seed, "theorem image")
    isomorphism = random_isomorphism(model.n, generator)
    image = isomorphism.apply(model)
    own, others = (part.sample_pairs(rows, generator) for part in (model, image))
    tested = mmd_test(pair_rows(own.x, own.x_tilde), pair_rows(others.x, others.x_tilde), generator)
    densities = [_densities(model, image, pairs.x, pairs.x_tilde) for pairs in (own, others)]
    difference = torch.cat([first - second for first, second in densities]).abs()
    # either model is the null of the pairs of the other
    tests = [likelihood_ratio_test(*densities[1], LEVEL), likelihood_ratio_test(*densities[0][::-1], LEVEL)]
    return {
        "seed": seed,
        "n": model.n,
        "mechanism": config.mechanism.kind,
        "decoder": config.decoder.kind,
        "noise": config.noise.kind,
        "noise_map": isomorphism.noise_map.kind,
        "variable_map": isomorphism.variable_map.kind,
        "largest_difference": float(difference.max()),
        "median_difference": float(difference.median()),
        "histogram": _histogram(difference),
        "mmd_p_value": tested.p_value,
        "mmd_rejects": tested.p_value <= LEVEL,
        "likelihood_ratio_rejects": any(test.rejected for test in tests),
    }


def _densities(model: LatentCausalModel, image: LatentCausalModel, x: Tensor, x_tilde: Tensor) -> tuple[Tensor, Tensor]:
    half = (x[: len(x) // 2], x_tilde[: len(x) // 2])
    return model.pair_log_density(*half), image.pair_log_density(*half)


def _histogram(difference: Tensor) -> list[int]:
    low, high, bins = HISTOGRAM
    exponents = difference.clamp_min(1e-300).log10().clamp(low, high)
    counts: list[int] = torch.histc(exponents, bins, low, high).int().tolist()
    return counts
