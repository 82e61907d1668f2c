"""First stages of a fit to images: an autoencoder, then the codes that a model is fitted to (docs/images.md)."""

from __future__ import annotations

import math
from collections.abc import Hashable
from dataclasses import replace
from typing import Any, final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lcm.base.rows import take_rows
from lcm.data.pairs import PairData
from lcm.learn.config import ImageConfig
from lcm.learn.geodesic import Geodesic, blurred, geodesic_coordinates
from lcm.learn.prepared import held_out_pairs
from lcm.learn.training.loop import run_together
from lcm.learn.training.objective import Job, Objective, ParameterGroup, Schedule, Stages
from lcm.learn.training.tracker import Recorder
from lcm.model.image import ImageAutoencoder

_STAGE = "autoencoder"
_STAGE_SEED = 10
_LEARNING_RATE = 1e-3

_ANCHORED_PAIRS = 8_000
_ANCHORED_SHARE = 0.5
_STATISTICS_ROWS = 2_000
_MOST_VALIDATED = 1_000
_CHUNK = 256
_RESIDENT_SHARE = 0.5
_VALIDATIONS = 20
_LEAST_VARIANCE = 1e-12


def fit_codes(
    data: PairData,
    n: int,
    config: ImageConfig,
    validation_share: float,
    seed: int,
    device: torch.device,
    recorder: Recorder,
) -> tuple[ImageAutoencoder, PairData]:
    """Fit an autoencoder to images x and x̃ (N, H, W, C); return it and the pairs of codes (N, m), in the same order.

    Raises:
        ValueError: images that the convolutions cannot halve, a code of fewer than n dimensions, or too few pairs.
        FloatingPointError: a likelihood that is not finite.
    """
    pairs = ImagePairs(data, validation_share, seed, device)
    state = np.random.SeedSequence([seed, _STAGE_SEED]).generate_state(1)[0]
    generator = torch.Generator(device).manual_seed(int(state))
    (autoencoder,) = run_together([fit_autoencoder(pairs, n, config, generator)], recorder)
    rows = torch.arange(len(data))
    x, x_tilde = (encode_images(autoencoder, part, rows).cpu().numpy() for part in (pairs.before, pairs.after))
    return autoencoder, replace(PairData.from_arrays(x, x_tilde, targets=data.targets), source=data.source)


@final
class ImagePairs:
    """The image pairs of a fit, with their training and held-out rows.

    train, held_out: row numbers (N,) of the data, split as `lcm.learn.prepared` splits rows in memory.
    """

    def __init__(self, data: PairData, validation_share: float, seed: int, device: torch.device) -> None:
        self.data, self.device = data, device
        self.before, self.after = ImageRows(data.x, device), ImageRows(data.x_tilde, device)
        order = np.random.default_rng(seed).permutation(len(data))
        held = held_out_pairs(validation_share, len(data), 0)
        self.held_out, self.train = torch.from_numpy(order[:held]), torch.from_numpy(order[held:])

    def single(self, rows: Tensor) -> Tensor:
        """Training images (M, H, W, C) by number: below N an image of x, from N on an image of x_tilde."""
        count, rows = len(self.train), rows.cpu()
        first = rows < count
        images = torch.empty((len(rows), *self.data.x.shape[1:]), dtype=torch.uint8, device=self.device)
        for source, mask in ((self.before, first), (self.after, ~first)):
            images[mask.to(self.device)] = source[self.train[rows[mask] % count]]
        return images


def geodesic_start(pairs: ImagePairs, m: int, generator: np.random.Generator) -> Geodesic:
    """Geodesic coordinates (2 M, m) of x and then x_tilde of the first M training pairs, at most 8,000."""
    rows = pairs.train[:_ANCHORED_PAIRS].numpy()
    return geodesic_coordinates(blurred((pairs.data.x, pairs.data.x_tilde), rows), m, generator)


