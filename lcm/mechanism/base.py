"""The contract of mechanisms z_i = f_i(ε_i; z_pa), batched over all variables (docs/theory.md section 1)."""

from __future__ import annotations

from abc import abstractmethod

import torch
from torch import Tensor

from lcm.component import Component


class Mechanism(Component):
    """Abstract: n mechanisms, each a diffeomorphism in its noise given the parents.

    It is one of ℝ, and then strictly monotone, or of the circle where `circular` (n,) bool says so.

    All values are batched: `noise` and `value` are (N, k), for the k `variables` asked for (all n, in order,
    when None); `z` is always the full (N, n), of which mechanism i reads its parents only.
    """

    adjacency: Tensor
    circular: Tensor

    def __init__(self, adjacency: Tensor | list[list[int]]) -> None:
        """`adjacency` is (n, n), [i, j]: i → j."""
        super().__init__()
        self.register_buffer("adjacency", torch.as_tensor(adjacency).to(torch.bool), persistent=False)
        self.n = self.adjacency.shape[0]
        self.register_buffer("circular", torch.zeros_like(self.adjacency[0]), persistent=False)

    def adjacency_list(self) -> list[list[int]]:
        """The adjacency as nested lists of 0 and 1, for settings."""
        rows: list[list[int]] = self.adjacency.int().tolist()
        return rows

    @abstractmethod
    def forward(self, noise: Tensor, z: Tensor, variables: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Values f_i(ε_i; z_pa) and log|∂f_i/∂ε_i|, both (N, k)."""

    @abstractmethod
    def inverse(self, value: Tensor, z: Tensor, variables: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Noise f_i⁻¹(z_i; z_pa) and log|∂ε_i/∂z_i|, both (N, k)."""
