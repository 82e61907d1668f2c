"""What an isomorphism must carry along beside the variables: graph, maps, target sets and distributions."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import ndtr, ndtri
from torch import Tensor

from lcm.base.chunks import in_chunks
from lcm.isomorphism.findings import Edges
from lcm.isomorphism.matching import FloatArray, IntArray
from lcm.isomorphism.monotone import scores_among
from lcm.isomorphism.probes import Probes
from lcm.model.elementwise import KnotMap
from lcm.model.graph import Graph
from lcm.model.intervention import TargetDistribution
from lcm.model.latent_causal_model import LatentCausalModel

_QUANTILES = 999
_LEAST_TARGETS = 20


class Images(NamedTuple):
    """The same M observations in both models, all in A's numbering.

    normal: (M, n) noise by A, in standard-normal gauge, mapped by k.
    scores: (M, n) normal scores of z, mapped to scores of z′.
    z, z_image: (M, n) causal variables by A, and mapped by h.
    z_b: (R, n) causal variables by B of all rows that scores are counted among.
    """

    normal: FloatArray
    scores: FloatArray
    z: FloatArray
    z_image: FloatArray
    z_b: FloatArray


def edge_differences(graph_a: Graph, graph_b: Graph, permutation: IntArray) -> tuple[Edges, Edges]:
    """Edges of A that B lacks and of B that A lacks, in A's numbering."""
    first, second = graph_a.adjacency, graph_b.adjacency[np.ix_(permutation, permutation)]

    def listed(edges: NDArray[np.bool_]) -> Edges:
        return tuple((int(i), int(j)) for i, j in np.argwhere(edges))

    return listed(first & ~second), listed(second & ~first)


def unexplained(predicted: FloatArray, target: FloatArray) -> FloatArray:
    """Share of each column's variance (n,) that a prediction (N, n) leaves."""
    shares: FloatArray = np.mean(np.square(predicted - target), axis=0) / np.maximum(target.var(0), 1e-300)
    return shares


def solution_error(b: LatentCausalModel, images: Images, permutation: IntArray) -> float:
    """s′ of the noise's image against the image of z, in normal scores: the greatest unexplained share."""

    def solve(normal: Tensor) -> tuple[Tensor]:
        return (b.scm.solve(b.scm.noise.from_normal(normal)[0])[0],)

    (solved,) = in_chunks(solve, in_numbering_of_b(images.normal, permutation, b))
    return float(unexplained(scores_among(in_numbering_of_a(solved, permutation), images.z_b), images.scores).max())


def decoder_error(a: LatentCausalModel, b: LatentCausalModel, images: Images, permutation: IntArray) -> float:
    """g′ of the image of z against g(z): the unexplained share of the variance of x."""
    inputs = (a, torch.from_numpy(images.z).to(a.thickness)), (b, in_numbering_of_b(images.z_image, permutation, b))
    first, second = (in_chunks(lambda part, m=model: (m.decode(part),), values)[0] for model, values in inputs)
    expected, found = (part.double().cpu().numpy() for part in (first, second))
    variation = np.square(expected - expected.mean(0)).sum()
    return float(np.square(found - expected).sum() / max(variation, 1e-300))


def target_distance(a: TargetDistribution, b: TargetDistribution, permutation: IntArray) -> float:
    """Total variation between p_𝓘 of A, relabelled, and of B."""
    carried = {frozenset(int(permutation[i]) for i in targets): p for targets, p in _shares(a)}
    other = {frozenset(targets): p for targets, p in _shares(b)}
    return 0.5 * sum(abs(carried.get(key, 0.0) - other.get(key, 0.0)) for key in {*carried, *other})


def _shares(distribution: TargetDistribution) -> list[tuple[list[int], float]]:
    return list(zip(distribution.as_lists(), distribution.probabilities.tolist(), strict=True))


def noise_distance(k: KnotMap) -> FloatArray:
    """Kolmogorov distance (n,) between the standard normal, pushed forward by k, and itself, on quantiles."""
    levels = (np.arange(_QUANTILES) + 0.5) / _QUANTILES
    quantiles = np.repeat(ndtri(levels)[:, None], k.n, axis=1)
    reached = ndtr(k(torch.from_numpy(quantiles))[0].numpy())
    # sorted, since k may fall
    distances: FloatArray = np.abs(np.sort(reached, axis=0) - levels[:, None]).max(0)
    return distances


def imposed_laws(
    a: LatentCausalModel,
    b: LatentCausalModel,
    probes: tuple[Probes, Probes],
    z_tilde: tuple[tuple[FloatArray, FloatArray], tuple[FloatArray, FloatArray]],
    permutation: IntArray,
) -> dict[str, Any]:
    """Compare f̃ of any kind by the scores that both models give to what was imposed.

    An isomorphism keeps the score of z̃_i given its parents but for its sign.

    Args:
        a, b: the models.
        probes: pairs that A and that B draws.
        z_tilde: causal variables (M, n) of their x̃, by A and by B.
        permutation: variable i of A is variable permutation[i] of B.

    Returns:
        Kolmogorov distance and R² (n,), NaN of variables that are targets of fewer than 20 pairs of a model.
    """
    found = []
    for drawn, (by_a, by_b), owner in zip(probes, z_tilde, (0, 1), strict=True):
        targets = (drawn.targets & drawn.plain[:, None]).cpu().numpy()
        targets = targets if owner == 0 else targets[:, permutation]
        first, second = (
            model.intervention.to_normal(torch.from_numpy(table).to(model.thickness), model.scm).double().cpu().numpy()
            for model, table in ((a, by_a), (b, by_b))
        )
        found.append(_compared_scores(first, second[:, permutation], targets))
    both = np.stack(found)
    return {"imposed_distance": both[:, 0].max(0), "imposed_r2": both[:, 1].min(0)}


def _compared_scores(first: FloatArray, second: FloatArray, targets: NDArray[np.bool_]) -> FloatArray:
    """Distances and R² (2, n) of scores (M, n) where a variable is a target."""
    results = np.full((2, first.shape[1]), np.nan)
    for i in range(first.shape[1]):
        one, other = first[targets[:, i], i], second[targets[:, i], i]
        if len(one) < _LEAST_TARGETS:
            continue
        other = other * (-1.0 if float(one @ other) < 0.0 else 1.0)
        results[0, i] = np.abs(ndtr(np.sort(one)) - ndtr(np.sort(other))).max()
        results[1, i] = 1.0 - unexplained(other[:, None], one[:, None])[0]
    return results


def in_numbering_of_b(values: FloatArray, permutation: IntArray, model: LatentCausalModel) -> Tensor:
    """Columns that are in A's numbering (N, n) as a tensor in B's, in B's precision."""
    moved = np.empty_like(values)
    moved[:, permutation] = values
    return torch.from_numpy(moved).to(model.thickness)


def in_numbering_of_a(values: Tensor, permutation: IntArray) -> FloatArray:
    table: FloatArray = values.double().cpu().numpy()[:, permutation]
    return table
