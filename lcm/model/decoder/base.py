"""The contract of decoders g: 𝒵 → 𝒳, diffeomorphisms onto their image (docs/theory.md section 1)."""

from __future__ import annotations

from abc import abstractmethod

import torch
from torch import Tensor

from lcm.base.component import Component


class Decoder(Component):
    """Abstract: an exact map g from (N, n) to (N, d), d ≥ n, with inverse and log-determinants.

    Log-determinants are ½ log det(JᵀJ), the log-volume change onto the image; for d = n that is log|det J|.
    """

    n: int
    d: int

    @property
    def circular(self) -> Tensor:
        """Which of the n variables are angles in (−π, π], bool (n,): none, unless a subclass says so."""
        return torch.zeros(self.n, dtype=torch.bool)

    @abstractmethod
    def forward(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """x = g(z): z (N, n) → x (N, d) and the log-determinant of g (N,)."""

    @abstractmethod
    def inverse(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """z = g⁻¹(x): x (N, d) → z (N, n) and the log-determinant of g⁻¹ (N,).

        An x off the image is projected onto it first.
        """
