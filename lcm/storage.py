"""Models on disk: one safetensors file with a JSON header; nothing is unpickled."""

from __future__ import annotations

import json
from importlib import import_module
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open

from lcm.baseline.vae import GaussianVAE
from lcm.files import write_tensors
from lcm.model import LatentCausalModel
from lcm.pair_model import PairModel

SCHEMA_VERSION = 1

StoredModel = PairModel | GaussianVAE
"""What a model file can hold: its description has a type, or is that of a latent causal model."""

_PEERS = {
    "ilcm-vae": "lcm.baseline.implicit_vae:ImplicitVAE",
    "elcm-vae": "lcm.baseline.explicit_vae:ExplicitVAE",
    **dict.fromkeys(
        ("dvae", "beta-vae", "vae-supervised-interventions"), "lcm.baseline.disentanglement_vae:DisentanglementVAE"
    ),
    "gaussian-vae": "lcm.baseline.vae:GaussianVAE",
    "image": "lcm.image.model:ImageModel",
}


def save_model(model: StoredModel, path: str | Path) -> None:
    """Write a model to one safetensors file, whole or not at all."""
    tensors = {name: value.detach().cpu().numpy() for name, value in model.state_dict().items()}
    header = {"schema": str(SCHEMA_VERSION), "model": json.dumps(model.description())}
    write_tensors(path, tensors, header)


def load_model(path: str | Path, device: str | torch.device = "cpu") -> StoredModel:
    """Read a model, its parameters fixed, written by `save_model`, or a run folder that holds one as model.safetensors.

    Raises:
        ValueError: the file is missing, truncated, not a model, or of a schema version or a type this package does
            not know.
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
    model = _build(json.loads(header["model"]), path)
    # assigned, not copied, so that a float64 model comes back in float64
    model.load_state_dict(tensors, assign=True)
    return model.requires_grad_(False).to(device)


def load_causal_model(path: str | Path, device: str | torch.device = "cpu") -> LatentCausalModel:
    """Read a latent causal model as `load_model` does.

    Raises:
        ValueError: as `load_model`, or the file holds a model of another type.
    """
    return as_causal_model(load_model(path, device), path)


def as_causal_model(model: StoredModel, path: str | Path) -> LatentCausalModel:
    """The model as it is; ValueError where it is of another type."""
    if not isinstance(model, LatentCausalModel):
        raise ValueError(f"{path}: Expected a latent causal model; got one of kind {model.kind}")
    return model


def load_pair_model(path: str | Path, device: str | torch.device = "cpu") -> PairModel:
    """Read a model of pairs, a latent causal model or a peer, as `load_model` does.

    Raises:
        ValueError: as `load_model`, or the file holds a model of single observations.
    """
    model = load_model(path, device)
    if not isinstance(model, PairModel):
        raise ValueError(f"{path}: Expected a model of pairs; got one of kind {model.kind}")
    return model


def build_pair_model(description: dict[str, Any]) -> PairModel:
    """Rebuild a model of pairs, without its tensors, from its description.

    Raises:
        ValueError: that of another model.
    """
    model = _build(description, "model")
    if not isinstance(model, PairModel):
        raise ValueError(f"model: Expected a model of pairs; got one of kind {model.kind}")
    return model


def _build(description: dict[str, Any], path: str | Path) -> StoredModel:
    kind = description.get("type")
    if kind is None:
        return LatentCausalModel.build(description)
    if kind not in _PEERS:
        known = ", ".join(_PEERS)
        raise ValueError(f"{path}: Expected a latent causal model or one of {known}; got a model of type {kind!r}.")
    module, name = _PEERS[kind].split(":")
    model: StoredModel = getattr(import_module(module), name).build(description)
    return model
