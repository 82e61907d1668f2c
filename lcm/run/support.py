"""The range of the variables in the data of a fit, and which queries lie beyond it."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from lcm.model.do import Do
from lcm.model.latent_causal_model import LatentCausalModel
from lcm.model.pair_model import EncodedPairs
from lcm.run.outcome import Outcome

_OUTER = 5e-4
_MARGIN, _FAR = 0.1, 0.5


def support_of(encoded: EncodedPairs) -> NDArray[np.float64]:
    """The range (n, 2) of each variable in encoded pairs of the fit, without the outer thousandth."""
    z = torch.cat([encoded.z, encoded.z_tilde]).double().cpu().numpy()
    return np.stack([np.quantile(z, _OUTER, axis=0), np.quantile(z, 1.0 - _OUTER, axis=0)], 1)


def beyond_data(result: Outcome, x: Any, do: Do) -> list[str]:
    """One text for each variable that `do`, or one of the observations x (N, d), puts beyond the data of a fit.

    A value of `do` is beyond if it exceeds the range by a tenth of its width; an observation, which may well be the
    most extreme of many, by a half. Empty where the range is not known.
    """
    if result.support is None:
        return []
    low, width = result.support[:, 0], np.maximum(np.diff(result.support)[:, 0], 1e-300)
    texts = []
    names = result.names
    for i, value in do.values.items():
        if isinstance(value, int | float) and 0 <= i < len(low):
            away = max(low[i] - value, value - low[i] - width[i]) / width[i]
            if away > _MARGIN:
                texts.append(
                    f"{names[i]} = {value:.3g} lies outside the data {_range(result, i)}, by {away:.2f} times their"
                    " width, so the answer extrapolates."
                )
    z = np.atleast_2d(np.asarray(torch.as_tensor(np.asarray(result.model.encode(_plain(x)).z)), dtype=np.float64))
    return [*texts, *(f"{text}, so their answers extrapolate." for text in observed_beyond(result, z))]


def not_in_intervals(result: Outcome) -> list[str]:
    """A text where intervals of counterfactuals leave out a noise that the fit has found; else empty."""
    if not isinstance(result.latent, LatentCausalModel) or result.latent.sensor_noise is None:
        return []
    return ["the columns of x have sensor noise, which the interval does not count (docs/intervals.md)."]


def observed_beyond(result: Outcome, z: NDArray[np.float64]) -> list[str]:
    """The start of a sentence for each variable by which observations z (M, n) are beyond the data of a fit."""
    if result.support is None:
        return []
    low, width = result.support[:, 0], np.maximum(np.diff(result.support)[:, 0], 1e-300)
    outside = np.maximum(low - z, z - low - width) / width
    return [
        f"{int((outside[:, i] > _FAR).sum()):,} observations have {result.names[i]} outside the data of the fit"
        f" {_range(result, i)}, by up to {float(outside[:, i].max()):.2f} times their width"
        for i in np.nonzero((outside > _FAR).any(0))[0].tolist()
    ]


def _range(result: Outcome, variable: int) -> str:
    low, high = (0.0, 0.0) if result.support is None else result.support[variable]
    return f"({low:.3g} to {high:.3g})"


def _plain(x: Any) -> Any:
    return x.detach().cpu().numpy() if isinstance(x, torch.Tensor) else np.asarray(x)
