"""What only latent causal models have, compared under a relabelling and elementwise maps: noise, graph, maps, laws."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import ndtr, ndtri
from torch import Tensor

from lcm.base.chunks import in_chunks
from lcm.base.rows import writable
from lcm.data.pairs import PairData
from lcm.isomorphism.comparison import Edges
from lcm.isomorphism.maps import Isomorphism, fit_monotone
from lcm.model.elementwise import AffineMap, ElementwiseMap, KnotMap, SplineMap
from lcm.model.graph import Graph
from lcm.model.intervention import PerfectIntervention, TargetDistribution
from lcm.model.latent_causal_model import LatentCausalModel
from lcm.model.likelihood import THICKNESS_FLOOR

Array = NDArray[np.float64]


_QUANTILES = 999


IntArray = NDArray[np.int64]


def image(elementwise: KnotMap, values: Array) -> Array:
    """Values (N, n) under a map, without gradients."""
    mapped: Array = elementwise(torch.from_numpy(values))[0].numpy()
    return mapped


@torch.no_grad()
def compare_models(
    a: LatentCausalModel,
    b: LatentCausalModel,
    data: PairData,
    z: Array,
    noise: tuple[Array, Array],
    normal: tuple[Array, Array],
    permutation: IntArray,
    h: KnotMap,
    train: NDArray[np.bool_],
) -> dict[str, Any]:
    """The attributes of a `Comparison` that need two latent causal models.

    Args:
        a, b: the models; data: pairs.
        z: (N, n) causal variables by A.
        noise, normal: (N, n) noise by A and by B, raw and in standard-normal gauge, each in its own numbering.
        permutation: variable i of A is variable permutation[i] of B.
        h: the map of causal variables.
        train: (N,) rows to fit on.
    """
    k = fit_monotone(normal[0][train], normal[1][train][:, permutation])
    z_image, normal_image = (image(*pair)[~train] for pair in ((h, z), (k, normal[0])))
    target = normal[1][~train][:, permutation]
    only_a, only_b = _edge_differences(a.scm.graph, b.scm.graph, permutation)
    return {
        "noise_map": fit_monotone(noise[0][train], noise[1][train][:, permutation]),
        "noise_r2": 1.0 - _unexplained(normal_image, target),
        "edges_only_in_a": only_a,
        "edges_only_in_b": only_b,
        "n_edges": len(a.scm.graph.edges()),
        "solution_error": _solution_error(b, normal_image, z_image, permutation),
        "decoder_error": _decoder_error(a, b, z[~train], z_image, permutation),
        "target_distance": _target_distance(a.target_distribution, b.target_distribution, permutation),
        "noise_distance": _kolmogorov(k, lambda normals: normals, lambda normals: normals),
        "imposed_distance": _imposed_distance(a, b, h, permutation),
        **likelihoods(a, b, data, permutation),
    }


def _unexplained(predicted: Array, target: Array) -> Array:
    """Share of each column's variance (n,) that a prediction (N, n) leaves."""
    shares: Array = np.mean(np.square(predicted - target), axis=0) / np.maximum(target.var(0), 1e-300)
    return shares


def _edge_differences(graph_a: Graph, graph_b: Graph, permutation: IntArray) -> tuple[Edges, Edges]:
    """Edges of A that B lacks and of B that A lacks, in A's numbering."""
    first, second = graph_a.adjacency, graph_b.adjacency[np.ix_(permutation, permutation)]

    def listed(edges: NDArray[np.bool_]) -> Edges:
        return tuple((int(i), int(j)) for i, j in np.argwhere(edges))

    return listed(first & ~second), listed(second & ~first)


def _in_b(values: Array, permutation: IntArray, model: LatentCausalModel) -> Tensor:
    """Columns that are in A's numbering (N, n) as a tensor in B's, in B's precision."""
    moved = np.empty_like(values)
    moved[:, permutation] = values
    return torch.from_numpy(moved).to(model.thickness)


def _in_a(values: Tensor, permutation: IntArray) -> Array:
    table: Array = values.double().cpu().numpy()[:, permutation]
    return table


def _solution_error(b: LatentCausalModel, normal_image: Array, z_image: Array, permutation: IntArray) -> float:
    """s′ of the noise's image against the image of z: the greatest unexplained share of a variable."""

    def solve(normal: Tensor) -> tuple[Tensor]:
        return (b.scm.solve(b.scm.noise.from_normal(normal)[0])[0],)

    (solved,) = in_chunks(solve, _in_b(normal_image, permutation, b))
    return float(_unexplained(_in_a(solved, permutation), z_image).max())


def _decoder_error(
    a: LatentCausalModel, b: LatentCausalModel, z: Array, z_image: Array, permutation: IntArray
) -> float:
    """g′ of the image of z against g(z): the unexplained share of the variance."""
    inputs = (a, torch.from_numpy(z).to(a.thickness)), (b, _in_b(z_image, permutation, b))
    first, second = (in_chunks(lambda part, m=model: (m.decode(part),), values)[0] for model, values in inputs)
    expected, found = (part.double().cpu().numpy() for part in (first, second))
    variation = np.square(expected - expected.mean(0)).sum()
    return float(np.square(found - expected).sum() / max(variation, 1e-300))


