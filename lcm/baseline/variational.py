"""The common ground of variational peers: a prior, an encoder and a decoder in the coordinates of a fit."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any, NamedTuple

import torch
from numpy.typing import ArrayLike
from torch import Tensor

from lcm.component import build, describe
from lcm.data.mapped import writable
from lcm.decoder import DECODER_KINDS, ChainDecoder
from lcm.graph import Graph
from lcm.intervention import TargetDistribution
from lcm.pair_model import EncodedPairs, PairModel


class VariationalModel(PairModel):
    """Abstract: a variational autoencoder of pairs with n latent variables, in n standardised coordinates of x.

    `standardisation` leads from these coordinates to x, as `lcm.learn.prepare` finds it. The graph over the latent
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

    def encode(self, x: ArrayLike | Tensor) -> Tensor:
        """Latent variables (N, n) of observations x (N, d), an array or tensor of any precision."""
        y = self._coordinates(torch.as_tensor(writable(x))).y
        return self.encode_coordinates(y, y).z

    def encode_pairs(self, x: Tensor, x_tilde: Tensor) -> EncodedPairs:
        first, second = (self._coordinates(part) for part in (x, x_tilde))
        encoded = self.encode_coordinates(first.y, second.y)
        return encoded._replace(log_density=encoded.log_density + first.log_det + second.log_det)

    def _coordinates(self, x: Tensor) -> _Coordinates:
        return _Coordinates(*self.standardisation.inverse(x.to(self._like())))

    def _like(self) -> Tensor:
        return next(self.parameters())


def build_common(description: dict[str, Any]) -> tuple[ChainDecoder, TargetDistribution]:
    """The standardisation and the target sets, without their tensors, of a variational model's description."""
    standardisation: ChainDecoder = build(description["standardisation"], DECODER_KINDS)
    return standardisation, TargetDistribution(standardisation.n, description["target_sets"], None)


class _Coordinates(NamedTuple):
    """Standardised coordinates (N, n) of observations, and log|det| (N,) of the map to them."""

    y: Tensor
    log_det: Tensor
