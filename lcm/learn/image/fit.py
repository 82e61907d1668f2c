"""The first stages of a fit to images: an autoencoder, then the codes that a model is fitted to (docs/images.md)."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch

from lcm.data.pairs import PairData
from lcm.learn.image.config import ImageConfig
from lcm.learn.image.pretrain import ImagePairs, encode_images, fit_autoencoder
from lcm.learn.training.loop import run_together
from lcm.learn.training.tracker import Recorder
from lcm.model.image import ImageAutoencoder

_AUTOENCODER_STAGE = 10


def fit_codes(
    data: PairData,
    n: int,
    config: ImageConfig,
    validation_share: float,
    seed: int,
    device: torch.device,
    recorder: Recorder,
) -> tuple[ImageAutoencoder, PairData]:
    """An autoencoder of images x and x̃ (N, H, W, C), and the pairs of codes (N, m) of all of them, in their order.

    Raises:
        ValueError: images that the convolutions cannot halve.
        FloatingPointError: a likelihood that is not finite.
    """
    pairs = ImagePairs(data, validation_share, seed, device)
    state = np.random.SeedSequence([seed, _AUTOENCODER_STAGE]).generate_state(1)[0]
    generator = torch.Generator(device).manual_seed(int(state))
    (autoencoder,) = run_together([fit_autoencoder(pairs, n, config, generator)], recorder)
    rows = torch.arange(len(data))
    x, x_tilde = (encode_images(autoencoder, part, rows).cpu().numpy() for part in (pairs.before, pairs.after))
    return autoencoder, replace(PairData.from_arrays(x, x_tilde, targets=data.targets), source=data.source)
