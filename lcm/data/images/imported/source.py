"""Pairs of encoded images that are read in order, block by block of rows."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, final

from numpy.typing import NDArray

from lcm.data.images.imported.decode import EncodedImage

Array = NDArray[Any]
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
