"""theorem, (2 ⇒ 1) conversely: how many pairs distinguish a model from one that is not isomorphic to it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

import numpy as np
import torch

from experiments._cells import run_once
from experiments._theorem.likelihood_ratio import cumulative_log_ratio, rejection_threshold
from experiments._theorem.linear_scm import Edge, with_edge_strength
from experiments._theorem.neighbour import (
    with_changed_weight,
    with_edge,
    with_moved_probability,
    with_reversed_edge,
    with_shifted_law,
    without_edge,
)
from experiments._theorem.two_sample import mmd_test, pair_rows
from lcm.data.nature.build import build_nature, numpy_generator, torch_generator
from lcm.data.nature.config import NatureConfig
from lcm.data.nature.graphs import ErdosRenyiConfig
from lcm.model.decoder import DecoderConfig
from lcm.model.graph import Graph
from lcm.model.latent_causal_model import LatentCausalModel

N = 4
THICKNESS = 0.02
LEVEL = 0.01
MMD_STRENGTHS = (0.2, 0.4, 0.8)
MMD_SIZES = (1000, 3000, 10_000)
DECODERS = ("rotation", "flow")


@final
@dataclass(frozen=True)
class Budget:
    """The number of natures for each kind and size of change, and of those whose samples are compared as well."""

    natures: int
    mmd_natures: int
    strengths: tuple[float, ...]
    sizes: tuple[int, ...]


@final
@dataclass(frozen=True)
class Nature:
    """A linear nature in float64, and the places of its changes, all drawn with its seed.

    edge: any edge. reversible: an edge that can be reversed. gap: (j, k) without an edge, where j → k closes no cycle.
    variable: any variable. sets: the numbers of two target sets.
    """

    seed: int
    model: LatentCausalModel
    edge: Edge
    reversible: Edge
    gap: Edge
    variable: int
    sets: tuple[int, int]


Models = tuple[LatentCausalModel, LatentCausalModel]


def _removed(nature: Nature, size: float) -> Models:
    model = with_edge_strength(nature.model, nature.edge, size)
    return model, without_edge(model, nature.edge)


def _added(nature: Nature, size: float) -> Models:
    return nature.model, with_edge(nature.model, nature.gap, size)


def _reversed(nature: Nature, size: float) -> Models:
    model = with_edge_strength(nature.model, nature.reversible, size)
    return model, with_reversed_edge(model, nature.reversible)


def _easily_added(nature: Nature, size: float) -> Models:
    return nature.model, with_edge(nature.model, nature.gap, size, keep="decoder")


def _easily_removed(nature: Nature, size: float) -> Models:
    model = with_edge_strength(nature.model, nature.edge, size)
    return model, without_edge(model, nature.edge, keep="decoder")


KINDS: dict[str, Callable[[Nature, float], Models]] = {
    "edge removed": _removed,
    "edge added": _added,
    "edge reversed": _reversed,
    "weight changed": lambda nature, size: (nature.model, with_changed_weight(nature.model, nature.edge, size)),
    "imposed law shifted": lambda nature, size: (nature.model, with_shifted_law(nature.model, nature.variable, size)),
    "target sets changed": lambda nature, size: (
        nature.model,
        with_moved_probability(nature.model, *nature.sets, size),
    ),
    "edge removed, decoder kept": _easily_removed,
    "edge added, decoder kept": _easily_added,
}
"""From a nature and a size of change to (model, neighbour). All but the last two keep the noise encoder."""

ONE_EDGE = ("edge removed", "edge added", "edge reversed")


def run_power(out: Path, budget: Budget) -> list[dict[str, Any]]:
    """The record of every kind of neighbour and size of the change; each is one cell."""
    natures: list[Nature] = []
    records = []
    for kind in KINDS:
        for strength in budget.strengths:
            mmd = budget.mmd_natures if strength in MMD_STRENGTHS and "decoder" not in kind else 0
            settings = {
                "kind": kind,
                "strength": strength,
                "natures": budget.natures,
                "mmd_natures": mmd,
                "sizes": list(budget.sizes),
            }
            path = out / "cells" / f"power-{kind.replace(',', '').replace(' ', '-')}-{strength:g}.json"

            def compute(kind: str = kind, strength: float = strength, mmd: int = mmd) -> dict[str, Any]:
                natures.extend(draw_natures(budget.natures) if not natures else ())
                return _cell(natures, kind, strength, mmd, budget.sizes)

            records.append(run_once(path, settings, compute))
    return records


def draw_natures(count: int) -> list[Nature]:
    """Linear natures over random graphs of expected degree 2, seeds from 0 on.

    Seeds whose graph is empty, full, or without a reversible edge are skipped, because the changes of an edge need one.
    """
    found: list[Nature] = []
    seed = 0
    while len(found) < count:
        decoder = DecoderConfig.of_kind(DECODERS[len(found) % len(DECODERS)])()  # type: ignore[arg-type]
        config = NatureConfig(N, ErdosRenyiConfig(expected_degree=2.0), decoder=decoder, thickness=THICKNESS)
        model = build_nature(config, seed).double()
        draw = numpy_generator(seed, "neighbours")
        edges, reversible, gaps = model.scm.graph.edges(), *map(list, _places(model.scm.graph))
        if edges and reversible and gaps:
            edge, turned, gap = (part[draw.integers(len(part))] for part in (edges, reversible, gaps))
            first, second = draw.choice(len(model.target_distribution.target_sets), 2, replace=False)
            variable = int(draw.integers(N))
            found.append(Nature(seed, model, edge, turned, gap, variable, (int(first), int(second))))
        seed += 1
    return found


def _places(graph: Graph) -> tuple[Iterator[Edge], Iterator[Edge]]:
    """Edges that can be reversed, and pairs that can be joined, without a cycle."""

    def acyclic(edges: list[Edge]) -> bool:
        try:
            Graph.from_edges(graph.n, edges)
        except ValueError:
            return False
        return True

    edges = graph.edges()
    pairs = [(j, k) for j in range(graph.n) for k in range(graph.n) if j != k]
    reversible = ((j, k) for j, k in edges if acyclic([*(e for e in edges if e != (j, k)), (k, j)]))
    free = [(j, k) for j, k in pairs if (j, k) not in edges and (k, j) not in edges]
    return reversible, (pair for pair in free if acyclic([*edges, pair]))


def _cell(natures: list[Nature], kind: str, strength: float, mmd: int, sizes: tuple[int, ...]) -> dict[str, Any]:
    results = [_compare(nature, kind, strength, index < mmd, sizes) for index, nature in enumerate(natures)]
    ratios = np.array([result["log_ratio"] for result in results])
    p_values = [result["p_values"] for result in results if result["p_values"]]
    return {
        "power": (ratios >= rejection_threshold(LEVEL)).mean(0).tolist(),
        "nats_a_pair": [result["log_ratio"][-1] / sizes[-1] for result in results],
        "log_ratio": ratios.tolist(),
        "seeds": [nature.seed for nature in natures],
        "mmd_sizes": [size for size in sizes if size in MMD_SIZES] if mmd else [],
        "mmd_power": (np.array(p_values) <= LEVEL).mean(0).tolist() if mmd else [],
        "mmd_p_values": p_values,
    }


@torch.no_grad()
def _compare(nature: Nature, kind: str, strength: float, mmd: bool, sizes: tuple[int, ...]) -> dict[str, Any]:
    """Log-ratios of the first pairs of one nature against its neighbour, and p-values of the two-sample test."""
    model, neighbour = KINDS[kind](nature, strength)
    generator = torch_generator(nature.seed, f"{kind} {strength:g}")
    pairs = model.sample_pairs(sizes[-1], generator)
    null, own = (part.pair_log_density(pairs.x, pairs.x_tilde) for part in (neighbour, model))
    result: dict[str, Any] = {"log_ratio": cumulative_log_ratio(null, own, list(sizes)).tolist(), "p_values": []}
    if mmd:
        others = neighbour.sample_pairs(sizes[-1], generator)
        rows = [pair_rows(part.x, part.x_tilde) for part in (pairs, others)]
        tested = [size for size in sizes if size in MMD_SIZES]
        result["p_values"] = [mmd_test(rows[0][:size], rows[1][:size], generator).p_value for size in tested]
    return result
