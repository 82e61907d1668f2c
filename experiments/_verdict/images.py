"""Random natures of every kind, and random isomorphic images of them, bent from not at all to strongly."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from lcm.data.nature.build import build_nature, numpy_generator, torch_generator
from lcm.data.nature.config import NatureConfig
from lcm.data.nature.graphs import ErdosRenyiConfig
from lcm.isomorphism.apply import Isomorphism
from lcm.model.decoder import DecoderConfig
from lcm.model.elementwise import AffineMap, ElementwiseMap, SplineMap
from lcm.model.intervention import InterventionConfig
from lcm.model.latent_causal_model import LatentCausalModel
from lcm.model.mechanism import MechanismConfig
from lcm.model.noise import NoiseConfig

MECHANISMS = ("linear", "additive", "location-scale", "spline")
DECODERS = ("rotation", "linear", "mixing", "flow")
NOISES = ("normal", "laplace", "logistic", "skewed", "uniform")
INTERVENTIONS = ("perfect", "soft", "shifted")
MAPS = ("affine", "spline", "strongly bent")
_BENDS = {"spline": 1.0, "strongly bent": 3.0}
_MOST_FOR_ALL_SUBSETS = 4


def random_nature(seed: int) -> LatentCausalModel:
    """A nature of 1 to 6 variables in float64: all of its parts drawn, p_𝓘 uneven, each thickness another, or none.

    Every fourth is linear, with perfect interventions, so that there are edges to take away.
    """
    draw = numpy_generator(seed, "verdict")
    n = 1 + seed % 6
    targets = str(draw.choice(["atomic", "atomic-or-empty", "all"][: 3 if n <= _MOST_FOR_ALL_SUBSETS else 2]))
    count = {"atomic": n, "atomic-or-empty": n + 1, "all": 2**n}[targets]
    kind, mechanism = str(draw.choice(INTERVENTIONS)), str(draw.choice(MECHANISMS))
    if seed % 4 == 3:
        kind, mechanism = "perfect", "linear"
    noises = [NoiseConfig.of_kind(str(name))() for name in draw.choice(NOISES, 2)]
    settings: dict[str, Any] = {"targets": targets, "probabilities": tuple(draw.dirichlet([3.0] * count).tolist())}
    settings |= {"shift": float(draw.uniform(0.5, 2.0))} if kind == "shifted" else {"noise": noises[1]}
    config = NatureConfig(
        n,
        ErdosRenyiConfig(expected_degree=min(2.0, n - 1.0)),
        MechanismConfig.of_kind(mechanism)(),  # type: ignore[arg-type]
        noises[0],
        InterventionConfig.of_kind(kind)(**settings),  # type: ignore[arg-type]
        DecoderConfig.of_kind(str(draw.choice(DECODERS)))(),  # type: ignore[arg-type]
    )
    nature = build_nature(config, seed).double()
    if draw.uniform() < 0.75:
        nature.thickness = torch.from_numpy(np.exp(draw.uniform(np.log(0.005), np.log(0.1), n)))
    return nature


def random_image(model: LatentCausalModel, seed: int) -> tuple[LatentCausalModel, dict[str, str]]:
    """A random isomorphic image, and the kinds of its maps; every third relabelling of three or more is a 3-cycle."""
    draw, generator = numpy_generator(seed, "verdict image"), torch_generator(seed, "verdict image")
    n = model.n
    permutation = torch.randperm(n, generator=generator).tolist()
    if n >= 3 and seed % 3 == 0:
        permutation = [1, 2, 0, *range(3, n)]
    kinds = [str(kind) for kind in draw.choice(MAPS, 2)]
    noise_map, variable_map = (_random_map(kind, n, generator) for kind in kinds)
    image = Isomorphism(permutation, noise_map, variable_map).apply(model).requires_grad_(False)
    return image, {"noise_map": kinds[0], "variable_map": kinds[1]}


def _random_map(kind: str, n: int, generator: torch.Generator) -> ElementwiseMap:
    sign = 2.0 * torch.randint(2, (n,), generator=generator, dtype=torch.float64) - 1.0
    if kind == "affine":
        scale = torch.exp(2.0 * torch.rand(n, generator=generator, dtype=torch.float64) - 1.0)
        shift = torch.randn(n, generator=generator, dtype=torch.float64)
        return AffineMap(n, shift, sign * scale).requires_grad_(False)
    spline = SplineMap(n, bins=12).double()
    with torch.no_grad():
        spline.raw.copy_(_BENDS[kind] * torch.randn(spline.raw.shape, generator=generator, dtype=torch.float64))
    return spline.requires_grad_(False)
