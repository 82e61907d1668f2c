"""The file of a sweep: data, settings of the fits, and how cells are run."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, final

from lcm.config import load_config
from lcm.sweep.alternatives import expanded, flattened, grid_of, list_of


@final
@dataclass(frozen=True)
class DataConfig:
    """Data sets of a sweep: two files, or all that a config for `lcm generate` gives.

    name: what cells and tables call it; by default after the file.
    train, test: files of pairs to fit and to score on.
    values: columns of the table that say what the files are, such as {n: 4}.
    generate: a config for `lcm generate`; `base` replaces some of its keys, and `grid` and `list` give a data set for
        each of their values, all by dotted path.
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
        """What each data set replaces in the config, by dotted path."""
        return expanded(flattened(self.base, "base"), grid_of(self.grid, "grid"), list_of(self.list, "list"))

    def varied(self) -> list[str]:
        """The keys that tell its data sets apart, by dotted path."""
        return _varied(self.grid, self.list)


@final
@dataclass(frozen=True)
class RayConfig:
    """What a task on Ray declares: its CPUs (its threads as well) and GPUs, and how often it is tried again."""

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
    list: alternatives, each a mapping of settings; every one is combined with the whole grid.
    batch: cells that are trained at once where all but seed and data is equal; 1 for none.
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
        """What each fit is told, by dotted path."""
        return expanded(flattened(self.base, "base"), grid_of(self.grid, "grid"), list_of(self.list, "list"))

    def varied(self) -> list[str]:
        """The keys that tell the fits apart, by dotted path."""
        return _varied(self.grid, self.list)


def load_sweep(path: str | Path) -> SweepConfig:
    """Read the file of a sweep; ValueError, one line, for what `SweepConfig` refuses, as in `lcm.config`."""
    return load_config(path, SweepConfig)


def _varied(grid: Any, alternatives: Any) -> list[str]:
    entries = list_of(alternatives, "list")
    return list(dict.fromkeys([*(path for entry in entries for path in entry), *grid_of(grid, "grid")]))
