"""How many variables pairs of images hold: the dimension of the sheet that they lie on."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from lcm.image.geodesic import blurred, geodesic_coordinates

_PAIRS = 6_000
_MOST = 12
_GAP = 2.0


def estimate_image_n(x: NDArray[np.uint8], x_tilde: NDArray[np.uint8]) -> int:
    """Guess the number of variables from images (N, H, W, C): the last wide gap in the spectrum of geodesic distances.

    Of the 12 largest eigenvalues of classical scaling, the last that is at least twice as large as the next. At most 11.
    """
    rows = np.linspace(0, len(x) - 1, min(len(x), _PAIRS)).astype(np.int64)
    spectrum = geodesic_coordinates(blurred((x, x_tilde), rows), _MOST, np.random.default_rng(0)).spectrum[:_MOST]
    values = np.maximum(spectrum, np.finfo(np.float64).eps * spectrum[0])
    wide = np.flatnonzero(values[:-1] >= _GAP * values[1:])
    return int(wide[-1]) + 1 if wide.size else 1
