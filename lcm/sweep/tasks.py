"""Tasks of a sweep: what one process does at a time, a single cell or several that are trained as an ensemble."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import final

from safetensors import SafetensorError, safe_open

from lcm.config import config_hash
from lcm.files import read_json, write_json
from lcm.learn.config import FitConfig
from lcm.sweep.cells import Cell

MEMBERS_FILE = "members.json"


@final
@dataclass(frozen=True)
class Work:
    """A cell as a process needs it.

    train, test: files of pairs. source: what its run calls the former. folder: of its run.
    """

    key: str
    name: str
    train: Path
    test: Path
    config: FitConfig
    folder: Path
    source: str


@final
@dataclass(frozen=True)
class Task:
    """Cells that one process does, and the folder of their ensemble; None where they are done one by one."""

    works: tuple[Work, ...]
    folder: Path | None = None


def make_tasks(waiting: Sequence[Cell], retried: Sequence[Cell], out: Path, limit: int, jobs: int) -> list[Task]:
    """The tasks of cells that are not finished, ensembles first as far as they can be formed.

    Cells of one shape of data and of one config but for its seed make an ensemble. Cells that failed before, have
    begun by themselves, or choose among restarts stay alone. Ensembles that were interrupted are taken up as they were.

    Args:
        waiting: cells that never ended.
        retried: cells that failed before.
        out: folder of the sweep.
        limit: most members of an ensemble; 1 for none.
        jobs: processes to keep busy, with smaller ensembles where there are few cells.
    """
    works = {cell.key: work_of(cell, out) for cell in waiting}
    resumed = _interrupted(works, out / "batches") if limit > 1 else []
    taken = {work.key for task in resumed for work in task.works}
    alone = [work_of(cell, out) for cell in retried]
    groups: dict[object, list[Work]] = {}
    for key, work in works.items():
        shape = _shape(work.train) if limit > 1 and work.config.restarts == 1 else None
        if key in taken:
            continue
        if shape is None or work.folder.exists():
            alone.append(work)
        else:
            groups.setdefault((shape, config_hash(replace(work.config, seed=0))), []).append(work)
    left = sum(map(len, groups.values()))
    size = max(1, min(limit, -(-left // jobs)))
    formed = [
        _task(group[first : first + size], out) for group in groups.values() for first in range(0, len(group), size)
    ]
    return [*resumed, *formed, *(Task((work,)) for work in alone)]


def work_of(cell: Cell, out: Path) -> Work:
    """A cell as a process needs it, in the folder of its sweep."""
    train, test = cell.data.train, cell.data.test
    return Work(cell.key, cell.name, train, test, cell.config, out / "cells" / cell.name, str(train))


def write_members(task: Task) -> None:
    """Say in the folder of an ensemble who its members are, so that it can be taken up again."""
    if task.folder is not None:
        task.folder.mkdir(parents=True, exist_ok=True)
        write_json(task.folder / MEMBERS_FILE, [work.key for work in task.works])


def _task(works: Sequence[Work], out: Path) -> Task:
    if len(works) == 1:
        return Task(tuple(works))
    name = hashlib.sha256(" ".join(work.key for work in works).encode()).hexdigest()[:16]
    return Task(tuple(works), out / "batches" / name)


def _interrupted(works: dict[str, Work], folder: Path) -> list[Task]:
    """Ensembles whose members are all still waiting, in the order in which they were."""
    tasks = []
    for file in sorted(folder.glob(f"*/{MEMBERS_FILE}")):
        keys = read_json(file)
        if all(key in works for key in keys):
            tasks.append(Task(tuple(works[key] for key in keys), file.parent))
    return tasks


def _shape(path: Path) -> tuple[int, ...] | None:
    """The shape of x in a .safetensors file; None for what is not known to be one."""
    try:
        with safe_open(path, framework="numpy") as file:
            return tuple(file.get_slice("x").get_shape())
    except (SafetensorError, OSError, ValueError):
        return None
