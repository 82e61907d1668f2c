"""Memory that is free inside the process, given back to the system."""

from __future__ import annotations

import ctypes
import sys


def return_free_memory() -> None:
    """Let the system have the pages that this process has freed and its C library keeps for later.

    Between the stages of a fit these would add up: what one stage leaves in holes, the next cannot always use. Does
    nothing where the C library is not glibc.
    """
    if sys.platform == "linux":
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
        if trim is not None:
            trim(0)
