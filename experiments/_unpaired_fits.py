"""The cells of the unpaired experiment: one nature, one number of observations, one method, two scores."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, final

import numpy as np
import torch

from experiments._cells import run_once
from experiments._independent import independent_pairs
from experiments._unpaired import (
    Differences,
    FloatArray,
    contrastive_differences,
    fit_unpaired,
    fourier_differences,
    gaussian_differences,
)
from lcm.data.encode import encode_data
from lcm.data.nature.build import build_nature, numpy_generator, torch_generator
from lcm.data.nature.config import NatureConfig
from lcm.data.nature.graphs import ErdosRenyiConfig
from lcm.data.pairs import PairData
from lcm.data.sample import sample_data
from lcm.isomorphism.matching import correlation_matrix, match_variables, mean_correlation
from lcm.metric.graph import aligned_adjacency, structural_hamming_distance
from lcm.model.decoder import LinearDecoderConfig
from lcm.model.elementwise import AffineMap
from lcm.model.intervention import PerfectIntervention, PerfectInterventionConfig
from lcm.model.latent_causal_model import LatentCausalModel
from lcm.model.mechanism import LinearMechanismConfig, LocationScaleMechanismConfig, MechanismConfig
from lcm.model.noise import NormalNoise, PushforwardNoise
from lcm.run.config import FitConfig

PAIRED = ("linear", "flow")
UNPAIRED = ("score, normal", "score, waves", "contrastive")
METHODS = (*PAIRED, *UNPAIRED)
KINDS = ("linear", "location-scale", "linear, same law")
_MECHANISMS: dict[str, MechanismConfig] = {
    "linear": LinearMechanismConfig(),
    "location-scale": LocationScaleMechanismConfig(),
    "linear, same law": LinearMechanismConfig(),
}
IMPOSED_DEVIATION = 2.0
EDGES = 0.7
TESTED = 2_000
FREQUENCIES, FREQUENCY_SCALE = 40, 0.6


@final
@dataclass(frozen=True)
class Request:
    """One cell: the kind of nature, its variables and seed, the observations x and x̃ together, the method."""

    kind: str
    n: int
    seed: int
    observations: int
    method: str

    @property
    def name(self) -> str:
        """The name of its file."""
        parts = (self.kind, f"n{self.n}", f"seed{self.seed}", str(self.observations), self.method)
        return "-".join(parts).replace(", ", "-")


def draw_nature(kind: str, n: int, seed: int) -> LatentCausalModel:
    """A nature with a linear mixing and one target a pair, each as often as the others.

    There are 70 % of all edges. The noise is standard normal. So are imposed values in "linear, same law"; otherwise
    their deviation is 2: an intervention on a variable without parents must change its law to be seen without pairs.
    """
    config = NatureConfig(
        n,
        graph=ErdosRenyiConfig(edge_probability=EDGES),
        mechanism=_MECHANISMS[kind],
        decoder=LinearDecoderConfig(),
        intervention=PerfectInterventionConfig(targets="atomic"),
    )
    nature = build_nature(config, seed)
    if kind == "linear, same law":
        return nature
    scale = torch.full((n,), IMPOSED_DEVIATION)
    imposed = PerfectIntervention(PushforwardNoise(NormalNoise(n), AffineMap(n, scale=scale)))
    other = LatentCausalModel(nature.scm, nature.decoder, imposed, nature.target_distribution, nature.thickness)
    return other.requires_grad_(False)


def environments(before: PairData, after: PairData) -> tuple[FloatArray, list[FloatArray]]:
    """The observations x of one data set, and those x̃ of another, apart by target; no two belong together.

    Raises:
        ValueError: data without targets, or with a pair that has not exactly one.
    """
    cut = independent_pairs(before, after)
    if cut.targets is None or not (np.sum(cut.targets, 1) == 1).all():
        raise ValueError("Expected pairs with one target each; got others.")
    x_tilde = np.asarray(cut.x_tilde, dtype=np.float64)
    return np.asarray(cut.x, dtype=np.float64), [x_tilde[mask] for mask in np.asarray(cut.targets, dtype=bool).T]


def run_cell(out: Path, request: Request, steps: int | None = None) -> dict[str, Any]:
    """The record of a cell: `mcc`, `shd` and `seconds`, or None and why the fit was `refused`."""
    settings = {
        "kind": request.kind,
        "n": request.n,
        "seed": request.seed,
        "observations": request.observations,
        "method": request.method,
        "steps": steps if request.method == "flow" else None,
    }
    return run_once(out / "cells" / f"{request.name}.json", settings, lambda: _run(request, steps))


def _run(request: Request, steps: int | None) -> Mapping[str, Any]:
    nature = draw_nature(request.kind, request.n, request.seed)
    count = request.observations // 2
    pairs, other = (sample_data(nature, count, torch_generator(request.seed, name)) for name in ("pairs", "other"))
    test = sample_data(nature, TESTED, torch_generator(request.seed, "test"))
    started = time.perf_counter()
    paired = request.method in PAIRED
    try:
        found = _paired(pairs, test, request, steps) if paired else _unpaired(pairs, other, test, request)
    except ValueError as error:
        return {"mcc": None, "shd": None, "seconds": None, "refused": str(error)}
    seconds = time.perf_counter() - started
    correlation = correlation_matrix(np.asarray(test.z), found[0])
    permutation = match_variables(correlation)
    learned = aligned_adjacency(found[1], permutation)
    return {
        "refused": None,
        "mcc": mean_correlation(correlation, permutation),
        "shd": structural_hamming_distance(nature.graph.adjacency, learned),
        "seconds": seconds,
    }


def _paired(pairs: PairData, test: PairData, request: Request, steps: int | None) -> tuple[Any, Any]:
    """Variables of the test observations and graph, from x beside x̃ alone."""
    from experiments._experiment import fit_config
    from lcm.run.fitting import fit_pairs

    config = fit_config(steps if request.method == "flow" else None)
    config = replace(config, model=request.method, n=request.n, seed=request.seed)
    result = fit_pairs(PairData.from_arrays(pairs.x, pairs.x_tilde), config)
    return encode_data(result.model, PairData.from_arrays(test.x, test.x_tilde))["z"], result.graph.adjacency


def _unpaired(before: PairData, after: PairData, test: PairData, request: Request) -> tuple[Any, Any]:
    """The same from x and x̃ apart, each x̃ with its target."""
    found = fit_unpaired(*environments(before, after), _differences(request))
    rate = FitConfig().readout.false_discovery_rate
    return np.asarray(test.x, dtype=np.float64) @ found.unmixing.T, found.adjacency(rate)


def _differences(request: Request) -> Differences:
    if request.method == "score, waves":
        draw = numpy_generator(request.seed, "frequencies")
        return fourier_differences(FREQUENCY_SCALE * draw.normal(size=(request.n, FREQUENCIES)))
    return {"score, normal": gaussian_differences, "contrastive": contrastive_differences}[request.method]
