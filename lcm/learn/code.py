"""From d columns to the coordinates of a fit: n of them, or more where only a flow can tell the sheet (docs/method.md).

Observations of n variables in more columns lie on a sheet of n dimensions. It bends into r directions, r ≥ n. If n
linear components of these directions tell every point of the sheet apart, the others are functions of them: the sheet
is the graph of a function, and the n components are a code. Components that most pairs leave still come first, because
they depend on few variables.
"""

from __future__ import annotations

from typing import NamedTuple, final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lcm.base.rows import row_blocks, take_rows
from lcm.learn.warm_start import still_directions
from lcm.model.decoder import (
    AffineDecoder,
    ChainDecoder,
    ColumnsDecoder,
    LinearDecoder,
    SheetDecoder,
    TriangularDecoder,
)

_ROWS = 20_000
_UNEXPLAINED = 2e-3


@final
class Code(NamedTuple):
    """A decoder from the coordinates of a fit to x, and how many coordinates there are.

    unexplained: the largest share of the variance of a direction that is no function of the n components.
    """

    decoder: ChainDecoder
    unexplained: float


def sheet_code(
    x: NDArray[np.float32], x_tilde: NDArray[np.float32], n: int, r: int, generator: np.random.Generator
) -> Code:
    """A code of n components if the other r − n directions are functions of them, else the r directions.

    Args:
        x, x_tilde: (N, d).
        r: number of principal directions of x, of columns in units of their spreads; more than n.
        generator: draws rows, rotations and features.
    """
    columns = principal_columns(x, r)
    chosen = np.sort(generator.permutation(len(x))[:_ROWS])
    y, y_tilde = (columns.inverse(torch.from_numpy(take_rows(part, chosen)))[0].numpy() for part in (x, x_tilde))
    still = still_directions((y_tilde - y).astype(np.float64), n, generator)
    leading = np.eye(r)
    found = [_graph(torch.from_numpy(y), basis, n, generator) for basis in (leading, still)]
    decoder, unexplained = min(found, key=lambda pair: pair[1])
    if unexplained > _UNEXPLAINED:
        return Code(ChainDecoder([columns]), unexplained)
    return Code(ChainDecoder([SheetDecoder(n, decoder, columns).requires_grad_(False)]), unexplained)


@torch.no_grad()
def _graph(y: Tensor, basis: NDArray[np.float64], n: int, generator: np.random.Generator) -> tuple[ChainDecoder, float]:
    """The last r − n components of y (N, r) in a basis as functions of the first n, and the share unexplained."""
    components = y.double().numpy() @ basis.T
    basis = basis / components.std(0)[:, None]
    linear = LinearDecoder(len(basis), torch.from_numpy(np.linalg.inv(basis)).float())
    values, half = linear.inverse(y)[0], len(y) // 2
    triangular = TriangularDecoder(AffineDecoder(n), len(basis))
    drawn = torch.Generator().manual_seed(int(generator.integers(2**31)))
    triangular.regress(values[:half, :n], values[:half, n:], drawn)
    missing, whole = triangular.inverse(values[half:])[0][:, n:], values[half:, n:]
    unexplained = float((missing.square().mean(0) / whole.square().mean(0)).max())
    return ChainDecoder([triangular, linear]), unexplained


def principal_columns(x: NDArray[np.float32], r: int) -> ColumnsDecoder:
    """x = mean + diag(spread) Q diag(scale) y: r principal directions Q of columns of unit variance."""
    columns = ColumnsDecoder(r, x.shape[1])
    share = [(block, len(block) / len(x)) for (block,) in row_blocks(x)]
    mean = np.sum([block.mean(0, dtype=np.float64) * part for block, part in share], axis=0)
    covariance = np.sum([(block - mean).T @ (block - mean) for block, _ in share], axis=0) / len(x)
    spread = np.sqrt(np.diag(covariance))
    variances, directions = np.linalg.eigh(covariance / np.outer(spread, spread))
    scale, basis = np.sqrt(variances[::-1][:r]), with_signs(directions.T[::-1][:r]).T
    columns.shift.copy_(torch.from_numpy(mean))
    columns.matrix.copy_(torch.from_numpy(spread[:, None] * basis * scale))
    columns.left_inverse.copy_(torch.from_numpy((basis / scale).T / spread))
    return columns


def with_signs(directions: NDArray[np.float64]) -> NDArray[np.float64]:
    """Directions as rows, the largest entry of each positive: their signs are up to the processor otherwise."""
    largest = np.take_along_axis(directions, np.abs(directions).argmax(axis=1)[:, None], axis=1)
    return np.asarray(np.where(largest < 0.0, -directions, directions))
