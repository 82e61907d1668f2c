"""Settings of the autoencoder between images and the causal model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

from lcm.base.config import require, require_at_least, require_positive


@final
@dataclass(frozen=True)
class ImageConfig:
    """The convolutional autoencoder of images.

    code: dimension of the code, at least n; None for n.
    channels: of the convolutions, each of which halves height and width.
    hidden: width of the fully connected layers between them and the code.
    passes: over all images.
    batch_size: images, or half as many pairs.
    """

    code: int | None = None
    channels: tuple[int, ...] = (16, 32, 64, 64)
    hidden: int = 256
    passes: float = 10.0
    batch_size: int = 64
    learning_rate: float = 1e-3

    def __post_init__(self) -> None:
        require_at_least(self, 1, "code", "hidden", "batch_size")
        require_positive(self, "passes", "learning_rate")
        require(
            self, ("channels",), lambda value: len(value) > 0 and min(value) >= 1, "one or more numbers of channels"
        )
