"""Pairs of encoded images that are read in order, block by block of rows."""

from __future__ import annotations

import hashlib
import os
import sys
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, final

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from lcm.base import __version__
from lcm.data.image_files import PairWriter, found_shards, partial_folder, writer_is_at_work
from lcm.data.imported.archive import EncodedImage, decode, image_size

Array = NDArray[Any]


_BLOCK = 256
_BLOCKS_AHEAD = 2


Block = list[tuple[EncodedImage, EncodedImage]]


class ImagePairs(ABC):
    """Pairs that become one data set.

    Attributes:
        name: of the file, without its suffix.
        truth: what is known of the pairs, in the types of the contract: arrays of N rows, and "adjacency".
        metadata: what the file says of itself.
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
            ValueError: what should hold them cannot be read.
        """


@final
class PairsOfFiles(ImagePairs):
    """Pairs whose images are files of their own."""

    def __init__(
        self,
        name: str,
        truth: Mapping[str, Array],
        metadata: Mapping[str, str],
        files: Sequence[tuple[Path, Path]],
        source: str,
    ) -> None:
        """`files` before and after; `source` opens each error about one of them."""
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
    """The SHA-256 (64 hex digits) of paths, sizes and times of change; what is not there counts as that."""
    digest = hashlib.sha256()
    for file in files:
        state = file.stat() if file.exists() else None
        digest.update(f"{file.absolute()};{state and (state.st_size, state.st_mtime_ns)};".encode())
    return digest.hexdigest()


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
