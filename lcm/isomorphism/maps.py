"""Monotone curves through two columns of numbers: the h_i of an isomorphism, by least squares in closed form."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, final

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.interpolate import PchipInterpolator
from scipy.optimize import nnls
from scipy.special import ndtri
from scipy.stats import rankdata
from torch import Tensor, nn

from lcm.isomorphism.matching import unit_columns
from lcm.model.decoder import Decoder, ReparametrisedDecoder, SolutionDecoder
from lcm.model.elementwise import AffineMap, ElementwiseMap, KnotMap
from lcm.model.intervention import (
    InterventionalMechanism,
    PerfectIntervention,
    ReparametrisedIntervention,
    TargetDistribution,
)
from lcm.model.latent_causal_model import LatentCausalModel
from lcm.model.mechanism import ReparametrisedMechanism
from lcm.model.noise import PushforwardNoise, RelabelledNoise
from lcm.model.scm import SCM

Array = NDArray[np.float64]


_ROWS_FOR_TAILS = 2_000
_ROWS_PER_KNOT = 10
_LEAST_GAP = 1e-6
_LEAST_RISE = 1e-5
_RIDGE = 1e-6
_LEVELS = np.concatenate([[0.0, 1e-3, 5e-3, 0.02], np.linspace(0.05, 0.95, 25), [0.98, 0.995, 0.999, 1.0]])


def fit_monotone(source: Array, target: Array) -> KnotMap:
    """The monotone maps h_i of least squares from source_i to target_i, as a float64 map of n variables.

    Each is a spline with knots at quantiles of its source, of the orientation of the rank correlation.

    Args:
        source, target: (N, n), finite; column i of the one belongs to column i of the other.
    """
    ranks = [np.argsort(np.argsort(table, axis=0), axis=0).astype(np.float64) for table in (source, target)]
    agreement = (unit_columns(ranks[0]) * unit_columns(ranks[1])).sum(0)
    orientation = np.where(agreement < 0, -1.0, 1.0)
    tables = np.stack([_one_curve(x, y) for x, y in zip(source.T, (target * orientation).T, strict=True)])
    return KnotMap(len(tables), tables.shape[-1], torch.from_numpy(orientation), torch.from_numpy(tables)).double()


def piecewise_linear(values: Array, knots: Array) -> Array:
    """The shares (N, K − 1) of each interval between K knots that lie below the values (N,): a basis of polygons."""
    shares: Array = np.clip((values[:, None] - knots[:-1]) / np.diff(knots), 0.0, 1.0)
    return shares


def knots_of(values: Array) -> Array:
    """K increasing knots at quantiles of the values (N,), apart even where these are tied; fewer for few values."""
    few = int(np.clip(len(values) // _ROWS_PER_KNOT, 4, len(_LEVELS)))
    knots = np.quantile(values, _LEVELS if len(values) >= _ROWS_FOR_TAILS else np.linspace(0.0, 1.0, few))
    gap = _LEAST_GAP * max(np.abs(knots).max(), values.std(), 1e-300)
    return knots + gap * np.arange(len(knots))


def _one_curve(x: Array, y: Array) -> Array:
    """Knots, values there and slopes (3, K) of the increasing curve from x to y (N,)."""
    knots = knots_of(x)
    basis = piecewise_linear(x, knots)
    # a constant gets a map that hardly rises
    scale = max(y.std(), 1e-6 * np.abs(y).max(), 1e-300)
    # rises of polygons are non-negative least squares; the centred columns leave the constant free
    triangle: Array = np.linalg.qr(np.column_stack([basis - basis.mean(0), (y - y.mean()) / scale])).R
    rises = nnls(triangle[:, :-1], triangle[:, -1])[0]
    rises = np.maximum(rises, _LEAST_RISE * np.diff(knots) / max(knots[-1] - knots[0], 1e-300)) * scale
    start = y.mean() - basis.mean(0) @ rises
    values = start + np.concatenate([[0.0], np.cumsum(rises)])
    slopes = PchipInterpolator(knots, values)(knots, 1)
    return np.stack([knots, values, np.maximum(slopes, 1e-3 * (rises / np.diff(knots)).min())])


class Leakage(NamedTuple):
    """Shares of variance, held out and at least 0: total (n,), and by source (n, n), [i, j]: from z_j into z′_π(i)."""

    total: Array
    by_source: Array


def leakage(residuals: Array, variables: Array, train: NDArray[np.bool_]) -> Leakage:
    """Regress what is left of each variable on the others, alone and in interplay with its own source.

    The regressors of z_j are Hermite polynomials of its normal score up to degree 3, times those of z_i up to degree
    2; what z_i itself explains of the residual is taken out first. A regression on all j gives the total, one on each
    j its share.

    Args:
        residuals: (N, n), z′_π(i) − h_i(z_i) in standard deviations of z′_π(i).
        variables: (N, n), the z_i.
        train: (N,) rows to fit on; the others are held out.
    """
    n = residuals.shape[1]
    hermite = _hermite(ndtri((rankdata(variables, axis=0) - 0.5) / len(variables)))
    total, by_source = np.zeros(n), np.zeros((n, n))
    for i in range(n):
        others = [j for j in range(n) if j != i]
        own = np.column_stack([np.ones(len(variables)), hermite[:, i, 1:]])
        crossed = np.einsum("mja,mb->mjab", hermite[:, others, 1:], hermite[:, i, :3]).reshape(len(own), len(others), 9)
        loss = _held_out_loss(own, residuals[:, i], train)
        for index, j in enumerate(others):
            by_source[i, j] = loss - _held_out_loss(np.hstack([own, crossed[:, index]]), residuals[:, i], train)
        if others:
            everything = np.hstack([own, crossed.reshape(len(own), -1)])
            total[i] = loss - _held_out_loss(everything, residuals[:, i], train)
    return Leakage(np.maximum(total, 0.0), np.maximum(by_source, 0.0))


def _hermite(scores: Array) -> Array:
    """Orthonormal Hermite polynomials of degree 0 to 3 of normal scores (N, n): (N, n, 4)."""
    s = scores
    return np.stack([np.ones_like(s), s, (s**2 - 1.0) / np.sqrt(2.0), (s**3 - 3.0 * s) / np.sqrt(6.0)], axis=-1)


def _held_out_loss(design: Array, response: Array, train: NDArray[np.bool_]) -> float:
    """Mean squared error on the rows that are not in `train`, of a least-squares fit on those that are."""
    rows = design[train]
    gram = rows.T @ rows
    gram.flat[:: len(gram) + 1] += _RIDGE * len(rows)
    weights = np.linalg.solve(gram, rows.T @ response[train])
    return float(np.mean(np.square(response[~train] - design[~train] @ weights)))


@final
@dataclass(frozen=True, eq=False)
class Isomorphism:
    """A relabelling with elementwise diffeomorphisms of noise and causal variables.

    Attributes:
        permutation: old variable i becomes new variable permutation[i].
        noise_map: k_i, in the old numbering.
        variable_map: h_i, in the old numbering; like k_i, it may reverse the orientation.
    """

    permutation: Sequence[int]
    noise_map: ElementwiseMap
    variable_map: ElementwiseMap

    def __post_init__(self) -> None:
        """Raises ValueError when the permutation is none, or the maps are of another number of variables."""
        n = len(self.permutation)
        if sorted(self.permutation) != list(range(n)):
            raise ValueError(f"Expected a permutation of 0..{n - 1}; got {list(self.permutation)}.")
        for name, elementwise in (("noise", self.noise_map), ("variable", self.variable_map)):
            if elementwise.n != n:
                raise ValueError(f"Expected a {name} map of {n} variables; got {elementwise.n}.")

    def apply(self, model: LatentCausalModel) -> LatentCausalModel:
        """The isomorphic model; it shares no tensors with `model`.

        Raises:
            ValueError: the model has another number of variables, or variables on a circle.
        """
        require_real(model)
        if model.n != len(self.permutation):
            raise ValueError(f"Expected a model of {len(self.permutation)} variables; got {model.n}.")
        model, k, h = copy.deepcopy((model, self.noise_map, self.variable_map))
        # maps found by comparison are in float64, where their knots can be told apart
        finest = max((tensor.dtype for part in (model, k, h) for tensor in _tensors(part)), key=lambda t: t.itemsize)
        device = model.thickness.device
        model, k, h = model.to(device, finest), k.to(device, finest), h.to(device, finest)
        labels = [int(label) for label in self.permutation]
        old_label = torch.argsort(torch.as_tensor(labels))
        scm = SCM(
            model.scm.graph.permuted(old_label.tolist()),
            ReparametrisedMechanism(model.scm.mechanism, k, h, labels),
            RelabelledNoise(PushforwardNoise(model.scm.noise, k), labels),
        )
        image = LatentCausalModel(
            scm,
            _reparametrised_decoder(model.decoder, scm, h, labels),
            _reparametrised_intervention(model, h, labels),
            _relabelled_targets(model.target_distribution, labels),
        )
        image.thickness = model.thickness[old_label]
        return image.to(model.thickness.device)


def _tensors(part: nn.Module) -> list[Tensor]:
    return [tensor for tensor in [*part.parameters(), *part.buffers()] if tensor.is_floating_point()]


def require_real(model: LatentCausalModel) -> None:
    """Raise ValueError for a model with variables on a circle, where monotone maps are not all there is."""
    circles = torch.nonzero(model.scm.circular).flatten().tolist()
    if circles:
        raise ValueError(f"Expected real variables for elementwise monotone maps; got circles at {circles}.")


def _reparametrised_decoder(decoder: Decoder, scm: SCM, h: ElementwiseMap, labels: list[int]) -> Decoder:
    if not isinstance(decoder, SolutionDecoder):
        return ReparametrisedDecoder(decoder, h, labels)
    # it decodes from standard-normal noise, which the maps leave alone, by the solution map of the new model
    identity = AffineMap(scm.n).to(scm.mechanism.adjacency.device)
    return SolutionDecoder(ReparametrisedDecoder(decoder.noise_decoder, identity, labels), scm)


def _reparametrised_intervention(
    model: LatentCausalModel, h: ElementwiseMap, labels: list[int]
) -> InterventionalMechanism:
    intervention = model.intervention
    if isinstance(intervention, PerfectIntervention):
        return PerfectIntervention(RelabelledNoise(PushforwardNoise(intervention.noise, h), labels))
    return ReparametrisedIntervention(intervention, model.scm, h, labels)


def _relabelled_targets(targets: TargetDistribution, labels: list[int]) -> TargetDistribution:
    moved = [[labels[target] for target in target_set] for target_set in targets.as_lists()]
    image = TargetDistribution(targets.n, moved, None)
    # past the constructor, which takes Python numbers and would round them to the default precision
    image.probabilities = targets.probabilities
    return image
