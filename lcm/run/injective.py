"""Whether the coordinates of a fit tell observations apart: nearest neighbours in them against those in x."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.spatial import KDTree

from lcm.base.rows import writable
from lcm.data.pairs import PairData
from lcm.model.latent_causal_model import LatentCausalModel
from lcm.run.outcome import Outcome

_ROWS = 5_000
_FAR = 5.0


def folded_share(result: Outcome, data: PairData) -> float:
    """Share of observations whose nearest neighbour in noise lies over five times as far in x as that in x, in [0, 1].

    Distances are between up to 5,000 rows, in noise in standard-normal gauge and in columns of unit variance. Sensor
    noise lengthens both. 0 for models without mechanisms and where x has no more columns than variables.
    """
    model = result.latent
    if not isinstance(model, LatentCausalModel) or model.d <= model.n:
        return 0.0
    x = data.x[:_ROWS]
    rows = x[:, ~data.unrelated].astype(np.float64)
    rows = (rows - rows.mean(0)) / rows.std(0).clip(min=np.finfo(np.float64).tiny)
    with torch.no_grad():
        noise = model.scm.noise.to_normal(model.encode(torch.from_numpy(writable(x))).noise)[0].double().cpu().numpy()
    in_code = np.linalg.norm(rows - rows[_nearest(noise)], axis=1)
    in_x = np.linalg.norm(rows - rows[_nearest(rows)], axis=1)
    return float(np.mean(in_code > _FAR * in_x))


def _nearest(points: NDArray[np.float64]) -> NDArray[np.int64]:
    """The row (N,) of the nearest other point of each of (N, k)."""
    return np.asarray(KDTree(points).query(points, 2)[1])[:, 1]
