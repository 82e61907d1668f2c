"""What a wheel and an sdist must hold, and nothing else."""

from __future__ import annotations

import tarfile
import tomllib
import zipfile
from collections.abc import Iterable
from pathlib import Path

MOST_BYTES = 1_000_000

_SDIST_FILES = (
    *("CHANGELOG.md", "CITATION.cff", "LICENSE", "MANIFEST.in", "README.md", "constraints.txt", "pyproject.toml"),
    *("setup.py", "setup.cfg", "PKG-INFO"),
)
_METADATA = (".dist-info/", ".egg-info/")


def source_files(root: Path) -> set[str]:
    """The files of three folders of the checkout, relative to `root`, but compiled ones."""
    found = [path for folder in ("lcm", "experiments", "paper_configs") for path in (root / folder).rglob("*")]
    kept = [path for path in found if path.is_file() and path.parent.name != "__pycache__"]
    return {path.relative_to(root).as_posix() for path in kept}


def expected_in_wheel(root: Path) -> set[str]:
    """The files of a wheel, without its metadata: configs and some experiments are in lcm/shipped/."""
    patterns = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["lcm"]["shipped"]
    shipped = {path.relative_to(root).as_posix() for pattern in patterns for path in root.glob(pattern)}
    package = {path for path in source_files(root) if path.startswith("lcm/")}
    return package | {f"lcm/shipped/{path}" for path in shipped}


def expected_in_sdist(root: Path) -> set[str]:
    """The files of an sdist, without its metadata and its own folder."""
    return source_files(root) | set(_SDIST_FILES)


def wheel_files(wheel: Path) -> set[str]:
    """The files in a wheel, without its metadata."""
    with zipfile.ZipFile(wheel) as archive:
        return _without_metadata(archive.namelist())


def sdist_files(sdist: Path) -> set[str]:
    """The files in an sdist, without its metadata and its own folder."""
    with tarfile.open(sdist) as archive:
        names = [member.name.partition("/")[2] for member in archive.getmembers() if member.isfile()]
    return _without_metadata(names)


def require_contents(archive: Path, found: set[str], expected: set[str]) -> None:
    """Raise ValueError unless an archive holds what it should and is at most `MOST_BYTES` large."""
    if found != expected:
        missing, further = sorted(expected - found), sorted(found - expected)
        raise ValueError(f"{archive.name}: Expected the shipped files; got none of {missing} and also {further}")
    size = archive.stat().st_size
    if size > MOST_BYTES:
        raise ValueError(f"{archive.name}: Expected at most {MOST_BYTES:,} bytes; got {size:,}")


def _without_metadata(names: Iterable[str]) -> set[str]:
    return {name for name in names if not any(part in name for part in _METADATA)}
