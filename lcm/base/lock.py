"""An advisory lock: one process at a time writes to a folder, and the system frees the lock when the process dies."""

from __future__ import annotations

import errno
import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

LOCK_FILE = ".lcm-lock"
_BUSY = (errno.EAGAIN, errno.EACCES)


class Claim(NamedTuple):
    """What a process finds when it gets a lock.

    Attributes:
        left_behind: whether a process that held the lock was killed before it ended.
        note: what that process had written about its work; "" for none.
    """

    left_behind: bool
    note: str


@contextmanager
def locked_folder(folder: Path, note: str = "") -> Iterator[Claim]:
    """Lock a folder, as `locked` does, by the file `.lcm-lock` in it.

    Raises:
        ValueError: another process, or this one, is writing to the folder.
    """
    with locked(folder / LOCK_FILE, folder, note) as claim:
        yield claim


def lock_beside(folder: Path) -> Path:
    """The lock file of a folder that does not exist yet, or that is going to be replaced."""
    return folder.parent / f".{folder.name}{LOCK_FILE}"


@contextmanager
def locked(file: Path, folder: Path, note: str = "") -> Iterator[Claim]:
    """Lock `file`, which stands for `folder`, while the block runs; the file is removed at its end.

    A file that a killed process left is taken over. On a file system without locks there is no protection.

    Args:
        note: text that the next process finds if this one is killed.

    Raises:
        ValueError: another process, or this one, is writing to the folder. It is named, with the time of its start.
    """
    descriptor, existed = _acquired(file, folder)
    try:
        before = _read(file) if existed else {}
        _write(descriptor, note)
        yield Claim(existed, str(before.get("note", "")))
    finally:
        # while it is still locked: whoever has opened the file meanwhile sees that it is gone, and tries again
        file.unlink(missing_ok=True)
        os.close(descriptor)


def _acquired(file: Path, folder: Path) -> tuple[int, bool]:
    """An open descriptor of the locked file, and whether the file was there before."""
    import fcntl

    while True:
        existed = True
        try:
            descriptor = os.open(file, os.O_RDWR | os.O_NOFOLLOW)
        except FileNotFoundError:
            existed = False
            # the process before may have removed the folder too
            file.parent.mkdir(parents=True, exist_ok=True)
            try:
                descriptor = os.open(file, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o666)
            except (FileExistsError, FileNotFoundError):
                continue
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno in _BUSY:
                os.close(descriptor)
                raise _busy(file, folder) from error
        if _is_same(descriptor, file):
            return descriptor, existed
        os.close(descriptor)


def _is_same(descriptor: int, file: Path) -> bool:
    """Whether the file was not removed, by the process before, between opening and locking."""
    try:
        return os.path.samestat(os.fstat(descriptor), os.stat(file))
    except FileNotFoundError:
        return False


def _busy(file: Path, folder: Path) -> ValueError:
    holder = _read(file)
    who = f"process {holder['pid']} has" if "pid" in holder else "another process has"
    since = f" since {holder['since']}" if "since" in holder else ""
    return ValueError(
        f"{folder}: Expected a folder that no other process is writing to; got one that {who} been writing to{since}"
    )


def _write(descriptor: int, note: str) -> None:
    content = {"pid": os.getpid(), "since": time.strftime("%Y-%m-%d %H:%M:%S %z"), "note": note}
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, json.dumps(content).encode(), 0)


def _read(file: Path) -> dict[str, object]:
    try:
        content = json.loads(file.read_bytes()[:65536])
    except (OSError, ValueError, RecursionError):
        return {}
    return content if isinstance(content, dict) else {}
