"""What the variational peers share: their base class, their networks, the diagonal normal, and the thickness update."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any, Literal, NamedTuple, final

import torch
from torch import Tensor, nn

from lcm.base.component import describe
from lcm.model.decoder import ChainDecoder
from lcm.model.graph import Graph, validate_adjacency
from lcm.model.intervention import TargetDistribution
from lcm.model.likelihood import THICKNESS_FLOOR
from lcm.model.noise import standard_normal_log_density
from lcm.model.pair_model import EncodedPairs, Encoding, PairModel

LOG_TWO_PI = math.log(2.0 * math.pi)
_FEW_STAYING = 1e-6


class VariationalModel(PairModel):
    """Abstract: a variational autoencoder of pairs with n latent variables, in n standardised coordinates of x.

    `standardisation` maps these coordinates to x, as `lcm.learn.prepared` finds it. The graph over the latent variables
    is the one that `set_graph` was given last; it is empty before that.
    """

    adjacency: Tensor

    def __init__(self, standardisation: ChainDecoder, target_distribution: TargetDistribution) -> None:
        super().__init__()
        n = standardisation.n
        self.standardisation, self.target_distribution = standardisation, target_distribution
        self.register_buffer("adjacency", torch.zeros(n, n, dtype=torch.bool))

    @property
    def n(self) -> int:
        return self.standardisation.n

    @property
    def d(self) -> int:
        return self.standardisation.d

    @property
    def like_observations(self) -> Tensor:
        like = self._like()
        return like.new_empty(0, dtype=self.standardisation.observation_dtype or like.dtype)

    @property
    def graph(self) -> Graph:
        return Graph(self.adjacency.cpu().numpy())

    def require_sound(self) -> None:
        """Raise ValueError for a graph with a cycle."""
        validate_adjacency(self.adjacency.cpu().numpy())

    def set_graph(self, graph: Graph) -> None:
        """Replace the graph over the latent variables."""
        self.adjacency.copy_(torch.from_numpy(graph.adjacency.copy()))

    def common_description(self) -> dict[str, Any]:
        """The part of a description that all variational models have; `build_common` reads it back."""
        return {
            "type": self.kind,
            "standardisation": describe(self.standardisation),
            "target_sets": self.target_distribution.as_lists(),
        }

    @abstractmethod
    def encode_coordinates(self, y: Tensor, y_tilde: Tensor) -> EncodedPairs:
        """Encodings of pairs y, y_tilde (N, n) in the coordinates of the fit; log_density is in their units."""

    def encoding(self, x: Tensor) -> Encoding:
        y = self._coordinates(x).y
        encoded = self.encode_coordinates(y, y)
        return Encoding(encoded.z, encoded.noise, None)

    def encode_pairs(self, x: Tensor, x_tilde: Tensor) -> EncodedPairs:
        first, second = (self._coordinates(part) for part in (x, x_tilde))
        encoded = self.encode_coordinates(first.y, second.y)
        return encoded._replace(log_density=encoded.log_density + first.log_det + second.log_det)

    def _coordinates(self, x: Tensor) -> _Coordinates:
        return _Coordinates(*self.standardisation.inverse(x.to(self.like_observations)))


def build_common(description: dict[str, Any]) -> tuple[ChainDecoder, TargetDistribution]:
    """The standardisation and the target sets, without their tensors, of a variational model's description."""
    standardisation = ChainDecoder.build(description["standardisation"])
    if not isinstance(standardisation, ChainDecoder):
        raise ValueError(f"Expected a standardisation of kind chain; got {standardisation.kind}.")
    return standardisation, TargetDistribution(standardisation.n, description["target_sets"], None)


class _Coordinates(NamedTuple):
    """Standardised coordinates (N, n) of observations, and log|det| (N,) of the map to them."""

    y: Tensor
    log_det: Tensor


# The reciprocals of the root mean squares of the activations at a standard normal.
_GAINS = {"silu": 1.68, "relu": math.sqrt(2.0)}


