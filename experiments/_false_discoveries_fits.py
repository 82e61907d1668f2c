"""The fits of the experiment on false discoveries: what each rule declares, and the p-values of what is no edge."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal
from unittest.mock import patch

import numpy as np
from numpy.typing import NDArray
from scipy.stats import false_discovery_control

from experiments._cells import run_once
from experiments._experiment import fit_config
from lcm.data.encode import encode_pairs
from lcm.data.nature.build import build_nature, numpy_generator, torch_generator
from lcm.data.nature.config import NatureConfig
from lcm.data.nature.graphs import ErdosRenyiConfig
from lcm.data.pairs import PairData
from lcm.data.sample import sample_data
from lcm.isomorphism.matching import correlation_matrix, match_variables
from lcm.learn.training.tracker import Recorder
from lcm.metric.graph import aligned_adjacency
from lcm.model.decoder import RotationDecoderConfig
from lcm.model.graph import transitive_closure
from lcm.model.mechanism import (
    AdditiveMechanismConfig,
    LinearMechanismConfig,
    LocationScaleMechanismConfig,
    UniformWeightConfig,
)
from lcm.model.noise import LaplaceNoiseConfig, NormalNoiseConfig, SkewedNoiseConfig
from lcm.readout import dependence
from lcm.readout.evidence import GraphEvidence
from lcm.run.config import FitConfig
from lcm.run.fitting import fit_pairs

LEVELS = (0.05, 0.1)
PAIRS = (1_000, 2_000, 5_000, 10_000, 30_000)
SHARES = (0.24, 0.24, 0.24, 0.2, 0.08)
"""Of each number of pairs, among linear natures; the others have 2,000, 5,000 or 10,000."""
DENSITIES = (0.0, 0.25, 0.5, 0.8)
_MATCHED = 4_000
_RELATED, _UNRELATED = "ancestor", "unrelated"

Kind = Literal["linear", "curved"]


def run_fit(out: Path, kind: Kind, seed: int, steps: int) -> dict[str, Any]:
    """The record of one nature."""
    settings = {"kind": kind, "seed": seed, "steps": steps if kind == "curved" else None}
    return run_once(out / "cells" / f"{kind}-{seed}.json", settings, lambda: _fit(kind, seed, steps))


def nature_config(kind: Kind, seed: int) -> tuple[NatureConfig, int, float]:
    """A random nature, its number of pairs and the probability of its edges; equal for equal seeds."""
    draw = numpy_generator(seed, f"false discoveries {kind}")
    n, density = int(draw.integers(2, 9 if kind == "linear" else 6)), float(draw.choice(DENSITIES))
    pairs = int(draw.choice(PAIRS, p=SHARES) if kind == "linear" else draw.choice(PAIRS[1:4]))
    noise = (NormalNoiseConfig(), LaplaceNoiseConfig(), SkewedNoiseConfig())[draw.integers(3)]
    strength = float(draw.uniform(0.05, 1.0))
    curved = (
        AdditiveMechanismConfig(strength=strength),
        LocationScaleMechanismConfig(strength=strength, noise_strength=float(draw.uniform(0.0, 0.8))),
    )[draw.integers(2)]
    linear = LinearMechanismConfig(weights=UniformWeightConfig(low=0.01, high=0.8))
    mechanism = linear if kind == "linear" else curved
    graph = ErdosRenyiConfig(edge_probability=density)
    return NatureConfig(n, graph, mechanism, noise, decoder=RotationDecoderConfig()), pairs, density


def _fit(kind: Kind, seed: int, steps: int) -> dict[str, Any]:
    config, pairs, density = nature_config(kind, seed)
    nature = build_nature(config, seed)
    data = sample_data(nature, pairs, torch_generator(seed, "train"))
    settings = FitConfig(model="linear", n=config.n) if kind == "linear" else replace(fit_config(steps), n=config.n)
    evidence, permutation, thickness = _fitted(data, settings)
    found = {"graph": (evidence, permutation)}
    if kind == "linear":
        with patch.object(dependence, "NEGLIGIBLE", 0.0):
            found["nothing negligible"] = _fitted(data, settings)[:2]
    truth = nature.graph.adjacency
    rules = {name: [_declared(_graph, *each, truth, level) for level in LEVELS] for name, each in found.items()}
    rules["one stage"] = [_declared(_one_stage, evidence, permutation, truth, level) for level in LEVELS]
    return {
        "n": config.n,
        "density": density,
        "pairs": pairs,
        "mechanism": config.mechanism.kind,
        "noise": config.noise.kind,
        "thickness": thickness,
        "rules": rules,
        "null": {name: _null_p_values(*each, truth) for name, each in found.items()},
    }


def _fitted(data: PairData, settings: FitConfig) -> tuple[GraphEvidence, NDArray[np.int64], float]:
    """The evidence of a fit, which of its variables is which of the nature's, and its largest thickness."""
    result = fit_pairs(data, settings, recorder=Recorder(progress=False))
    few = data.first(_MATCHED)
    assert few.z is not None
    permutation = match_variables(correlation_matrix(few.z, encode_pairs(result.model, few).z.numpy()))
    return result.evidence, permutation, float(result.latent.thickness.max())


def _graph(evidence: GraphEvidence, level: float) -> NDArray[np.bool_]:
    return evidence.graph_at(level).adjacency


def _one_stage(evidence: GraphEvidence, level: float) -> NDArray[np.bool_]:
    """The edges by the rule of Benjamini and Hochberg over all possible ones."""
    apart = ~np.eye(evidence.n, dtype=np.bool_)
    accepted = np.zeros_like(apart)
    accepted[apart] = false_discovery_control(evidence.edge_p_value[apart]) <= level
    along: NDArray[np.bool_] = accepted & evidence.forward()
    return along


def _declared(
    rule: Callable[[GraphEvidence, float], NDArray[np.bool_]],
    evidence: GraphEvidence,
    permutation: NDArray[np.int64],
    truth: NDArray[np.bool_],
    level: float,
) -> dict[str, float]:
    aligned = aligned_adjacency(rule(evidence, level), permutation)
    return {
        "level": level,
        "declared": int(aligned.sum()),
        "false": int((aligned & ~truth).sum()),
        "true": int(truth.sum()),
    }


def _null_p_values(
    evidence: GraphEvidence, permutation: NDArray[np.int64], truth: NDArray[np.bool_]
) -> dict[str, list[float]]:
    """P-values of edges that do not exist: from an ancestor that is no parent, or between unrelated variables."""
    ancestors = transitive_closure(truth)
    p_value = aligned_adjacency(evidence.edge_p_value, permutation)
    chosen = {_RELATED: ancestors & ~truth, _UNRELATED: ~(ancestors | ancestors.T | np.eye(len(truth), dtype=np.bool_))}
    return {name: [round(float(value), 6) for value in p_value[mask]] for name, mask in chosen.items()}