@final
class AutoencoderObjective(Objective):
    """Mean squared error of images, in units of their variance, and at first the distance of codes from coordinates.

    The geodesic coordinates decide how the sheet of images is laid out; their weight falls to zero at half the steps,
    and then the images alone decide where each code lies. The code's further dimensions are kept small throughout, so
    that the principal directions of codes are those of the coordinates.
    """

    def __init__(self, model: ImageAutoencoder, pairs: ImagePairs, anchors: Tensor) -> None:
        super().__init__()
        self.model = model
        self._pairs = pairs
        self._anchored = len(anchors) // 2
        self._anchors = anchors
        rows = pairs.held_out[:_MOST_VALIDATED]
        self._held_out = torch.cat([pairs.before[rows], pairs.after[rows]])

    def groups(self) -> list[ParameterGroup]:
        return [ParameterGroup(list(self.model.parameters()), _LEARNING_RATE)]

    @property
    def n_rows(self) -> int:
        return 2 * len(self._pairs.train)

    @property
    def row_cost(self) -> int:
        return 16

    def structure(self) -> Hashable:
        return id(self)

    def batch(self, rows: Tensor) -> tuple[Tensor, ...]:
        count = len(self._pairs.train)
        pair = rows % count
        known = pair < self._anchored
        place = torch.where(known, pair + (rows >= count) * self._anchored, 0).cpu()
        anchors = self._anchors[place].to(rows.device)
        return self._pairs.single(rows), anchors.masked_fill(~known.unsqueeze(1), torch.nan)

    def loss(self, batch: tuple[Tensor, ...], progress: float) -> Tensor:
        images, anchors = batch
        with torch.autocast(images.device.type, torch.bfloat16, enabled=images.device.type == "cuda"):
            values = self.model.standardise(images)
            code = self.model.encode_standardised(values).float()
            error = (self.model.decode_standardised(code).float() - values).square().mean()
        n = anchors.shape[1]
        if code.shape[1] > n:
            error = error + code[:, n:].square().mean()
        weight = max(0.0, 1.0 - progress / _ANCHORED_SHARE)
        if weight == 0.0:
            return error
        known = ~anchors.isnan().any(1)
        squares = (code[:, :n] - anchors.nan_to_num()).square() * known.unsqueeze(1)
        return error + weight * squares.sum() / (known.sum().clamp_min(1) * n)

    def validate(self) -> dict[str, Any]:
        error = float(torch.cat([self._errors(chunk) for chunk in self._held_out.split(_CHUNK)]).double().mean())
        return {
            "validation_log_likelihood": self.log_likelihood(error),
            "error": error * float(self.model.scale) ** 2,
        }

    def log_likelihood(self, loss: float) -> float:
        # at the best variance of a normal error of pixels, the likelihood depends on the mean square alone
        variance = loss * float(self.model.scale) ** 2
        return -math.prod(self.model.shape) * math.log(2 * math.pi * math.e * max(variance, _LEAST_VARIANCE))

    def _errors(self, images: Tensor) -> Tensor:
        values = self.model.standardise(images)
        found = self.model.decode_standardised(self.model.encode_standardised(values))
        return (found - values).square().mean((1, 2, 3))


def fit_autoencoder(
    pairs: ImagePairs, n: int, config: ImageConfig, generator: torch.Generator
) -> Stages[ImageAutoencoder]:
    """Fit an autoencoder with a code of `config.code` dimensions, or n, to the training images of x and x_tilde.

    The first n dimensions begin at geodesic coordinates.

    Raises:
        ValueError: a code of fewer than n dimensions, or images that the convolutions cannot halve.
    """
    if config.code is not None and config.code < n:
        raise ValueError(f"image.code: Expected at least n = {n}; got {config.code}.")
    code = n if config.code is None else config.code
    model = ImageAutoencoder(pairs.data.x.shape[1:], code, config.channels, config.hidden).to(pairs.device)
    model.draw_weights(generator)
    _standardise(model, pairs)
    seed = int(torch.randint(2**31, (), generator=generator, device=generator.device))
    anchors = geodesic_start(pairs, n, np.random.default_rng(seed)).coordinates
    objective = AutoencoderObjective(model, pairs, torch.from_numpy(anchors).float())
    steps = max(_VALIDATIONS, round(config.passes * objective.n_rows / config.batch_size))
    schedule = Schedule(steps, config.batch_size, validate_every=max(1, steps // _VALIDATIONS))
    yield Job(_STAGE, objective, schedule, generator)
    return model.requires_grad_(False)


@torch.no_grad()
def _standardise(model: ImageAutoencoder, pairs: ImagePairs) -> None:
    """Set mean and scale from the first training images."""
    rows = pairs.train[:_STATISTICS_ROWS]
    images = torch.cat([pairs.before[rows], pairs.after[rows]])
    levels = images.permute(0, 3, 1, 2).float() / 255.0
    model.mean.copy_(levels.mean(0))
    model.scale.copy_((levels - model.mean).square().mean().sqrt().clamp_min(1e-6))


@torch.no_grad()
def encode_images(model: ImageAutoencoder, images: ImageRows, rows: Tensor) -> Tensor:
    """Codes (M, m) of the images with these numbers (M,)."""
    return torch.cat([model.encode(images[part]) for part in rows.split(_CHUNK)])


@final
class ImageRows:
    """Rows of uint8 images (N, H, W, C) by number; a GPU with enough free memory holds all images."""

    def __init__(self, images: NDArray[np.uint8], device: torch.device) -> None:
        self._images, self._device = images, device
        self._resident = _on_device(images, device)

    def __len__(self) -> int:
        return len(self._images)

    def __getitem__(self, rows: Tensor) -> Tensor:
        """The images (M, H, W, C) with these numbers (M,), uint8, on the device."""
        if self._resident is not None:
            return self._resident[rows.to(self._device)]
        found = torch.from_numpy(take_rows(self._images, rows.cpu().numpy()))
        return found.to(self._device, non_blocking=True)


def _on_device(images: NDArray[np.uint8], device: torch.device) -> Tensor | None:
    if device.type != "cuda" or images.nbytes > _RESIDENT_SHARE * torch.cuda.mem_get_info(device)[0]:
        return None
    resident = torch.empty(images.shape, dtype=torch.uint8, device=device)
    for start in range(0, len(images), 4096):
        resident[start : start + 4096] = torch.from_numpy(np.ascontiguousarray(images[start : start + 4096]))
    return resident
