"""The rounds of the plan experiment: a pilot, then further pairs by a plan, with equal shares, or the seldom first."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, final

import numpy as np
from numpy.typing import NDArray

from experiments._cells import run_once
from lcm.data.encode import encode_pairs
from lcm.data.nature.build import build_nature, numpy_generator, torch_generator
from lcm.data.nature.config import NatureConfig
from lcm.data.nature.graphs import ErdosRenyiConfig
from lcm.data.pairs import PairData
from lcm.data.sample import sample_data
from lcm.isomorphism.matching import correlation_matrix, match_variables
from lcm.metric.graph import aligned_adjacency, structural_hamming_distance
from lcm.model.decoder import RotationDecoderConfig
from lcm.model.intervention import TargetDistribution
from lcm.model.latent_causal_model import LatentCausalModel
from lcm.model.mechanism import LinearMechanismConfig, UniformWeightConfig
from lcm.model.noise import LaplaceNoiseConfig, NormalNoiseConfig, SkewedNoiseConfig
from lcm.readout.allocation import raise_by, whole_numbers
from lcm.readout.edges import edge_strengths
from lcm.readout.pair_plan import PairPlan
from lcm.run.config import FitConfig
from lcm.run.fitting import fit_pairs
from lcm.run.planning import LEAST, plan_pairs
from lcm.run.result import FitResult

ARMS = ("plan", "uniform", "seldom first")
PILOTS, EDGES = ("even", "uneven", "rare"), ("weak", "strong")
PILOT_PAIRS = 1_500
GROWTH = 0.05
WEAKEST = 0.12
_RARE = (0.02, 0.05)
_WEIGHTS = {"weak": (0.15, 0.4), "strong": (0.4, 1.0)}
_DRAWN = 20_000


@final
@dataclass(frozen=True)
class Case:
    """A nature, what kind it is of, and the shares (n,) of the targets of its pilot."""

    seed: int
    pilot: str
    edges: str
    nature: LatentCausalModel
    shares: NDArray[np.float64]


def run_case(out: Path, seed: int, most: int) -> dict[str, Any]:
    """The record of one nature: for every arm, what was decided after every round."""
    settings = {"seed": seed, "most": most, "pilot_pairs": PILOT_PAIRS, "growth": GROWTH, "least": LEAST}
    return run_once(out / "cells" / f"{seed}.json", settings, lambda: _run(draw_case(seed), most))


def draw_case(seed: int) -> Case:
    """A random nature of 3 to 5 variables and half of all edges, none weaker than `WEAKEST`; equal for equal seeds.

    Six seeds in a row are of the six combinations of a pilot with even, uneven or rare targets and weak or strong
    edges. Rare: one target, or two of five, with a share of 2 to 5 %.
    """
    draw = numpy_generator(seed, "plan")
    pilot, edges = PILOTS[seed % 3], EDGES[seed // 3 % 2]
    n = int(draw.integers(3, 6))
    noise = (NormalNoiseConfig(), LaplaceNoiseConfig(), SkewedNoiseConfig())[draw.integers(3)]
    low, high = _WEIGHTS[edges]
    mechanism = LinearMechanismConfig(weights=UniformWeightConfig(low=low, high=high))
    config = NatureConfig(n, ErdosRenyiConfig(), mechanism, noise, decoder=RotationDecoderConfig())
    while True:
        nature = build_nature(config, int(draw.integers(2**31)))
        strength = edge_strengths(nature.scm, nature.scm.sample(_DRAWN, torch_generator(seed, "strengths")))
        true = strength[nature.graph.adjacency]
        if true.size and true.min() >= WEAKEST:
            break
    return Case(seed, pilot, edges, nature, _pilot_shares(n, pilot, draw))


def _pilot_shares(n: int, pilot: str, draw: np.random.Generator) -> NDArray[np.float64]:
    if pilot == "even":
        return np.full(n, 1.0 / n)
    shares = draw.dirichlet(np.full(n, 3.0)) if pilot == "uneven" else np.full(n, 1.0 / n)
    if pilot == "rare":
        rare = draw.permutation(n)[: 2 if n == 5 else 1]
        shares[rare] = draw.uniform(*_RARE, len(rare))
        rest = np.setdiff1d(np.arange(n), rare)
        shares[rest] = (1.0 - shares[rare].sum()) / len(rest)
    found: NDArray[np.float64] = np.maximum(shares, _RARE[0]) / np.maximum(shares, _RARE[0]).sum()
    return found


def _run(case: Case, most: int) -> dict[str, Any]:
    n = case.nature.n
    banks = [_bank(case, i, most) for i in range(n)]
    pilot = np.array(whole_numbers(case.shares, PILOT_PAIRS))
    arms = {arm: follow(arm, case, banks, pilot, most) for arm in ARMS}
    truth = case.nature.graph.adjacency
    strength = edge_strengths(case.nature.scm, case.nature.scm.sample(_DRAWN, torch_generator(case.seed, "strengths")))
    return {
        "pilot": case.pilot,
        "edges": case.edges,
        "n": n,
        "true_edges": int(truth.sum()),
        "weakest": float(strength[truth].min()),
        "rarest": float(case.shares.min()),
        "arms": arms,
    }


def _bank(case: Case, target: int, most: int) -> PairData:
    """Pairs with one target, from which all arms take the first ones."""
    nature = case.nature
    alone = TargetDistribution(nature.n, [[target]], None)
    model = LatentCausalModel(nature.scm, nature.decoder, nature.intervention, alone)
    return sample_data(model, most + PILOT_PAIRS, torch_generator(case.seed, f"target {target}"))


def follow(arm: str, case: Case, banks: list[PairData], pilot: NDArray[np.int64], most: int) -> list[Mapping[str, Any]]:
    """Measure round after round, each a twentieth of all pairs so far, until every edge is decided and the graph true.

    Both must hold in one round. The record ends there, or before `most` further pairs would be exceeded.
    """
    counts, rounds = pilot.copy(), []
    while True:
        result = _fit(case, banks, counts)
        budget = round(GROWTH * counts.sum())
        plan = plan_pairs(result, budget=budget)
        permutation = _match(result, banks)
        learned = aligned_adjacency(result.graph.adjacency, permutation)
        rounds.append(
            {
                "further": int(counts.sum() - pilot.sum()),
                "undecided": sum(edge.state == "undecided" for edge in plan.edges),
                "shd": structural_hamming_distance(case.nature.graph.adjacency, learned),
                "needed": plan.total,
                "ratio": plan.ratio,
                "counts": counts.tolist(),
            }
        )
        if (rounds[-1]["undecided"] == 0 and rounds[-1]["shd"] == 0) or counts.sum() + budget > most + pilot.sum():
            return rounds
        counts = counts + np.array(whole_numbers(_SHARES[arm](plan, counts, permutation), budget))


def run_at_once(out: Path, seed: int, most: int) -> dict[str, Any]:
    """The record of one nature that is measured once after its pilot: what became of each undecided edge.

    The further pairs are those of the first plan; as many with equal shares; or, with equal shares, as many as the plan
    says that these need.
    """
    settings = {"seed": seed, "most": most, "pilot_pairs": PILOT_PAIRS, "least": LEAST}
    return run_once(out / "cells" / f"{seed}-at-once.json", settings, lambda: _at_once(draw_case(seed), most))


def _at_once(case: Case, most: int) -> dict[str, Any]:
    n = case.nature.n
    banks = [_bank(case, i, most) for i in range(n)]
    pilot = np.array(whole_numbers(case.shares, PILOT_PAIRS))
    first = _fit(case, banks, pilot)
    plan, permutation = plan_pairs(first), _match(first, banks)
    further = {
        "plan": np.array(plan.pairs)[permutation],
        "equal shares, as many": np.array(whole_numbers(np.ones(n), sum(plan.pairs))),
        "equal shares, as needed": np.array(whole_numbers(np.ones(n), math.ceil(plan.uniform_total))),
    }
    arms = {
        arm: _measured(case, banks, pilot, np.minimum(counts, most), _undecided(plan, permutation))
        for arm, counts in further.items()
    }
    return {"pilot": case.pilot, "edges": case.edges, "n": n, "ratio": plan.ratio, "arms": arms}


def _measured(
    case: Case,
    banks: list[PairData],
    pilot: NDArray[np.int64],
    further: NDArray[np.int64],
    undecided: set[tuple[int, int]],
) -> dict[str, Any]:
    """What became of edges that were undecided, and whether the whole graph is decided and true."""
    truth, result = case.nature.graph.adjacency, _fit(case, banks, pilot + further)
    permutation = _match(result, banks)
    after = _undecided(plan_pairs(result), permutation)
    learned = aligned_adjacency(result.graph.adjacency, permutation)
    edges = [
        {"edge": [j, i], "true": bool(truth[j, i]), "decided": (j, i) not in after, "found": bool(learned[j, i])}
        for j, i in sorted(undecided)
    ]
    whole = not after and structural_hamming_distance(truth, learned) == 0
    return {"further": int(further.sum()), "whole": whole, "of": edges}


def _undecided(plan: PairPlan, permutation: NDArray[np.int64]) -> set[tuple[int, int]]:
    """The undecided edges of a plan, in the numbering of the nature."""
    true = np.argsort(permutation)
    return {(int(true[e.cause]), int(true[e.effect])) for e in plan.edges if e.state == "undecided"}


def _by_plan(plan: PairPlan, counts: NDArray[np.int64], permutation: NDArray[np.int64]) -> NDArray[np.float64]:
    """The plan's numbers, from the learned numbering to that of the nature."""
    return np.array(plan.pairs, dtype=np.float64)[permutation]


