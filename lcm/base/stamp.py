"""Stamps of files that are read: whether a file is still what it was."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import final

_HASHED_BYTES = 1 << 22


@final
@dataclass(frozen=True)
class FileStamp:
    """Size in bytes and time of modification in nanoseconds of a file, with the SHA-256 of one of at most 4 MiB."""

    path: str
    size: int
    modified: int
    sha256: str

    @staticmethod
    def of(path: str | Path) -> FileStamp:
        """The stamp of an existing file."""
        found = os.stat(path)
        small = found.st_size <= _HASHED_BYTES
        digest = hashlib.sha256(Path(path).read_bytes()).hexdigest() if small else ""
        return FileStamp(os.path.abspath(path), found.st_size, found.st_mtime_ns, digest)

    def require_unchanged(self) -> None:
        """Raise ValueError if the file is gone, or is not what it was."""
        try:
            now = FileStamp.of(self.path)
        except OSError as error:
            raise ValueError(self._changed("none")) from error
        if now.size != self.size:
            raise ValueError(self._changed(f"{now.size:,} bytes, where there were {self.size:,}"))
        # a small file that was written again with the same bytes is the same file
        if now.sha256 != self.sha256 or (not self.sha256 and now.modified != self.modified):
            raise ValueError(self._changed("one that was written to"))

    def _changed(self, got: str) -> str:
        return f"{self.path}: Expected a file that stays as it is while it is used; got {got}"
