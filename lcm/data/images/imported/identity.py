"""What tells one state of files on disk from another, without reading them."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path


def identity_of_files(files: Iterable[Path]) -> str:
    """The SHA-256 (64 hex digits) of paths, sizes and times of change; what is not there counts as that."""
    digest = hashlib.sha256()
    for file in files:
        state = file.stat() if file.exists() else None
        digest.update(f"{file.absolute()};{state and (state.st_size, state.st_mtime_ns)};".encode())
    return digest.hexdigest()
