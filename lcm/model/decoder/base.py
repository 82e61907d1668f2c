"""The contracts of decoders g: 𝒵 → 𝒳, diffeomorphisms onto their image (docs/theory.md section 1)."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from lcm.base.component import Component
from lcm.base.kinds import KindConfig, Kinds


class Decoder(Component, family=True):
    """Abstract: an exact map g from (N, n) to (N, d), d ≥ n, with inverse and log-determinants.

    Log-determinants are ½ log det(JᵀJ), the log-volume change onto the image; for d = n that is log|det J|.
    """

    n: int
    d: int

    @property
    def circular(self) -> Tensor:
        """Which of the n variables are angles in (−π, π], bool (n,): none, unless a subclass says so."""
        return torch.zeros(self.n, dtype=torch.bool)

    @property
    def measured_share(self) -> float:
        """Share of rows, in (0, 1], of which a step of a fit takes log-determinants: all, where they cost little."""
        return 1.0

    @property
    def observation_dtype(self) -> torch.dtype | None:
        """The precision that x needs: float64 where float32 loses x beside a constant; None for that of the model."""
        return None

    @abstractmethod
    def forward(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """x = g(z): z (N, n) → x (N, d) and the log-determinant of g (N,)."""

    def decode(self, z: Tensor) -> Tensor:
        """x = g(z) (N, d) alone, where its log-determinant would cost more."""
        x: Tensor = self(z)[0]
        return x

    @abstractmethod
    def inverse(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """z = g⁻¹(x): x (N, d) → z (N, n) and the log-determinant of g⁻¹ (N,).

        An x off the image is projected onto it first.
        """

    def encode(self, x: Tensor) -> Tensor:
        """z = g⁻¹(x) (N, n) alone, where the log-determinant would cost more."""
        z: Tensor = self.inverse(x)[0]
        return z

    def inverse_measuring(self, x: Tensor, measured: int) -> tuple[Tensor, Tensor]:
        """z = g⁻¹(x) (N, n) and the log-determinants (M,) of the first M = `measured` rows, where all N cost more."""
        z, log_det = self.inverse(x)
        return z, log_det[:measured]

    def deepened(self, generator: torch.Generator) -> Decoder:
        """The same map with more layers, drawn by the generator on its device; itself where none can be added."""
        return self


def require_embedding(n: int, d: int) -> None:
    """Raise ValueError where d dimensions hold no embedding of n."""
    if d < n:
        raise ValueError(f"Expected an embedding into at least n = {n} dimensions; got {d}.")


@dataclass(frozen=True, kw_only=True)
class DecoderConfig(KindConfig, ABC, family=True):
    """Abstract: the settings from which a nature draws its decoder, a subclass for each kind.

    dim_x: dimension of the observations, at least n; n when null. Where it is larger, a random orthonormal embedding
        comes last.
    """

    default = "rotation"
    kind: str
    dim_x: int | None = None

    def dimension(self, n: int) -> int:
        """The number of dimensions of an observation of n variables."""
        return n if self.dim_x is None else self.dim_x

    def require_fitting(self, n: int) -> None:
        """Raise ValueError where the settings do not suit n variables."""
        if self.dim_x is not None and self.dim_x < n:
            raise ValueError(f"decoder.dim_x: Expected at least n = {n}; got {self.dim_x}.")

    @abstractmethod
    def draw(self, n: int, generator: torch.Generator) -> Decoder | None:
        """A random decoder from n variables, to n dimensions or all of `dimension`; None where the embedding is all."""


class Flow(Kinds, ABC, family=True):
    """Abstract: how a fit makes a decoder its noise encoder φ: the choices of `noise_encoder.flow` in a config.

    layers, hidden, learning_rate: defaults for the number of its layers, for their width and for its step size.
    """

    layers: ClassVar[int]
    hidden: ClassVar[int]
    learning_rate: ClassVar[float]

    @classmethod
    @abstractmethod
    def start(cls, n: int, layers: int, hidden: int, bins: int, generator: torch.Generator) -> Decoder:
        """The decoder of n variables at the identity, its inner weights drawn by the generator, on its device."""
