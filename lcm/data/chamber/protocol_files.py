"""The files of a protocol of pairs: the instructions as text, and its truth as JSON beside them."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lcm.base import __version__
from lcm.base.atomic import atomic_write
from lcm.base.files import read_json
from lcm.base.text import shown
from lcm.data.chamber.actuator import Actuator, require_distinct
from lcm.data.chamber.protocol import PairProtocol, may_change
from lcm.model.graph import Graph

_KEYS = ("actuators", "centre", "scale", "adjacency", "targets", "before", "after")
_OF_ACTUATOR = ("name", "low", "high", "step")
_MADE = ("made_by", "version", "seed")
_SETTING = re.compile(r"([A-Za-z][A-Za-z0-9_.-]{0,63})=([A-Za-z0-9_.:/+-]{1,64})")


def truth_path(path: Path) -> Path:
    """The JSON file beside the instructions: protocol.json for protocol.txt."""
    return path.with_suffix(".json")


def write_protocol(
    path: Path, protocol: PairProtocol, *, setup: Mapping[str, str] | None = None, wait: int = 0, seed: int = 0
) -> None:
    """Write the instructions, and the truth as JSON beside them, both whole or not at all.

    Args:
        path: of the instructions.
        setup, wait: as for `PairProtocol.lines`.
        seed: of the protocol, for the record.
    """
    made = {"made_by": "lcm protocol", "version": __version__, "seed": seed}
    values: dict[str, Any] = {
        "actuators": [{key: getattr(actuator, key) for key in _OF_ACTUATOR} for actuator in protocol.actuators],
        "centre": protocol.centre.tolist(),
        "scale": protocol.scale.tolist(),
        "adjacency": protocol.adjacency.tolist(),
        "targets": [np.flatnonzero(row).tolist() for row in protocol.targets],
        "before": protocol.before.tolist(),
        "after": protocol.after.tolist(),
    }
    with atomic_write(path) as text, atomic_write(truth_path(path)) as truth:
        text.write_text("".join(f"{line}\n" for line in protocol.lines(setup, wait)), encoding="utf-8")
        # on one line: an indented list of lists would be several times as large
        truth.write_text(json.dumps(made | values, allow_nan=False) + "\n", encoding="utf-8")


def parsed_settings(texts: Sequence[str]) -> dict[str, str]:
    """Settings from "name=value" each, for the start of a protocol.

    Raises:
        ValueError: another form, or a name twice.
    """
    matches = [_SETTING.fullmatch(text) for text in texts]
    for text, match in zip(texts, matches, strict=True):
        if match is None:
            raise ValueError(f"set: Expected NAME=VALUE, without commas and spaces; got {text!r}")
    pairs = [(match[1], match[2]) for match in matches if match]
    require_distinct([name for name, _ in pairs], "set")
    return dict(pairs)


def read_protocol(path: str | Path) -> PairProtocol:
    """Read the JSON file that `write_protocol` wrote.

    Raises:
        ValueError: no such file, no JSON, a missing or unknown key, a value of another type, size or range, a graph
            with a cycle, or a pair in which an actuator changes that no target reaches.
    """
    values = read_json(path)
    if not isinstance(values, dict) or not set(_KEYS) <= set(values) <= {*_KEYS, *_MADE}:
        got = ", ".join(shown(key) for key in list(values)[:9]) if isinstance(values, dict) else shown(values)
        raise ValueError(f"{path}: Expected the keys {', '.join(_KEYS)} of a protocol; got {got or 'none'}")
    actuators = _actuators(values["actuators"], f"{path}: actuators")
    n = len(actuators)
    centre, scale = (_numbers(values[key], n, f"{path}: {key}") for key in ("centre", "scale"))
    adjacency = np.array([_numbers(row, n, f"{path}: adjacency") for row in _rows(values, "adjacency", path, n)])
    try:
        graph = Graph(adjacency)
    except ValueError as error:
        raise ValueError(f"{path}: adjacency: {error}") from error
    targets = _targets(values, path, n)
    before, after = (_table(values, key, path, len(targets), n) for key in ("before", "after"))
    protocol = PairProtocol(actuators, before, after, targets, graph.adjacency.astype(np.uint8), centre, scale)
    _require_causal(protocol, graph, path)
    return protocol


def _actuators(value: Any, where: str) -> tuple[Actuator, ...]:
    if not isinstance(value, list) or not value:
        raise ValueError(f"{where}: Expected a list of actuators; got {shown(value)}")
    found = []
    for number, entry in enumerate(value):
        if not isinstance(entry, dict) or set(entry) != set(_OF_ACTUATOR) or not isinstance(entry["name"], str):
            raise ValueError(f"{where}: {number}: Expected {', '.join(_OF_ACTUATOR)}; got {shown(entry)}")
        low, high, step = _numbers([entry[key] for key in _OF_ACTUATOR[1:]], 3, f"{where}: {number}").tolist()
        try:
            found.append(Actuator(entry["name"], low, high, step))
        except ValueError as error:
            raise ValueError(f"{where}: {number}: {error}") from error
    require_distinct([actuator.name for actuator in found], where)
    return tuple(found)


def _numbers(value: Any, count: int, where: str) -> NDArray[np.float64]:
    is_list = isinstance(value, list) and len(value) == count
    if not is_list or not all(isinstance(each, int | float) and not isinstance(each, bool) for each in value):
        raise ValueError(f"{where}: Expected a list of {count} numbers; got {shown(value)}")
    found = np.array(value, np.float64)
    if not all(map(math.isfinite, found)):
        raise ValueError(f"{where}: Expected finite numbers; got {shown(value)}")
    return found


def _rows(values: Mapping[str, Any], key: str, path: str | Path, count: int | None = None) -> list[Any]:
    rows = values[key]
    if not isinstance(rows, list) or not rows or (count is not None and len(rows) != count):
        expected = "a list with an entry for each pair" if count is None else f"a list of {count} entries"
        got = f"{len(rows)} entries" if isinstance(rows, list) else shown(rows)
        raise ValueError(f"{path}: {key}: Expected {expected}; got {got}")
    return rows


def _table(values: Mapping[str, Any], key: str, path: str | Path, count: int, n: int) -> NDArray[np.float64]:
    rows = enumerate(_rows(values, key, path, count))
    return np.stack([_numbers(row, n, f"{path}: {key}: pair {number}") for number, row in rows])


def _targets(values: Mapping[str, Any], path: str | Path, n: int) -> NDArray[np.bool_]:
    rows = _rows(values, "targets", path)
    targets = np.zeros((len(rows), n), np.bool_)
    for number, row in enumerate(rows):
        if not isinstance(row, list) or not all(type(each) is int and 0 <= each < n for each in row):
            expected = f"a list of actuators, 0 to {n - 1}"
            raise ValueError(f"{path}: targets: pair {number}: Expected {expected}; got {shown(row)}")
        targets[number, row] = True
    return targets


def _require_causal(protocol: PairProtocol, graph: Graph, path: str | Path) -> None:
    """Raise ValueError for a change of what is neither a target nor a descendant of one."""
    stray = (protocol.before != protocol.after) & ~may_change(protocol.targets, graph.ancestors())
    if stray.any():
        pair, actuator = np.argwhere(stray)[0].tolist()
        expected = f"{protocol.names[actuator]} to stay, which no target reaches"
        raise ValueError(f"{path}: after: pair {pair}: Expected {expected}; got a change")
