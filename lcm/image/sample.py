"""Pairs of images from a model of images: drawn and acted on as codes, then decoded."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lcm.data.pairs import PairData
from lcm.encode import require_same_dimensions
from lcm.image.autoencoder import ImageAutoencoder
from lcm.image.model import ImageModel
from lcm.learn.optimise import in_chunks
from lcm.sample import sample_counterfactuals, sample_pairs

_CHUNK = 256


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
    """Pairs of images whose x̃ is the counterfactual of x, as `lcm.sample.sample_counterfactuals` says.

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
