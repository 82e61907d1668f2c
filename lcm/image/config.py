"""Settings of what lies between images and the causal model: an autoencoder, and the training of both together."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

from lcm.requirement import require, require_at_least, require_positive


@final
@dataclass(frozen=True)
class ImageConfig:
    """The convolutional autoencoder of images, and its two stages.

    code: dimension of the code, at least n; None for n.
    channels: of the convolutions, each of which halves height and width.
    hidden: width of the fully connected layers between them and the code.
    passes: over all images, for the autoencoder alone.
    batch_size: images, or half as many pairs.
    finetune_passes: over all pairs, for autoencoder and causal model together, of model `flow` only; 0, the default,
    leaves that out: where it was measured it gained nothing (docs/images.md).
    finetune_learning_rate: of the autoencoder then; the causal model has a hundredth of its own.
    pixel_weight: of the log-density of pixels in what is finetuned, which has thousands of them.
    """

    code: int | None = None
    channels: tuple[int, ...] = (16, 32, 64, 64)
    hidden: int = 256
    passes: float = 10.0
    batch_size: int = 64
    learning_rate: float = 1e-3
    finetune_passes: float = 0.0
    finetune_learning_rate: float = 1e-4
    pixel_weight: float = 0.01

    def __post_init__(self) -> None:
        require_at_least(self, 1, "code", "hidden", "batch_size")
        require_at_least(self, 0, "finetune_passes")
        require_positive(self, "passes", "learning_rate", "finetune_learning_rate", "pixel_weight")
        require(
            self, ("channels",), lambda value: len(value) > 0 and min(value) >= 1, "one or more numbers of channels"
        )
