"""What every model of pairs can be asked: ground truths, fitted latent causal models and their peers alike."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

from torch import Tensor, nn

from lcm.model import MODEL_TABLES
from lcm.model.graph import Graph
from lcm.model.intervention import TargetDistribution


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


MODEL_TYPES: dict[str | None, Callable[[dict[str, Any]], PairModel]] = {}
"""From the `type` in a description, None for a latent causal model, to what rebuilds the model without its tensors.

Each module of this package adds the models that it defines; packages above add a table to `MODEL_TABLES`.
"""


def build_model(description: dict[str, Any], path: str | Path) -> PairModel:
    """Rebuild any model, without its tensors, from the description in the file `path`.

    Raises:
        ValueError: a type that is neither in `MODEL_TYPES` nor in one of `MODEL_TABLES`.
    """
    kind = description.get("type")
    others = {name: each.load for table in MODEL_TABLES for name, each in table.items() if each.load is not None}
    known: dict[str | None, Any] = {**others, **MODEL_TYPES}
    if kind not in known:
        listed = ", ".join(str(each) for each in known if each)
        raise ValueError(f"{path}: Expected a latent causal model or one of {listed}; got a model of type {kind!r}.")
    model: PairModel = known[kind](description)
    return model
