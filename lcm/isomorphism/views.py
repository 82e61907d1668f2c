"""How a model encodes the pairs of a comparison: the data, and what either model draws of itself."""

from __future__ import annotations

import copy
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from lcm.base.chunks import in_chunks
from lcm.base.rows import writable
from lcm.data.pairs import PairData
from lcm.isomorphism.matching import FloatArray
from lcm.model.latent_causal_model import LatentCausalModel
from lcm.model.pair_model import PairModel

MAX_ROWS = 20_000
"""Pairs that a comparison looks at: the first ones, every second of them held out."""


class View(NamedTuple):
    """Causal variables (N, n) of observations by one model, and their noise in standard-normal gauge.

    Noise is (N, n), or (N, 0) of a model without an SCM.
    """

    z: FloatArray
    normal: FloatArray


def in_double(model: LatentCausalModel) -> LatentCausalModel:
    """A copy of a model in float64, so that rounding does not look like a difference."""
    return copy.deepcopy(model).double().requires_grad_(False)


def view(model: PairModel, x: Tensor) -> View:
    """Encode observations (N, ...), in the precision that x has; the tables are float64."""
    if not isinstance(model, LatentCausalModel):
        z = _variables(model, x)
        return View(z, np.empty((len(z), 0)))
    scm = model.scm

    def encode(part: Tensor) -> tuple[Tensor, ...]:
        encoding = model.encode(part)
        return encoding.z, scm.noise.to_normal(encoding.noise)[0]

    return View(*(values.double().cpu().numpy() for values in in_chunks(encode, x)))


def encoded_variables(model: PairModel, data: PairData) -> FloatArray:
    """z (N, n) of the first 20,000 observations x, in float64. Raises ValueError for encodings that are not finite."""
    return require_finite(_variables(model, torch.from_numpy(writable(data.x[:MAX_ROWS]))))


def _variables(model: Any, x: Tensor) -> FloatArray:
    values: FloatArray = in_chunks(lambda part: (model.encode(part).z,), x)[0].double().cpu().numpy()
    return values


def require_finite(*tables: FloatArray) -> FloatArray:
    """The first of some tables of encodings, all of which must be finite.

    Raises:
        ValueError: NaN or infinite entries.
    """
    if not all(np.isfinite(table).all() for table in tables):
        raise ValueError("Expected finite encodings of the data; got NaN or infinite ones. Are they of another scale?")
    return tables[0]
