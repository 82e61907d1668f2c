"""Fit a model to pairs of images: autoencoder, then the model of its codes, then both together (docs/images.md)."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch

from lcm.data.pairs import PairData
from lcm.image.autoencoder import ImageAutoencoder
from lcm.image.finetune import finetune
from lcm.image.model import ImageModel
from lcm.image.pretrain import ImagePairs, encode_images, fit_autoencoder
from lcm.learn.config import FitConfig
from lcm.learn.ensemble import run_together
from lcm.learn.flow import read_out
from lcm.learn.objective import Stages
from lcm.learn.prepare import Prepared, prepare
from lcm.learn.result import FitResult, ImageResult
from lcm.learn.tracker import Recorder

_AUTOENCODER_STAGE, _FINETUNE_STAGE = 10, 11


def fit_images(data: PairData, config: FitConfig, device: torch.device, recorder: Recorder) -> ImageResult:
    """Fit to images x and x̃ (N, H, W, C) alone: an autoencoder, `config.model` on its codes, and both together.

    Restarts share the autoencoder, and so are ranked as fits to its codes are; the last stage is for the best alone.

    Raises:
        ValueError: too few pairs, images that the convolutions cannot halve, or what a fit to the codes refuses.
        FloatingPointError: a likelihood that is not finite.
    """
    from lcm.learn.fit import choose_n, fit_ensemble

    n = choose_n(data, config)
    config = replace(config, n=n)
    pairs = ImagePairs(data, config.validation_share, config.seed, device)
    generator = _generator(config.seed, _AUTOENCODER_STAGE, device)
    (autoencoder,) = run_together([fit_autoencoder(pairs, n, config.image, generator)], recorder)
    codes = encode_codes(autoencoder, pairs)
    (latent,) = fit_ensemble(codes, [config], device, recorder)
    if isinstance(latent, ImageResult):
        raise ValueError("codes: Expected vectors; got images.")
    if isinstance(latent, FitResult) and config.model == "flow" and config.image.finetune_passes > 0:
        (latent,) = run_together([_finetuned(latent, autoencoder, codes, pairs, config)], recorder)
        codes = encode_codes(autoencoder, pairs)
    model = ImageModel(autoencoder, latent.model).to(device)
    return ImageResult(model, latent, codes, recorder.seconds, tuple(recorder.records))


def encode_codes(autoencoder: ImageAutoencoder, pairs: ImagePairs) -> PairData:
    """The codes (N, m) of all pairs, with the targets of the data, in the order of the data."""
    rows = torch.arange(len(pairs.data))
    x, x_tilde = (encode_images(autoencoder, part, rows).cpu().numpy() for part in (pairs.before, pairs.after))
    return replace(PairData.from_arrays(x, x_tilde, targets=pairs.data.targets), source=pairs.data.source)


def _finetuned(
    latent: FitResult, autoencoder: ImageAutoencoder, codes: PairData, pairs: ImagePairs, config: FitConfig
) -> Stages[FitResult]:
    implicit, device = latent.implicit, pairs.device
    prepared = _prepared(codes, implicit.noise_decoder.n, config, device)
    settings = config.image, config.noise_encoder
    generator = _generator(config.seed, _FINETUNE_STAGE, device)
    prepared = yield from finetune(autoencoder, implicit, prepared, pairs, settings, generator)
    found = yield from read_out(implicit, prepared, config, lambda stage: _generator(config.seed, stage, device))
    return replace(found, restart=latent.restart, restart_nll=latent.restart_nll, reruns=latent.reruns)


def _prepared(codes: PairData, n: int, config: FitConfig, device: torch.device) -> Prepared:
    return prepare(codes.x, codes.x_tilde, n, config.validation_share, config.seed, device)


def _generator(seed: int, stage: int, device: torch.device) -> torch.Generator:
    state = np.random.SeedSequence([seed, stage]).generate_state(1)[0]
    return torch.Generator(device).manual_seed(int(state))
