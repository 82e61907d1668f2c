"""Consistency between two runs: how far an affine map explains the variables of one by those of the other.

Affine and permutation consistency are those of iTuna 0.1 (Schmidt & Schneider 2026): the mean R² over variables and
over both directions, fitted and scored on the same rows. Blocks lie between the two: an affine map in each block.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy.optimize import linear_sum_assignment
from scipy.sparse.csgraph import connected_components

from lcm.isomorphism.matching import FloatArray, paired_columns, unit_columns

Blocks = tuple[tuple[int, ...], ...]


class Consistency(NamedTuple):
    """How consistent two runs are: R² by maps of growing freedom, each the mean over variables and both directions.

    permutation: of a permutation with signs, at most 1. block, affine: of affine maps within the blocks, and of all
    variables, in [0, 1]. blocks: of A's variables that mix.
    """

    permutation: float
    block: float
    affine: float
    blocks: Blocks


def consistency_of(a: FloatArray, b: FloatArray, leakage: FloatArray, tolerance: float) -> Consistency:
    """The consistency of variables (N, n) of A and of B, B's in A's numbering; see `mixing_blocks` for the rest."""
    blocks = mixing_blocks(leakage, tolerance)
    return Consistency(permutation_consistency(a, b), block_consistency(a, b, blocks), affine_consistency(a, b), blocks)


def affine_consistency(a: ArrayLike, b: ArrayLike) -> float:
    """Mean R², in [0, 1], of B's variables (N, n) on an affine map of all of A's (N, n), and of A's on B's.

    A constant variable counts 0.

    Raises:
        ValueError: bad tables (see `paired_columns`), or another number of columns.
    """
    a, b = _equal_tables(a, b)
    return float((_affine_r2(a, b).mean() + _affine_r2(b, a).mean()) / 2.0)


def block_consistency(a: ArrayLike, b: ArrayLike, blocks: Sequence[Sequence[int]]) -> float:
    """The same of affine maps within blocks alone, in [0, 1]; with one block of all variables, affine consistency.

    Args:
        a, b: (N, n), variable i of B matched with variable i of A.
        blocks: a partition of 0..n-1.

    Raises:
        ValueError: what `affine_consistency` raises, or blocks that are no partition.
    """
    a, b = _equal_tables(a, b)
    if sorted(variable for block in blocks for variable in block) != list(range(a.shape[1])):
        raise ValueError(f"Expected blocks that hold each of 0..{a.shape[1] - 1} once; got {[*map(list, blocks)]}.")
    total = sum(
        _affine_r2(a[:, list(block)], b[:, list(block)]).sum() + _affine_r2(b[:, list(block)], a[:, list(block)]).sum()
        for block in blocks
    )
    return float(total / (2.0 * a.shape[1]))


def permutation_consistency(a: ArrayLike, b: ArrayLike) -> float:
    """Mean R², at most 1, of B's variables on A's, permuted and with other signs but not scaled, and of A's on B's.

    As in iTuna, the permutation maximises the sum of the correlations of absolute values. Runs of a model whose units
    are arbitrary may be equal up to these, and still be far below 0.

    Raises:
        ValueError: what `affine_consistency` raises.
    """
    a, b = _equal_tables(a, b)
    agreement = unit_columns(np.abs(a)).T @ unit_columns(np.abs(b))
    signed = unit_columns(a).T @ unit_columns(b)
    total = 0.0
    for source, target, found, correlation in ((a, b, agreement, signed), (b, a, agreement.T, signed.T)):
        rows, columns = linear_sum_assignment(found, maximize=True)
        image = np.empty_like(target)
        image[:, columns] = source[:, rows] * np.where(correlation[rows, columns] < 0, -1.0, 1.0)
        total += _r2_of(target, image).mean()
    return float(total / 2.0)


def mixing_blocks(leakage: ArrayLike, tolerance: float) -> Blocks:
    """The blocks of variables that mix: parts of the graph that joins i and j where either leaks into the other.

    Args:
        leakage: (n, n), [i, j]: the share of variance of variable i that z_j explains beyond the match of i.
        tolerance: greatest share that does not join them.

    Raises:
        ValueError: a matrix that is not square, or has NaN entries.
    """
    shares = np.asarray(leakage, dtype=np.float64)
    if shares.ndim != 2 or shares.shape[0] != shares.shape[1] or np.isnan(shares).any():
        raise ValueError(f"Expected a square matrix of leaks without NaN; got shape {shares.shape}.")
    count, labels = connected_components(shares > tolerance, directed=False)
    return tuple(tuple(np.flatnonzero(labels == label).tolist()) for label in range(count))


def _equal_tables(a: ArrayLike, b: ArrayLike) -> tuple[FloatArray, FloatArray]:
    first, second = paired_columns(a, b)
    if first.shape[1] != second.shape[1]:
        raise ValueError(f"Expected as many variables of both runs; got {first.shape[1]} and {second.shape[1]}.")
    return first, second


def _affine_r2(source: FloatArray, target: FloatArray) -> FloatArray:
    """R² (n,) of each column of `target` on all columns of `source` and a constant, by least squares."""
    design = np.column_stack([np.ones(len(source)), unit_columns(source)])
    return _r2_of(target, design @ np.linalg.lstsq(design, target, rcond=None)[0])


def _r2_of(target: FloatArray, image: FloatArray) -> FloatArray:
    """R² (n,) of the columns of `target`; 0 of a constant one."""
    constant = target.max(0) == target.min(0)
    spread = np.where(constant, 1.0, np.square(target - target.mean(0)).sum(0))
    return np.where(constant, 0.0, 1.0 - np.square(target - image).sum(0) / spread)
