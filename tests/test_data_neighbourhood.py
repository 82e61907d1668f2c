"""The dimension of curved sheets, seen from neighbouring pairs; and none where there is no sheet."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from experiments.physics import draw_readings
from lcm.data.neighbourhood import local_dimension
from lcm.data.pairs import PairData

Array = NDArray[np.float64]
ROWS = 20_000


def flat(n: int, seed: int = 0) -> Array:
    return np.random.default_rng(seed).standard_normal((ROWS, n))


def pairs(n: int, seed: int = 0) -> tuple[Array, Array]:
    """Values, and the same with one of them drawn afresh in each row."""
    values, drawn = flat(n, seed), flat(n, seed + 100)
    moved = np.arange(n) == np.random.default_rng(seed).integers(0, n, ROWS)[:, None]
    return values, np.where(moved, drawn, values)


def sheets(n: int, d: int, noise: float) -> tuple[Array, Array]:
    """Pairs on the graph of a random smooth function over n values, turned at random in d dimensions."""
    x, x_tilde = (curved(values, d, noise, seed) for seed, values in enumerate(pairs(n)))
    return x, x_tilde


def curved(values: Array, d: int, noise: float, noise_seed: int) -> Array:
    """Values on that graph, with noise of each column."""
    generator, n = np.random.default_rng(1), values.shape[1]
    inner, bias = generator.standard_normal((n, 32)) / n**0.5, generator.standard_normal(32)
    heights = np.tanh(values @ inner + bias) @ generator.standard_normal((32, d - n)) / 32**0.5
    rotation = np.linalg.qr(generator.standard_normal((d, d)))[0]
    sheet = np.concatenate([values, heights], 1) @ rotation.T
    return np.asarray(sheet + noise * sheet.std(0) * np.random.default_rng(noise_seed).standard_normal(sheet.shape))


@pytest.mark.parametrize(("times", "noise"), [(2, 0.0), (2, 0.01), (5, 0.0)])
@pytest.mark.parametrize("n", [2, 3, 4])
def test_the_dimension_of_a_curved_sheet_is_found(n: int, times: int, noise: float) -> None:
    assert local_dimension(*sheets(n, times * n, noise)) == n


@pytest.mark.parametrize("d", [2, 3, 5, 10, 20])
def test_rows_that_fill_their_space_lie_on_no_sheet(d: int) -> None:
    assert local_dimension(*pairs(d)) is None
    correlated = [values @ np.tril(np.ones((d, d))) for values in pairs(d)]
    assert local_dimension(*correlated) is None
    assert local_dimension(*(np.sinh(values / correlated[0].std(0)) for values in correlated)) is None


def test_too_few_rows_say_nothing() -> None:
    assert local_dimension(*(part[:1999] for part in sheets(2, 4, 0.0))) is None


def test_the_guess_of_n_is_that_of_the_sheet_and_not_of_the_space_it_spans() -> None:
    x, x_tilde = (part.astype(np.float32) for part in sheets(3, 6, 0.01))
    assert PairData(x, x_tilde).estimated_n == 3


@pytest.mark.parametrize("noise", [0.0, 0.003])
@pytest.mark.parametrize(("n", "d"), [(3, 5), (4, 6), (3, 4)])
def test_sheets_of_more_than_half_as_many_dimensions_are_found(n: int, d: int, noise: float) -> None:
    assert local_dimension(*sheets(n, d, noise), noise**2) == n


def test_a_thin_variable_is_no_sheet() -> None:
    # the third nearly follows from the first, so that few neighbours see two dimensions, but no curvature grows across
    thin = [np.stack([z[:, 0], z[:, 1], z[:, 0] ** 2 + 0.3 * z[:, 2]], 1) for z in pairs(3)]
    assert local_dimension(*thin) is None


@pytest.mark.parametrize("seed", [0, 1])
def test_a_variable_that_noise_nearly_hides_counts(seed: int) -> None:
    # among neighbours, noise fills other directions as much as one of the four settings fills its own
    assert draw_readings("tanks", 0.01, seed, "train", 30_000).estimated_n == 4


@pytest.mark.parametrize("kind", ["levels", "repeated", "one-of-few-levels", "heavy-tails"])
def test_where_neighbours_are_no_neighbours_the_rank_counts(kind: str) -> None:
    generator = np.random.default_rng(0)
    drawn = generator.standard_normal((2, ROWS, 3))
    if kind == "levels":
        drawn = np.round(2.0 * drawn) / 2.0
    elif kind == "repeated":
        drawn = drawn[0, generator.integers(300, size=(2, ROWS))]
    elif kind == "one-of-few-levels":
        drawn[..., 0] = np.round(drawn[..., 0])
    else:
        drawn = generator.standard_cauchy((2, ROWS, 3))
    z, target = drawn[0], generator.integers(3, size=ROWS)
    z_tilde = z.copy()
    z_tilde[np.arange(ROWS), target] = drawn[1, np.arange(ROWS), target]
    mixing = np.linalg.qr(generator.standard_normal((3, 3)))[0]
    pairs = PairData.from_arrays((z @ mixing).astype(np.float32), (z_tilde @ mixing).astype(np.float32))
    assert pairs.estimated_n == 3


def test_noise_on_many_columns_is_no_variable() -> None:
    # seven equal variances of noise under one of three variables only ten times as large
    generator = np.random.default_rng(0)
    z, target = flat(3), generator.integers(3, size=ROWS)
    z_tilde = z.copy()
    z_tilde[np.arange(ROWS), target] = generator.standard_normal(ROWS)
    mixing = np.linalg.qr(generator.standard_normal((10, 10)))[0][:3] * np.array([[3.0], [2.0], [1.0]])
    pairs = [part @ mixing + 0.1 * generator.standard_normal((ROWS, 10)) for part in (z, z_tilde)]
    assert PairData.from_arrays(*(part.astype(np.float32) for part in pairs)).estimated_n == 3
