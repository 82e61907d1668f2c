"""What a run was made on and with: machine, versions, commit."""

from __future__ import annotations

import os
import platform
import subprocess
from importlib import metadata
from pathlib import Path
from typing import Any

_PACKAGES = ("torch", "nflows", "numpy", "scipy", "scikit-learn")


def machine() -> dict[str, Any]:
    """Processor model, cores that this process may use, bytes of memory (None where unknown), system."""
    return {
        "processor": _processor(),
        "cores": cores(),
        "memory_bytes": _memory_bytes(),
        "system": platform.system(),
    }


def cores() -> int:
    """Cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def versions() -> dict[str, str]:
    """Versions of Python, of this package and of what it computes with."""
    from lcm.base import __version__

    found = {package: metadata.version(package) for package in _PACKAGES}
    return {"lcm": __version__, "python": platform.python_version(), **found}


def commit(folder: Path, ignored: str = "") -> str | None:
    """The commit that `folder` is a checkout of, with "+changes" where files differ from it; None without git.

    Files in the folder `ignored` do not count.
    """
    head = _git(folder, "rev-parse", "HEAD")
    if head is None:
        return None
    counted = ["--", ".", f":!{ignored}"] if ignored else []
    return f"{head}+changes" if _git(folder, "status", "--porcelain", "--untracked-files=no", *counted) else head


def _git(folder: Path, *arguments: str) -> str | None:
    try:
        done = subprocess.run(["git", *arguments], cwd=folder, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return done.stdout.strip()


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    named = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return named[0] if named else platform.processor() or platform.machine()


def _memory_bytes() -> int | None:
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, OSError, ValueError):
        return None
