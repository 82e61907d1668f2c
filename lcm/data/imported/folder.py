"""A folder of images with a CSV or a JSON index of the pairs."""

from __future__ import annotations

import csv
import hashlib
import re
from pathlib import Path

from lcm.base.files import existing_file
from lcm.data.image_files import require_new
from lcm.data.imported.json_index import read_index
from lcm.data.imported.listing import (
    IMAGES,
    MOST_VARIABLES,
    TARGET,
    ListedPair,
    Listing,
    require_files,
    require_inside,
    target_masks,
)
from lcm.data.imported.source import PairsOfFiles, identity_of_files, require_size, write_image_pairs

_NAMES = "pairs.csv", "pairs.json"


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
    """Write the pairs that a CSV or JSON file lists to data.safetensors in `out`; return the file and their number.

    Args:
        source: the CSV, with the header before,after or before,after,target; or the JSON index (`read_index`), with
            the suffix .json; or a folder that holds one of them as pairs.csv or pairs.json. Paths are relative to its
            folder; target is a 0-based number, or empty or null if there was no intervention.
        size: height and width of the written images, a multiple of 16 from 16 to 512; larger images are averaged.
        n: number of variables, for targets; by default one more than the largest target.
        allow_outside: whether images may lie outside the folder of the list, as absolute paths, `..` and links can say.
        threads: the number of threads that decode, by default one per core.
        progress: whether to show progress bars on stderr.

    Raises:
        ValueError: a size or an n out of range, an n without targets, a bad list, a missing or bad image, `out` is not
            new, or the disk is full.
    """
    require_size(size)
    require_new(Path(out))
    if n is not None and not 1 <= n <= MOST_VARIABLES:
        raise ValueError(f"n: Expected n from 1 to {MOST_VARIABLES}; got {n}.")
    path = _list_of(Path(source))
    listing = read_index(path, allow_outside) if path.suffix == ".json" else read_rows(path, allow_outside)
    require_files(listing)
    truth = {"targets": target_masks(listing, n)} if listing.has_targets else {}
    if n is not None and not truth:
        raise ValueError(f"{path}: Expected targets, for n = {n}; got a list without {TARGET}")
    files = [(pair.before, pair.after) for pair in listing.pairs]
    listed = hashlib.sha256(path.read_bytes()).hexdigest()
    metadata = {"source": "folder", "json_sha256" if path.suffix == ".json" else "csv_sha256": listed}
    pairs = PairsOfFiles("data", truth, metadata, files, str(path))
    images = identity_of_files(image for pair in files for image in pair)
    identity = {"source": "folder", "list": listed, "files": images, "n": str(n)}
    return write_image_pairs(Path(out), [pairs], identity, size, threads=threads, progress=progress)


def _list_of(source: Path) -> Path:
    """The file that lists the pairs of a folder, or is given itself."""
    if not source.is_dir():
        return source
    found = [source / name for name in _NAMES if (source / name).exists()]
    if len(found) > 1:
        raise ValueError(f"{source}: Expected one list of pairs; got {' and '.join(_NAMES)}")
    return found[0] if found else source / _NAMES[0]


def read_rows(path: Path, allow_outside: bool = False) -> Listing:
    """The rows of a CSV of pairs; `allow_outside`: whether files may lie outside its folder.

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
    pairs = [_row(path, number, header, line, allow_outside) for number, line in enumerate(lines)]
    return Listing(path, "row", TARGET in header, pairs)


def _require_header(path: Path, header: list[str]) -> None:
    expected = f"the columns {', '.join(IMAGES)} and maybe {TARGET}"
    if not header:
        raise ValueError(f"{path}: Expected {expected}; got an empty file")
    twice = [name for index, name in enumerate(header) if name in header[:index]]
    if twice:
        raise ValueError(f"{path}: Expected each column once; got {twice[0]} again")
    if not set(IMAGES) <= set(header) <= {*IMAGES, TARGET}:
        raise ValueError(f"{path}: Expected {expected}; got {', '.join(header)}")


def _row(path: Path, number: int, header: list[str], line: list[str], allow_outside: bool) -> ListedPair:
    where = f"{path}: row {number}"
    if len(line) != len(header):
        raise ValueError(f"{where}: Expected {len(header)} entries, as the header has; got {len(line)}")
    entries = {name: entry.strip() for name, entry in zip(header, line, strict=True)}
    for name in IMAGES:
        if not entries[name]:
            raise ValueError(f"{where}: {name}: Expected an image; got an empty entry")
    target = entries.get(TARGET, "")
    if target and not re.fullmatch(r"[0-9]{1,3}(\.0*)?", target):
        raise ValueError(f"{where}: {TARGET}: Expected a whole number from 0 to 999, or nothing; got {target!r}")
    images = [path.parent / entries[name] for name in IMAGES]
    if not allow_outside:
        for name, image in zip(IMAGES, images, strict=True):
            require_inside(path.parent, image, f"{where}: {name}")
    # pandas writes whole numbers beside gaps as 0.0
    return ListedPair(images[0], images[1], int(float(target)) if target else None)
