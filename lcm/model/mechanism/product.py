"""Additive mechanisms over a product of lines and circles (docs/theory.md section 4, the torus counterexample)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, final

import torch
from torch import Tensor, nn

from lcm.model.circle import circle_mask, wrap_circles
from lcm.model.elementwise import pick
from lcm.model.mechanism.base import Mechanism


@final
class ProductMechanism(Mechanism):
    """f_i = m_i(z_pa) + scale_i ε_i, wrapped into (−π, π] where variable i is a circle, and scale_i = 1 there.

    m_i = Σ_j weight[j, i] z_j over real parents + Σ_j weight[j, i] sin z_j over circle parents, and for a circle i
    also + Σ_j degree[j, i] z_j over circle parents: whole numbers, how often z_i turns while z_j turns once. So every
    f_i is a smooth map of the product manifold.
    """

    kind = "product"
    degree: Tensor

    def __init__(
        self,
        adjacency: Tensor | list[list[int]],
        circular: Sequence[bool] | Tensor,
        degree: Sequence[Sequence[int]] | Tensor | None = None,
        weight: Tensor | None = None,
    ) -> None:
        """`circular` (n,) says which variables are circles; `degree` and `weight` are (n, n), zero when None.

        Raises:
            ValueError: a mask, degrees or weights of another size, degrees that are no integers, or a degree elsewhere
                than on an edge from a circle to a circle.
        """
        super().__init__(adjacency)
        mask = circle_mask(circular).to(self.adjacency.device)
        if len(mask) != self.n:
            raise ValueError(f"Expected {self.n} flags, circle or not, one for each variable; got {len(mask)}.")
        self.circular = mask
        self.register_buffer("degree", self._checked_degree(degree), persistent=False)
        if weight is not None and weight.shape != self.adjacency.shape:
            raise ValueError(f"Expected weights of shape {[self.n, self.n]}; got {list(weight.shape)}.")
        self.weight = nn.Parameter(torch.zeros(self.n, self.n) if weight is None else weight)
        self.log_scale = nn.Parameter(torch.zeros(self.n))

    def _checked_degree(self, degree: Sequence[Sequence[int]] | Tensor | None) -> Tensor:
        if degree is None:
            return torch.zeros_like(self.adjacency, dtype=torch.int64)
        given = torch.as_tensor(degree, device=self.adjacency.device)
        if given.shape != self.adjacency.shape:
            raise ValueError(f"Expected degrees of shape {[self.n, self.n]}; got {list(given.shape)}.")
        whole = given.to(torch.int64)
        if bool((whole != given).any()):
            raise ValueError(f"Expected whole numbers as degrees; got {float(given[whole != given][0]):.6g}.")
        wrong = (whole != 0) & ~(self.adjacency & self.circular.unsqueeze(1) & self.circular)
        if bool(wrong.any()):
            parent, child = torch.nonzero(wrong)[0].tolist()
            raise ValueError(f"Expected degrees on edges between circles alone; got one on {parent} -> {child}.")
        return whole

    def settings(self) -> dict[str, Any]:
        return {
            "adjacency": self.adjacency_list(),
            "circular": self.circular.int().tolist(),
            "degree": self.degree.tolist(),
        }

    def forward(self, noise: Tensor, z: Tensor, variables: Tensor | None = None) -> tuple[Tensor, Tensor]:
        location, log_scale = self._location_and_log_scale(z, variables)
        value = location + log_scale.exp() * noise
        return wrap_circles(value, pick(self.circular, variables)), log_scale.expand_as(value)

    def inverse(self, value: Tensor, z: Tensor, variables: Tensor | None = None) -> tuple[Tensor, Tensor]:
        location, log_scale = self._location_and_log_scale(z, variables)
        noise = (value - location) * torch.exp(-log_scale)
        return wrap_circles(noise, pick(self.circular, variables)), -log_scale.expand_as(noise)

    def _location_and_log_scale(self, z: Tensor, variables: Tensor | None) -> tuple[Tensor, Tensor]:
        """m_i(z_pa) (N, k) and log scale_i (k,)."""
        weight = pick((self.weight * self.adjacency).T, variables)
        degree = pick(self.degree.T, variables).to(z.dtype)
        location = torch.where(self.circular, torch.sin(z), z) @ weight.T + z @ degree.T
        return location, pick(torch.where(self.circular, 0.0, self.log_scale), variables)
