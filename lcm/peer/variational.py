"""The common ground of variational peers: a prior, an encoder and a decoder in the coordinates of a fit."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Sequence
from itertools import pairwise
from typing import Any, Literal, NamedTuple, final

import torch
from torch import Tensor, nn

from lcm.base.component import build, describe
from lcm.model.decoder import DECODER_KINDS, ChainDecoder
from lcm.model.graph import Graph
from lcm.model.intervention import TargetDistribution
from lcm.model.pair_model import EncodedPairs, Encoding, PairModel


class VariationalModel(PairModel):
    """Abstract: a variational autoencoder of pairs with n latent variables, in n standardised coordinates of x.

    `standardisation` leads from these coordinates to x, as `lcm.learn.prepared` finds it. The graph over the latent
    variables is what was given or found last, empty before.
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
    def graph(self) -> Graph:
        return Graph(self.adjacency.cpu().numpy())

    def set_graph(self, graph: Graph) -> None:
        """Put a graph over the latent variables, which a discovery found."""
        self.adjacency.copy_(torch.from_numpy(graph.adjacency.copy()))

    def common_description(self) -> dict[str, Any]:
        """What the descriptions of all variational models hold; `build_common` makes of it what they are built from."""
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
        return _Coordinates(*self.standardisation.inverse(x.to(self._like())))


def build_common(description: dict[str, Any]) -> tuple[ChainDecoder, TargetDistribution]:
    """The standardisation and the target sets, without their tensors, of a variational model's description."""
    standardisation: ChainDecoder = build(description["standardisation"], DECODER_KINDS)
    return standardisation, TargetDistribution(standardisation.n, description["target_sets"], None)


class _Coordinates(NamedTuple):
    """Standardised coordinates (N, n) of observations, and log|det| (N,) of the map to them."""

    y: Tensor
    log_det: Tensor


# The reciprocals of the root mean squares of the activations at a standard normal.
_GAINS = {"silu": 1.68, "relu": math.sqrt(2.0)}


@final
class Perceptron(nn.Module):
    """Networks (..., inputs) → (..., outputs) with given hidden widths; none of them: an affine map.

    With `copies` K, K networks with weights of their own: (..., K, inputs) → (..., K, outputs).
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        hidden: Sequence[int],
        copies: int | None = None,
        activation: Literal["silu", "relu"] = "silu",
    ) -> None:
        """All weights are zero until `draw_weights` draws them."""
        super().__init__()
        self.activation = activation
        widths, own = [inputs, *hidden, outputs], () if copies is None else (copies,)
        self.weights = nn.ParameterList(torch.zeros(*own, after, before) for before, after in pairwise(widths))
        self.biases = nn.ParameterList(torch.zeros(*own, after) for after in widths[1:])

    @torch.no_grad()
    def draw_weights(self, generator: torch.Generator, last: float = 1.0) -> None:
        """Draw all weights so that outputs have variance of about `last` squared; biases stay as they are."""
        layers = list(self.weights)
        for index, weight in enumerate(layers):
            gain = (1.0 if index == 0 else _GAINS[self.activation]) * (last if index == len(layers) - 1 else 1.0)
            drawn = torch.randn(weight.shape, generator=generator, device=generator.device, dtype=weight.dtype)
            weight.copy_((gain / math.sqrt(weight.shape[-1]) * drawn).to(weight.device))

    def forward(self, values: Tensor) -> Tensor:
        # in place, since a fresh array costs more than the maximum that is written to it; and on flat arrays, since in
        # place on a view would copy everything when differentiated
        activate = torch.relu_ if self.activation == "relu" else torch.nn.functional.silu
        flat = values if self.weights[0].dim() == 3 else values.flatten(0, -2)
        for index in range(len(self.weights)):
            flat = self._layer(index, activate(flat) if index else flat)
        return flat.view(*values.shape[:-1], flat.shape[-1])

    def _layer(self, index: int, values: Tensor) -> Tensor:
        weight, bias = self.weights[index], self.biases[index]
        if weight.dim() == 2:
            return affine(values, weight, bias)
        return torch.einsum("...ki,koi->...ko", values, weight) + bias


def affine(values: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """values (N, inputs) @ weight (outputs, inputs)ᵀ + bias (outputs,)."""
    if weight.shape[1] >= weight.shape[0]:
        return torch.nn.functional.linear(values, weight, bias)
    # the gradients' products are taken in the order of the layouts: twice as fast in this one where inputs are few
    return torch.addmm(bias, values, weight.mT.contiguous())
