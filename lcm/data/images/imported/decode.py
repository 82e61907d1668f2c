"""Encoded images, decoded to squares of one size; a bad one is an error that says which it is."""

from __future__ import annotations

import io
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

import numpy as np
from numpy.typing import NDArray
from PIL import Image, JpegImagePlugin, UnidentifiedImageError

_SMALLEST, _LARGEST, _MULTIPLE = 16, 512, 16
_EIGHT_BITS = ("1", "L", "LA", "P", "PA", "RGB", "RGBA", "CMYK", "YCbCr")


@final
@dataclass(frozen=True)
class EncodedImage:
    """An image as a JPEG, PNG or another format that Pillow reads.

    where: how errors name it. content: its bytes, or the file.
    """

    where: str
    content: bytes | Path


def require_size(size: int) -> None:
    """Raise ValueError unless images of this height and width can be learned from."""
    if not (_SMALLEST <= size <= _LARGEST and size % _MULTIPLE == 0):
        raise ValueError(f"size: Expected a multiple of {_MULTIPLE} from {_SMALLEST} to {_LARGEST}; got {size}.")


def image_size(image: EncodedImage) -> tuple[int, int]:
    """Width and height, from the header alone.

    Raises:
        ValueError: no image.
    """
    with _opened(image) as opened:
        return opened.size


def decode(image: EncodedImage, size: int, first: EncodedImage, first_size: tuple[int, int]) -> NDArray[np.uint8]:
    """The image as (size, size, 3), averaged over areas; greyscale becomes RGB, and what is transparent black.

    A JPEG is read at half, a quarter or an eighth where that is large enough, which averages blocks too, and is faster.

    Args:
        first, first_size: an image of the same set, and its width and height, which all must have.

    Raises:
        ValueError: an image that is missing, corrupt, truncated, of more than 8 bits a channel, not square, smaller
            than `size`, or of another size than the first.
    """
    with _opened(image) as opened:
        _require_square(image, opened, size)
        if opened.size != first_size:
            expected = f"images of one size, {_pixels(first_size)} as {first.where}"
            raise ValueError(f"{image.where}: Expected {expected}; got {_pixels(opened.size)}")
        if isinstance(opened, JpegImagePlugin.JpegImageFile):
            opened.draft(None, (size, size))
        colours = _to_rgb(opened)
        return np.asarray(colours.resize((size, size), Image.Resampling.BOX))


def _require_square(image: EncodedImage, opened: Image.Image, size: int) -> None:
    if opened.mode not in _EIGHT_BITS:
        raise ValueError(f"{image.where}: Expected at most 8 bits a channel; got an image of mode {opened.mode}")
    if opened.width != opened.height:
        raise ValueError(f"{image.where}: Expected a square image; got {_pixels(opened.size)}")
    if opened.width < size:
        expected = f"an image of at least {_pixels((size, size))}, the size to be written"
        raise ValueError(f"{image.where}: Expected {expected}; got {_pixels(opened.size)}")


def _to_rgb(opened: Image.Image) -> Image.Image:
    if "A" not in opened.getbands() and "transparency" not in opened.info:
        return opened.convert("RGB")
    layer = opened.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", layer.size, (0, 0, 0, 255)), layer).convert("RGB")


@contextmanager
def _opened(image: EncodedImage) -> Iterator[Image.Image]:
    """The open image; whatever Pillow says of a bad one becomes a ValueError that names it."""
    content: Any = image.content if isinstance(image.content, Path) else io.BytesIO(image.content)
    try:
        with Image.open(content) as opened:
            yield opened
    except FileNotFoundError as error:
        raise ValueError(f"{image.where}: Expected an image; got no such file") from error
    except ValueError as error:
        # the checks above name the image themselves
        if str(error).startswith(image.where):
            raise
        raise _corrupt(image, error) from error
    except (OSError, SyntaxError, EOFError, struct.error, Image.DecompressionBombError) as error:
        raise _corrupt(image, error) from error


def _corrupt(image: EncodedImage, error: Exception) -> ValueError:
    reason = "not an image" if isinstance(error, UnidentifiedImageError) else " ".join(str(error).split())
    return ValueError(f"{image.where}: Expected a whole image; got a corrupt or truncated one ({reason})")


def _pixels(size: tuple[int, int]) -> str:
    return f"{size[0]} x {size[1]} pixels"
