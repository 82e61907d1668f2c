"""A bound on the tensors that a description or a config asks for, before they are made."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, final

from torch.overrides import TorchFunctionMode

_LEAST_COST = 1_000
_FACTORIES = frozenset({"zeros", "ones", "empty", "full", "eye", "rand", "randn", "linspace", "arange", "randint"})


@final
class EntryBudget(TorchFunctionMode):
    """Inside the block, refuses to make tensors of more entries in total than given, before they are made.

    Raises:
        ValueError: more entries; `why` says where the number comes from.
    """

    def __init__(self, entries: int, why: str) -> None:
        super().__init__()
        self.entries = self.left = entries
        self.why = why

    def __torch_function__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        options = dict(kwargs or {})
        if getattr(func, "__name__", "") in _FACTORIES:
            sizes = args or (options.get("size", ()),)
            first = sizes[0] if isinstance(sizes[0], Sequence) else sizes
            self.left -= max(_LEAST_COST, math.prod(size for size in first if isinstance(size, int)))
            if self.left < 0:
                raise ValueError(f"Expected sizes for at most {self.entries:,} entries, {self.why}; got more.")
        return func(*args, **options)
