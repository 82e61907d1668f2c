"""The nature of a data set, where it is known: checked before a model is scored against it."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from lcm.data.pairs import PairData
from lcm.model.latent_causal_model import LatentCausalModel

_ROWS = 1_000
_LEAST_SHARE = 0.5


@torch.no_grad()
def checked_nature(nature: Any, data: PairData) -> LatentCausalModel:
    """Return the nature, if it is a latent causal model that can have drawn `data`.

    It can if it has as many variables as the truth, and decodes z to x: at least half of the variance of x, so that
    sensor noise does not matter. Of a nature without a decoder to x, such as one that drives a scene, only the
    number of variables is checked, and of data without z only the dimension.

    Raises:
        ValueError: another type of model, number of variables or dimension, or a nature that does not give x for z.
    """
    if not isinstance(nature, LatentCausalModel):
        raise ValueError(
            f"nature: Expected a latent causal model; got {getattr(nature, 'kind', type(nature).__name__)}."
        )
    if data.z is not None and nature.n != data.z.shape[1]:
        raise ValueError(f"nature: Expected {data.z.shape[1]} variables, as the truth in the data; got {nature.n}.")
    if data.is_images:
        return nature
    if nature.observation_shape != data.x.shape[1:]:
        raise ValueError(f"nature: Expected {data.x.shape[1]} dimensions, as the data; got {nature.d}.")
    if data.z is None:
        return nature
    z = torch.from_numpy(np.array(data.z[:_ROWS])).to(nature.thickness)
    x, decoded = np.asarray(data.x[:_ROWS], dtype=np.float64), nature.decode(z).double().cpu().numpy()
    variance = x.var(0).sum()
    share = 1.0 - np.square(x - decoded).mean(0).sum() / variance if variance > 0 else 1.0
    if not share >= _LEAST_SHARE:
        raise ValueError(f"nature: Expected the model that drew the data; got one whose z explains {share:.0%} of x.")
    return nature
