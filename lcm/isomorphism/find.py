"""Find the isomorphism between two models, or say where it fails (docs/theory.md sections 1 and 5).

By Theorem 1, models that reach the same likelihood on pairs are isomorphic. So two independent fits check each other
where no truth is known.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lcm.base.chunks import in_chunks
from lcm.base.rows import writable
from lcm.data.pairs import PairData
from lcm.isomorphism.comparison import Comparison, Tolerances
from lcm.isomorphism.maps import fit_monotone, knots_of, leakage, piecewise_linear, require_real
from lcm.isomorphism.matching import correlation_matrix, match_variables
from lcm.isomorphism.models import compare_models, image
from lcm.model.latent_causal_model import LatentCausalModel
from lcm.model.pair_model import PairModel

MAX_ROWS = 20_000
"""Pairs that a comparison looks at: the first ones, every second of them held out."""

_LEAST_ROWS = 100

Array = NDArray[np.float64]


class _View(NamedTuple):
    """What a model makes of pairs: z, z̃, and the noise of x, raw and in standard-normal gauge (N, n).

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
    residual = (target - image(h, view_a.z)) / _spread(target)
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
        common |= compare_models(a, b, data, view_a.z, noise, normal, permutation, h, train)
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
    """Standard deviations (n,); 1 for a column that is constant to rounding, of which no map explains anything."""
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
