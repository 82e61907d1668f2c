"""Find the isomorphism between two models, or report where it fails (docs/theory.md sections 1 and 5).

By theorem 1, models that reach the same likelihood on pairs are isomorphic. Two independent fits therefore check each
other when the truth is unknown.
"""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
import torch

from lcm.base.rows import writable
from lcm.data.named_columns import in_order_of
from lcm.data.pair_files import load_pairs
from lcm.data.pairs import PairData
from lcm.isomorphism.apply import require_real
from lcm.isomorphism.comparison import Comparison
from lcm.isomorphism.findings import Tolerances
from lcm.isomorphism.likelihood import divergences, likelihoods, thicknesses
from lcm.isomorphism.matching import FloatArray, IntArray
from lcm.isomorphism.monotone import fit_monotone, map_through, mapped
from lcm.isomorphism.parts import (
    Images,
    decoder_error,
    edge_differences,
    imposed_laws,
    in_numbering_of_a,
    in_numbering_of_b,
    noise_distance,
    solution_error,
    target_distance,
    unexplained,
)
from lcm.isomorphism.probes import Probes, probe_pairs
from lcm.isomorphism.variables import MatchedVariables
from lcm.isomorphism.views import MAX_ROWS, View, in_double, view
from lcm.model.elementwise import KnotMap
from lcm.model.latent_causal_model import LatentCausalModel
from lcm.model.pair_model import PairModel

_LEAST_ROWS = 100
_PROBES = 8_000
_GAUGE = np.linspace(-6.0, 6.0, 481)


class Modelled(Protocol):
    """The result of a fit, such as `lcm.FitResult`: it holds the model."""

    @property
    def model(self) -> PairModel: ...


def find_isomorphism(
    a: PairModel | Modelled,
    b: PairModel | Modelled,
    data: Any,
    tolerances: Tolerances | None = None,
    seed: int = 0,
    *,
    x_tilde: Any = None,
) -> Comparison:
    """Match the variables of two models of the same observations, fit h and k, and measure what remains.

    Two latent causal models are also compared on 8,000 pairs that each draws of itself, in float64: their likelihoods,
    and what they impose.

    Args:
        a, b: latent causal models, fitted or true; or autoencoders and models of images, of which only variables are
            compared; or results of fits.
        data, x_tilde: anything that `lcm.load_pairs` takes: N >= 100 pairs (N, d) or of images, of which the first
            20,000 are used; no truth is looked at.
        tolerances: of the verdict.
        seed: of the pairs that the models draw.

    Raises:
        ValueError: a or b that is no model of pairs; models of different dimension or number of variables, or with
            variables on a circle; data of another dimension or with too few pairs; encodings that are not finite.

    Example:
        >>> import lcm
        >>> pairs = lcm.load_pairs("data/sample.safetensors")
        >>> first, second = (lcm.fit(pairs, model="linear", seed=seed, quiet=True) for seed in (0, 1))
        >>> lcm.find_isomorphism(first, second, pairs).graphs_equal
        True
    """
    data = in_order_of(load_pairs(data, x_tilde), a, b)
    a, b = _model_of(a), _model_of(b)
    data = _checked(a, b, data)
    allowed = tolerances or Tolerances()
    if isinstance(a, LatentCausalModel) and isinstance(b, LatentCausalModel):
        return _compare_models(in_double(a), in_double(b), data, allowed, seed)
    x, x_tilde = (torch.from_numpy(writable(part)) for part in (data.x, data.x_tilde))
    first, second = (View(*map(np.vstack, zip(view(m, x), view(m, x_tilde), strict=True))) for m in (a, b))
    matched = MatchedVariables.match(first, second, len(data))
    return Comparison(**matched.numbers(allowed.leakage), tolerances=allowed)


def _model_of(given: Any) -> PairModel:
    model = given if isinstance(given, PairModel) else getattr(given, "model", None)
    if not isinstance(model, PairModel):
        raise ValueError(f"Expected a model of pairs, or what lcm.fit gives; got {type(given).__name__}.")
    return model


def _checked(a: PairModel, b: PairModel, data: PairData) -> PairData:
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


