"""The interface of every model of pairs: ground truths, fitted latent causal models, and peers."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor, nn

from lcm.base.arrays import as_tensor, in_kind_of
from lcm.base.chunks import in_chunks
from lcm.base.files import write_tensors
from lcm.base.text import shown
from lcm.model import MODEL_TABLES
from lcm.model.do import Do
from lcm.model.graph import Graph
from lcm.model.intervention import TargetDistribution

SCHEMA_VERSION = 1


class EncodedPairs(NamedTuple):
    """Encodings of N pairs, in the model's precision.

    z, z_tilde, noise, noise_tilde: (N, n); noise_tilde is s⁻¹(z_tilde). In a model without mechanisms, the noise is z.
    posterior: (N, K), p(I | x, x̃) in the order of the model's target sets; rows sum to 1.
    log_density: (N,), log p(x, x̃) in nats, in the units of the data; a variational model gives a lower bound.
    """

    z: Tensor
    z_tilde: Tensor
    noise: Tensor
    noise_tilde: Tensor
    posterior: Tensor
    log_density: Tensor


class Encoding(NamedTuple):
    """Variables and noise of observations, as the same kind of array as the observations.

    z, noise: (N, n), or (n,) for a single observation. In a model without mechanisms, the noise is z.
    log_det: (N,), or () for a single observation, log|det ∂noise/∂x|; None for a variational model.
    """

    z: Any
    noise: Any
    log_det: Any


class Pairs(NamedTuple):
    """Pairs and their truth: x, x_tilde (N, d) or (N, H, W, C); z, z_tilde, noise, noise_tilde, bool targets (N, n)."""

    x: Tensor
    x_tilde: Tensor
    z: Tensor
    z_tilde: Tensor
    noise: Tensor
    noise_tilde: Tensor
    targets: Tensor


class PairModel(nn.Module, ABC):
    """Abstract: a model of pairs (x, x̃) with n latent variables, a graph over them, and a posterior over targets.

    Every model has `encode`, `log_prob`, `sample`, `counterfactual` and `save`. A method that a model cannot support
    raises NotImplementedError. Inputs are arrays, tensors or DataFrames, of any precision and on any device. Results
    have the same kind as the input.
    """

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
        """The shape of one observation: (d,), or (H, W, C) for an image."""
        return (self.d,)

    @property
    def like_observations(self) -> Tensor:
        """An empty tensor of the precision that observations need, on the device of the model."""
        return self._like().new_empty(0)

    @property
    @abstractmethod
    def graph(self) -> Graph:
        """The graph over the latent variables; empty if the model has no graph."""

    @abstractmethod
    def encoding(self, x: Tensor) -> Encoding:
        """Variables and noise of observations x (N, d), in the model's precision and on its device."""

    @abstractmethod
    def encode_pairs(self, x: Tensor, x_tilde: Tensor) -> EncodedPairs:
        """Encodings of pairs x, x_tilde (N, d), deterministic, in the model's precision and on its device."""

    @abstractmethod
    def description(self) -> dict[str, Any]:
        """JSON description, from which the model can be rebuilt without its tensors."""

    def encode(self, x: Any) -> Encoding:
        """Variables and noise of observations x (N, d), or of a single observation (d,).

        Raises:
            ValueError: observations of another shape than the model's.
        """
        values = as_tensor(x, self.like_observations)
        single = values.dim() == len(self.observation_shape)
        batch = values.unsqueeze(0) if single else values
        if batch.shape[1:] != self.observation_shape:
            expected = ", ".join(map(str, ("N", *self.observation_shape)))
            raise ValueError(f"x: Expected shape ({expected}), as the model's observations; got {tuple(values.shape)}.")
        z, noise, log_det = (part if part is None or not single else part.squeeze(0) for part in self.encoding(batch))
        names = [f"z{i}" for i in range(self.n)]
        return Encoding(
            in_kind_of(x, z, names), in_kind_of(x, noise, names), None if log_det is None else in_kind_of(x, log_det)
        )

    def log_prob(self, x: Any, x_tilde: Any) -> Any:
        """log p(x, x̃) (N,) of pairs (N, d) in nats, in the units of the data; a variational model gives a lower bound.

        A latent causal model uses its thickness, which is at least 1e-3 (docs/theory.md section 2).
        """
        before, after = (as_tensor(part, self.like_observations) for part in (x, x_tilde))
        (found,) = in_chunks(lambda *pair: (self.encode_pairs(*pair).log_density,), before, after)
        return in_kind_of(x, found)

    def sample(self, n_pairs: int, seed: int = 0) -> Pairs:
        """Draw pairs and their truth from the model's own p(x, x̃).

        Raises:
            NotImplementedError: the model has no mechanisms.
        """
        generator = torch.Generator(self._like().device).manual_seed(seed)
        return self.sample_pairs(n_pairs, generator)

    def sample_pairs(self, n_pairs: int, generator: torch.Generator) -> Pairs:
        """Draw pairs as `sample` does, with a given generator."""
        raise NotImplementedError(self._without_mechanisms("draw pairs"))

    def counterfactual(self, x: Any, do: Do, generator: torch.Generator | None = None) -> Any:
        """What each observation x (N, d) would have been after `do`: abduct the noise, act, decode.

        Raises:
            ValueError: a target out of range, or a stochastic intervention without a generator.
            NotImplementedError: the model has no mechanisms.
        """
        raise NotImplementedError(self._without_mechanisms("answer counterfactuals"))

    def causal_model(self) -> Any:
        """The latent causal model with the mechanisms: this model; for images, the model of their codes.

        Raises:
            NotImplementedError: the model has no mechanisms.
        """
        raise NotImplementedError(self._without_mechanisms("intervene"))

    def decode(self, z: Tensor) -> Tensor:
        """x = g(z): observations (N, d) of variables (N, n). Raises NotImplementedError without mechanisms."""
        raise NotImplementedError(self._without_mechanisms("decode variables"))

    def save(self, path: str | Path) -> None:
        """Write the model to one .safetensors file, whole or not at all. `lcm.load` reads it."""
        tensors = {name: value.detach().cpu().numpy() for name, value in self.state_dict().items()}
        header = {"schema": str(SCHEMA_VERSION), "model": json.dumps(self.description())}
        write_tensors(path, tensors, header)

    def _like(self) -> Tensor:
        """A tensor with the precision and the device of the model."""
        return next(part for part in (*self.parameters(), *self.buffers()) if part.is_floating_point())

    def _without_mechanisms(self, what: str) -> str:
        return f"A model of kind {self.kind} has no mechanisms to {what} with; fit flow, linear or elcm-flow instead."


MODEL_TYPES: dict[str | None, Callable[[dict[str, Any]], PairModel]] = {}
"""From the `type` in a description (None for a latent causal model) to the function that rebuilds the model.

Each module of this package adds its models. Packages above it add a table to `MODEL_TABLES`.
"""


def build_model(description: dict[str, Any], path: str | Path) -> PairModel:
    """Rebuild any model, without its tensors, from the description in the file `path`.

    Raises:
        ValueError: a type that is neither in `MODEL_TYPES` nor in one of `MODEL_TABLES`.
    """
    kind = description.get("type") if isinstance(description, dict) else description
    others: dict[str | None, Any] = {
        name: each.load for table in MODEL_TABLES for name, each in table.items() if each.load is not None
    }
    known: dict[str | None, Any] = {**others, **MODEL_TYPES}
    if not isinstance(description, dict) or not isinstance(kind, str | None) or kind not in known:
        listed = ", ".join(str(each) for each in known if each)
        raise ValueError(
            f"{path}: Expected a latent causal model or one of {listed}; got a model of type {shown(kind)}."
        )
    model: PairModel = known[kind](description)
    return model
