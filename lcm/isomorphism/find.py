"""Find the isomorphism between two models, or report where it fails (docs/theory.md sections 1 and 5).

By theorem 1, models that reach the same likelihood on pairs are isomorphic. Two independent fits therefore check each
other when the truth is unknown.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import ndtr, ndtri
from torch import Tensor

from lcm.base.chunks import in_chunks
from lcm.base.rows import writable
from lcm.data.pairs import PairData
from lcm.isomorphism.apply import require_real
from lcm.isomorphism.comparison import Comparison, Edges, Tolerances
from lcm.isomorphism.matching import (
    IntArray,
    correlation_matrix,
    fit_monotone,
    knots_of,
    leakage,
    match_variables,
    piecewise_linear,
)
from lcm.model.elementwise import KnotMap
from lcm.model.graph import Graph
from lcm.model.intervention import PerfectIntervention, TargetDistribution
from lcm.model.latent_causal_model import LatentCausalModel
from lcm.model.likelihood import THICKNESS_FLOOR
from lcm.model.pair_model import PairModel

MAX_ROWS = 20_000
"""Pairs that a comparison looks at: the first ones, every second of them held out."""

_LEAST_ROWS = 100
_QUANTILES = 999

Array = NDArray[np.float64]


class _View(NamedTuple):
    """How a model encodes pairs: z, z̃, and the noise of x, raw and in standard-normal gauge (N, n).

    Noise is None without an SCM.
    """

    z: Array
    z_tilde: Array
    noise: tuple[Array, Array] | None = None


def find_isomorphism(
    a: PairModel,
    b: PairModel,
    data: PairData,
    tolerances: Tolerances | None = None,
) -> Comparison:
    """Match the variables of two models of the same observations, fit h and k, and measure what remains.

    Args:
        a, b: latent causal models, fitted or true; or autoencoders and models of images, of which only variables are
            compared.
        data: pairs (N, d) or of images, N >= 100, of which the first 20,000 are used; no truth is looked at.
        tolerances: of the verdict.

    Raises:
        ValueError: models of different dimension or number of variables, or with variables on a circle; data of
            another dimension or with too few pairs; encodings that are not finite.

    Example:
        >>> import lcm
        >>> pairs = lcm.load_pairs("data/sample.safetensors")
        >>> first, second = (lcm.fit(pairs, model="linear", seed=seed, quiet=True) for seed in (0, 1))
        >>> lcm.find_isomorphism(first.model, second.model, pairs).graphs_equal
        True
    """
    data = _checked(a, b, data)
    view_a, view_b = _view(a, data), _view(b, data)
    permutation = _match(view_a, view_b)
    train = np.arange(len(data)) % 2 == 0
    target, target_tilde = (part[:, permutation] for part in view_b[:2])
    # on both observations of a pair, so that h is known where interventions alone lead
    h = fit_monotone(*(np.vstack([part[train], moved[train]]) for part, moved in (view_a[:2], (target, target_tilde))))
    residual = (target - _mapped(h, view_a.z)) / _spread(target)
    r2 = 1.0 - np.mean(np.square(residual[~train]), axis=0)
    leaks = leakage(residual, view_a.z, train)
    common: dict[str, Any] = {
        "permutation": tuple(permutation.tolist()),
        "orientation": tuple(int(sign) for sign in h.orientation),
        "r2": r2,
        "leakage": leaks.total,
        "leakage_matrix": leaks.by_source,
        "monotone_gain": _free_r2(view_a.z, target, train) - r2,
        "variable_map": h,
        "tolerances": tolerances or Tolerances(),
    }
    first, second = view_a.noise, view_b.noise
    if isinstance(a, LatentCausalModel) and isinstance(b, LatentCausalModel) and first and second:
        noise, normal = zip(first, second, strict=True)
        common |= _compare_models(a, b, data, view_a.z, noise, normal, permutation, h, train)
    return Comparison(**common)


def _checked(a: Any, b: Any, data: Any) -> PairData:
    if not isinstance(data, PairData):
        raise ValueError(f"Expected pairs as PairData, such as lcm.load_pairs gives; got {type(data).__name__}.")
    for model in (a, b):
        if not isinstance(model, PairModel):
            raise ValueError(f"Expected a model of pairs, such as lcm.fit gives; got {type(model).__name__}.")
    shapes = [_shape(model) for model in (a, b)]
    if shapes[0] != shapes[1]:
        found = [shape[0] if len(shape) == 1 else shape for shape in shapes]
        raise ValueError(
            f"Expected two models of the same observations; got dimensions {found[0]} (A) and {found[1]} (B)."
        )
    if a.n != b.n:
        raise ValueError(f"Expected two models with as many variables; got {a.n} (A) and {b.n} (B).")
    for model in (a, b):
        if isinstance(model, LatentCausalModel):
            require_real(model)
    where = f"{data.source}: x" if data.source else "x"
    if data.x.shape[1:] != shapes[0]:
        expected = ", ".join(map(str, ("N", *shapes[0])))
        raise ValueError(f"{where}: Expected shape ({expected}), as the models' observations; got {data.x.shape}.")
    if len(data) < _LEAST_ROWS:
        raise ValueError(f"{where}: Expected at least {_LEAST_ROWS} pairs to compare models on; got {len(data)}.")
    return PairData(data.x[:MAX_ROWS], data.x_tilde[:MAX_ROWS], source=data.source)


def _shape(model: Any) -> tuple[int, ...]:
    """The shape of one observation."""
    shape: tuple[int, ...] = model.observation_shape
    return shape


@torch.no_grad()
def encoded_variables(model: PairModel, data: PairData) -> Array:
    """z (N, n) of the first 20,000 observations x, in float64."""
    return _variables(model, torch.from_numpy(writable(data.x[:MAX_ROWS])))


def _variables(model: Any, x: Tensor) -> Array:
    return _finite(in_chunks(lambda part: (model.encode(part).z,), x)[0])


@torch.no_grad()
def _view(model: PairModel, data: PairData) -> _View:
    z_tilde = _variables(model, torch.from_numpy(writable(data.x_tilde)))
    if not isinstance(model, LatentCausalModel):
        return _View(encoded_variables(model, data), z_tilde)
    scm = model.scm

    def encode(x: Tensor) -> tuple[Tensor, ...]:
        encoding = model.encode(x)
        return encoding.z, encoding.noise, scm.noise.to_normal(encoding.noise)[0]

    z, noise, normal = map(_finite, in_chunks(encode, torch.from_numpy(writable(data.x))))
    return _View(z, z_tilde, (noise, normal))


def _spread(table: Array) -> Array:
    """Standard deviations (n,); 1 for a column that is constant to rounding, which no map explains."""
    spread = table.std(0)
    return np.where(spread > 1e-9 * np.abs(table).max(0), spread, 1.0)


def _finite(values: Tensor) -> Array:
    table: Array = values.double().cpu().numpy()
    if not np.isfinite(table).all():
        raise ValueError("Expected finite encodings of the data; got NaN or infinite ones. Are they of another scale?")
    return table


def _match(view_a: _View, view_b: _View) -> NDArray[np.int64]:
    """The permutation of the largest sum of |Spearman|, of variables and, where both have it, of noise."""
    scores = correlation_matrix(view_a.z, view_b.z)
    if view_a.noise is not None and view_b.noise is not None:
        scores = scores + correlation_matrix(view_a.noise[1], view_b.noise[1])
    return match_variables(scores)


def _free_r2(source: Array, target: Array, train: NDArray[np.bool_]) -> Array:
    """Held-out R² (n,) of target_i on a polygon of source_i that need not be monotone."""
    return np.array([_polygon_r2(x, y, train) for x, y in zip(source.T, target.T, strict=True)])


def _polygon_r2(x: Array, y: Array, train: NDArray[np.bool_]) -> float:
    design = np.column_stack([np.ones_like(x), piecewise_linear(x, knots_of(x[train]))])
    weights = np.linalg.lstsq(design[train], y[train], rcond=None)[0]
    return float(1.0 - np.mean(np.square(y - design @ weights)[~train]) / max(y.var(), 1e-300))


def _mapped(elementwise: KnotMap, values: Array) -> Array:
    """Values (N, n) under a map, without gradients."""
    mapped: Array = elementwise(torch.from_numpy(values))[0].numpy()
    return mapped


@torch.no_grad()
def _compare_models(
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
    z_image, normal_image = (_mapped(*pair)[~train] for pair in ((h, z), (k, normal[0])))
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
    """Total variation between p_𝓘 of A, relabelled, and of B."""
    carried = {frozenset(int(permutation[i]) for i in targets): p for targets, p in _shares(a)}
    other = {frozenset(targets): p for targets, p in _shares(b)}
    return 0.5 * sum(abs(carried.get(key, 0.0) - other.get(key, 0.0)) for key in {*carried, *other})


def _shares(distribution: TargetDistribution) -> list[tuple[list[int], float]]:
    return list(zip(distribution.as_lists(), distribution.probabilities.tolist(), strict=True))


def _imposed_distance(a: LatentCausalModel, b: LatentCausalModel, h: KnotMap, permutation: IntArray) -> Array | None:
    """Kolmogorov distance (n,) between p̃ of A, pushed forward, and of B; None if an intervention is not perfect."""
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
    """Distance (n,) between two distributions, the first pushed forward by a map, on a grid of quantiles.

    `from_normal` and `to_normal` map (Q, n) standard-normal quantiles to the first distribution, and the
    second distribution to such quantiles.
    """
    levels = (np.arange(_QUANTILES) + 0.5) / _QUANTILES
    quantiles = np.repeat(ndtri(levels)[:, None], elementwise.n, axis=1)
    reached = ndtr(to_normal(_mapped(elementwise, from_normal(quantiles))))
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
