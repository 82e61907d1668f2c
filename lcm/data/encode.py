"""Encode pairs with a model: causal variables, noise, and the posterior over target sets."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lcm.base import __version__
from lcm.base.rows import release, require_whole, writable
from lcm.data.pair_files import write_arrays
from lcm.data.pairs import PairData
from lcm.model.image import ImageModel
from lcm.model.names import default_names, named_columns
from lcm.model.pair_model import EncodedPairs, PairModel

Array = NDArray[Any]

_CHUNK = 4096
_CHUNK_IMAGES = 256
_CHUNK_ENTRIES = 1 << 25


def encode_pairs(model: PairModel, data: PairData) -> EncodedPairs:
    """Encode all pairs in chunks, without gradients (docs/theory.md section 2).

    Raises:
        ValueError: observations of another shape than the model's, or so far from its data that an encoding or a
            posterior is not finite.
    """
    require_same_dimensions(model, data)
    most = _CHUNK_IMAGES if data.is_images else _CHUNK
    chunk = max(1, min(most, _CHUNK_ENTRIES // len(model.target_distribution.target_sets)))
    encoded = EncodedPairs(*_filled(model.encode_pairs, (data.x, data.x_tilde), chunk, model.like_observations))
    _require_reached(encoded, data)
    return encoded


def encode_codes(model: ImageModel, data: PairData) -> PairData:
    """The pairs of codes (N, m) of pairs of images, in chunks, without gradients."""
    encode = model.autoencoder.encode

    def both(x: Tensor, x_tilde: Tensor) -> tuple[Tensor, ...]:
        return encode(x), encode(x_tilde)

    codes = _filled(both, (data.x, data.x_tilde), _CHUNK_IMAGES, model.like_observations)
    x, x_tilde = (part.cpu().numpy() for part in codes)
    return PairData(x=x, x_tilde=x_tilde, source=data.source)


def _require_reached(encoded: EncodedPairs, data: PairData) -> None:
    """Raise ValueError for pairs so far from the model's own that their variables or posteriors are not numbers."""
    parts = (encoded.z, encoded.z_tilde, encoded.posterior)
    bad = ~torch.stack([torch.isfinite(part).all(1) for part in parts]).all(0)
    if bool(bad.any()):
        where = f"{data.source}: x" if data.source else "x"
        first = int(torch.nonzero(bad)[0])
        raise ValueError(
            f"{where}: Expected finite encodings; got {int(bad.sum())} rows that are not, the first is row {first}. Are"
            " they of another scale than the data of the fit?"
        )


@torch.no_grad()
def _filled(
    function: Callable[..., tuple[Tensor, ...]], arrays: tuple[Array, ...], chunk: int, like: Tensor
) -> list[Tensor]:
    """Apply a row-wise function to arrays chunk by chunk, into results that are allocated once."""
    results: list[Tensor] = []
    for start in range(0, len(arrays[0]), chunk):
        rows = slice(start, start + chunk)
        for array in arrays:
            require_whole(array)
        values = function(*(torch.from_numpy(writable(array[rows])).to(like) for array in arrays))
        results = results or [value.new_empty(len(arrays[0]), *value.shape[1:]) for value in values]
        for result, value in zip(results, values, strict=True):
            result[rows] = value
    for array in arrays:
        release(array)
    return results


def encode_data(model: PairModel, data: PairData) -> dict[str, NDArray[np.float32]]:
    """The tensors of an encoding file, float32.

    z, z_tilde, noise, noise_tilde: (N, n) learned variables and their noise s⁻¹(z), s⁻¹(z_tilde).
    target_probability: (N, K), one column for each entry of `target_columns`; rows sum to 1.

    Raises:
        ValueError: as `encode_pairs`.
    """
    encoded = encode_pairs(model, data)
    tensors = {name: getattr(encoded, name) for name in ("z", "z_tilde", "noise", "noise_tilde")}
    tensors["target_probability"] = _in_columns(model, encoded.posterior)
    return {name: value.cpu().numpy().astype(np.float32, copy=False) for name, value in tensors.items()}


def write_encoding(
    path: str | Path, model: PairModel, data: PairData, name: str, names: Sequence[str] | None = None
) -> None:
    """Write the tensors of `encode_data` to a .safetensors, .npz, .csv or .parquet file, whole or not at all.

    Args:
        name: name of the model, for the metadata.
        names: of the variables, for the columns of a table and the metadata; default: z0, z1, …

    Raises:
        ValueError: as `encode_pairs`, or another suffix.
    """
    tensors, sets = encode_data(model, data), target_columns(model)
    names = default_names(model.n) if names is None else names
    metadata = {
        "made_by": "lcm encode",
        "version": __version__,
        "model": name,
        "data": data.source,
        "target_sets": json.dumps(sets),
        "names": json.dumps(list(names), ensure_ascii=False),
    }
    probability = tensors["target_probability"]
    table = {
        column: values
        for key in ("z", "z_tilde", "noise", "noise_tilde")
        for column, values in zip(named_columns(key, names), tensors[key].T, strict=True)
    }
    for column, targets in zip(probability.T, sets, strict=True):
        table[f"probability_{'+'.join(names[i] for i in targets) or 'none'}"] = column
    write_arrays(path, tensors, metadata, table=table)


def target_columns(model: PairModel) -> list[list[int]]:
    """The target set of each column of `target_probability`, as 0-based learned variables.

    If every set has at most one target: the empty set, then {0}, {1}, … {n - 1}. Otherwise the model's own sets, in
    their order.
    """
    sets = model.target_distribution.as_lists()
    atomic = all(len(targets) <= 1 for targets in sets)
    return [[], *([variable] for variable in range(model.n))] if atomic else sets


def require_same_dimensions(model: PairModel, data: PairData) -> None:
    """Raise ValueError if observations have another shape than the model's, such as images for a model of vectors."""
    where = f"{data.source}: x" if data.source else "x"
    if data.x.shape[1:] != model.observation_shape:
        expected = ", ".join(map(str, ("N", *model.observation_shape)))
        raise ValueError(f"{where}: Expected shape ({expected}), as the model's observations; got {data.x.shape}.")


def _in_columns(model: PairModel, posterior: Tensor) -> Tensor:
    columns: dict[tuple[int, ...], Any] = {tuple(targets): i for i, targets in enumerate(target_columns(model))}
    index = [columns[tuple(targets)] for targets in model.target_distribution.as_lists()]
    # A column whose set is not in the model's family has probability zero.
    table = posterior.new_zeros(len(posterior), len(columns))
    return table.index_copy(1, torch.as_tensor(index, device=posterior.device), posterior)
