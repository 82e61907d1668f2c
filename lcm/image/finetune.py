"""Last stage of a fit to images: autoencoder and noise encoder together, by one bound (docs/images.md)."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import replace
from typing import Any, final

import numpy as np
import torch
from torch import Tensor, nn

from lcm.decoder import ChainDecoder
from lcm.image.autoencoder import ImageAutoencoder
from lcm.image.config import ImageConfig
from lcm.image.pretrain import ImagePairs, encode_images
from lcm.learn.config import NoiseEncoderConfig
from lcm.learn.implicit import ImplicitModel
from lcm.learn.optimise import Group, Job, Objective, Schedule, Stages
from lcm.learn.prepare import Prepared
from lcm.likelihood import THICKNESS_FLOOR

STAGE = "finetuning"

_CLOSED_FORM_RATE = 0.02
_START_SPREAD = 0.01
_MOST_VALIDATED = 500
_CHUNK = 128
_VALIDATIONS = 20
_FLOW_SHARE = 0.01


@final
class FinetuneObjective(Objective):
    """A bound of log p(x, x̃) of images in nats a pair: log p(c, c̃) + log p(x | c) + log p(x̃ | c̃) + entropy.

    p(x | c) is normal about the decoded image, of one variance for all pixels. A code is c plus normal noise of spread
    τ_k in coordinate k when it is decoded, and its mean when the causal model looks at it: without that noise the codes
    would shrink without end, which makes their density as large as one likes. Pixels count by `pixel_weight`: the
    decoder errs alike in many of them, and so they are no independent observations. Thickness, p_𝓘 and the variance
    move towards their closed forms.
    """

    closed_form: Tensor
    log_variance: Tensor

    def __init__(
        self,
        autoencoder: ImageAutoencoder,
        model: ImplicitModel,
        standardisation: ChainDecoder,
        pairs: ImagePairs,
        settings: tuple[ImageConfig, NoiseEncoderConfig],
        generator: torch.Generator,
    ) -> None:
        super().__init__()
        self.autoencoder, self.model, self._standardisation = autoencoder, model, standardisation
        self._config, self._flow = settings
        self._pairs, self._generator = pairs, generator
        self.log_spread = nn.Parameter(
            torch.full((autoencoder.code,), float(np.log(_START_SPREAD)), device=pairs.device)
        )
        self.register_buffer("closed_form", model.thickness.clone())
        rows = pairs.held_out[:_MOST_VALIDATED]
        self._held_out = pairs.before[rows], pairs.after[rows]
        # one set of draws for all validations, or their luck would choose among states
        self._draws = self._noise(len(rows))
        self.register_buffer("log_variance", torch.zeros((), device=pairs.device))
        with torch.no_grad():
            self.log_variance.copy_(self._errors().log())

    def groups(self) -> list[Group]:
        rate = self._config.finetune_learning_rate
        return [
            Group([*self.autoencoder.parameters(), self.log_spread], rate),
            Group(list(self.model.noise_decoder.parameters()), _FLOW_SHARE * self._flow.rate),
            Group(list(self.model.solution.parameters()), _FLOW_SHARE * self._flow.solution_learning_rate),
        ]

    @property
    def n_rows(self) -> int:
        return len(self._pairs.train)

    @property
    def row_cost(self) -> int:
        return 32

    def structure(self) -> Hashable:
        return id(self)

    def batch(self, rows: Tensor) -> tuple[Tensor, ...]:
        numbers = self._pairs.train[rows.cpu()]
        return self._pairs.before[numbers], self._pairs.after[numbers], self._noise(len(rows))

    def loss(self, batch: tuple[Tensor, ...], progress: float) -> Tensor:
        before, after, draws = batch
        fit, coordinates, error = self._encode(before, after, draws)
        pairs = self.model.encode_pairs(*coordinates)
        self.model.thickness.copy_(self.closed_form)
        joint = self.model.joint(self.model.terms(pairs, self.model.thickness))
        with torch.no_grad():
            changed = (before != after).flatten(1).any(1)
            posterior = torch.softmax(joint, 1)
            variance = self.model.staying_variance(pairs, posterior, changed)
            updated = self.closed_form.square().lerp(variance, _CLOSED_FORM_RATE)
            self.closed_form.copy_(updated.clamp_min(THICKNESS_FLOOR**2).sqrt())
            probabilities = self.model.target_distribution.probabilities
            probabilities.copy_(probabilities.lerp(posterior.mean(0), _CLOSED_FORM_RATE))
            self.log_variance.copy_(self.log_variance.exp().lerp(error, _CLOSED_FORM_RATE).log())
        return -(fit + torch.logsumexp(joint, 1)).mean()

    def _encode(self, before: Tensor, after: Tensor, draws: Tensor) -> tuple[Tensor, tuple[Tensor, Tensor], Tensor]:
        """Log-density of the pixels with the entropy (N,), coordinates of the fit (N, n) twice, and the mean error."""
        images = torch.cat([before, after])
        with torch.autocast(images.device.type, torch.bfloat16, enabled=images.device.type == "cuda"):
            values = self.autoencoder.standardise(images)
            code = self.autoencoder.encode_standardised(values).float()
            noisy = code + self.log_spread.exp() * draws.transpose(0, 1).flatten(0, 1)
            squares = (self.autoencoder.decode_standardised(noisy).float() - values).square().flatten(1).sum(1)
        pixels = values[0].numel()
        density = -0.5 * squares * torch.exp(-self.log_variance) - 0.5 * pixels * self.log_variance
        first, second = (self._standardisation.inverse(part)[0] for part in code.chunk(2))
        fit = self._config.pixel_weight * density.view(2, -1).sum(0) + 2.0 * self.log_spread.sum()
        return fit, (first, second), squares.mean() / pixels

    def validate(self) -> dict[str, Any]:
        model, parts = self.model, []
        model.thickness.copy_(self.closed_form)
        for chunk in self._chunks():
            fit, coordinates, error = self._encode(*chunk)
            density = model.log_density(model.terms(model.encode_pairs(*coordinates), model.thickness))
            parts.append(torch.stack([fit + density, density, error.expand_as(fit)]))
        bound, density, error = torch.cat(parts, 1).double().mean(1).tolist()
        return {
            "validation_log_likelihood": bound,
            "code_log_likelihood": density,
            "error": error * float(self.autoencoder.scale) ** 2,
            "thickness": model.thickness.tolist(),
            "spread": self.log_spread.exp().tolist(),
        }

    def _errors(self) -> Tensor:
        """Mean squared error a pixel of the held-out images, standardised."""
        return torch.stack([self._encode(*chunk)[2] for chunk in self._chunks()]).mean()

    def _chunks(self) -> list[tuple[Tensor, ...]]:
        parts = (part.split(_CHUNK) for part in (*self._held_out, self._draws))
        return list(zip(*parts, strict=True))

    def _noise(self, rows: int) -> Tensor:
        shape = (rows, 2, self.autoencoder.code)
        return torch.randn(shape, generator=self._generator, device=self._generator.device)


def finetune(
    autoencoder: ImageAutoencoder,
    model: ImplicitModel,
    prepared: Prepared,
    pairs: ImagePairs,
    settings: tuple[ImageConfig, NoiseEncoderConfig],
    generator: torch.Generator,
) -> Stages[Prepared]:
    """Train autoencoder and noise encoder together, in place, and return the pairs in the codes that come of it.

    Args:
        autoencoder, model: as the stages before left them.
        prepared: the codes that `model` was fitted to; their standardisation stays.
        pairs: the images, split as `prepared` is.
        settings: of the images and of the noise encoder.
        generator: draws batches and noise.
    """
    config = settings[0]
    for part in (autoencoder, model):
        part.requires_grad_(True)
    objective = FinetuneObjective(autoencoder, model, prepared.standardisation, pairs, settings, generator)
    steps = max(_VALIDATIONS, round(config.finetune_passes * len(pairs.train) / (config.batch_size / 2)))
    schedule = Schedule(steps, max(1, config.batch_size // 2), validate_every=max(1, steps // _VALIDATIONS))
    yield Job(STAGE, objective, schedule, generator)
    for part in (autoencoder, model):
        part.requires_grad_(False)

    def coordinates(rows: Tensor) -> tuple[Tensor, Tensor]:
        before, after = (encode_images(autoencoder, source, rows) for source in (pairs.before, pairs.after))
        return prepared.standardisation.inverse(before)[0], prepared.standardisation.inverse(after)[0]

    return replace(prepared, train=coordinates(pairs.train), validation=coordinates(pairs.held_out))
