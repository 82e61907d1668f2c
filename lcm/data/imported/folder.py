"""A folder of images with a CSV of the pairs."""

from __future__ import annotations

import csv
import hashlib
import re
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from lcm.base.files import existing_file
from lcm.data.image_files import require_new
from lcm.data.imported.source import PairsOfFiles, identity_of_files, require_size, write_image_pairs

CSV_NAME = "pairs.csv"
_REQUIRED, _OPTIONAL = ("before", "after"), "target"
_MOST_VARIABLES = 1000


class ListedPair(NamedTuple):
    """A pair: its images, and the variable that was intervened on; None without or if unknown."""

    before: Path
    after: Path
    target: int | None


def import_folder(
    source: str | Path,
    out: str | Path,
    size: int = 64,
    *,
    n: int | None = None,
    allow_outside: bool = False,
    threads: int | None = None,
    progress: bool = False,
) -> dict[Path, int]:
    """Write the pairs that a CSV lists to data.safetensors in the folder `out`; return the file and its pairs.

    Args:
        source: the CSV, with the header before,after or before,after,target, or a folder that holds it as pairs.csv.
            Paths are relative to its folder; target is a 0-based number, or empty if there was no intervention.
        size: height and width of the written images, a multiple of 16 from 16 to 512; larger images are averaged.
        n: number of variables, for targets; by default one more than the largest target.
        allow_outside: whether images may lie outside the folder of the CSV, as absolute paths, `..` and links can say.
        threads: the number of threads that decode, by default one per core.
        progress: whether to show progress bars on stderr.

    Raises:
        ValueError: a bad CSV, a missing or bad image, `out` is not new, or the disk is full.
    """
    require_size(size)
    require_new(Path(out))
    if n is not None and not 1 <= n <= _MOST_VARIABLES:
        raise ValueError(f"n: Expected n from 1 to {_MOST_VARIABLES}; got {n}.")
    path = Path(source) / CSV_NAME if Path(source).is_dir() else Path(source)
    header, rows = read_rows(path, allow_outside)
    _require_files(path, rows)
    truth = {"targets": _targets(path, rows, n)} if _OPTIONAL in header else {}
    if n is not None and not truth:
        raise ValueError(f"{path}: Expected a column {_OPTIONAL}, for n = {n}; got {', '.join(header)}")
    files = [(row.before, row.after) for row in rows]
    listed = hashlib.sha256(path.read_bytes()).hexdigest()
    pairs = PairsOfFiles("data", truth, {"source": "folder", "csv_sha256": listed}, files, str(path))
    images = identity_of_files(image for pair in files for image in pair)
    identity = {"source": "folder", "csv": listed, "files": images, "n": str(n)}
    return write_image_pairs(Path(out), [pairs], identity, size, threads=threads, progress=progress)


def read_rows(path: Path, allow_outside: bool = False) -> tuple[list[str], list[ListedPair]]:
    """The header and the rows of a CSV of pairs; `allow_outside`: whether files may lie outside its folder.

    Raises:
        ValueError: no such file, not UTF-8, a header with a missing, repeated or unknown column, a row of another
            length, without an image, with a bad target or with a file outside the folder, or no rows.
    """
    try:
        with existing_file(path).open(newline="", encoding="utf-8-sig") as file:
            header, *lines = [line for line in csv.reader(file, strict=True) if line] or [[]]
    except (UnicodeDecodeError, csv.Error) as error:
        raise ValueError(f"{path}: Expected a CSV in UTF-8; got {error}") from error
    header = [name.strip() for name in header]
    _require_header(path, header)
    if not lines:
        raise ValueError(f"{path}: Expected at least one pair; got a header alone")
    return header, [_row(path, number, header, line, allow_outside) for number, line in enumerate(lines)]


def _require_header(path: Path, header: list[str]) -> None:
    expected = f"the columns {', '.join(_REQUIRED)} and maybe {_OPTIONAL}"
    if not header:
        raise ValueError(f"{path}: Expected {expected}; got an empty file")
    twice = [name for index, name in enumerate(header) if name in header[:index]]
    if twice:
        raise ValueError(f"{path}: Expected each column once; got {twice[0]} again")
    if not set(_REQUIRED) <= set(header) <= {*_REQUIRED, _OPTIONAL}:
        raise ValueError(f"{path}: Expected {expected}; got {', '.join(header)}")


def _row(path: Path, number: int, header: list[str], line: list[str], allow_outside: bool) -> ListedPair:
    where = f"{path}: row {number}"
    if len(line) != len(header):
        raise ValueError(f"{where}: Expected {len(header)} entries, as the header has; got {len(line)}")
    entries = {name: entry.strip() for name, entry in zip(header, line, strict=True)}
    for name in _REQUIRED:
        if not entries[name]:
            raise ValueError(f"{where}: {name}: Expected an image; got an empty entry")
    target = entries.get(_OPTIONAL, "")
    if target and not re.fullmatch(r"[0-9]{1,3}(\.0*)?", target):
        raise ValueError(f"{where}: {_OPTIONAL}: Expected a whole number from 0 to 999, or nothing; got {target!r}")
    images = [path.parent / entries[name] for name in _REQUIRED]
    if not allow_outside:
        for name, image in zip(_REQUIRED, images, strict=True):
            _require_inside(path.parent, image, f"{where}: {name}")
    # pandas writes whole numbers beside gaps as 0.0
    return ListedPair(images[0], images[1], int(float(target)) if target else None)


def _require_inside(folder: Path, image: Path, where: str) -> None:
    """Raise ValueError for a file outside a folder, also by a link: the list may come from a stranger."""
    if not image.resolve().is_relative_to(folder.resolve()):
        raise ValueError(
            f"{where}: Expected a file inside {folder}; got {image} (--allow-outside takes files from anywhere)"
        )


def _require_files(path: Path, rows: Sequence[ListedPair]) -> None:
    for number, row in enumerate(rows):
        for name, image in (("before", row.before), ("after", row.after)):
            if not image.is_file():
                raise ValueError(f"{path}: row {number}: {name}: Expected an image; got no such file: {image}")


def _targets(path: Path, rows: Sequence[ListedPair], n: int | None) -> NDArray[np.bool_]:
    known = [row.target for row in rows if row.target is not None]
    if not known and n is None:
        raise ValueError(f"{path}: {_OPTIONAL}: Expected n, the number of variables, as no row has a target; got none")
    columns = max(known) + 1 if n is None else n
    beyond = next((number for number, row in enumerate(rows) if row.target is not None and row.target >= columns), None)
    if beyond is not None:
        expected = f"a number below n = {columns}"
        raise ValueError(f"{path}: row {beyond}: {_OPTIONAL}: Expected {expected}; got {rows[beyond].target}")
    numbers = np.array([-1 if row.target is None else row.target for row in rows])
    return np.asarray(numbers[:, None] == np.arange(columns))
