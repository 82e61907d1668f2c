"""The memory at hand, and refusals of what cannot fit into it before it is made."""

from __future__ import annotations

import re
import resource
from pathlib import Path

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
