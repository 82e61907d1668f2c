"""Numbers of results/ in the README and docs/: every one stands between markers that say where it comes from.

A number in a sentence or a table:   <!-- =results/x/results.json summary.0.mcc .3f -->0.998<!-- = -->
A table:                             <!-- evidence: families -->  …  <!-- end of evidence -->

A number is a path of keys and indices into a JSON file, with key=value (or key=value,key=value) for the one entry of a
list that has it, *key=value for all that have it, and `*` for all entries; then, if there is a `*`, a way to sum these
up; and a format. A reader sees nothing of a marker.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from statistics import mean, median
from typing import Any

from evidence.tables import TABLES
from lcm.base.files import read_json, write_text

NUMBER = re.compile(r"<!-- =(results/\S+\.json) (\S+)(?: ([a-z]+))? (\S+) -->(.*?)<!-- = -->", re.DOTALL)
TABLE = re.compile(r"<!-- evidence: ([^>]*?) -->\n(.*?)<!-- end of evidence -->", re.DOTALL)
SUMS: Mapping[str, Callable[[list[float]], float]] = {
    "median": median,
    "mean": mean,
    "min": min,
    "max": max,
    "sum": sum,
    "count": len,
}


def documents(root: Path) -> list[Path]:
    """The README, all pages of docs/ that are sources, and the README of results/."""
    pages = [path for path in sorted((root / "docs").rglob("*.md")) if "_build" not in path.parts]
    return [root / "README.md", *pages, root / "results" / "README.md"]


def fill(root: Path) -> list[str]:
    """Write what is between the markers of all documents again; returns the documents that changed."""
    changed = []
    for path in documents(root):
        text = path.read_text(encoding="utf-8")
        filled = filled_text(root, text)
        if filled != text:
            write_text(path, filled)
            changed.append(str(path.relative_to(root)))
    return changed


def filled_text(root: Path, text: str) -> str:
    """The text with everything between markers as results/ has it now.

    Raises ValueError for a marker of a file, key, table or format that is not there.
    """

    def number(found: re.Match[str]) -> str:
        opening = found[0][: found[0].index("-->") + 3]
        return f"{opening}{_number(root, found[1], found[2], found[3], found[4])}<!-- = -->"

    def table(found: re.Match[str]) -> str:
        name, *options = found[1].split()
        if name not in TABLES:
            raise ValueError(f"Expected a table of evidence/tables.py; got {name!r}")
        return f"<!-- evidence: {found[1]} -->\n\n{TABLES[name](root, options)}\n<!-- end of evidence -->"

    return TABLE.sub(table, NUMBER.sub(number, text))


def _number(root: Path, file: str, keys: str, how: str | None, form: str) -> str:
    try:
        values = list(_values(read_json(root / file), keys.split(".")))
        value = SUMS[how](values) if how else _only(values)
        return format(value, form)
    except (KeyError, IndexError, TypeError, ValueError) as error:
        raise ValueError(f"{file}: Expected a number at {keys} {how or ''} in format {form}; got {error!r}") from error


def _only(values: list[Any]) -> Any:
    if len(values) != 1:
        raise ValueError(f"{len(values)} values without a way to sum them up")
    return values[0]


def _values(content: Any, keys: list[str]) -> Iterator[Any]:
    if not keys:
        yield content
    elif "=" in keys[0]:
        wanted = [pair.split("=") for pair in keys[0].removeprefix("*").split(",")]
        found = [each for each in content if all(str(each[key]) == value for key, value in wanted)]
        for entry in found if keys[0].startswith("*") else [_only(found)]:
            yield from _values(entry, keys[1:])
    elif keys[0] == "*":
        for entry in content.values() if isinstance(content, dict) else content:
            yield from _values(entry, keys[1:])
    else:
        yield from _values(content[int(keys[0]) if isinstance(content, list) else keys[0]], keys[1:])
