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

from lcm.base.rows import take_rows
from lcm.data.pairs import PairData
from lcm.learn.principal import principal_columns, principal_directions
from lcm.learn.warm_start import still_directions
from lcm.model.decoder import (
    AffineDecoder,
    ChainDecoder,
    ColumnsDecoder,
    LinearDecoder,
    SheetDecoder,
    TriangularDecoder,
)

_ROWS, _FEWER_ROWS = 20_000, 4_000
_FEATURES, _FEWER_FEATURES = 1_000, 200
_MOST_COLUMNS = 32
_SEED = 1
_INDEPENDENT, _FINE, _HELPS = 0.05, 1e-4, 0.8
_UNEXPLAINED = 2e-3


@final
class Code(NamedTuple):
    """A decoder from the coordinates of a fit to x, and how much n components leave unexplained.

    unexplained: the largest share of the variance of a direction that is no function of the n components.
    """

    decoder: ChainDecoder
    unexplained: float


def coordinates(data: PairData, n: int, flat: bool, seed: int) -> ChainDecoder:
    """The decoder from the coordinates of a fit of n variables to all columns of x.

    Where x lies on a sheet that bends into more directions than n, `sheet_code` finds the coordinates: n of them or, if
    not `flat`, as many as directions. Columns that carry nothing of the variables are left out, unless fewer than n are
    left.
    """
    related = ~data.unrelated if (~data.unrelated).sum() >= n else np.ones(data.n_dimensions, np.bool_)
    r = data.directions(n)
    if r > n:
        found = sheet_code(data.x, data.x_tilde, n, r, np.random.default_rng([seed, _SEED]), related).decoder
        if found.n == n or not flat:
            return found
    return principal_directions(data.x, n, related)


def sheet_code(
    x: NDArray[np.floating],
    x_tilde: NDArray[np.floating],
    n: int,
    r: int,
    generator: np.random.Generator,
    related: NDArray[np.bool_] | None = None,
) -> Code:
    """A code of n components if the other r − n directions are functions of them, else the r directions.

    Args:
        x, x_tilde: (N, d).
        r: number of principal directions of x, of columns in units of their spreads; more than n.
        generator: draws rows, rotations and features.
        related: columns (d,) that count; by default all.
    """
    columns = principal_columns(x, r, related)
    chosen = np.sort(generator.permutation(len(x))[:_ROWS])
    y, y_tilde = (columns.inverse(torch.from_numpy(take_rows(part, chosen)))[0] for part in (x, x_tilde))
    still = still_directions((y_tilde - y).double().numpy(), n, generator)
    starts = np.eye(r)[:n], still[:n]
    found = [_graph(y, _completed(start), n, generator) for start in starts]
    if min(unexplained for _, unexplained in found) > _UNEXPLAINED:
        exchanged = _unfold(y[:_FEWER_ROWS], starts, _some_columns(columns))
        found.append(_graph(y, exchanged, n, generator))
    decoder, unexplained = min(found, key=lambda pair: pair[1])
    if unexplained > _UNEXPLAINED:
        return Code(ChainDecoder([columns]), unexplained)
    return Code(ChainDecoder([SheetDecoder(n, decoder, columns).requires_grad_(False)]), unexplained)


def _some_columns(columns: ColumnsDecoder) -> NDArray[np.float64]:
    """Directions (C, r) along which single columns of x differ, of at most 32 evenly spaced columns."""
    matrix = columns.matrix.double().numpy()
    chosen = matrix[:: -(-len(matrix) // _MOST_COLUMNS)]
    return np.asarray(chosen / np.linalg.norm(chosen, axis=1, keepdims=True))


def _completed(directions: NDArray[np.float64]) -> NDArray[np.float64]:
    """A basis (r, r) of which the first rows are the directions (n, r) and the others are orthogonal to them."""
    return np.concatenate([directions, np.linalg.svd(directions)[2][len(directions) :]])


def _unfold(
    y: Tensor,
    starts: tuple[NDArray[np.float64], ...],
    columns: NDArray[np.float64],
) -> NDArray[np.float64]:
    """A basis (r, r) whose first n directions leave as little of the others unexplained as exchanges of one can reach.

    The better start is improved: each direction is exchanged for any of the columns, the principal directions, or
    those of the other start, as long as that helps. A column that is a monotone view of a variable with many causes is
    so found, although hardly any pair leaves it still.
    """

    def unexplained(directions: NDArray[np.float64]) -> float:
        if np.linalg.svd(directions, compute_uv=False)[-1] < _INDEPENDENT:
            return np.inf
        return _graph(y, _completed(directions), len(directions), np.random.default_rng(0), _FEWER_FEATURES)[1]

    unit = [start / np.linalg.norm(start, axis=1, keepdims=True) for start in starts]
    candidates = np.concatenate([columns, np.eye(y.shape[1]), *unit])
    values = [unexplained(start) for start in unit]
    best, directions = min(zip(values, unit, strict=True), key=lambda pair: pair[0])
    while best > _FINE:
        tried = []
        for i in range(len(directions)):
            for candidate in candidates:
                exchanged = directions.copy()
                exchanged[i] = candidate
                tried.append((unexplained(exchanged), exchanged))
        value, exchanged = min(tried, key=lambda pair: pair[0])
        if value > _HELPS * best:
            break
        best, directions = value, exchanged
    return _completed(directions)


@torch.no_grad()
def _graph(
    y: Tensor, basis: NDArray[np.float64], n: int, generator: np.random.Generator, features: int = _FEATURES
) -> tuple[ChainDecoder, float]:
    """The last r − n components of y (N, r) in a basis as functions of the first n, and the share unexplained."""
    components = y.double().numpy() @ basis.T
    basis = basis / components.std(0)[:, None]
    linear = LinearDecoder(len(basis), torch.from_numpy(np.linalg.inv(basis)).float())
    values, half = linear.inverse(y)[0], len(y) // 2
    triangular = TriangularDecoder(AffineDecoder(n), len(basis), features)
    drawn = torch.Generator().manual_seed(int(generator.integers(2**31)))
    triangular.regress(values[:half, :n], values[:half, n:], drawn)
    missing, whole = triangular.inverse(values[half:])[0][:, n:], values[half:, n:]
    unexplained = float((missing.square().mean(0) / whole.square().mean(0)).max())
    return ChainDecoder([triangular, linear]), unexplained
