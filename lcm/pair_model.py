"""What every model of pairs can be asked: ground truths, fitted latent causal models and their peers alike."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, ClassVar, NamedTuple

from torch import Tensor, nn

from lcm.graph import Graph
from lcm.intervention import TargetDistribution


class EncodedPairs(NamedTuple):
    """Encodings of N pairs, in the model's precision.

    z, z_tilde, noise, noise_tilde: (N, n); noise_tilde is s⁻¹(z_tilde). Without mechanisms, the noise is z itself.
    posterior: (N, K), p(I | x, x̃) in the order of the model's target sets; rows sum to 1.
    log_density: (N,), log p(x, x̃) in nats, in the units of the data; of a variational model, a lower bound of it.
    """

    z: Tensor
    z_tilde: Tensor
    noise: Tensor
    noise_tilde: Tensor
    posterior: Tensor
    log_density: Tensor


class PairModel(nn.Module, ABC):
    """Abstract: a model of pairs (x, x̃) with n latent variables, a graph over them, and a posterior over targets."""

    kind: ClassVar[str]
    target_distribution: TargetDistribution

    @property
    @abstractmethod
    def n(self) -> int:
        """Number of latent variables."""

    @property
    @abstractmethod
    def d(self) -> int:
        """Number of dimensions of an observation."""

    @property
    def observation_shape(self) -> tuple[int, ...]:
        """The shape of one observation: (d,), or (H, W, C) of an image."""
        return (self.d,)

    @property
    @abstractmethod
    def graph(self) -> Graph:
        """The graph over the latent variables; empty where the model has none."""

    @abstractmethod
    def encode_pairs(self, x: Tensor, x_tilde: Tensor) -> EncodedPairs:
        """Encodings of pairs x, x_tilde (N, d), deterministic, in the model's precision and on its device."""

    @abstractmethod
    def description(self) -> dict[str, Any]:
        """JSON description that rebuilds the model without its tensors."""
