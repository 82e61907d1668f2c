"""Mutators of structure: JSON, JSON lines, YAML and CSV of other types, keys, sizes and nesting than expected."""

from __future__ import annotations

import copy
import functools
import json
import re
from collections.abc import Callable, Iterator
from random import Random
from typing import Any

import yaml

_TERMINAL = "\x1b]0;title\x07\x1b[31m"
_SCALARS: tuple[Any, ...] = (
    None, True, False, 0, 1, -1, 2, 7, 0.5, -0.5, 1e-9, 10**5, 2_000_000, 10**9, 10**15, 2**63, 10**30, -(10**18), 1e30,
    "", "0", "x", "nan", "flow", "../../etc/passwd", "dl/evil.py:Evil", _TERMINAL, "ü" * 40, "y" * 5000, "a\nb\r\nc",
    "\u2028", "{}", "[]", [], {}, [[]], [None], [0], [1, 2], ["x"], [[0]], [[0, 1], [1, 0]], {"a": 1}, {"kind": "x"},
    {"": {}}, {"kind": ["x"], "settings": {}},
)  # fmt: skip
_RAW_JSON = ("NaN", "Infinity", "-Infinity", "1e999", "1" * 5000, "[" * 3000, "[" * 200 + "]" * 200, '{"a":' * 900)
_RAW_YAML = (
    ".inf", "-.inf", ".nan", "1e999", "!!int _", "!!int ''", "!!bool x", "!!timestamp x", "!!float ''", "!!binary é",
    "!!python/object:os.system x", "!!null 3", "!!set {a}", "!!omap [1]", "!!pairs [1]", "0x_", "0b2", "1:99:99",
    "2024-13-45", "&a [*a]", "&a {b: *a}", "{<<: 3}", "{<<: [1]}", "{? [1] : 2}", "{? {a: b} : c}", "[" * 3000, "*none",
    "[" * 300 + "]" * 300, "!<x> y", "!x y", "'", '"\\x1b[2J"', '"\\uD800"', "1" * 5000, "0x" + "f" * 5000, "~", "@x",
    "2001-12-14t21:59:43.10-99:99", "{a: 1, a: 2}", "--- 3", "|\n", "190:20:30.15", "+.inf", "0o8", "1_000_000_000_000",
)  # fmt: skip


class _Raw(str):
    """Text that goes into the file as it is."""


def spoil_json(data: bytes, generator: Random) -> bytes:
    """The JSON of a file with one to three changes of its structure."""
    value = _spoiled(json.loads(data), generator, _RAW_JSON)
    return _written(value, generator).encode(errors="surrogatepass")


def spoil_json_lines(data: bytes, generator: Random) -> bytes:
    """One line of a file of JSON lines, spoiled, repeated, moved or removed."""
    lines = data.split(b"\n")
    place = generator.randrange(max(1, len(lines) - 1))
    change = generator.choice((spoil_json, spoil_json, lambda *_: b"", lambda *_: b"[1]", lambda *_: lines[place][:9]))
    lines[place] = change(lines[place], generator)
    return b"\n".join(lines)


def spoil_yaml(data: bytes, generator: Random) -> bytes:
    """The YAML of a file with one to three changes of its structure."""
    value = _spoiled(_parsed(data), generator, _RAW_YAML)
    # JSON is YAML in flow style
    return _written(value, generator).encode(errors="surrogatepass")


# each mutation of a kind begins at the same bytes
_parsed = functools.lru_cache(yaml.safe_load)


def spoil_csv(data: bytes, generator: Random) -> bytes:
    """A CSV file with another cell, row or heading."""
    rows = [line.split(b",") for line in data.split(b"\n")]
    row = rows[generator.randrange(max(1, len(rows) - 1))]
    place = generator.randrange(len(row))
    cell = generator.choice((*map(_text, _SCALARS), *_RAW_JSON[:5], "nan", "inf", "-", '"', "1,2", "=1+1")).encode()
    change = generator.randrange(6)
    if change <= 2:
        row[place] = cell
    elif change == 3:
        del row[place]
    elif change == 4:
        row.insert(place, cell)
    else:
        rows.append(row[: generator.randrange(len(row) + 1)])
    return b"\n".join(b",".join(row) for row in rows)


def spoil_value(value: Any, generator: Random) -> str:
    """A JSON value with changes of its structure, as text."""
    return _written(_spoiled(value, generator, _RAW_JSON), generator)


def _spoiled(value: Any, generator: Random, raw: tuple[str, ...]) -> Any:
    value = [copy.deepcopy(value)]
    for _ in range(generator.choice((1, 1, 1, 2, 3))):
        places = list(_places(value))
        parent, key = generator.choice(places)
        _change(parent, key, generator, raw)
    return value[0]


def _places(value: Any) -> Iterator[tuple[Any, Any]]:
    """Every container with each of its keys."""
    keys: Any = list(value) if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ()
    for key in keys:
        yield value, key
        yield from _places(value[key])


def _change(parent: Any, key: Any, generator: Random, raw: tuple[str, ...]) -> None:
    old = parent[key]
    fresh = generator.choice((generator.choice(_SCALARS), _Raw(generator.choice(raw)), _near(old, generator)))
    change = generator.randrange(8)
    if change <= 3 or len(parent) == 1:
        parent[key] = copy.deepcopy(fresh) if not isinstance(fresh, _Raw) else fresh
    elif change == 4:
        del parent[key]
    elif change == 5 and isinstance(parent, dict):
        parent[generator.choice((str(key) + "x", "", _TERMINAL, "kind", str(key).upper()))] = parent.pop(key)
    elif change == 6:
        if isinstance(parent, dict):
            parent[generator.choice(("extra", "kind", "seed", "__class__"))] = fresh
        else:
            parent.insert(key, copy.deepcopy(old))
    else:
        parent[key] = generator.choice(([old], {"a": old}, [old, old], str(old)))


def _near(old: Any, generator: Random) -> Any:
    """A value of the same type that is not far from the old one, or far beyond it."""
    if isinstance(old, bool):
        return not old
    if isinstance(old, int):
        return generator.choice((old + 1, old - 1, -old, float(old), str(old), old * 1000))
    if isinstance(old, float):
        return generator.choice((-old, old * 1e6, old * 1e-6, int(old) if abs(old) < 1e18 else 0, str(old)))
    if isinstance(old, str):
        return generator.choice((old + "x", old[:-1], old.upper(), [old], old * 100))
    if isinstance(old, list):
        return generator.choice((old[:-1], old * 2, old[::-1], {str(i): each for i, each in enumerate(old)}))
    return list(old.items()) if isinstance(old, dict) else 0


_MARK = re.compile(r'"RAW(\d+)WAR"')


def _written(value: Any, generator: Random) -> str:
    """JSON text with raw parts and, sometimes, a key given twice."""
    found: list[str] = []
    text = json.dumps(_marked(value, found), ensure_ascii=generator.random() < 0.5)
    if generator.random() < 0.04:
        text = re.sub(r'("[a-z_]+": [0-9a-z".]+),', r"\1, \1,", text, count=1)
    return _MARK.sub(lambda match: found[int(match[1])], text)


def _marked(value: Any, found: list[str]) -> Any:
    if isinstance(value, _Raw):
        found.append(str(value))
        return f"RAW{len(found) - 1}WAR"
    if isinstance(value, dict):
        return {str(key): _marked(each, found) for key, each in value.items()}
    return [_marked(each, found) for each in value] if isinstance(value, list) else value


_text: Callable[[Any], str] = lambda value: value if isinstance(value, str) else json.dumps(value)  # noqa: E731
