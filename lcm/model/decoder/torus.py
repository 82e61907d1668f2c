"""Decoders of circle variables: the embedding of a product of lines and circles, and automorphisms of the torus."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, final

import numpy as np
import torch
from torch import Tensor

from lcm.model.circle import circle_mask, wrap
from lcm.model.decoder.base import Decoder


@final
class TorusDecoder(Decoder):
    """x = (cos z_i, sin z_i) for each circle variable and z_i for each real one, in order: an isometric embedding.

    d is n plus the number of circles. Off the image, each (x, y) is projected radially onto its circle; the origin,
    which is as near to every angle, gives the angle 0.
    """

    kind = "torus"

    def __init__(self, circular: Sequence[bool] | Tensor) -> None:
        """`circular` (n,) says which variables are circles. Raises ValueError if it is not one-dimensional."""
        super().__init__()
        mask = circle_mask(circular)
        width = 1 + mask.long()
        first = torch.cumsum(width, 0) - width
        self.n, self.d = len(mask), int(width.sum())
        slots = torch.stack([torch.ones_like(mask), mask], 1)
        self.register_buffer("_mask", mask, persistent=False)
        self.register_buffer("_slots", torch.nonzero(slots.flatten()).flatten(), persistent=False)
        self.register_buffer("_first", first, persistent=False)
        self.register_buffer("_last", first + width - 1, persistent=False)

    @property
    def circular(self) -> Tensor:
        return self.get_buffer("_mask")

    def settings(self) -> dict[str, Any]:
        return {"circular": self.circular.int().tolist()}

    def forward(self, z: Tensor) -> tuple[Tensor, Tensor]:
        both = torch.stack([torch.where(self.circular, torch.cos(z), z), torch.sin(z)], 2)
        return both.flatten(1)[:, self.get_buffer("_slots")], z.new_zeros(len(z))

    def inverse(self, x: Tensor) -> tuple[Tensor, Tensor]:
        first, last = x[:, self.get_buffer("_first")], x[:, self.get_buffer("_last")]
        # where atan2 has no gradient, or is not asked for, it is given a point at which it has one
        unused = ~self.circular | ((first == 0) & (last == 0))
        angle = torch.atan2(last.masked_fill(unused, 0.0), first.masked_fill(unused, 1.0))
        return torch.where(self.circular, wrap(angle), first), x.new_zeros(len(x))


@final
class AutomorphismDecoder(Decoder):
    """x = wrap(A z) on angles, A an integer matrix of determinant ±1: a linear automorphism of the torus."""

    kind = "automorphism"
    matrix: Tensor
    inverse_matrix: Tensor

    def __init__(self, matrix: Sequence[Sequence[int]] | Tensor) -> None:
        """`matrix` (n, n), acting on column vectors.

        Raises:
            ValueError: the matrix is not square, not of integers, or not of determinant 1 or −1.
        """
        super().__init__()
        whole, inverse = _unimodular(np.asarray(matrix))
        self.n = self.d = len(whole)
        # integers, so that no change of precision can round the inverse
        self.register_buffer("matrix", torch.as_tensor(whole), persistent=False)
        self.register_buffer("inverse_matrix", torch.as_tensor(inverse), persistent=False)

    @property
    def circular(self) -> Tensor:
        return torch.ones(self.n, dtype=torch.bool, device=self.matrix.device)

    def settings(self) -> dict[str, Any]:
        return {"matrix": self.matrix.tolist()}

    def forward(self, z: Tensor) -> tuple[Tensor, Tensor]:
        return wrap(z @ self.matrix.T.to(z.dtype)), z.new_zeros(len(z))

    def inverse(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return wrap(x @ self.inverse_matrix.T.to(x.dtype)), x.new_zeros(len(x))


def _unimodular(matrix: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The matrix and its inverse, both int64."""
    if matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1]:
        raise ValueError(f"Expected a square matrix for an automorphism of the torus; got shape {list(matrix.shape)}.")
    broken = ~np.isfinite(matrix) | (np.rint(matrix) != matrix)
    if broken.any():
        raise ValueError(f"Expected integers in an automorphism of the torus; got {float(matrix[broken][0]):.6g}.")
    whole = matrix.astype(np.int64)
    determinant = float(np.linalg.det(whole))
    if abs(abs(determinant) - 1.0) > 0.5:
        raise ValueError(f"Expected a matrix of determinant 1 or -1; got {determinant:.6g}.")
    inverse = np.rint(np.linalg.inv(whole)).astype(np.int64)
    if (whole @ inverse != np.eye(len(whole), dtype=np.int64)).any():
        raise ValueError("Expected a matrix small enough to invert exactly; got one that is not.")
    return whole, inverse
