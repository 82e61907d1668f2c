"""Models on disk: one safetensors file with a JSON header. No file is unpickled."""

from __future__ import annotations

from pathlib import Path

import torch

from lcm.base.files import read_tensors
from lcm.base.json_text import parse_json
from lcm.base.text import shortened
from lcm.model.described import restored
from lcm.model.latent_causal_model import LatentCausalModel
from lcm.model.pair_model import SCHEMA_VERSION, PairModel


def save_model(model: PairModel, path: str | Path) -> None:
    """Write a model to one safetensors file, whole or not at all."""
    model.save(path)


def load_model(path: str | Path, device: str | torch.device = "cpu") -> PairModel:
    """Read any model from a file, or from a run folder that holds model.safetensors. Its parameters are fixed.

    Raises:
        ValueError: a file that is missing, truncated or not a model, or a schema version or type of model that this
            package does not know.
    """
    path = Path(path)
    path = path / "model.safetensors" if path.is_dir() else path
    if not path.is_file():
        raise ValueError(f"{path}: Expected a saved model; got no such file.")
    arrays, header = read_tensors(path)
    if header.get("schema") != str(SCHEMA_VERSION):
        found = shortened(header.get("schema", "none"))
        raise ValueError(f"{path}: Expected a model of schema version {SCHEMA_VERSION}; got {found}.")
    if "model" not in header:
        raise ValueError(f"{path}: Expected a description of the model in the header; got none.")
    description = parse_json(header["model"], f"{path}: model")
    try:
        model = restored(description, {name: torch.from_numpy(array) for name, array in arrays.items()}, path)
    except ValueError as error:
        raise ValueError(f"{path}: {str(error).removeprefix(f'{path}: ')}") from error
    return model.requires_grad_(False).to(device)


def load_causal_model(path: str | Path, device: str | torch.device = "cpu") -> LatentCausalModel:
    """Read a latent causal model, as `load_model` does.

    Raises:
        ValueError: as `load_model`, or a model of another type.
    """
    return as_causal_model(load_model(path, device), path)


def as_causal_model(model: PairModel, path: str | Path) -> LatentCausalModel:
    """Return the model. Raises ValueError if it is not a latent causal model."""
    if not isinstance(model, LatentCausalModel):
        raise ValueError(f"{path}: Expected a latent causal model; got one of kind {model.kind}")
    return model
