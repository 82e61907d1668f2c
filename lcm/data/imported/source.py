"""Encoded images, and pairs of them that are read in order, in blocks of rows, and become a data set."""

from __future__ import annotations

import hashlib
import io
import logging
import os
import sys
import warnings
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, JpegImagePlugin, UnidentifiedImageError
from tqdm import tqdm

from lcm.base import __version__
from lcm.base.rows import Array
from lcm.data.image_files import (
    DiskFull,
    FinishedBefore,
    PairWriter,
    found_shards,
    partial_folder,
    remove_partial,
    writer_is_at_work,
)

_SMALLEST, _LARGEST, _MULTIPLE = 16, 512, 16
_EIGHT_BITS = ("1", "L", "LA", "P", "PA", "RGB", "RGBA", "CMYK", "YCbCr")
_FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "TIFF", "GIF")
"""What is opened, whatever the name of the file: none of these starts another program."""

_MOST_PIXELS = 1 << 25
_TRANSPOSED = (5, 6, 7, 8)
_ORIENTATION = 0x0112
_BLOCK = 256
_BLOCKS_AHEAD = 2


@final
@dataclass(frozen=True)
class EncodedImage:
    """An image as a PNG, JPEG, WebP, BMP, TIFF or GIF, or as pixels.

    where: its name in errors. content: its bytes, the file, or pixels uint8 (H, W, 3).
    """

    where: str
    content: bytes | Path | NDArray[np.uint8]


def require_size(size: int) -> None:
    """Raise ValueError unless images can have this height and width."""
    if not (_SMALLEST <= size <= _LARGEST and size % _MULTIPLE == 0):
        raise ValueError(f"size: Expected a multiple of {_MULTIPLE} from {_SMALLEST} to {_LARGEST}; got {size}.")


def image_size(image: EncodedImage) -> tuple[int, int]:
    """Width and height as viewers show it, from the header alone.

    Raises:
        ValueError: not an image.
    """
    with _opened(image) as opened:
        return _shown_size(opened)


def _shown_size(opened: Image.Image) -> tuple[int, int]:
    width, height = opened.size
    return (height, width) if opened.getexif().get(_ORIENTATION) in _TRANSPOSED else (width, height)


def decode_image(image: EncodedImage, size: int, first: EncodedImage, first_size: tuple[int, int]) -> NDArray[np.uint8]:
    """The image as (size, size, 3), averaged over areas; greyscale becomes RGB, and transparent pixels become black.

    It is turned as its orientation tag says. A JPEG is read at half, a quarter or an eighth of its size if that is
    large enough, which is faster.

    Args:
        first, first_size: an image of the same set, and its width and height, which all images must have.

    Raises:
        ValueError: an image that is missing, corrupt, truncated, of more than 8 bits a channel, not square, smaller
            than `size`, or of another size than the first.
    """
    with _opened(image) as opened:
        _require_square(image, opened, size)
        if _shown_size(opened) != first_size:
            expected = f"images of one size, {_pixels(first_size)} as {first.where}"
            raise ValueError(f"{image.where}: Expected {expected}; got {_pixels(_shown_size(opened))}")
        if isinstance(opened, JpegImagePlugin.JpegImageFile):
            opened.draft(None, (size, size))
        colours = _to_rgb(ImageOps.exif_transpose(opened))
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
    """The open image; any error of Pillow becomes a ValueError that names the image."""
    try:
        with _image_of(image.content) as opened:
            if opened.width * opened.height > _MOST_PIXELS:
                expected = f"at most {_MOST_PIXELS:,} pixels"
                raise ValueError(f"{image.where}: Expected {expected}; got {_pixels(opened.size)}")
            yield opened
    except FileNotFoundError as error:
        raise ValueError(f"{image.where}: Expected an image; got no such file") from error
    except ValueError as error:
        # the checks of this module name the image already
        if str(error).startswith(image.where):
            raise
        raise _corrupt(image, error) from error
    except Exception as error:
        # Pillow raises errors of every kind on bad bytes
        raise _corrupt(image, error) from error


def _image_of(content: Any) -> Image.Image:
    if isinstance(content, np.ndarray):
        return Image.fromarray(content)
    return Image.open(content if isinstance(content, Path) else io.BytesIO(content), formats=_FORMATS)


def _corrupt(image: EncodedImage, error: Exception) -> ValueError:
    known = f"not an image in one of the formats {', '.join(_FORMATS)}"
    reason = known if isinstance(error, UnidentifiedImageError) else " ".join(str(error).split())
    return ValueError(f"{image.where}: Expected a whole image; got a corrupt or truncated one ({reason})")


def _pixels(size: tuple[int, int]) -> str:
    return f"{size[0]} x {size[1]} pixels"


Block = list[tuple[EncodedImage, EncodedImage]]


class PairSource(ABC):
    """Abstract: pairs that become one data set.

    Attributes:
        name: the name of the file, without its suffix.
        truth: what is known of the pairs, in the types of `PairData`: arrays of N rows, and "adjacency".
        metadata: text entries of the file.
    """

    def __init__(self, name: str, truth: Mapping[str, Array], metadata: Mapping[str, str]) -> None:
        self.name, self.truth, self.metadata = name, dict(truth), dict(metadata)

    @abstractmethod
    def __len__(self) -> int:
        """Number of pairs."""

    @abstractmethod
    def read(self, blocks: Sequence[tuple[int, int]]) -> Iterator[Block]:
        """The images before and after of each block of rows (start, stop); the blocks come in rising order.

        Raises:
            ValueError: the images cannot be read.
        """


