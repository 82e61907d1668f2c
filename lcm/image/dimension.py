"""How many variables pairs of images hold: the dimension of the sheet that they lie on."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from sklearn.neighbors import NearestNeighbors

from lcm.image.geodesic import blurred

_IMAGES = 8_000
_NEIGHBOURS = (5, 10)
_DECIMALS = 2


def estimate_image_n(x: NDArray[np.uint8]) -> int:
    """Guess the number of variables from images (N, H, W, C): the intrinsic dimension of x, rounded; at least 1.

    From the distances of each image to its nearest ones, by maximum likelihood, averaged over 5 and 10 neighbours. Of x
    alone: an image and that after an intervention share all variables but one, and are neighbours for that reason.

    Source: Levina & Bickel 2004, with the correction of MacKay & Ghahramani 2005.
    """
    rows = np.linspace(0, len(x) - 1, min(len(x), _IMAGES)).astype(np.int64)
    # equal images have distances of rounding alone, which say nothing
    features = np.unique(blurred((x,), rows).round(_DECIMALS), axis=0)
    most = max(_NEIGHBOURS)
    if len(features) <= most:
        return 1
    distances = NearestNeighbors(n_neighbors=most + 1).fit(features).kneighbors(features)[0][:, 1:]
    found = [1.0 / np.log(distances[:, k - 1 : k] / distances[:, : k - 1]).mean() for k in _NEIGHBOURS]
    return max(1, round(float(np.mean(found))))
