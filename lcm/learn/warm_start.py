"""The linear start of a fit: an unmixing that makes the differences x_tilde - x as one-sparse as it can.

An atomic intervention changes one noise variable, so where noise and observation are related linearly a
difference is a linear mixture of a one-sparse vector. Whitened, its fourth moments are largest along the axes
of that vector.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

# Directions with less than this share of the largest second moment may be rounding of float32.
_DEAD_DIRECTION = 1e-11
_UNMOVED = 1e-6
_EQUAL_MOMENTS = 1e-4
_WIDTHS = 0.5 ** np.arange(1, 21)
_MOST_SKEW = 100.0
_STILL, _EXACTLY_STILL = 0.1, 0.01
_STARTS = 10


def unmix_differences(
    differences: NDArray[np.floating],
    generator: np.random.Generator,
    restarts: int = 4,
    max_search_rows: int = 20_000,
    search_iterations: int = 40,
    max_iterations: int = 100,
    tolerance: float = 1e-9,
) -> Array:
    """Find the matrix W, (n, n), whose components W @ difference are as one-sparse as possible.

    The components have unit (uncentred) second moment and are uncorrelated; their order and signs are
    arbitrary. They maximise the sum of fourth moments over rotations, by a symmetric fixed point from
    `restarts` random rotations on at most `max_search_rows` rows; the best is finished on all rows. For
    differences that are linear mixtures of one-sparse vectors this recovers the vectors to rounding error, in
    finite samples too. Directions in which nothing differs get components that stay near 0.

    Args:
        differences: (N, n), x_tilde - x; N >= n. Pairs that do not differ neither help nor harm.
        generator: draws the rows and the rotations of the search.

    Raises:
        ValueError: not (N, n) with N >= n, not finite, or zero throughout.

    Source: docs/theory.md section 2; the fixed point is that of Zhai et al., "Complete dictionary learning
    via l4-norm maximization over the orthogonal group", 2020, here on moments about zero: a mean difference
    is part of the signal.
    """
    whitening, white = _whiten(differences)
    n_rows, n = white.shape
    rows = white if n_rows <= max_search_rows else white[generator.choice(n_rows, max_search_rows, replace=False)]
    starts = np.linalg.qr(generator.standard_normal((restarts, n, n)))[0]
    found = _rotate(rows, starts, search_iterations, tolerance=1e-4)
    moments = _fourth_moment(rows, found)
    # of equally good ends, the processor's rounding must not choose
    best = found[np.argmax(moments >= (1.0 - _EQUAL_MOMENTS) * moments.max())]
    rotation = _rotate(white, best[None], max_iterations, tolerance)[0]
    return rotation @ whitening


def sharpen_components(unmixing: Array, differences: NDArray[np.floating], max_rows: int = 10_000) -> Array:
    """Make exact what fourth moments leave inexact where several variables are targets at once.

    Pairs in which a variable is no target do not differ along its component. So each component becomes the direction
    in which pairs that hardly differ along it differ least, where what "hardly" means is halved again and again.
    Differences that are linear mixtures of sparse vectors are unmixed to rounding error, in finite samples too. A
    component that nothing moves is left as it is, and so are all where two of them meet.

    Args:
        unmixing: (n, n), from `unmix_differences`.
        differences: (N, n), of which the first `max_rows` that are not zero are used.

    Source: docs/theory.md section 2; reweighting as in Chartrand & Yin, "Iteratively reweighted algorithms for
    compressive sensing", 2008.
    """
    components = differences @ unmixing.T
    alive = np.square(components).mean(0) > _UNMOVED
    components = components[(components != 0.0).any(1)][:max_rows, alive]
    directions = np.eye(alive.sum())
    for width in _WIDTHS:
        directions = _least_moved(components, directions, width)
    if np.linalg.cond(directions) > _MOST_SKEW:
        return unmixing
    sharp, moment = unmixing.copy(), np.square(components @ directions.T).mean(0)
    sharp[alive] = (directions / np.sqrt(moment)[:, None]) @ unmixing[alive]
    return sharp


def separate_unmoved(
    unmixing: Array, x: NDArray[np.floating], x_tilde: NDArray[np.floating], generator: np.random.Generator
) -> Array:
    """Settle what differences leave open: components (n, n) that no intervention moves, and their part in the others.

    Variables that are never targets are found as a block: their components get unit covariance and a random rotation,
    and are taken out of the others by least squares, since noise is independent. Where everything moves, nothing is
    done.

    Args:
        unmixing: (n, n), from `unmix_differences`.
        x, x_tilde: (N, n).
        generator: draws the rotation.
    """
    moved = np.square((x_tilde - x) @ unmixing.T).mean(0) > _UNMOVED
    if moved.all():
        return unmixing
    components = (x - x.mean(0)) @ unmixing.T
    covariance = np.linalg.cholesky(np.cov(components[:, ~moved], rowvar=False).reshape((~moved).sum(), -1))
    rotation = np.linalg.qr(generator.standard_normal(covariance.shape))[0]
    block = rotation @ np.linalg.solve(covariance, unmixing[~moved])
    unmoved = (x - x.mean(0)) @ block.T
    shares = np.linalg.lstsq(unmoved, components[:, moved], rcond=None)[0]
    separated = unmixing.copy()
    separated[~moved], separated[moved] = block, unmixing[moved] - shares.T @ block
    return separated


def still_components(changes: Array, n: int, width: float = _STILL) -> NDArray[np.int64]:
    """The n of r components that most pairs leave still, each moved by other pairs than those before it: (n,), sorted.

    Two functions of one variable can both be one-sparse. So a component counts less, the more its moves coincide with
    those of a component that is chosen already.

    Args:
        changes: (N, r) of the components.
        n: at most r.
        width: changes below this share of the root mean square count as still.
    """
    r = changes.shape[1]
    if n == r:
        return np.arange(r)
    differs = changes[(changes != 0.0).any(1)]
    moved = (np.abs(differs) > width * np.sqrt(np.square(differs).mean(0))).astype(np.float64)
    score, coincide = 1.0 - moved.mean(0), np.nan_to_num(_correlations(moved)).clip(min=0.0)
    chosen: list[int] = []
    for _ in range(n):
        left = np.setdiff1d(np.arange(r), chosen)
        apart = 1.0 - coincide[left][:, chosen].max(1, initial=0.0)
        chosen.append(int(left[np.argmax(score[left] * apart)]))
    return np.sort(chosen)


def still_directions(differences: Array, n: int, generator: np.random.Generator, max_rows: int = 10_000) -> Array:
    """A basis (r, r) of unit second moment: first the n components that most pairs leave still, by `still_components`.

    Candidates are found as in `sharpen_components`, from many random directions, since several can lead to one.

    Args:
        differences: (N, r), x_tilde - x in r coordinates.
        n: less than r.
        generator: draws the directions.

    Raises:
        ValueError: differences that `unmix_differences` refuses.
    """
    whitening, white = _whiten(differences)
    rows, r = white[(differences != 0.0).any(1)][:max_rows], white.shape[1]
    directions = np.linalg.qr(generator.standard_normal((_STARTS, r, r)))[0].reshape(-1, r)
    for width in _WIDTHS:
        directions = _least_moved(rows, directions, width)
    chosen = directions[still_components(rows @ directions.T, n, _EXACTLY_STILL)]
    rest = np.linalg.svd(chosen)[2][n:]
    return np.asarray(np.concatenate([chosen, rest]) @ whitening)


def _least_moved(rows: Array, directions: Array, width: float) -> Array:
    """For each direction, the one along which the rows that it hardly moves differ least; unit vectors of like sign."""
    weights = 1.0 / (1.0 + np.square(rows @ directions.T / width))
    moments = (weights.T[:, None, :] * rows.T) @ rows
    found = np.linalg.eigh(moments)[1][:, :, 0]
    return np.asarray(found * np.where((found * directions).sum(1) < 0.0, -1.0, 1.0)[:, None])


def _correlations(columns: Array) -> Array:
    centred = columns - columns.mean(0)
    scale = np.sqrt(np.square(centred).sum(0)).clip(min=np.finfo(np.float64).tiny)
    return np.asarray((centred / scale).T @ (centred / scale))


def _whiten(differences: NDArray[np.floating]) -> tuple[Array, Array]:
    if differences.ndim != 2 or not 0 < differences.shape[1] <= differences.shape[0]:
        raise ValueError(f"Expected differences (N, n) with N >= n >= 1; got shape {differences.shape}")
    values = differences.astype(np.float64)
    if not np.isfinite(values).all() or not values.any():
        raise ValueError("Expected finite differences that are not all zero; got others")
    moment = values.T @ values / len(values)
    variances, directions = np.linalg.eigh(moment)
    # A direction in which nothing differs keeps a moderate scale, so that the unmixing stays invertible.
    dead = variances <= _DEAD_DIRECTION * variances[-1]
    scales = np.sqrt(np.where(dead, variances[-1], variances))
    whitening = (directions / scales).T
    return whitening, values @ whitening.T


def _rotate(white: Array, rotations: Array, max_iterations: int, tolerance: float) -> Array:
    """Climb the sum of fourth moments from each rotation of (K, n, n), all of them at once."""
    for _ in range(max_iterations):
        previous = rotations
        left, _, right = np.linalg.svd(_moment_gradient(white, rotations))
        rotations = left @ right
        if np.abs(rotations - previous).max() < tolerance:
            break
    return rotations


def _moment_gradient(white: Array, rotations: Array) -> Array:
    # Blocks of rows that fit the cache: about twice as fast as all rows at once.
    flat = rotations.reshape(-1, white.shape[1])
    gradient = np.zeros_like(flat)
    for start in range(0, len(white), 2048):
        block = white[start : start + 2048]
        components = block @ flat.T
        gradient += (components * components * components).T @ block
    return gradient.reshape(rotations.shape)


def _fourth_moment(white: Array, rotations: Array) -> Array:
    return np.sum(_moment_gradient(white, rotations) * rotations, axis=(1, 2))
