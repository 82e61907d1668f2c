"""Models on disk: one safetensors file with a JSON header. No file is unpickled."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open

from lcm.model.latent_causal_model import LatentCausalModel
from lcm.model.pair_model import SCHEMA_VERSION, PairModel, build_model


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
    try:
        with safe_open(path, framework="pt", device=str(device)) as file:
            header = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise ValueError(f"{path}: Expected a whole safetensors file; got {error}.") from error
    if header.get("schema") != str(SCHEMA_VERSION):
        found = header.get("schema", "none")
        raise ValueError(f"{path}: Expected a model of schema version {SCHEMA_VERSION}; got {found}.")
    model = build_model(json.loads(header["model"]), path)
    # assigned, not copied, so that a float64 model stays float64
    model.load_state_dict(tensors, assign=True)
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
