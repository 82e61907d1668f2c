"""Decoders onto a curved sheet of n dimensions in more columns: where a flow in r coordinates leads at w = 0."""

from __future__ import annotations

from typing import Any, final

import torch
from torch import Tensor

from lcm.base.component import describe
from lcm.model.decoder.base import Decoder, require_embedding

_TOLERANCE = 1e-3


@final
class ColumnsDecoder(Decoder):
    """x = M y + shift with fixed independent columns M (d, r), d ≥ r; x off the span of M is projected onto it."""

    kind = "columns"
    matrix: Tensor
    left_inverse: Tensor
    shift: Tensor

    def __init__(self, n: int, d: int) -> None:
        """The first n axes, until the buffers are set.

        Raises:
            ValueError: d < n.
        """
        super().__init__()
        require_embedding(n, d)
        self.n, self.d = n, d
        self.register_buffer("matrix", torch.eye(d, n))
        self.register_buffer("left_inverse", torch.eye(n, d))
        self.register_buffer("shift", torch.zeros(d))

    def settings(self) -> dict[str, Any]:
        return {"n": self.n, "d": self.d}

    def require_sound(self) -> None:
        """Raise ValueError where `left_inverse` is no left inverse of `matrix`."""
        product = self.left_inverse.double() @ self.matrix.double()
        if not bool((product - torch.eye(self.n)).abs().max() < _TOLERANCE):
            raise ValueError("Expected matrices of columns that are inverses of each other; got others.")

    def gram(self) -> Tensor:
        """MᵀM (n, n), in float64."""
        return self.matrix.double().T @ self.matrix.double()

    def forward(self, z: Tensor) -> tuple[Tensor, Tensor]:
        return self.decode(z), self._log_volume().to(z.dtype).expand(len(z))

    def decode(self, z: Tensor) -> Tensor:
        return z @ self.matrix.T + self.shift

    @property
    def observation_dtype(self) -> torch.dtype | None:
        return self.shift.dtype

    def inverse(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return self.encode(x), -self._log_volume().to(self.matrix.dtype).expand(len(x))

    def encode(self, x: Tensor) -> Tensor:
        return (x - self.shift).to(self.matrix.dtype) @ self.left_inverse.T

    def _log_volume(self) -> Tensor:
        return 0.5 * torch.linalg.slogdet(self.gram())[1]


@final
class SheetDecoder(Decoder):
    """x = M ψ(e, 0) + shift: ψ from r to r dimensions, whose first n inputs are e, and d columns.

    x off the sheet is projected along ψ: its encoding is e in (e, w) = ψ⁻¹(x). The log-determinant is that of the sheet
    of constant w through x, which for x on the sheet is exact.
    """

    kind = "sheet"

    def __init__(self, n: int, decoder: Decoder | dict[str, Any], columns: Decoder | dict[str, Any]) -> None:
        """Raises ValueError for sizes that do not fit, or columns of another kind than `columns`."""
        super().__init__()
        self.decoder, built = Decoder.build(decoder), Decoder.build(columns)
        if not isinstance(built, ColumnsDecoder):
            raise ValueError(f"Expected columns of kind {ColumnsDecoder.kind}; got {built.kind}.")
        self.columns = built
        r = self.decoder.n
        if self.decoder.d != r or built.n != r:
            raise ValueError(f"Expected a square decoder and columns of {r} inputs; got {self.decoder.d}, {built.n}.")
        if not 1 <= n <= r:
            raise ValueError(f"Expected a sheet of 1 to {r} dimensions; got {n}.")
        self.n, self.d = n, built.d

    @property
    def observation_dtype(self) -> torch.dtype | None:
        return self.columns.observation_dtype

    def settings(self) -> dict[str, Any]:
        return {"n": self.n, "decoder": describe(self.decoder), "columns": describe(self.columns)}

    def forward(self, z: Tensor) -> tuple[Tensor, Tensor]:
        y = self._on_sheet(z)
        return self.columns.decode(y), self._log_volume(y)[1]

    def decode(self, z: Tensor) -> Tensor:
        return self.columns.decode(self._on_sheet(z))

    def encode(self, x: Tensor) -> Tensor:
        return self.decoder.encode(self.columns.encode(x))[:, : self.n]

    def _on_sheet(self, z: Tensor) -> Tensor:
        off_sheet = z.new_zeros(len(z), self.decoder.n - self.n)
        return self.decoder.decode(torch.cat([z, off_sheet], 1))

    def inverse(self, x: Tensor) -> tuple[Tensor, Tensor]:
        z, log_volume = self._log_volume(self.columns.encode(x))
        return z, -log_volume

    def _log_volume(self, y: Tensor) -> tuple[Tensor, Tensor]:
        """e (N, n) of y (N, r), and ½ log det JᵀMᵀMJ (N,), J = ∂ψ(e, w)/∂e."""
        wanted = torch.is_grad_enabled() and y.requires_grad
        with torch.enable_grad():
            start = y if wanted else y.detach().requires_grad_()
            found = self.decoder.inverse(start)[0]
            rows = [
                torch.autograd.grad(found[:, k].sum(), start, create_graph=wanted, retain_graph=True)[0]
                for k in range(self.decoder.n)
            ]
        jacobian = torch.linalg.inv(torch.stack(rows, 1).double())[:, :, : self.n]
        metric = jacobian.mT @ self.columns.gram() @ jacobian
        log_volume = 0.5 * torch.linalg.slogdet(metric)[1].to(y.dtype)
        encoding = found[:, : self.n]
        return (encoding, log_volume) if wanted else (encoding.detach(), log_volume.detach())
