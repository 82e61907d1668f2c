"""The file of a sweep: settings by dotted path, and the alternatives that a grid and a list give."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path
from typing import Any, Literal, final

from lcm.base.config import load_config
from lcm.base.text import shown

_MOST_CELLS = 20_000


def flattened(values: Any, where: str) -> dict[str, Any]:
    """Settings by dotted path, from a mapping whose keys may be dotted, nested, or both.

    Args:
        values: the mapping; None for an empty one.
        where: the key that holds the mapping, named in errors.

    Raises:
        ValueError: not a mapping, a key that is not text, a key given twice, or a key that is also a section.
    """
    found: dict[str, Any] = {}
    for path, value in _leaves({} if values is None else values, where, ""):
        if path in found:
            raise ValueError(f"{where}.{path}: Expected each key once; got it nested and dotted")
        found[path] = value
    _require_no_section(list(found), where)
    return found


def nested(settings: Mapping[str, Any], where: str) -> dict[str, Any]:
    """The nested mapping of settings by dotted path; ValueError if a key is also a section."""
    _require_no_section(list(settings), where)
    whole: dict[str, Any] = {}
    for path, value in settings.items():
        *sections, key = path.split(".")
        place = whole
        for section in sections:
            place = place.setdefault(section, {})
        place[key] = value
    return whole


def grid_of(values: Any, where: str) -> dict[str, list[Any]]:
    """The values of every key of a grid, by dotted path.

    Raises:
        ValueError: as `flattened`, or a key whose value is not a list of one or more values other than mappings.
    """
    grid = flattened(values, where)
    for path, choices in grid.items():
        if not isinstance(choices, list) or not choices:
            raise ValueError(f"{where}.{path}: Expected a list of one or more values; got {shown(choices)}")
        if any(isinstance(choice, Mapping) for choice in choices):
            raise ValueError(f"{where}.{path}: Expected values; got a mapping (list: takes these)")
    return grid


def list_of(values: Any, where: str) -> list[dict[str, Any]]:
    """The alternatives of a list, by dotted path; a single empty alternative without a list.

    Raises:
        ValueError: as `flattened`, or not a list of one or more mappings.
    """
    if values is None:
        return [{}]
    if not isinstance(values, list) or not values:
        raise ValueError(f"{where}: Expected a list of one or more mappings; got {shown(values)}")
    return [flattened(entry, f"{where}[{index}]") for index, entry in enumerate(values)]


def expanded(
    base: Mapping[str, Any], grid: Mapping[str, list[Any]], alternatives: list[dict[str, Any]]
) -> list[dict[str, Any]]:
    """Every alternative combined with every point of the grid, by dotted path; both override `base`.

    Raises:
        ValueError: a key that is in the grid and in the list, or more than 20,000 combinations.
    """
    twice = [path for entry in alternatives for path in entry if path in grid]
    if twice:
        raise ValueError(f"{twice[0]}: Expected a key in the grid or in the list; got it in both")
    cells = len(alternatives) * math.prod(len(values) for values in grid.values())
    if cells > _MOST_CELLS:
        raise ValueError(f"grid: Expected at most {_MOST_CELLS:,} combinations of values; got {cells:,}")
    points = [dict(zip(grid, values, strict=True)) for values in product(*grid.values())]
    return [{**base, **entry, **point} for entry in alternatives for point in points]


def at_path(settings: Mapping[str, Any], path: str) -> Any:
    """The value of nested settings at a dotted path; None if a section on the way is None or lacks the key."""
    value: Any = settings
    for key in path.split("."):
        value = value.get(key) if isinstance(value, Mapping) else None
    return value


def _leaves(values: Any, where: str, prefix: str) -> Iterator[tuple[str, Any]]:
    if not isinstance(values, Mapping):
        raise ValueError(f"{where}: Expected a mapping of keys to values; got {shown(values)}")
    for key, value in values.items():
        if not isinstance(key, str):
            raise ValueError(f"{where}: Expected keys that are text; got {shown(key)}")
        path = f"{prefix}.{key}" if prefix else key
        if isinstance(value, Mapping):
            yield from _leaves(value, where, path)
        else:
            yield path, value


def _require_no_section(paths: list[str], where: str) -> None:
    sections = {path.rpartition(".")[0] for path in paths} - {""}
    sections |= {section.rpartition(".")[0] for section in list(sections)} - {""}
    for path in paths:
        if path in sections:
            raise ValueError(f"{where}: {path}: Expected a value or a section; got both")


@final
@dataclass(frozen=True)
class DataConfig:
    """Data sets of a sweep: two files, or the data sets that a config for `lcm generate` gives.

    name: the name in cells and tables; by default that of the file less _train, or of the folder if the file is train.
    train, test: files of pairs to fit and to score on.
    values: columns of the table that describe the files, such as {n: 4}.
    generate: a config for `lcm generate`. `base` replaces some of its keys; `grid` and `list` give a data set for each
        of their values. All take dotted paths.
    """

    name: str | None = None
    train: str | None = None
    test: str | None = None
    values: Any = None
    generate: str | None = None
    base: Any = None
    grid: Any = None
    list: Any = None

    def __post_init__(self) -> None:
        kinds = {"train": self.train, "test": self.test, "generate": self.generate}
        given = [key for key, value in kinds.items() if value is not None]
        if given not in (["train", "test"], ["generate"]):
            raise ValueError(f"Expected train and test, or generate; got {' and '.join(given) or 'neither'}")
        others = ("base", "grid", "list") if self.generate is None else ("values",)
        for key in others:
            if getattr(self, key) is not None:
                raise ValueError(f"{key}: Expected none with {' and '.join(given)}; got one")
        flattened(self.values, "values")
        self.settings()

    def settings(self) -> list[dict[str, Any]]:
        """The keys that each data set replaces in the config, by dotted path."""
        return expanded(flattened(self.base, "base"), grid_of(self.grid, "grid"), list_of(self.list, "list"))

    def varied(self) -> list[str]:
        """The keys in which the data sets differ, by dotted path."""
        return _varied(self.grid, self.list)


@final
@dataclass(frozen=True)
class RayConfig:
    """What a task on Ray declares: CPUs (also its threads), GPUs, and how often a lost task is tried again."""

    cpus: int = 1
    gpus: float = 0.0
    retries: int = 3

    def __post_init__(self) -> None:
        for key, least in (("cpus", 1), ("gpus", 0), ("retries", 0)):
            if getattr(self, key) < least:
                raise ValueError(f"{key}: Expected at least {least}; got {getattr(self, key)}")


@final
@dataclass(frozen=True)
class SweepConfig:
    """A sweep: every data set with every combination of settings is one cell.

    data: data sets.
    base: settings of all fits, nested or by dotted path; keys of a config for `lcm fit`.
    grid: keys by dotted path, each with the list of its values.
    list: alternatives, each a mapping of settings; each is combined with the whole grid.
    batch: the most cells that are trained at once, equal in all but seed and data; 1 trains each alone.
    device: "auto", "cpu" or "cuda".
    ray: what a task on Ray declares.
    """

    data: tuple[DataConfig, ...]
    base: Any = None
    grid: Any = None
    list: Any = None
    batch: int = 8
    device: Literal["auto", "cpu", "cuda"] = "auto"
    ray: RayConfig = field(default_factory=RayConfig)

    def __post_init__(self) -> None:
        if not self.data:
            raise ValueError("data: Expected at least one data set; got none")
        if self.batch < 1:
            raise ValueError(f"batch: Expected at least 1; got {self.batch}")
        self.settings()

    def settings(self) -> list[dict[str, Any]]:
        """The settings of each fit, by dotted path."""
        return expanded(flattened(self.base, "base"), grid_of(self.grid, "grid"), list_of(self.list, "list"))

    def varied(self) -> list[str]:
        """The keys in which the fits differ, by dotted path."""
        return _varied(self.grid, self.list)


def load_sweep(path: str | Path) -> SweepConfig:
    """Read the file of a sweep; ValueError, in one line, for a bad key or value."""
    return load_config(path, SweepConfig)


def _varied(grid: Any, alternatives: Any) -> list[str]:
    entries = list_of(alternatives, "list")
    return list(dict.fromkeys([*(path for entry in entries for path in entry), *grid_of(grid, "grid")]))