@final
class PairsOfFiles(PairSource):
    """Pairs whose images are separate files."""

    def __init__(
        self,
        name: str,
        truth: Mapping[str, Array],
        metadata: Mapping[str, str],
        files: Sequence[tuple[Path, Path]],
        source: str,
    ) -> None:
        """`files` are pairs, before and after; `source` begins each error about a file."""
        super().__init__(name, truth, metadata)
        self._files, self._source = files, source

    def __len__(self) -> int:
        return len(self._files)

    def read(self, blocks: Sequence[tuple[int, int]]) -> Iterator[Block]:
        for start, stop in blocks:
            yield [self._pair(row) for row in range(start, stop)]

    def _pair(self, row: int) -> tuple[EncodedImage, EncodedImage]:
        before, after = self._files[row]
        where = f"{self._source}: row {row}"
        return EncodedImage(f"{where}: before: {before}", before), EncodedImage(f"{where}: after: {after}", after)


def identity_of_files(files: Iterable[Path]) -> str:
    """The SHA-256 (64 hex digits) of paths, sizes and times of change; a missing file counts as missing."""
    digest = hashlib.sha256()
    for file in files:
        state = file.stat() if file.exists() else None
        digest.update(f"{file.absolute()};{state and (state.st_size, state.st_mtime_ns)};".encode())
    return digest.hexdigest()


def write_image_pairs(
    out: Path,
    sources: Sequence[PairSource],
    identity: Mapping[str, str],
    size: int,
    *,
    threads: int | None = None,
    progress: bool = False,
) -> dict[Path, int]:
    """Write a file for each of the `sources` to `out`; return the files and their numbers of pairs.

    `out` appears whole or not at all.

    An interrupted call resumes where the settings and `identity` are the same; `identity` tells one source from
    another. The bytes depend on the images, the truth, `size` and the metadata alone.

    Args:
        size: height and width of the written images.
        threads: the number of threads that decode, by default one per core.
        progress: whether to show progress bars on stderr.

    Raises:
        ValueError: `out` is a file or a folder that is not empty, an image is bad, or the disk is full.
    """
    settings = {**identity, "size": str(size), "version": __version__, "block": str(_BLOCK)}
    # Pillow warns of what it reads all the same, one line an image
    with suppress(FinishedBefore), _without_warnings(), partial_folder(out, settings) as folder:
        try:
            for pairs in sources:
                path = folder / f"{pairs.name}.safetensors"
                if writer_is_at_work(path) or not (path.exists() or found_shards(path)):
                    _write_file(path, pairs, size, threads or len(os.sched_getaffinity(0)), progress)
        except DiskFull:
            raise
        except ValueError:
            # what is refused will be refused again
            remove_partial(out)
            raise
    return {out / f"{pairs.name}.safetensors": len(pairs) for pairs in sources}


@contextmanager
def _without_warnings() -> Iterator[None]:
    logger = logging.getLogger("PIL")
    before = logger.level
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module=r"PIL\b")
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)
        logger.setLevel(logging.CRITICAL + 1)
        try:
            yield
        finally:
            logger.setLevel(before)


def _write_file(path: Path, pairs: PairSource, size: int, threads: int, progress: bool) -> None:
    metadata = {"made_by": "lcm import", "version": __version__, "size": str(size), **pairs.metadata}
    # always the size of the first image of all, also after a resume: every image is compared with it
    (((first, _),),) = pairs.read([(0, 1)])
    first_size = image_size(first)
    writer = PairWriter(path, len(pairs), (size, size, 3), pairs.truth, metadata)
    missing = writer.missing(_BLOCK)
    shown = None if progress else True
    with tqdm(total=len(pairs), desc=pairs.name, unit=" pairs", file=sys.stderr, disable=shown) as bar:
        bar.update(len(pairs) - sum(stop - start for start, stop in missing))
        # closed here, since a pool cannot be closed by the collector in one of its threads
        with closing(_decoded(pairs.read(missing), size, first, first_size, threads)) as decoded:
            for (start, _), (before, after) in zip(missing, decoded, strict=True):
                writer.write(start, before, after)
                bar.update(len(before))
    writer.finish()


def _decoded(
    blocks: Iterator[Block], size: int, first: EncodedImage, first_size: tuple[int, int], threads: int
) -> Generator[tuple[Array, Array], None, None]:
    """The images (B, size, size, 3) before and after of each block; the next blocks are decoded in the background."""
    with ThreadPoolExecutor(threads) as pool:
        waiting: deque[list[Future[NDArray[np.uint8]]]] = deque()
        try:
            for block in blocks:
                images = [image for pair in block for image in pair]
                waiting.append([pool.submit(decode_image, image, size, first, first_size) for image in images])
                if len(waiting) > _BLOCKS_AHEAD:
                    yield _gathered(waiting.popleft())
            while waiting:
                yield _gathered(waiting.popleft())
        finally:
            pool.shutdown(cancel_futures=True)


def _gathered(images: list[Future[NDArray[np.uint8]]]) -> tuple[Array, Array]:
    decoded = np.stack([image.result() for image in images])
    return decoded[::2], decoded[1::2]
