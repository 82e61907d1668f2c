"""Numpy arrays, torch tensors and DataFrames: what is given in one kind comes back in that kind."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from lcm.base.rows import writable


def as_tensor(values: Any, like: Tensor) -> Tensor:
    """Values as a tensor of the precision and on the device of `like`; a tensor of images of uint8 keeps its type.

    Raises:
        ValueError: values that are no numbers.
    """
    if not isinstance(values, Tensor):
        given = values.to_numpy() if hasattr(values, "to_numpy") else np.asarray(values)
        if given.dtype.kind not in "biuf":
            raise ValueError(f"Expected an array, a tensor or a DataFrame of numbers; got {type(values).__name__}.")
        values = torch.from_numpy(writable(given))
    return values.to(like.device) if values.dtype == torch.uint8 and values.dim() >= 3 else values.to(like)


def in_kind_of(given: Any, result: Tensor, columns: Sequence[str] | None = None) -> Any:
    """The result as a tensor, an array or a DataFrame, as `given` is.

    Args:
        given: what the result was computed from, row by row.
        result: (N, k), or (N,).
        columns: names for a DataFrame; by default those of `given`.
    """
    if isinstance(given, Tensor):
        return result
    array = result.detach().cpu().numpy()
    if not (hasattr(given, "columns") and hasattr(given, "index")):
        return array
    # made by the given object's own types, so that pandas need not be imported
    if array.ndim == 1:
        return type(given.iloc[:, 0])(array, index=given.index)
    return type(given)(array, index=given.index, columns=list(given.columns if columns is None else columns))
