"""Differences of atomic interventions are unmixed exactly, whatever the mixture, in finite samples."""

from __future__ import annotations

import time

import numpy as np
import pytest
from numpy.typing import NDArray

from lcm.learn.warm_start import (
    separate_unmoved,
    sharpen_components,
    still_components,
    still_directions,
    unmix_differences,
)

Array = NDArray[np.float64]


def one_sparse(n_rows: int, n: int, generator: np.random.Generator) -> Array:
    """Rows with one entry that is not 0, of unequal scales, unequal frequencies, and a mean that is not 0."""
    scales, means = generator.uniform(0.3, 3, n), generator.normal(size=n)
    which = generator.choice(n, n_rows, p=generator.dirichlet(np.full(n, 5.0)))
    rows = np.zeros((n_rows, n))
    rows[np.arange(n_rows), which] = (means + scales * generator.normal(size=(n_rows, n)))[np.arange(n_rows), which]
    return rows


def distance_from_signed_permutation(matrix: Array) -> float:
    """The largest relative entry beside the largest of its row; infinite if two rows share a column."""
    relative = np.abs(matrix) / np.abs(matrix).max(axis=1, keepdims=True)
    columns = relative.argmax(axis=1)
    if len(set(columns)) < len(matrix):
        return np.inf
    relative[np.arange(len(matrix)), columns] = 0
    return float(relative.max())


@pytest.mark.parametrize("n", [1, 2, 4, 10])
@pytest.mark.parametrize("seed", range(5))
def test_linear_mixtures_of_one_sparse_vectors_are_unmixed_exactly(n: int, seed: int) -> None:
    generator = np.random.default_rng(seed)
    mixing = generator.normal(size=(n, n))
    unmixing = unmix_differences(one_sparse(300 * n, n, generator) @ mixing.T, generator)
    assert distance_from_signed_permutation(unmixing @ mixing) < 1e-6


def test_more_rows_than_the_search_sees_are_polished_exactly() -> None:
    generator = np.random.default_rng(0)
    mixing = generator.normal(size=(4, 4))
    differences = one_sparse(5000, 4, generator) @ mixing.T
    unmixing = unmix_differences(differences, generator, max_search_rows=500)
    assert distance_from_signed_permutation(unmixing @ mixing) < 1e-6
    components = differences @ unmixing.T
    np.testing.assert_allclose(components.T @ components / len(components), np.eye(4), atol=1e-9)


def test_measurement_noise_moves_the_solution_a_little() -> None:
    generator = np.random.default_rng(0)
    mixing = np.linalg.qr(generator.normal(size=(4, 4)))[0]
    noise = 0.01 * generator.normal(size=(4000, 4))
    unmixing = unmix_differences(one_sparse(4000, 4, generator) @ mixing.T + noise, generator)
    assert 1e-6 < distance_from_signed_permutation(unmixing @ mixing) < 0.02


def test_a_variable_that_never_changes_leaves_the_others_unmixed() -> None:
    generator = np.random.default_rng(0)
    mixing = generator.normal(size=(4, 4))
    rows = one_sparse(2000, 4, generator)
    rows[:, 2] = 0
    unmixing = unmix_differences(rows @ mixing.T, generator)
    product = unmixing @ mixing[:, [0, 1, 3]]
    found = np.abs(product).max(axis=1) > 1e-6
    assert found.sum() == 3
    assert distance_from_signed_permutation(product[found]) < 1e-6
    assert np.linalg.cond(unmixing) < 1e4


def test_the_same_generator_gives_the_same_matrix() -> None:
    differences = one_sparse(1000, 5, np.random.default_rng(0))
    first, second = (unmix_differences(differences, np.random.default_rng(1)) for _ in range(2))
    np.testing.assert_array_equal(first, second)


def test_float32_differences_are_taken() -> None:
    generator = np.random.default_rng(0)
    mixing = np.linalg.qr(generator.normal(size=(3, 3)))[0]
    differences = (one_sparse(1000, 3, generator) @ mixing.T).astype(np.float32)
    unmixing = unmix_differences(differences, generator)
    assert unmixing.dtype == np.float64
    assert distance_from_signed_permutation(unmixing @ mixing) < 1e-5


@pytest.mark.parametrize("shape", [(3, 4), (5,), (0, 0), (4, 0)])
def test_too_few_rows_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"Expected differences \(N, n\) with N >= n >= 1; got shape"):
        unmix_differences(np.ones(shape), np.random.default_rng(0))


@pytest.mark.parametrize("value", [0.0, np.nan, np.inf])
def test_differences_without_content_are_refused(value: float) -> None:
    differences = np.zeros((10, 2))
    differences[0, 0] = value
    with pytest.raises(ValueError, match="Expected finite differences that are not all zero"):
        unmix_differences(differences, np.random.default_rng(0))


def test_twenty_variables_and_a_hundred_thousand_pairs_take_a_moment() -> None:
    generator = np.random.default_rng(0)
    mixing = generator.normal(size=(20, 20))
    differences = one_sparse(100_000, 20, generator) @ mixing.T
    started = time.process_time()
    unmixing = unmix_differences(differences, generator)
    assert time.process_time() - started < 5  # 0.1 s on an idle core
    assert distance_from_signed_permutation(unmixing @ mixing) < 1e-6


