"""Files that appear whole or not at all, and the temporary files that killed processes leave."""

from __future__ import annotations

import errno
import os
import re
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from fnmatch import fnmatchcase
from pathlib import Path
from typing import final

from safetensors import SafetensorError

_NO_ROOM = {errno.ENOSPC: "No space left", errno.EFBIG: "File too large", errno.EDQUOT: "Disk quota exceeded"}
_TEMPORARY = re.compile(r"\.(?P<stem>.+)\.[0-9a-f]{12}(?P<suffix>\.[^.]*)?", re.DOTALL)


@final
class NoRoomError(OSError):
    """A file that does not fit on its disk, or is larger than the process may write."""


@contextmanager
def atomic_write(path: str | Path, size: int | None = None) -> Iterator[Path]:
    """Yield a temporary path in the folder of `path`; what is written there becomes `path` at the end.

    Upon any error, KeyboardInterrupt included, the temporary file is removed and `path` is left as it was.
    The temporary name keeps the suffix, so that writers which choose a format by suffix choose the right one.

    Args:
        size: the bytes that are going to be written, for the error; None if they are not known.

    Raises:
        NoRoomError: a full disk, or a file above a limit of the process.
        OSError: another process writes the same file.
    """
    target = Path(path)
    temporary = target.with_name(f".{target.stem}.{secrets.token_hex(6)}{target.suffix}")
    try:
        with room_for(target, size):
            yield temporary
            # safetensors makes files that only their owner can read
            temporary.chmod(0o666 & ~_umask())
            _flush_to_disk(temporary)
        os.replace(temporary, target)
    except FileNotFoundError as error:
        if target.parent.is_dir():
            # another process that writes the same file has taken the temporary file for one of a killed process
            raise OSError(f"{target}: Expected that no other process writes this file; got one that does") from error
        raise
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    _flush_to_disk(target.parent)


@contextmanager
def room_for(path: Path, size: int | None = None) -> Iterator[None]:
    """Turn a full disk inside the block into a NoRoomError that names `path` and the bytes that it needs."""
    try:
        yield
    except (OSError, SafetensorError) as error:
        # safetensors raises an error of its own, with the number of the system in its text
        found = re.search(r"\(os error (\d+)\)", str(error))
        number = error.errno if isinstance(error, OSError) else int(found[1]) if found else None
        if number in _NO_ROOM:
            raise NoRoomError(_no_room(path, size, _NO_ROOM[number])) from error
        if isinstance(error, SafetensorError):
            raise OSError(f"{path}: Expected to write a file; got: {error}") from error
        raise


def _no_room(path: Path, size: int | None, reason: str) -> str:
    expected = "room to write" if size is None else f"room for {size:,} bytes"
    free = ""
    with suppress(OSError):
        free = f", {shutil.disk_usage(path.parent).free:,} bytes free"
    return f"{path}: Expected {expected}; got: {reason}{free}"


def leftovers(folder: Path, *patterns: str, folders: bool = False) -> list[Path]:
    """The temporary files that killed processes left of files whose names match one of `patterns`; or such folders."""
    found = []
    with suppress(FileNotFoundError, NotADirectoryError):
        for entry in os.scandir(folder):
            match = _TEMPORARY.fullmatch(entry.name)
            if match is None or entry.is_dir(follow_symlinks=False) != folders:
                continue
            name = match["stem"] + (match["suffix"] or "")
            if any(fnmatchcase(name, pattern) for pattern in patterns):
                found.append(Path(entry.path))
    return found


def _umask() -> int:
    current = os.umask(0o022)
    os.umask(current)
    return current


def _flush_to_disk(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
