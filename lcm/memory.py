"""Memory that is free inside the process: kept for the next training step, or given back to the system."""

from __future__ import annotations

import ctypes
import sys

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3
_KEPT_BYTES, _LARGEST_KEPT_ARRAY = 1 << 30, 32 << 20


def keep_freed_memory() -> None:
    """Let the C library keep what a training step frees, for the next one takes as much again.

    What went back to the system would return one page fault at a time, which can cost a quarter of a step. Does nothing
    where the C library is not glibc.
    """
    if sys.platform == "linux":
        option = getattr(ctypes.CDLL(None), "mallopt", None)
        if option is not None:
            option(_MMAP_THRESHOLD, _LARGEST_KEPT_ARRAY)
            option(_TRIM_THRESHOLD, _KEPT_BYTES)


def return_free_memory() -> None:
    """Let the system have the pages that this process has freed and its C library keeps for later.

    Between the stages of a fit these would add up: what one stage leaves in holes, the next cannot always use. Does
    nothing where the C library is not glibc.
    """
    if sys.platform == "linux":
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
        if trim is not None:
            trim(0)
