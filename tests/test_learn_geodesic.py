"""Coordinates along a sheet: exact where it is flat, unrolled where it is rolled up; and its dimension."""

from __future__ import annotations

import numpy as np
import pytest
from small_images import image_pairs

from lcm.learn.geodesic import blurred, estimate_image_n, geodesic_coordinates


def explained(truth: np.ndarray, coordinates: np.ndarray) -> np.ndarray:
    """Share of the variance of each true coordinate that the found ones explain linearly."""
    design = np.column_stack([coordinates, np.ones(len(truth))])
    residual = truth - design @ np.linalg.lstsq(design, truth, rcond=None)[0]
    return 1.0 - residual.var(0) / truth.var(0)


def generator(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def test_a_flat_sheet_is_found_as_it_is() -> None:
    truth = generator().uniform(size=(1500, 2)) * (2.0, 1.0)
    directions = np.linalg.qr(generator(1).standard_normal((12, 2)))[0]
    found = geodesic_coordinates((truth @ directions.T).astype(np.float32), 2, generator())
    assert explained(truth, found.coordinates).min() > 0.995
    assert found.spectrum[1] > 20 * found.spectrum[2]
    np.testing.assert_allclose(found.coordinates.std(0), 1.0, atol=1e-6)


def test_a_roll_is_unrolled() -> None:
    truth = generator().uniform(size=(2000, 2))
    angle = 1.5 * np.pi * (1 + truth[:, 0])
    # along the arc, equal steps of this are equal distances
    arc = 0.5 * (angle * np.sqrt(1 + angle**2) + np.arcsinh(angle))
    roll = np.stack([angle * np.cos(angle), 15 * truth[:, 1], angle * np.sin(angle)], 1).astype(np.float32)
    found = geodesic_coordinates(roll, 2, generator())
    flat = np.stack([arc, 15 * truth[:, 1]], 1)
    assert explained(flat, found.coordinates).min() > 0.98


def test_what_nothing_joins_to_the_sheet_has_no_coordinates() -> None:
    points = generator().uniform(size=(330, 2)).astype(np.float32)
    points[300:] += 50.0
    found = geodesic_coordinates(points, 2, generator()).coordinates
    assert np.isnan(found[300:]).all() and np.isfinite(found[:300]).all()


def test_the_same_generator_gives_the_same_coordinates() -> None:
    points = generator().uniform(size=(300, 3)).astype(np.float32)
    first, second = (geodesic_coordinates(points, 2, generator(4)).coordinates for _ in range(2))
    assert np.array_equal(first, second)


def test_equal_points_do_no_harm() -> None:
    points = np.repeat(generator().uniform(size=(200, 2)), 3, axis=0).astype(np.float32)
    assert np.isfinite(geodesic_coordinates(points, 2, generator()).coordinates).all()


def test_blurred_images_are_averages_of_blocks_in_principal_directions() -> None:
    images = np.zeros((40, 16, 16, 1), np.uint8)
    images[:20, 0, 0] = 40
    rows = np.arange(40)
    found = blurred((images,), rows)
    # one pixel of four in a block: 10 levels of the mean, half of the images apart from the other half
    assert np.ptp(found[:, 0]) == pytest.approx(10.0, rel=1e-5)
    assert np.abs(found[:, 1:]).max() < 1e-4
    both = blurred((images, images), rows)
    assert len(both) == 80


@pytest.mark.parametrize("n", [2, 3, 4])
def test_the_dimension_of_images_is_that_of_what_drives_them(n: int) -> None:
    z = generator().uniform(size=(3000, 6))
    z[:, n:] = 0.5
    images = np.zeros((3000, 16, 16, 3), np.float64)
    # pixels of different brightness, so that rounding to levels leaves no lattice
    gain = generator(1).uniform(60, 120, size=(6, 4, 10))
    for k in range(6):
        images[:, 2 * k : 2 * k + 4, 3:13, k % 3] += gain[k] * z[:, k, None, None]
    assert estimate_image_n(np.round(images).astype(np.uint8)) == n


def test_the_dimension_of_the_small_images() -> None:
    assert estimate_image_n(image_pairs(2000).x) == 2


def test_repeated_images_do_not_change_the_dimension() -> None:
    images = image_pairs(1500).x
    assert estimate_image_n(np.repeat(images, 2, axis=0)) == 2


def test_images_that_hardly_differ_have_one_dimension() -> None:
    assert estimate_image_n(np.zeros((50, 16, 16, 3), np.uint8)) == 1
