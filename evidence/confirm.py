"""Shows that a change of the code left the numbers of a part as they were: a share of its cells is made again.

A part takes hours, and nearly every change of the package makes it stale. A fit with the same seeds gives the same
numbers on the same machine, but for rounding: blocks of rows are as large as the free memory allows. So cells that are
equal to four decimals say that the change is none of theirs.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

from benchmarks.machine import commit
from evidence.runner import RECORD, Place, execute
from lcm.base.files import read_json, write_json

_RESULTS = "results.json"
_OF_THE_MACHINE = ("seconds", "config_sha256")
_ROUNDING = 1e-4


def confirm(place: Place) -> str | None:
    """Make a share of a stale part again and compare it with what is kept; None if all of it is equal, else why not.

    The cells that were compared are noted beside the results, which stay as they are.
    """
    record, part = place.record(), place.part
    if record is None or not part.sample:
        return "a part that the pipeline has not made, or without a sample in evidence/parts.py, cannot be confirmed"
    work = place.root / "runs" / "evidence-confirm" / place.work.name
    work.mkdir(parents=True, exist_ok=True)
    session = execute(place, [*place.command, *part.sample], work)
    if session["exit"] != 0:
        return f"the sample failed, see {work / 'log.txt'}"
    kept, again = (list(_cells(read_json(folder / _RESULTS))) for folder in (place.results, work))
    if not again:
        return "the sample has no cells"
    for cell in again:
        if not any(_is_equal(cell, other) for other in kept):
            return f"another result than the kept one: {_difference(cell, kept)}"
    cells = {"cells": len(again), "of": len(kept), "sample": " ".join(part.sample)}
    said = {"code": place.code, "commit": commit(place.root, ignored="results"), **cells, "session": session}
    write_json(place.results / RECORD, record | {"confirmed": said})
    return None


def _cells(results: Any) -> Iterator[dict[str, Any]]:
    """What each cell found, without what depends on the machine."""
    found = results
    if isinstance(results, Mapping):
        found = next((results[key] for key in ("cells", "records") if key in results), [])
    for cell in found:
        yield {key: value for key, value in cell.items() if not key.endswith(_OF_THE_MACHINE)}


def _is_equal(one: Any, other: Any) -> bool:
    """Whether two results are equal, numbers with decimals up to rounding."""
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        return one.keys() == other.keys() and all(_is_equal(one[key], other[key]) for key in one)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(_is_equal, one, other))
    if isinstance(one, float) and isinstance(other, float):
        return math.isclose(one, other, rel_tol=_ROUNDING, abs_tol=_ROUNDING)
    return bool(one == other)


def _difference(cell: Mapping[str, Any], kept: list[dict[str, Any]]) -> str:
    """The first key of a cell whose value differs from that of the kept cell that is most like it."""
    like = max(kept, key=lambda other: sum(_is_equal(other.get(key), cell[key]) for key in cell), default={})
    key = next((key for key in cell if not _is_equal(like.get(key), cell[key])), "nothing")
    return f"{key} is {cell.get(key)} in place of {like.get(key)}"
