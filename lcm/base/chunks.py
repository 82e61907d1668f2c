"""Row-wise functions of many rows, some rows at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Protocol

import torch
from torch import Tensor

_CHUNK_ROWS = 2_048
_ROWS_AT_ONCE = 16_384


class RowSource(Protocol):
    """Anything with rows that can be sliced, such as a tensor (N, ...)."""

    def __len__(self) -> int: ...

    def __getitem__(self, rows: slice) -> Tensor: ...


@torch.no_grad()
def in_chunks(
    function: Callable[..., tuple[Tensor, ...]], *arrays: RowSource, size: int = _CHUNK_ROWS, most: int | None = None
) -> list[Tensor]:
    """Apply a row-wise function to arrays of equal length in chunks and join the results, without gradients.

    With `most`, only the first `most` rows are used.
    """
    count = len(arrays[0]) if most is None else min(len(arrays[0]), most)
    joined: list[Tensor] = []
    done = 0
    for chunk in _chunks(arrays, count, size):
        parts = function(*chunk)
        joined = joined or [part.new_empty(count, *part.shape[1:]) for part in parts]
        for whole, part in zip(joined, parts, strict=True):
            whole[done : done + len(part)] = part
        done += len(chunk[0])
    return joined


def _chunks(arrays: Sequence[RowSource], count: int, size: int) -> Iterator[tuple[Tensor, ...]]:
    """The first `count` rows in chunks of `size`, read many at a time, because they are spread over a whole file."""
    for start in range(0, max(count, 1), _ROWS_AT_ONCE):
        blocks = [array[start : min(start + _ROWS_AT_ONCE, count)] for array in arrays]
        yield from zip(*(block.split(size) for block in blocks), strict=True)