def sparse(n_rows: int, n: int, share: float, generator: np.random.Generator) -> Array:
    """Rows in which each entry is not 0 with probability `share`, whatever the others are."""
    scales = generator.uniform(0.5, 2, n)
    return (generator.random((n_rows, n)) < share) * scales * generator.normal(size=(n_rows, n))


@pytest.mark.parametrize("share", [0.3, 0.5, 0.7])
@pytest.mark.parametrize("n", [1, 2, 4, 6, 10])
def test_linear_mixtures_of_sparse_vectors_are_unmixed_exactly(n: int, share: float) -> None:
    generator = np.random.default_rng(n)
    mixing = generator.normal(size=(n, n))
    differences = sparse(500 * n, n, share, generator) @ mixing.T
    unmixing = unmix_differences(differences, generator)
    sharp = sharpen_components(unmixing, differences)
    assert distance_from_signed_permutation(sharp @ mixing) < 1e-8
    assert n == 1 or distance_from_signed_permutation(unmixing @ mixing) > 1e-3


def test_sharpening_bears_noise() -> None:
    generator = np.random.default_rng(0)
    mixing = generator.normal(size=(4, 4))
    differences = (sparse(20_000, 4, 0.5, generator) + 0.01 * generator.normal(size=(20_000, 4))) @ mixing.T
    unmixing = unmix_differences(differences, generator)
    before = distance_from_signed_permutation(unmixing @ mixing)
    after = distance_from_signed_permutation(sharpen_components(unmixing, differences) @ mixing)
    assert after < 0.005 < before


def test_a_component_that_nothing_moves_is_not_sharpened() -> None:
    generator = np.random.default_rng(3)
    mixing, changes = generator.normal(size=(4, 4)), sparse(4000, 4, 0.5, generator)
    changes[:, 2] = 0.0
    differences = changes @ mixing.T
    unmixing = unmix_differences(differences, generator)
    dead = np.square(differences @ unmixing.T).mean(0) < 1e-6
    sharp = sharpen_components(unmixing, differences)
    np.testing.assert_array_equal(sharp[dead], unmixing[dead])
    columns = [0, 1, 3]
    assert distance_from_signed_permutation((sharp @ mixing)[np.ix_(~dead, columns)]) < 1e-8


def test_components_that_meet_are_left_as_they_were() -> None:
    generator = np.random.default_rng(4)
    differences = np.repeat(generator.normal(size=(3000, 1)), 2, axis=1) * (
        1.0 + 1e-4 * generator.normal(size=(3000, 2))
    )
    unmixing = np.eye(2)
    assert sharpen_components(unmixing, differences) is unmixing


@pytest.mark.parametrize("never", [1, 2])
def test_what_no_intervention_moves_is_a_block_and_taken_out_of_the_rest(never: int) -> None:
    generator = np.random.default_rng(1)
    n, n_rows = 4, 20_000
    mixing, noise = generator.normal(size=(n, n)), generator.laplace(size=(n_rows, n))
    change = np.zeros((n_rows, n))
    change[:, : n - never] = one_sparse(n_rows, n - never, generator)
    x, x_tilde = noise @ mixing.T, (noise + change) @ mixing.T
    unmixing = unmix_differences(x_tilde - x, generator)
    first, second = (separate_unmoved(unmixing, x, x_tilde, np.random.default_rng(seed)) for seed in (0, 1))
    for separated in (first, second):
        components = x @ separated.T
        moved = np.square((x_tilde - x) @ separated.T).mean(0) > 1e-6
        assert moved.sum() == n - never
        # each moved component is one noise alone, the others are functions of the noise that never moves
        shares = np.square(np.corrcoef(noise.T, components.T)[:n, n:])
        assert (shares[: n - never, moved].max(0) > 0.999).all()
        assert (shares[n - never :, ~moved].sum(0) > 0.99).all()
        np.testing.assert_allclose(np.cov(components[:, ~moved].T), np.eye(never), atol=1e-9)
    rotation = np.abs(np.corrcoef((x @ first.T).T, (x @ second.T).T)[:n, n:])
    assert (rotation.max(0).min() < 0.99) == (never > 1)


def test_nothing_is_done_where_every_component_moves() -> None:
    generator = np.random.default_rng(2)
    change = one_sparse(500, 3, generator)
    x = generator.normal(size=(500, 3))
    unmixing = unmix_differences(change, generator)
    assert separate_unmoved(unmixing, x, x + change, generator) is unmixing


@pytest.mark.parametrize("seed", range(3))
def test_the_stillest_directions_are_found_among_directions_that_every_pair_moves(seed: int) -> None:
    generator = np.random.default_rng(seed)
    rows = np.concatenate([one_sparse(4_000, 3, generator), generator.normal(size=(4_000, 3))], 1)
    mixing = generator.normal(size=(6, 6))
    found = still_directions(rows @ mixing.T, 3, generator)
    product = found @ mixing
    assert distance_from_signed_permutation(product[:3, :3]) < 1e-3
    assert np.abs(product[:3, 3:]).max() < 1e-3 * np.abs(product[:3, :3]).max()
    assert np.linalg.cond(found) < 1e3


def test_of_two_functions_of_one_variable_only_one_is_among_the_stillest() -> None:
    generator = np.random.default_rng(0)
    rows = one_sparse(4_000, 2, generator)
    changes = np.concatenate([rows, rows[:, :1] ** 2, 0.1 * generator.normal(size=(4_000, 1))], 1)
    assert set(still_components(changes, 2)) in ({0, 1}, {1, 2})
