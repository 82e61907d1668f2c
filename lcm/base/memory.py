"""The memory at hand, and refusals of what cannot fit into it before it is made."""

from __future__ import annotations

import math
import re
import resource
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, final

from torch.overrides import TorchFunctionMode

_LEAST_COST = 1_000
_FACTORIES = frozenset({"zeros", "ones", "empty", "full", "eye", "rand", "randn", "linspace", "arange", "randint"})
_UNKNOWN = 1 << 40


def available_bytes() -> int:
    """Bytes that this process may still take: what the system has free, and what its own limit leaves."""
    free = _kilobytes("/proc/meminfo", "MemAvailable")
    limit = resource.getrlimit(resource.RLIMIT_AS)[0]
    if limit != resource.RLIM_INFINITY:
        free = min(free, limit - _kilobytes("/proc/self/status", "VmSize"))
    return max(0, free)


def require_memory(needed: float, what: str) -> None:
    """Raise ValueError if `needed` bytes are more than half of the memory at hand; `what` names what needs them."""
    free = available_bytes()
    if needed > free / 2:
        raise ValueError(
            f"Expected {what} to fit into half of the memory at hand, {free / 2e9:.1f} GB; got {needed / 1e9:,.1f} GB"
        )


def _kilobytes(file: str, key: str) -> int:
    try:
        found = re.search(rf"{key}:\s+(\d+) kB", Path(file).read_text())
    except OSError:
        return _UNKNOWN
    return int(found[1]) * 1024 if found else _UNKNOWN


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
