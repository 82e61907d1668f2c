"""Pairs from a model, as data sets: its own distribution, interventions, and counterfactuals of given x."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lcm.base import __version__
from lcm.base.rows import in_chunks, writable
from lcm.data.encode import require_same_dimensions
from lcm.data.nature.build import torch_generator
from lcm.data.pairs import PairData
from lcm.model.image import ImageAutoencoder, ImageModel
from lcm.model.latent_causal_model import LatentCausalModel
from lcm.model.scm import Do

_CHUNK = 256
_DRAWN_AT_ONCE = 65_536


@torch.no_grad()
def sample_data(
    model: LatentCausalModel,
    n_pairs: int,
    generator: torch.Generator,
    metadata: Mapping[str, str] | None = None,
    chunk: int = _DRAWN_AT_ONCE,
) -> PairData:
    """Draw `n_pairs` pairs with their truth, `chunk` at a time so that no intermediate is larger.

    The draw depends on `generator` and `chunk`. Raises ValueError where the model gives values that are not
    finite.
    """
    parts = []
    for start in range(0, n_pairs, chunk):
        pairs = model.sample_pairs(min(chunk, n_pairs - start), generator)
        parts.append({name: value.cpu().numpy() for name, value in pairs._asdict().items()})
    tensors = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    adjacency = model.scm.graph.adjacency.astype(np.uint8)
    return PairData.from_arrays(**tensors, adjacency=adjacency, metadata=metadata)


def sample_pairs(model: LatentCausalModel, n_pairs: int, *, seed: int = 0) -> PairData:
    """Draw `n_pairs` pairs from the model's own p(x, x̃), with all that is true of them in the model."""
    return sample_data(model, n_pairs, torch_generator(seed, "sample"), _metadata(seed, {}))


def sample_counterfactuals(
    model: LatentCausalModel,
    values: Mapping[int, float],
    source: PairData | None = None,
    *,
    n: int | None = None,
    seed: int = 0,
) -> PairData:
    """Pairs whose x̃ is the counterfactual of x under hard interventions: abduct, act, predict.

    Args:
        values: learned variable, 0-based, to the value in learned units of z; all of them are set at once.
        source: where x comes from; drawn from the model where it is None.
        n: how many; with a source its first n, by default all.
        seed: of fresh x.

    Returns:
        Pairs with z, z_tilde, noise, noise_tilde (N, n), targets and adjacency of the model.

    Raises:
        ValueError: a variable out of range, neither `n` nor `source`, more pairs than the source has, observations
            of another dimension than the model's, or values that lead to infinite ones.
    """
    outside = [variable for variable in values if not 0 <= variable < model.n]
    if outside:
        raise ValueError(f"do: Expected learned variables in 0..{model.n - 1}; got {outside[0]}")
    do = Do(dict(values))

    def act(x: Tensor, z: Tensor) -> tuple[Tensor, ...]:
        z_tilde = model.scm.counterfactual(z, do)
        return x, model.decode(z_tilde), z, z_tilde, model.scm.abduct(z)[0], model.scm.abduct(z_tilde)[0]

    names = ("x", "x_tilde", "z", "z_tilde", "noise", "noise_tilde")
    columns = in_chunks(act, *(_fresh(model, n, seed) if source is None else _given(model, source, n)))
    tensors = {name: column.cpu().numpy() for name, column in zip(names, columns, strict=True)}
    targets = np.zeros((len(columns[0]), model.n), dtype=np.bool_)
    targets[:, list(values)] = True
    adjacency = model.scm.graph.adjacency.astype(np.uint8)
    return PairData.from_arrays(**tensors, targets=targets, adjacency=adjacency, metadata=_metadata(seed, values))


@torch.no_grad()
def _fresh(model: LatentCausalModel, n: int | None, seed: int) -> tuple[Tensor, Tensor]:
    if n is None:
        raise ValueError("n: Expected a number of pairs, or x to start from; got neither")
    z = model.scm.sample(n, torch_generator(seed, "sample"))
    return in_chunks(lambda part: (model.decode(part),), z)[0], z


@torch.no_grad()
def _given(model: LatentCausalModel, source: PairData, n: int | None) -> tuple[Tensor, Tensor]:
    require_same_dimensions(model, source)
    if n is not None and n > len(source):
        raise ValueError(f"n: Expected at most {len(source)} pairs, as the data have; got {n}")
    x = torch.from_numpy(writable(source.x[:n])).to(model.thickness)
    return x, in_chunks(lambda part: (model.encode(part).z,), x)[0]


def _metadata(seed: int, values: Mapping[int, float]) -> dict[str, str]:
    made = {"made_by": "lcm sample", "version": __version__, "seed": str(seed)}
    return made | ({"do": json.dumps({str(key): value for key, value in values.items()})} if values else {})


def sample_image_pairs(model: ImageModel, n_pairs: int, *, seed: int = 0) -> PairData:
    """Draw pairs of images from the model's own p(x, x̃), with all that is true of them in the model.

    Raises:
        ValueError: a peer, which has no mechanisms.
    """
    return _decoded(model, sample_pairs(model.causal_model(), n_pairs, seed=seed))


def sample_image_counterfactuals(
    model: ImageModel,
    values: Mapping[int, float],
    source: PairData | None = None,
    *,
    n: int | None = None,
    seed: int = 0,
) -> PairData:
    """Pairs of images whose x̃ is the counterfactual of x, as `lcm.data.sample.sample_counterfactuals` says.

    x is the source's own image, and x̃ decoded.

    Raises:
        ValueError: a peer, images of another size than the model's, or what `sample_counterfactuals` refuses.
    """
    latent = model.causal_model()
    if source is None:
        return _decoded(model, sample_counterfactuals(latent, values, n=n, seed=seed))
    require_same_dimensions(model, source)
    codes = replace(source, x=_codes(model.autoencoder, source.x), x_tilde=_codes(model.autoencoder, source.x_tilde))
    pairs = sample_counterfactuals(latent, values, codes, n=n, seed=seed)
    return replace(_decoded(model, pairs), x=np.asarray(source.x[: len(pairs)]))


def _decoded(model: ImageModel, pairs: PairData) -> PairData:
    return replace(pairs, x=_images(model.autoencoder, pairs.x), x_tilde=_images(model.autoencoder, pairs.x_tilde))


def _images(autoencoder: ImageAutoencoder, codes: NDArray[np.float32]) -> NDArray[np.uint8]:
    (found,) = in_chunks(lambda part: (autoencoder.decode(part),), torch.from_numpy(codes), size=_CHUNK)
    return np.asarray(found.numpy())


@torch.no_grad()
def _codes(autoencoder: ImageAutoencoder, images: NDArray[np.uint8]) -> NDArray[np.float32]:
    parts: list[Tensor] = []
    for start in range(0, len(images), _CHUNK):
        parts.append(autoencoder.encode(torch.from_numpy(np.array(images[start : start + _CHUNK]))))
    return np.asarray(torch.cat(parts).numpy())