_SHARES: dict[str, Callable[[PairPlan, NDArray[np.int64], NDArray[np.int64]], NDArray[np.float64]]] = {
    "plan": _by_plan,
    "uniform": lambda plan, counts, permutation: np.ones(len(counts)),
    "seldom first": lambda plan, counts, permutation: raise_by(counts, np.ones(len(counts)), sum(plan.pairs)),
}


def _fit(case: Case, banks: list[PairData], counts: NDArray[np.int64]) -> FitResult:
    parts = [(bank.x[:count], bank.x_tilde[:count]) for bank, count in zip(banks, counts, strict=True)]
    x, x_tilde = (np.concatenate(part) for part in zip(*parts, strict=True))
    order = numpy_generator(case.seed, "order").permutation(len(x))
    config = FitConfig(model="linear", n=case.nature.n)
    return fit_pairs(PairData.from_arrays(x[order], x_tilde[order]), replace(config, seed=0))


def _match(result: FitResult, banks: list[PairData]) -> NDArray[np.int64]:
    """The learned variable of every true one: the experimenter knows which handle moves which."""
    found = []
    for bank in banks:
        z = bank.z
        if z is None:
            raise ValueError("Expected pairs with their truth; got some without.")
        found.append((z[:500], encode_pairs(result.model, replace(bank, x=bank.x[:500], x_tilde=bank.x_tilde[:500])).z))
    true, learned = (np.concatenate([np.asarray(part) for part in parts]) for parts in zip(*found, strict=True))
    permutation: NDArray[np.int64] = match_variables(correlation_matrix(true, learned))
    return permutation
