"""Mutations by number: which were refused, which were taken, and which broke the law."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import final

from .law import Call, broken
from .mutate import Mutator


@final
@dataclass(frozen=True)
class Kind:
    """A kind of file.

    make: writes a folder of valid files, once for all mutations.
    files: those of them that are spoiled, one at a time; relative to the folder.
    spoil: spoils the content of one.
    calls: what is called on the folder; each mutation draws one. Each takes milliseconds.
    share: how many of the mutations asked for are made, for calls that are dear.
    """

    make: Callable[[Path], None]
    files: tuple[str, ...]
    spoil: Mutator
    calls: tuple[Call, ...]
    share: float = 1.0


@final
@dataclass(frozen=True)
class Failure:
    """A mutation that broke the law: its kind and number, the folder that keeps it, and what was wrong."""

    kind: str
    number: int
    folder: Path
    what: str


@final
@dataclass
class Report:
    """How many mutations of each kind were taken and refused, and those that broke the law."""

    taken: dict[str, int] = field(default_factory=dict)
    refused: dict[str, int] = field(default_factory=dict)
    failures: list[Failure] = field(default_factory=list)

    def __str__(self) -> str:
        lines = [
            f"{kind:24} {self.taken[kind]:6} taken {self.refused[kind]:6} refused "
            f"{sum(each.kind == kind for each in self.failures):4} broke the law"
            for kind in self.taken
        ]
        lines += [f"{each.folder}: {each.what}" for each in self.failures]
        return "\n".join(lines)


def run_mutations(
    count: int, seed: int, kinds: dict[str, Kind], keep: Path, until: Callable[[], bool] = lambda: False
) -> Report:
    """Mutations 0 to `count` − 1 of each kind; those that break the law are kept in a folder each, below `keep`.

    The same count, seed and kinds give the same mutations. `until` may end the run early.
    """
    report = Report()
    for name, kind in kinds.items():
        report.taken[name] = report.refused[name] = 0
        with tempfile.TemporaryDirectory(prefix=f"fuzz-{name}-") as folder:
            inputs, out = Path(folder) / "in", Path(folder) / "out"
            inputs.mkdir()
            kind.make(inputs)
            for number in range(max(1, round(count * kind.share))):
                if until():
                    break
                _one(name, kind, number, Random(f"{seed} {name} {number}"), inputs, _emptied(out), keep, report)
    return report


def _one(
    name: str, kind: Kind, number: int, generator: Random, inputs: Path, out: Path, keep: Path, report: Report
) -> None:
    file = inputs / generator.choice(kind.files)
    whole = file.read_bytes()
    file.write_bytes(kind.spoil(whole, generator))
    code, what = broken(generator.choice(kind.calls), inputs, out)
    if what:
        folder = keep / name / str(number)
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(inputs, folder)
        report.failures.append(Failure(name, number, folder, f"{file.relative_to(inputs)}: {what}"))
        shutil.rmtree(inputs)
        inputs.mkdir()
        kind.make(inputs)
    else:
        report.taken[name] += code == 0
        report.refused[name] += code != 0
        file.write_bytes(whole)


def _emptied(folder: Path) -> Path:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    return folder


def named(kinds: dict[str, Kind], names: Iterable[str]) -> dict[str, Kind]:
    """Some of the kinds; all without names."""
    chosen = list(names)
    return {name: kinds[name] for name in chosen} if chosen else kinds
