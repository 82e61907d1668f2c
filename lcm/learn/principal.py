"""Principal directions of x: in the units of the data, or of columns divided by their spreads."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from lcm.base.rows import row_blocks
from lcm.model.decoder import AffineDecoder, ChainDecoder, ColumnsDecoder, EmbeddingDecoder

Values = NDArray[Any]
_LEAST_VARIANCE = 1e-8


def principal_directions(x: Values, n: int, related: NDArray[np.bool_] | None = None) -> ChainDecoder:
    """x = mean + Q diag(scale) y with orthonormal columns Q: the axes if n = d, else principal directions.

    x is (N, d); y has n coordinates of variance 1, in the leading directions. These are zero in columns (d,) that are
    not `related`.
    """
    embedding, scaling = EmbeddingDecoder(n, x.shape[1]), AffineDecoder(n)
    mean = _weighted_sum(x, lambda block: block.mean(0, dtype=np.float64))
    embedding.shift = torch.from_numpy(mean).to(constant_dtype(x))
    if n < x.shape[1]:
        scatter = _scatter(x, mean, related)
        directions = with_signs(np.linalg.eigh(scatter)[1].T[::-1][:n]).T
        embedding.basis.copy_(torch.from_numpy(directions.copy()))
    basis = embedding.basis.double().numpy()
    variance = _weighted_sum(x, lambda block: _second_moment(block, mean, basis))
    scaling.scale.copy_(torch.from_numpy(np.sqrt(variance)).clamp_min(torch.finfo(torch.float32).tiny))
    return ChainDecoder([scaling, embedding])


def _scatter(x: Values, mean: Values, related: NDArray[np.bool_] | None) -> Values:
    """Sums of products of centred columns (d, d), zero for those that are not `related`."""
    found = np.sum([(centred := block - mean).T @ centred for (block,) in row_blocks(x)], axis=0)
    return np.asarray(found if related is None else np.where(np.outer(related, related), found, 0.0))


def _second_moment(block: Values, mean: Values, basis: Values) -> Values:
    """Second moments (n,) about the overall mean; for a single block, exactly its variances."""
    coordinates = (block - mean) @ basis
    return np.asarray(coordinates.var(0) + np.square(coordinates.mean(0)))


def _weighted_sum(x: Values, moment: Callable[[Values], Values]) -> Values:
    """The mean over all rows, from the means over blocks of rows."""
    return np.sum([moment(block) * (len(block) / len(x)) for (block,) in row_blocks(x)], axis=0)


def principal_columns(x: Values, r: int, related: NDArray[np.bool_] | None = None) -> ColumnsDecoder:
    """x = mean + diag(spread) Q diag(scale) y: r principal directions Q of columns of unit variance.

    x is (N, d). The directions are zero in columns (d,) that are not `related`.
    """
    columns = ColumnsDecoder(r, x.shape[1])
    mean = np.sum([block.sum(0, dtype=np.float64) for (block,) in row_blocks(x)], axis=0) / len(x)
    covariance = _scatter(x, mean, related) / len(x)
    # what hardly varies in x may vary in x̃, and stays finite there
    spread = np.sqrt(np.maximum(np.diag(covariance), np.finfo(np.float32).tiny))
    variances, directions = np.linalg.eigh(covariance / np.outer(spread, spread))
    scale = np.sqrt(np.maximum(variances[::-1][:r], _LEAST_VARIANCE * variances[-1]))
    basis = with_signs(directions.T[::-1][:r]).T
    columns.shift = torch.from_numpy(mean).to(constant_dtype(x))
    columns.matrix.copy_(torch.from_numpy(spread[:, None] * basis * scale))
    columns.left_inverse.copy_(torch.from_numpy((basis / scale).T / spread))
    return columns


def constant_dtype(x: Values) -> torch.dtype:
    """The precision of the constant that is taken from x before a fit: that of x, float64 where float32 loses x."""
    return torch.float64 if x.dtype == np.float64 else torch.float32


def with_signs(directions: NDArray[np.float64]) -> NDArray[np.float64]:
    """Directions as rows, the largest entry of each positive: their signs are up to the processor otherwise."""
    largest = np.take_along_axis(directions, np.abs(directions).argmax(axis=1)[:, None], axis=1)
    return np.asarray(np.where(largest < 0.0, -directions, directions))
