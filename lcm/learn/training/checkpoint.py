"""A checkpoint: tensors in one safetensors file, which says what fit it belongs to and whether it is intact."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from lcm.base.atomic import atomic_write

_IDENTITY, _STAGE, _DIGEST = "identity", "stage", "sha256"


def write_checkpoint(path: Path, tensors: Mapping[str, Tensor], identity: str, stage: str) -> None:
    """Write the tensors with the hash of the fit and the name of its stage, whole or not at all."""
    path.parent.mkdir(exist_ok=True)
    kept = {name: value.detach().cpu().contiguous().clone() for name, value in tensors.items()}
    size = sum(value.nbytes for value in kept.values())
    with atomic_write(path, size) as part:
        save_file(kept, part, {_IDENTITY: identity, _STAGE: stage, _DIGEST: _digest(kept)})


def read_checkpoint(path: Path, identity: str, stage: str) -> dict[str, Tensor]:
    """Read the tensors of a checkpoint.

    Raises:
        ValueError: an empty, truncated or changed file, or a checkpoint of another fit, version or stage. The message
            says how to go on without it.
    """
    try:
        with safe_open(path, framework="pt") as file:
            found = dict(file.metadata() or {})
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError, ValueError, TypeError, OverflowError) as error:
        raise _unusable(path, "a whole checkpoint", f"one that cannot be read ({error})") from error
    if (found.get(_IDENTITY), found.get(_STAGE)) != (identity, stage):
        expected = "a checkpoint of this fit (its data, config, seed, device and versions)"
        raise _unusable(path, expected, "one of another")
    if found.get(_DIGEST) != _digest(tensors):
        raise _unusable(path, "a checkpoint as the fit wrote it", "one with other numbers")
    return tensors


def _unusable(path: Path, expected: str, got: str) -> ValueError:
    return ValueError(f"{path}: Expected {expected}; got {got}. Delete {path.parent} to start its stages again.")


def _digest(tensors: Mapping[str, Tensor]) -> str:
    digest = hashlib.sha256()
    for name, value in sorted(tensors.items()):
        digest.update(f"{name} {value.dtype} {tuple(value.shape)};".encode())
        digest.update(value.reshape(-1).view(torch.uint8).numpy().data if value.numel() else b"")
    return digest.hexdigest()