def _compare_models(
    a: LatentCausalModel, b: LatentCausalModel, data: PairData, allowed: Tolerances, seed: int
) -> Comparison:
    """Compare two latent causal models in float64."""
    generators = [torch.Generator(model.thickness.device).manual_seed(seed + k) for k, model in enumerate((a, b))]
    drawn = probe_pairs(a, _PROBES, generators[0]), probe_pairs(b, _PROBES, generators[1])
    observed = [torch.from_numpy(writable(part)).double() for part in (data.x, data.x_tilde)]
    # on the CPU, since the models may be on different devices
    x = torch.cat([*observed, *(part.cpu() for pairs in drawn for part in (pairs.x, pairs.x_tilde))])
    n_observed = 2 * len(data)
    views, probes = _finite_rows((view(a, x), view(b, x)), drawn, n_observed)
    matched = MatchedVariables.match(*views, len(data))
    permutation = matched.permutation
    one_sided = thicknesses(a, b, permutation).one_sided.numpy()
    numbers: dict[str, Any] = {
        **matched.numbers(allowed.leakage),
        **_compared_maps(a, b, views, matched),
        **_compared_settings(a, b, permutation),
        **imposed_laws(a, b, probes, _imposed_on(views, probes, n_observed), permutation),
        **likelihoods(a, b, data, permutation),
        **divergences(a, b, probes, permutation),
    }
    lost = 2 * _PROBES - sum(len(pairs.x) for pairs in probes)
    thin = tuple(np.flatnonzero(one_sided).tolist())
    return Comparison(**numbers, one_sided_thickness=thin, lost_probes=lost, tolerances=allowed)


def _finite_rows(
    views: tuple[View, View], probes: tuple[Probes, Probes], n_observed: int
) -> tuple[tuple[View, View], tuple[Probes, Probes]]:
    """Views and probes without the drawn pairs that a model cannot encode; the first rows are of the data."""
    finite = np.all([np.isfinite(table).all(1) for part in views for table in part], axis=0)
    kept, start = [np.ones(n_observed, dtype=np.bool_)], n_observed
    left = []
    for pairs in probes:
        count = len(pairs.x)
        both = finite[start : start + count] & finite[start + count : start + 2 * count]
        kept += [both, both]
        left.append(Probes(*(part[torch.from_numpy(both).to(part.device)] for part in pairs)))
        start += 2 * count
    rows = np.concatenate(kept)
    first, second = (View(part.z[rows], part.normal[rows]) for part in views)
    return (first, second), (left[0], left[1])


def _imposed_on(
    views: tuple[View, View], probes: tuple[Probes, Probes], n_observed: int
) -> tuple[tuple[FloatArray, FloatArray], tuple[FloatArray, FloatArray]]:
    """Causal variables of the x̃ that A and that B drew, each by A and by B."""
    ends = n_observed + 2 * np.cumsum([len(pairs.x) for pairs in probes])
    by_a, by_b = (
        (views[0].z[end - len(pairs.x) : end], views[1].z[end - len(pairs.x) : end])
        for end, pairs in zip(ends, probes, strict=True)
    )
    return by_a, by_b


@torch.no_grad()
def _compared_maps(
    a: LatentCausalModel, b: LatentCausalModel, views: tuple[View, View], matched: MatchedVariables
) -> dict[str, Any]:
    """Noise, solution maps and decoders, on held-out pairs of the data."""
    permutation, held_out = matched.permutation, matched.held_out
    normal_a, normal_b = views[0].normal, views[1].normal[:, permutation]
    k = fit_monotone(normal_a[matched.fitted], normal_b[matched.fitted])
    images = Images(
        mapped(k, normal_a[held_out]),
        mapped(matched.between_scores, matched.scores_a[held_out]),
        matched.z_a[held_out],
        mapped(matched.variable_map, matched.z_a[held_out]),
        matched.z_b,
    )
    return {
        "noise_map": _raw_noise_map(a, b, k, permutation),
        "noise_r2": 1.0 - unexplained(images.normal, normal_b[held_out]),
        "solution_error": solution_error(b, images, permutation),
        "decoder_error": decoder_error(a, b, images, permutation),
        "noise_distance": noise_distance(k),
    }


@torch.no_grad()
def _raw_noise_map(a: LatentCausalModel, b: LatentCausalModel, k: KnotMap, permutation: IntArray) -> KnotMap:
    """k between raw noise, from what it is in the standard-normal gauge."""
    grid = np.repeat(_GAUGE[:, None], a.n, axis=1)
    source = a.scm.noise.from_normal(torch.from_numpy(grid).to(a.thickness))[0]
    target = b.scm.noise.from_normal(in_numbering_of_b(mapped(k, grid), permutation, b))[0]
    return map_through(source.cpu().numpy(), in_numbering_of_a(target, permutation))


def _compared_settings(a: LatentCausalModel, b: LatentCausalModel, permutation: IntArray) -> dict[str, Any]:
    """Graphs and target sets, which need no pairs."""
    only_a, only_b = edge_differences(a.scm.graph, b.scm.graph, permutation)
    return {
        "edges_only_in_a": only_a,
        "edges_only_in_b": only_b,
        "n_edges": len(a.scm.graph.edges()),
        "target_distance": target_distance(a.target_distribution, b.target_distribution, permutation),
    }
