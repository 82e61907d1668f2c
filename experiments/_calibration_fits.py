"""The fits of the calibration experiment: random natures, many of them with weak edges, each fitted once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from experiments._cells import run_once
from experiments._experiment import fit_config
from lcm.data.encode import encode_pairs
from lcm.data.nature.build import build_nature, numpy_generator, torch_generator
from lcm.data.nature.config import NatureConfig
from lcm.data.nature.graphs import ErdosRenyiConfig
from lcm.data.sample import sample_data
from lcm.isomorphism.matching import correlation_matrix, match_variables, mean_correlation
from lcm.learn.training.tracker import Recorder
from lcm.metric.graph import aligned_adjacency
from lcm.metric.intervention import Reliability, confidence_reliability, intervention_accuracy, reliability
from lcm.model.decoder import FlowDecoderConfig, RotationDecoderConfig
from lcm.model.graph import transitive_closure
from lcm.model.latent_causal_model import LatentCausalModel
from lcm.model.mechanism import (
    AdditiveMechanismConfig,
    LinearMechanismConfig,
    LocationScaleMechanismConfig,
    UniformWeightConfig,
)
from lcm.model.noise import LaplaceNoiseConfig, NormalNoiseConfig, SkewedNoiseConfig
from lcm.readout.edges import edge_strengths
from lcm.readout.evidence import GraphEvidence
from lcm.run.fitting import fit_pairs
from lcm.run.result import FitResult

LEVELS = (0.01, 0.05, 0.1)
PAIRS = (2_000, 5_000, 10_000)
TEST_PAIRS, TRUTH_PAIRS = 4_000, 20_000

Mixing = Literal["linear", "nonlinear"]


def run_fit(out: Path, mixing: Mixing, seed: int, steps: int | None) -> dict[str, Any]:
    """The record of one nature: what was declared at every level, intervals of strengths, and reliability."""
    settings = {"mixing": mixing, "seed": seed, "steps": steps}
    return run_once(out / "cells" / f"{mixing}-{seed}.json", settings, lambda: _fit(mixing, seed, steps))


def nature_config(mixing: Mixing, seed: int) -> tuple[NatureConfig, int]:
    """A random nature and its number of pairs; equal for equal seeds.

    n is 3 or 4; half of the possible edges exist; their strength is uniform, from nearly 0. Seven in ten natures have
    linear mechanisms. The others have a nonlinear noise encoder, even if the mixing is linear.
    """
    draw = numpy_generator(seed, "calibration")
    n = int(draw.integers(3, 5)) if mixing == "linear" else 3
    strength = float(draw.uniform(0.05, 1.0))
    mechanisms = [
        LinearMechanismConfig(weights=UniformWeightConfig(low=0.01, high=0.8)),
        AdditiveMechanismConfig(strength=strength),
        LocationScaleMechanismConfig(strength=strength, noise_strength=float(draw.uniform(0.0, 0.8))),
    ]
    noises = [NormalNoiseConfig(), LaplaceNoiseConfig(), SkewedNoiseConfig()]
    mechanism = mechanisms[draw.choice(3, p=[0.7, 0.15, 0.15])]
    noise = noises[draw.integers(3)]
    pairs = int(draw.choice(PAIRS)) if mixing == "linear" else max(PAIRS)
    decoder = RotationDecoderConfig() if mixing == "linear" else FlowDecoderConfig()
    return NatureConfig(n, ErdosRenyiConfig(), mechanism, noise, decoder=decoder), pairs


def _fit(mixing: Mixing, seed: int, steps: int | None) -> dict[str, Any]:
    config, pairs = nature_config(mixing, seed)
    nature = build_nature(config, seed)
    data = sample_data(nature, pairs, torch_generator(seed, "train"))
    test = sample_data(nature, TEST_PAIRS, torch_generator(seed, "test"))
    result = fit_pairs(data, replace(fit_config(steps), n=config.n), recorder=Recorder(progress=False))
    encoded = encode_pairs(result.model, test)
    assert test.z is not None and test.targets is not None
    correlation = correlation_matrix(test.z, encoded.z.numpy())
    permutation = match_variables(correlation)
    posterior = encoded.posterior.double().numpy()
    sets = result.model.target_distribution.target_sets.numpy()
    given = test.targets, posterior, sets, permutation
    return {
        "n": config.n,
        "mechanism": config.mechanism.kind,
        "noise": config.noise.kind,
        "pairs": pairs,
        "mcc": mean_correlation(correlation, permutation),
        "thickness": float(result.model.thickness.max()),
        "fit_seconds": result.seconds,
        "intervention_accuracy": intervention_accuracy(*given),
        "edges": _declared(result, permutation, nature, "edges"),
        "ancestors": _declared(result, permutation, nature, "ancestors"),
        "strengths": _strengths(result.evidence, permutation, nature, seed),
        "reliability": _numbers(reliability(*given)),
        "confidence": _numbers(confidence_reliability(*given)),
    }


def _numbers(curve: Reliability) -> dict[str, list[float]]:
    return {name: values.tolist() for name, values in curve._asdict().items()}


def _declared(
    result: FitResult, permutation: NDArray[np.int64], nature: LatentCausalModel, what: str
) -> list[dict[str, float]]:
    """At every level: the numbers of declared, false and true relations."""
    truth = nature.scm.graph.adjacency if what == "edges" else transitive_closure(nature.scm.graph.adjacency)
    found = []
    for level in LEVELS:
        evidence = result.evidence
        learned = evidence.graph_at(level).adjacency if what == "edges" else evidence.ancestors_at(level)
        aligned = aligned_adjacency(learned, permutation)
        false = int((aligned & ~truth).sum())
        differs = aligned != truth
        errors = int(np.triu(differs | differs.T).sum())
        found.append(
            {"level": level, "declared": int(aligned.sum()), "false": false, "true": int(truth.sum()), "shd": errors}
        )
    return found


def _strengths(
    evidence: GraphEvidence, permutation: NDArray[np.int64], nature: LatentCausalModel, seed: int
) -> list[Mapping[str, Any]]:
    """Every true edge that is declared at the second level, with its true strength and the interval."""
    z = nature.scm.sample(TRUTH_PAIRS, torch_generator(seed, "strengths"))
    truth = edge_strengths(nature.scm, z)
    declared = aligned_adjacency(evidence.graph_at(LEVELS[1]).adjacency, permutation)
    interval = evidence.strength_interval()
    low, high, value = (
        aligned_adjacency(part, permutation) for part in (interval[..., 0], interval[..., 1], evidence.edge_strength)
    )
    return [
        {"truth": truth[i, j], "strength": value[i, j], "low": low[i, j], "high": high[i, j]}
        for i, j in np.argwhere(declared & nature.scm.graph.adjacency)
    ]
