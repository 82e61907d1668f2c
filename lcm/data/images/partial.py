"""A folder that appears whole or not at all, and whose making can be interrupted and gone on with."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from lcm.files import read_json, write_json

_IDENTITY_FILE = "identity.json"


@contextmanager
def partial_folder(out: Path, identity: Mapping[str, str]) -> Iterator[Path]:
    """Yield a folder `.NAME.partial` beside `out`, which becomes `out` at the end and stays upon any error.

    What an interrupted block of the same identity left in it is there again; that of another one is deleted.

    Raises:
        ValueError: `out` is a file, or a folder that holds something.
    """
    require_new(out)
    target = out.resolve()
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = partial_path(out)
    if _identity(partial) != dict(identity):
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir()
        write_json(partial / _IDENTITY_FILE, dict(identity))
    yield partial
    # what is whole is not to be lost because something was put in its place meanwhile
    require_new(out)
    if target.is_dir():
        target.rmdir()
    partial.rename(target)
    (target / _IDENTITY_FILE).unlink()


def partial_path(out: Path) -> Path:
    """Where what becomes the folder `out` is made."""
    target = out.resolve()
    return target.parent / f".{target.name}.partial"


def require_new(folder: Path) -> None:
    """Raise ValueError unless `folder` is not there, or empty."""
    if folder.is_file():
        raise ValueError(f"{folder}: Expected a folder to write to; got a file.")
    if folder.is_dir() and any(folder.iterdir()):
        raise ValueError(f"{folder}: Expected a new or empty folder to write to; got one that holds files.")


def _identity(partial: Path) -> object:
    """What the folder is for, None where it does not say so."""
    try:
        return read_json(partial / _IDENTITY_FILE)
    except ValueError:
        return None
