"""A JSON index of image pairs: a list of mappings with before, after and maybe target."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lcm.base.files import read_json
from lcm.base.text import shown
from lcm.data.imported.listing import IMAGES, MOST_VARIABLES, TARGET, ListedPair, Listing, require_inside

_PAIRS = "pairs"


def read_index(path: Path, allow_outside: bool = False) -> Listing:
    """The pairs of a JSON index; `allow_outside`: whether files may lie outside its folder.

    The index is a list, or a mapping with that list as `pairs`. A target is a 0-based number, or null if nothing was
    intervened on. Either all entries have one or none.

    Raises:
        ValueError: no such file, no JSON, no entries, an entry with a missing or unknown key, a value of another type,
            a file outside the folder, or targets for some entries only.
    """
    entries = _entries(path, read_json(path))
    has_targets = any(isinstance(entry, dict) and TARGET in entry for entry in entries)
    pairs = [_pair(path, number, entry, has_targets, allow_outside) for number, entry in enumerate(entries)]
    return Listing(path, "entry", has_targets, pairs)


def _entries(path: Path, value: Any) -> Sequence[Any]:
    if isinstance(value, dict):
        if set(value) != {_PAIRS}:
            raise ValueError(f"{path}: Expected a list of pairs, or the key {_PAIRS} alone; got {_listed(value)}")
        value = value[_PAIRS]
    if not isinstance(value, list):
        raise ValueError(f"{path}: Expected a list of pairs; got {shown(value)}")
    if not value:
        raise ValueError(f"{path}: Expected at least one pair; got an empty list")
    return value


def _pair(path: Path, number: int, entry: Any, has_targets: bool, allow_outside: bool) -> ListedPair:
    where = f"{path}: entry {number}"
    if not isinstance(entry, dict):
        raise ValueError(f"{where}: Expected a mapping with {' and '.join(IMAGES)}; got {shown(entry)}")
    if not set(IMAGES) <= set(entry) <= {*IMAGES, TARGET}:
        raise ValueError(f"{where}: Expected the keys {', '.join(IMAGES)} and maybe {TARGET}; got {_listed(entry)}")
    if has_targets and TARGET not in entry:
        raise ValueError(f"{where}: {TARGET}: Expected a number or null, as other entries have; got none")
    before, after = (_image(path, entry[name], f"{where}: {name}", allow_outside) for name in IMAGES)
    return ListedPair(before, after, _target(entry.get(TARGET), where))


def _image(path: Path, value: Any, where: str, allow_outside: bool) -> Path:
    # a string of JSON may hold what no path can: a zero, or half of a surrogate pair
    if not isinstance(value, str) or not value.strip() or re.search("[\0\ud800-\udfff]", value):
        raise ValueError(f"{where}: Expected the path of an image; got {shown(value)}")
    image = path.parent / value
    if not allow_outside:
        require_inside(path.parent, image, where)
    return image


def _target(value: Any, where: str) -> int | None:
    if value is None:
        return None
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < MOST_VARIABLES:
        expected = f"a whole number from 0 to {MOST_VARIABLES - 1}, or null"
        raise ValueError(f"{where}: {TARGET}: Expected {expected}; got {shown(value)}")
    return value


def _listed(mapping: dict[str, Any]) -> str:
    return ", ".join(shown(key) for key in list(mapping)[:5]) or "none"
