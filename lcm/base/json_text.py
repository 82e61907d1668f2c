"""The one opener of JSON and JSON lines: whatever is wrong with the text is one ValueError that names the file."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NoReturn

from lcm.base.text import shortened

MOST_BYTES = 1 << 28
DEEPEST = 60
_LARGEST = 1 << 63


def parse_json(text: str, source: str, finite: bool = True) -> Any:
    """Read JSON text. `finite` refuses NaN and infinite numbers, which JSON does not have.

    Raises:
        ValueError: text that is not JSON, nested more than 60 deep, or with integers beyond 64 bits; one line that
            opens with `source`.
    """
    try:
        value = json.loads(
            text, parse_int=_integer, parse_float=_finite if finite else float, parse_constant=_no if finite else None
        )
    except json.JSONDecodeError as error:
        raise ValueError(f"{source}: Expected JSON; got at line {error.lineno}: {error.msg}") from error
    except RecursionError as error:
        raise ValueError(f"{source}: Expected JSON nested at most {DEEPEST} deep; got more") from error
    except ValueError as error:
        raise ValueError(f"{source}: Expected JSON; got {error}") from error
    if depth(value) > DEEPEST:
        raise ValueError(f"{source}: Expected JSON nested at most {DEEPEST} deep; got more")
    return value


def read_text(path: Path, what: str, most: int = MOST_BYTES) -> str:
    """The UTF-8 text of a file; ValueError if it is larger than `most` bytes or not UTF-8."""
    size = path.stat().st_size
    if size > most:
        raise ValueError(f"{path}: Expected at most {most:,} bytes of {what}; got {size:,}")
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}: Expected {what}; got bytes that are not UTF-8") from error


def json_lines(path: Path) -> Iterator[Any]:
    """The values of a file of JSON lines, which may hold NaN; half a line at its end, as a killed process leaves it, is
    left out.

    Raises:
        ValueError: another line that is not JSON.
    """
    text = read_text(path, "JSON lines")
    lines = text.split("\n")
    for number, line in enumerate(lines, 1):
        if not line and number == len(lines):
            return
        try:
            yield parse_json(line, f"{path}: line {number}", finite=False)
        except ValueError:
            if number == len(lines):
                return
            raise


def depth(value: Any) -> int:
    """How deep lists and mappings are nested; at most one more than `DEEPEST` is counted."""
    level, found = [value], 0
    while level and found <= DEEPEST:
        level = [
            each
            for part in level
            if isinstance(part, dict | list)
            for each in (part.values() if isinstance(part, dict) else part)
        ]
        found += bool(level)
    return found


def _integer(text: str) -> int:
    value = int(text) if len(text) <= 20 else _LARGEST
    if not -_LARGEST <= value < _LARGEST:
        raise ValueError(f"an integer beyond 64 bits, {shortened(text)}")
    return value


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"a number that is not finite, {shortened(text)}")
    return value


def _no(text: str) -> NoReturn:
    raise ValueError(f"{text}, a number that is not finite")