@final
class Perceptron(nn.Module):
    """A network (..., inputs) → (..., outputs) with given hidden widths; without hidden layers it is an affine map.

    With `seen`, bool (K, inputs), it holds K networks with separate weights, (N, inputs) → (K, N, outputs); network k
    reads the inputs that `seen[k]` marks.
    """

    seen: Tensor

    def __init__(
        self,
        inputs: int,
        outputs: int,
        hidden: Sequence[int],
        activation: Literal["silu", "relu"] = "silu",
        seen: Tensor | None = None,
    ) -> None:
        """All weights are zero until `draw_weights` draws them."""
        super().__init__()
        self.activation, self.is_batched = activation, seen is not None
        widths = [inputs, *hidden, outputs]
        weight_copies, bias_copies = ((), ()) if seen is None else ((len(seen),), (len(seen), 1))
        pairs = list(pairwise(widths))
        self.weights = nn.ParameterList(torch.zeros(*weight_copies, after, before) for before, after in pairs)
        self.biases = nn.ParameterList(torch.zeros(*bias_copies, after) for after in widths[1:])
        if seen is not None:
            self.register_buffer("seen", seen)

    @torch.no_grad()
    def draw_weights(self, generator: torch.Generator, last: float = 1.0) -> None:
        """Draw all weights so that the standard deviation of the outputs is about `last`; biases stay as they are."""
        layers = list(self.weights)
        for index, weight in enumerate(layers):
            gain = (1.0 if index == 0 else _GAINS[self.activation]) * (last if index == len(layers) - 1 else 1.0)
            drawn = torch.randn(weight.shape, generator=generator, device=generator.device, dtype=weight.dtype)
            weight.copy_((gain / math.sqrt(weight.shape[-1]) * drawn).to(weight.device))

    def forward(self, values: Tensor) -> Tensor:
        # ReLU in place, because a fresh array costs more than the maximum written to it; and on flat arrays, because
        # the gradient of an in-place operation on a view copies everything
        activate = torch.relu_ if self.activation == "relu" else torch.nn.functional.silu
        if self.is_batched:
            return self._batched(values, activate)
        flat = values.flatten(0, -2)
        for index, (weight, bias) in enumerate(zip(self.weights, self.biases, strict=True)):
            flat = _affine(activate(flat) if index else flat, weight, bias)
        return flat.view(*values.shape[:-1], flat.shape[-1])

    def _batched(self, rows: Tensor, activate: Callable[[Tensor], Tensor]) -> Tensor:
        # all networks read the same rows, so their first layers are one product
        layers = list(zip(self.weights, self.biases, strict=True))
        first = (layers[0][0] * self.seen.unsqueeze(1)).flatten(0, 1)
        values = _affine(rows, first, layers[0][1].flatten())
        values = activate(values) if len(layers) > 1 else values
        values = values.unflatten(1, (len(self.seen), len(first) // len(self.seen))).transpose(0, 1)
        for index, (weight, bias) in enumerate(layers[1:]):
            values = torch.baddbmm(bias, activate(values) if index else values, weight.mT)
        return values


def _affine(values: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """values (N, inputs) @ weight (outputs, inputs)ᵀ + bias (outputs,)."""
    if weight.shape[1] >= weight.shape[0]:
        return torch.nn.functional.linear(values, weight, bias)
    # the layout decides the order of the products in the gradient: this one is twice as fast where inputs are few
    return torch.addmm(bias, values, weight.mT.contiguous())


class Normals(NamedTuple):
    """Independent normal distributions: means and logarithms of the standard deviations, (..., n) each."""

    mean: Tensor
    log_deviation: Tensor

    def at(self, normal: Tensor) -> Tensor:
        """The values (..., n) at standard-normal draws (..., n)."""
        return self.mean + self.log_deviation.exp() * normal

    def log_density(self, value: Tensor) -> Tensor:
        """Log-densities (..., n) of values, one for each coordinate."""
        scaled = (value - self.mean) * (-self.log_deviation).exp()
        return -0.5 * (scaled.square() + LOG_TWO_PI) - self.log_deviation

    def log_density_at(self, normal: Tensor) -> Tensor:
        """Log-densities (..., n) of the values at standard-normal draws."""
        return standard_normal_log_density(normal) - self.log_deviation

    def divergence(self, other: Normals) -> Tensor:
        """Kullback-Leibler divergence (..., n) from each distribution to that of `other`, in nats, ≥ 0."""
        log_ratio = self.log_deviation - other.log_deviation
        shift = (self.mean - other.mean) * (-other.log_deviation).exp()
        return 0.5 * (torch.expm1(2.0 * log_ratio) + shift.square()) - log_ratio

    def where(self, mask: Tensor, other: Normals) -> Normals:
        """These distributions where the mask holds, those of `other` elsewhere."""
        return Normals(*(torch.where(mask, own, another) for own, another in zip(self, other, strict=True)))

    def unsqueeze(self, dim: int) -> Normals:
        """The distributions with one more dimension."""
        return Normals(self.mean.unsqueeze(dim), self.log_deviation.unsqueeze(dim))

    def unbind(self) -> tuple[Normals, Normals]:
        """The distributions (2, ..., n) of both observations of pairs, one by one."""
        return Normals(self.mean[0], self.log_deviation[0]), Normals(self.mean[1], self.log_deviation[1])


def staying_variance(difference: Tensor, stays: Tensor) -> Tensor:
    """The thickness squared (n,) that maximises the likelihood (docs/theory.md section 2), at least its floor squared.

    Args:
        difference: (N, n), how far each noise encoding moved.
        stays: (N, n) in [0, 1], probability that a coordinate is no target; 0 in pairs that did not change.
    """
    variance = (stays * difference.square()).sum(0) / stays.sum(0).clamp_min(_FEW_STAYING)
    return variance.clamp_min(THICKNESS_FLOOR**2)
