"""Pairs of encoded images, decoded on several threads ahead of the writing, into a folder that appears at the end."""

from __future__ import annotations

import os
import sys
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from lcm import __version__
from lcm.data.images.imported.decode import EncodedImage, decode, image_size
from lcm.data.images.imported.source import Block, ImagePairs
from lcm.data.images.partial import partial_folder
from lcm.data.images.shards import found_shards
from lcm.data.images.writer import PairWriter, writer_is_at_work

Array = NDArray[Any]

_BLOCK = 256
_BLOCKS_AHEAD = 2


def write_image_pairs(
    out: Path,
    sources: Sequence[ImagePairs],
    identity: Mapping[str, str],
    size: int,
    *,
    threads: int | None = None,
    progress: bool = False,
) -> dict[Path, int]:
    """Write a file for each of the `sources` to `out`, which appears whole or not at all; return their pairs.

    What was interrupted is gone on with, where the settings and `identity`, which tells one source from another, are
    the same. The bytes depend on the images, the truth, `size` and the metadata alone.

    Args:
        size: height and width of what is written.
        threads: that decode, by default one a core.
        progress: whether to show progress bars on stderr.

    Raises:
        ValueError: `out` is a file or a folder that is not empty, an image is bad, or the disk is full.
    """
    settings = {**identity, "size": str(size), "version": __version__, "block": str(_BLOCK)}
    with partial_folder(out, settings) as folder:
        for pairs in sources:
            path = folder / f"{pairs.name}.safetensors"
            if writer_is_at_work(path) or not (path.exists() or found_shards(path)):
                _write_file(path, pairs, size, threads or len(os.sched_getaffinity(0)), progress)
    return {out / f"{pairs.name}.safetensors": len(pairs) for pairs in sources}


def _write_file(path: Path, pairs: ImagePairs, size: int, threads: int, progress: bool) -> None:
    metadata = {"made_by": "lcm import", "version": __version__, "size": str(size), **pairs.metadata}
    # of the very first image also where the first blocks are there: all are compared with it
    (((first, _),),) = pairs.read([(0, 1)])
    first_size = image_size(first)
    writer = PairWriter(path, len(pairs), (size, size, 3), pairs.truth, metadata)
    missing = writer.missing(_BLOCK)
    shown = None if progress else True
    with tqdm(total=len(pairs), desc=pairs.name, unit=" pairs", file=sys.stderr, disable=shown) as bar:
        bar.update(len(pairs) - sum(stop - start for start, stop in missing))
        decoded = _decoded(pairs.read(missing), size, first, first_size, threads)
        for (start, _), (before, after) in zip(missing, decoded, strict=True):
            writer.write(start, before, after)
            bar.update(len(before))
    writer.finish()


def _decoded(
    blocks: Iterator[Block], size: int, first: EncodedImage, first_size: tuple[int, int], threads: int
) -> Iterator[tuple[Array, Array]]:
    """The images (B, size, size, 3) before and after of each block, while the next blocks are already worked on."""
    with ThreadPoolExecutor(threads) as pool:
        waiting: deque[list[Future[NDArray[np.uint8]]]] = deque()
        try:
            for block in blocks:
                images = [image for pair in block for image in pair]
                waiting.append([pool.submit(decode, image, size, first, first_size) for image in images])
                if len(waiting) > _BLOCKS_AHEAD:
                    yield _gathered(waiting.popleft())
            while waiting:
                yield _gathered(waiting.popleft())
        finally:
            pool.shutdown(cancel_futures=True)


def _gathered(images: list[Future[NDArray[np.uint8]]]) -> tuple[Array, Array]:
    decoded = np.stack([image.result() for image in images])
    return decoded[::2], decoded[1::2]