def _target_distance(a: TargetDistribution, b: TargetDistribution, permutation: IntArray) -> float:
    """Total variation between p_𝓘 of A, carried along, and of B."""
    carried = {frozenset(int(permutation[i]) for i in targets): p for targets, p in _shares(a)}
    other = {frozenset(targets): p for targets, p in _shares(b)}
    return 0.5 * sum(abs(carried.get(key, 0.0) - other.get(key, 0.0)) for key in {*carried, *other})


def _shares(distribution: TargetDistribution) -> list[tuple[list[int], float]]:
    return list(zip(distribution.as_lists(), distribution.probabilities.tolist(), strict=True))


def _imposed_distance(a: LatentCausalModel, b: LatentCausalModel, h: KnotMap, permutation: IntArray) -> Array | None:
    """Kolmogorov distance (n,) between p̃ of A, carried along, and of B; None where one is not perfect."""
    if not isinstance(a.intervention, PerfectIntervention) or not isinstance(b.intervention, PerfectIntervention):
        return None
    first, second = a.intervention.noise, b.intervention.noise

    def from_normal(normals: Array) -> Array:
        drawn: Array = first.from_normal(torch.from_numpy(normals).to(a.thickness))[0].double().cpu().numpy()
        return drawn

    def to_normal(values: Array) -> Array:
        return _in_a(second.to_normal(_in_b(values, permutation, b))[0], permutation)

    return _kolmogorov(h, from_normal, to_normal)


def _kolmogorov(
    elementwise: KnotMap, from_normal: Callable[[Array], Array], to_normal: Callable[[Array], Array]
) -> Array:
    """Distance (n,) between two laws, the one carried along by a map, on a grid of quantiles without any sampling.

    `from_normal` and `to_normal` take (Q, n) standard-normal quantiles to the first law, and the second law to them.
    """
    levels = (np.arange(_QUANTILES) + 0.5) / _QUANTILES
    quantiles = np.repeat(ndtri(levels)[:, None], elementwise.n, axis=1)
    reached = ndtr(to_normal(image(elementwise, from_normal(quantiles))))
    # sorted, since a gauge may run either way
    distances: Array = np.abs(np.sort(reached, axis=0) - levels[:, None]).max(0)
    return distances


@torch.no_grad()
def likelihoods(
    a: LatentCausalModel, b: LatentCausalModel, data: PairData, permutation: IntArray
) -> dict[str, tuple[float, float] | None]:
    """Mean log p(x, x̃) of both at one thickness, the wider of the two for each variable, and their difference."""
    thickness = torch.maximum(a.thickness.cpu(), b.thickness.cpu()[torch.from_numpy(permutation)])
    thickness = thickness.clamp_min(THICKNESS_FLOOR)
    thickness_b = torch.empty_like(thickness)
    thickness_b[torch.from_numpy(permutation)] = thickness
    values = [log_densities(model, data, width).numpy() for model, width in ((a, thickness), (b, thickness_b))]
    difference = values[0] - values[1]
    if not np.isfinite(difference).all():
        return {"log_likelihood": None, "log_likelihood_difference": None}
    error = float(difference.std() / math.sqrt(len(difference)))
    return {
        "log_likelihood": (float(values[0].mean()), float(values[1].mean())),
        "log_likelihood_difference": (float(difference.mean()), error),
    }


@torch.no_grad()
def log_densities(model: LatentCausalModel, data: PairData, thickness: Tensor) -> Tensor:
    """log p(x, x̃) (N,) of all pairs at a thickness (n,), float64 on the CPU."""
    pairs = (torch.from_numpy(writable(part)).to(model.thickness) for part in (data.x, data.x_tilde))
    (values,) = in_chunks(lambda x, x_tilde: (model.pair_log_density(x, x_tilde, thickness),), *pairs)
    return values.double().cpu()


def random_isomorphism(n: int, generator: torch.Generator) -> Isomorphism:
    """Draw a uniform permutation of n variables and, for noise and variables each, affine maps or splines.

    Affine maps have scales within a factor e of one, with random signs, and standard-normal shifts; splines are
    increasing and clearly bent. All are float64.

    Raises:
        ValueError: n < 1.
    """
    if n < 1:
        raise ValueError(f"Expected n >= 1; got {n}.")
    permutation = torch.randperm(n, generator=generator).tolist()
    noise_map, variable_map = random_elementwise(n, generator), random_elementwise(n, generator)
    return Isomorphism(permutation, noise_map, variable_map)


def random_elementwise(n: int, generator: torch.Generator) -> ElementwiseMap:
    """Strictly monotone maps of n variables, float64: with equal probability all affine or all splines."""
    if bool(torch.rand((), generator=generator) < 0.5):
        return _random_affine(n, generator)
    spline = SplineMap(n).double()
    with torch.no_grad():
        spline.raw.copy_(torch.randn(spline.raw.shape, generator=generator, dtype=torch.float64))
    return spline.requires_grad_(False)


def _random_affine(n: int, generator: torch.Generator) -> AffineMap:
    sign = 2.0 * torch.randint(2, (n,), generator=generator, dtype=torch.float64) - 1.0
    scale = torch.exp(2.0 * torch.rand(n, generator=generator, dtype=torch.float64) - 1.0)
    shift = torch.randn(n, generator=generator, dtype=torch.float64)
    return AffineMap(n, shift, sign * scale).requires_grad_(False)
