"""Coordinates of images along the sheet that they lie on: where the training of an autoencoder starts.

An autoencoder with a code of few dimensions may fold and tear that sheet, and no diffeomorphism undoes a tear.
Distances along the sheet do not depend on such accidents. Where each variable moves pixels of its own, they are the
distances of a product of lines: classical scaling then gives monotone functions of the variables, linearly mixed.

Sources: Tenenbaum, de Silva & Langford 2000 (Isomap); de Silva & Tenenbaum 2004 (landmarks).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.sparse.csgraph import connected_components, dijkstra
from sklearn.neighbors import NearestNeighbors, kneighbors_graph

from lcm.base.rows import take_rows

_Floats = NDArray[np.float64]
_BLUR_TO = 8
_DIRECTIONS = 60
_NEIGHBOURS = 20
_LANDMARKS = 600
_BLOCK = 1_000
_IMAGES = 8_000
_DISTANCES_OF = (5, 10)
_DECIMALS = 2


class Geodesic(NamedTuple):
    """Coordinates (M, m) of images, in units of their standard deviations, and the eigenvalues of classical scaling."""

    coordinates: _Floats
    spectrum: _Floats


def geodesic_coordinates(features: NDArray[np.float32], m: int, generator: np.random.Generator) -> Geodesic:
    """Coordinates of the features (M, k) of images along the sheet they lie on, in its m longest directions.

    The rows outside the largest connected part of the neighbourhood graph get NaN.

    Args:
        features: from `blurred`, with M in the thousands.
        m: at most the number of landmarks, 600.
        generator: draws the landmarks.
    """
    graph = kneighbors_graph(features, min(_NEIGHBOURS, len(features) - 1), mode="distance")
    labels = connected_components(graph, directed=False)[1]
    joined = np.flatnonzero(labels == np.bincount(labels).argmax())
    landmarks = generator.permutation(joined)[:_LANDMARKS]
    squares = np.square(dijkstra(graph, directed=False, indices=landmarks)[:, joined])
    among = squares[:, np.searchsorted(joined, landmarks)]
    centred = among - among.mean(0) - among.mean(1, keepdims=True) + among.mean()
    values, vectors = np.linalg.eigh(-0.5 * centred)
    spectrum, vectors = values[::-1], vectors[:, ::-1][:, :m]
    found = -0.5 * (squares - among.mean(1, keepdims=True)).T @ vectors
    coordinates = np.full((len(features), m), np.nan)
    coordinates[joined] = (found - found.mean(0)) / found.std(0)
    return Geodesic(coordinates, spectrum)


def blurred(images: Sequence[NDArray[np.uint8]], rows: NDArray[np.int64]) -> NDArray[np.float32]:
    """The images `rows` (M,) of each array, averaged to about 8 × 8 pixels, in at most 60 principal directions.

    In sharp images, the distance stops growing once a part has moved by its own width. In blurred ones it keeps
    growing.
    """
    parts = np.array_split(rows, -(-len(rows) // _BLOCK))
    small = np.concatenate([_averaged(take_rows(array, part)) for array in images for part in parts])
    small -= small.mean(0)
    directions = np.linalg.eigh(small.T @ small)[1][:, ::-1][:, :_DIRECTIONS]
    return np.asarray(small @ directions)


def _averaged(images: NDArray[np.uint8]) -> NDArray[np.float32]:
    count, height, width, colours = images.shape
    tall, wide = max(1, height // _BLUR_TO), max(1, width // _BLUR_TO)
    whole = images[:, : height // tall * tall, : width // wide * wide]
    blocks = whole.reshape(count, height // tall, tall, width // wide, wide, colours)
    return np.asarray(blocks.mean((2, 4), dtype=np.float32).reshape(count, -1))


def estimate_image_n(x: NDArray[np.uint8]) -> int:
    """Guess the number of variables from images (N, H, W, C): the intrinsic dimension of x, rounded; at least 1.

    It is the maximum-likelihood estimate from the distances to the nearest images, averaged over 5 and 10 neighbours.
    It uses x alone, because an image and its counterfactual share all variables but one and so are neighbours.

    Source: Levina & Bickel 2004, with the correction of MacKay & Ghahramani 2005.
    """
    rows = np.linspace(0, len(x) - 1, min(len(x), _IMAGES)).astype(np.int64)
    # between equal images there are only rounding errors, which carry no information
    features = np.unique(blurred((x,), rows).round(_DECIMALS), axis=0)
    most = max(_DISTANCES_OF)
    if len(features) <= most:
        return 1
    distances = NearestNeighbors(n_neighbors=most + 1).fit(features).kneighbors(features)[0][:, 1:]
    found = [1.0 / np.log(distances[:, k - 1 : k] / distances[:, : k - 1]).mean() for k in _DISTANCES_OF]
    return max(1, round(float(np.mean(found))))
