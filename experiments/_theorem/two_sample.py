"""A two-sample test that needs no density: maximum mean discrepancy with random Fourier features.

Sources: Gretton et al. 2012, "A kernel two-sample test"; Rahimi & Recht 2007 for the features. The permutation
p-value is exact in finite samples, whatever the features: under equal distributions all orders of the pooled rows
are equally probable.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, final

import torch
from torch import Tensor

from lcm.base.rows import writable

_BANDWIDTHS = (0.25, 0.5, 1.0)
_MEDIAN_ROWS = 500
_ROUNDING = 1e-5


@final
@dataclass(frozen=True)
class MMDTest:
    """What the test found.

    statistic: squared distance of the mean features of the two samples, ≥ 0. p_value: the share of the permutations,
    the observed order among them, with a statistic at least as large; in [1/(1 + permutations), 1].
    """

    statistic: float
    p_value: float


def pair_rows(x: Any, x_tilde: Any) -> Tensor:
    """Pairs (N, d), (N, d) as rows [x, x̃ − x] (N, 2d) for `mmd_test`.

    The difference, not x̃, because x̃ beside x is two nearly equal copies of one cloud, and a change that is small
    beside the spread of x would be lost at the bandwidth of x. The difference is standardised on its own, so that how
    x changed counts as much as where it was.

    Raises:
        ValueError: two shapes, or not one row a pair.
    """
    before, after = torch.as_tensor(writable(x)), torch.as_tensor(writable(x_tilde))
    if before.dim() != 2 or before.shape != after.shape:
        raise ValueError(f"Expected x and x_tilde of one shape (N, d); got {_shape(before)} and {_shape(after)}.")
    return torch.cat([before, after - before], 1)


@torch.no_grad()
def mmd_test(a: Any, b: Any, generator: torch.Generator, features: int = 500, permutations: int = 199) -> MMDTest:
    """Test whether two samples come from one distribution; pairs enter as `pair_rows`.

    The columns are standardised by the pooled sample. The kernel is the mean of Gaussian ones at a quarter, a half
    and once the median distance of pooled rows: wide ones see a mean that moved, narrow ones a dependence of few
    coordinates.

    Args:
        a, b: samples (N, d) and (M, d), arrays or tensors.
        generator: source of the features and the permutations, on the CPU.
        features: random frequencies; each gives a sine and a cosine.
        permutations: of the pooled rows; a level of 0.01 needs 99 or more.

    Raises:
        ValueError: shapes that do not match, fewer than two rows, values that are not finite, or no features or
            permutations.
    """
    samples = [_checked(name, values) for name, values in (("a", a), ("b", b))]
    for name, count in (("features", features), ("permutations", permutations)):
        if count < 1:
            raise ValueError(f"Expected {name} >= 1; got {count}.")
    sizes, columns = [len(sample) for sample in samples], [sample.shape[1] for sample in samples]
    if columns[0] != columns[1]:
        raise ValueError(f"Expected samples with equally many columns; got {columns[0]} and {columns[1]}.")
    pooled = torch.cat(samples)
    spread = pooled.std(0)
    pooled = (pooled - pooled.mean(0)) / torch.where(spread > 0, spread, 1.0)
    bandwidth = _median_distance(torch.cat([part[:_MEDIAN_ROWS] for part in pooled.split(sizes)]))
    waves = _features(pooled / bandwidth, features, generator)
    observed = torch.arange(len(pooled)).unsqueeze(0) < sizes[0]
    drawn = _subsets(permutations, sizes[0], len(pooled), generator)
    contrast = torch.where(torch.cat([observed, drawn]), 1.0 / sizes[0], -1.0 / sizes[1])
    statistics = (contrast.to(waves) @ waves).square().sum(1)
    # equal up to rounding counts as equal: a tie must not become evidence
    as_large = int((statistics[1:] >= statistics[0] * (1.0 - _ROUNDING) - _ROUNDING**2).sum())
    return MMDTest(float(statistics[0]), (1 + as_large) / (1 + permutations))


def _subsets(count: int, size: int, total: int, generator: torch.Generator) -> Tensor:
    """Random subsets of `size` of `total` rows, as masks (count, total)."""
    keys = torch.rand(count, total, generator=generator, dtype=torch.float64)
    return keys <= keys.kthvalue(size, 1, keepdim=True).values


def _features(rows: Tensor, count: int, generator: torch.Generator) -> Tensor:
    """Sines and cosines (N, 2 count), float32, whose products estimate the kernel of rows (N, d)."""
    frequency = torch.randn(rows.shape[1], count, generator=generator, dtype=rows.dtype)
    bandwidth = torch.tensor(_BANDWIDTHS, dtype=rows.dtype)[torch.arange(count) % len(_BANDWIDTHS)]
    angle = (rows @ (frequency / bandwidth)).float()
    return torch.cat([angle.cos(), angle.sin()], 1) / math.sqrt(count)


def _median_distance(rows: Tensor) -> Tensor:
    """Median distance of two different rows; 1 where half of them are equal."""
    distance = torch.pdist(rows).median()
    return torch.where(distance > 0, distance, 1.0)


def _checked(name: str, values: Any) -> Tensor:
    sample = torch.as_tensor(values).detach().cpu().double()
    if sample.dim() != 2 or len(sample) < 2:
        raise ValueError(f"Expected {name} of shape (N, d) with N >= 2; got {_shape(sample)}.")
    if not bool(sample.isfinite().all()):
        raise ValueError(f"Expected finite values in {name}; got {int((~sample.isfinite()).sum())} that are not.")
    return sample


def _shape(values: Tensor) -> tuple[int, ...]:
    return tuple(values.shape)
