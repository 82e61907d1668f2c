"""Tasks: one or several cells that a process fits and scores, with an outcome for each."""

from __future__ import annotations

import hashlib
import platform
import shutil
import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, final

import numpy as np
from safetensors import SafetensorError, safe_open

from lcm.app.sweep.cells import Cell
from lcm.base import __version__
from lcm.base.config import config_hash
from lcm.base.files import read_json, write_json
from lcm.run.config import FitConfig

if TYPE_CHECKING:
    from lcm.data.pairs import PairData
    from lcm.run.runs import Run


CELL_WAITING, CELL_FINISHED, CELL_FAILED = "waiting", "finished", "failed"
MEMBERS_FILE = "members.json"


@final
@dataclass(frozen=True)
class CellOutcome:
    """The result of a cell: the part of its record that depends on the work, and the files of a run made elsewhere."""

    key: str
    record: dict[str, Any]
    files: dict[str, bytes] = field(default_factory=dict)

    @property
    def failed(self) -> bool:
        """Whether the cell has an error instead of scores."""
        return bool(self.record["status"] == CELL_FAILED)


def failure(key: str, error: str, trace: str = "") -> CellOutcome:
    """The outcome of a failed cell, with the reason in one line."""
    return CellOutcome(key, {"status": CELL_FAILED, "error": " ".join(error.split()), "traceback": trace})


def run_task(task: Task, device: str, threads: int) -> Iterator[CellOutcome]:
    """Fit and score the cells of a task; a cell that fails does not stop the others.

    The cells of an ensemble that fails are fitted again one by one, so that only the bad ones fail.

    Args:
        task: the cells; finished and interrupted runs in their folders are used.
        device: "auto", "cpu" or "cuda".
        threads: the number of threads to compute with.
    """
    import torch

    torch.set_num_threads(threads)
    together = 1
    if task.folder is not None:
        try:
            _fit_together(task.works, task.folder, device)
            together = len(task.works)
        except Exception:
            # each cell then reports its own error
            pass
        shutil.rmtree(task.folder, ignore_errors=True)
    for work in task.works:
        yield _guarded(work, partial(_fit_and_score, work, device, threads, together))


def _guarded(work: Work, compute: Callable[[], dict[str, Any]]) -> CellOutcome:
    try:
        return CellOutcome(work.key, compute())
    except Exception as error:
        return failure(work.key, f"{type(error).__name__}: {error}", traceback.format_exc())


def _fit_and_score(work: Work, device: str, threads: int, together: int) -> dict[str, Any]:
    from lcm.data.named_columns import in_order_of
    from lcm.data.pair_files import load_pairs
    from lcm.metric.scores import evaluate

    train, test = _training_pairs(work), load_pairs(work.test)
    run = _fitted(work, train, device)
    test = in_order_of(test, run)
    seconds = run.fit["fit_seconds"]
    scores = evaluate(run.model, test, edge_strength=run.edge_strength, fit_seconds=seconds, n_jobs=threads)
    made = {key: run.info[key] for key in ("data_sha256", "config_sha256", "lcm", "torch", "threads", "device")}
    return {
        "status": CELL_FINISHED,
        "error": None,
        "scores": scores,
        **_edges(run, test, scores["permutation"]),
        **{key: run.fit.get(key) for key in ("implicit_nll", "explicit_nll")},
        "n_pairs": len(train),
        "batch": together,
        "machine": platform.node(),
        **made,
    }


def _edges(run: Run, test: PairData, permutation: list[int] | None) -> dict[str, Any]:
    """Edges [i, j], i -> j, of the true and of the learned graph, both in the true numbering; none without truth."""
    from lcm.metric.graph import aligned_adjacency

    if test.adjacency is None or permutation is None:
        return {}
    learned = aligned_adjacency(run.model.graph.adjacency, permutation)
    return {"true_edges": np.argwhere(test.adjacency), "learned_edges": np.argwhere(learned)}


def _training_pairs(work: Work) -> PairData:
    from lcm.data.pair_files import load_pairs

    return replace(load_pairs(work.train), source=work.source)


def _fitted(work: Work, train: PairData, device: str) -> Run:
    """The run of a cell, fitted or resumed now where it is not finished."""
    from lcm.data.pairs import data_hash
    from lcm.run.known import knows_targets
    from lcm.run.runs import fit_run, load_run

    finished = _is_fitted(work)
    if not finished:
        fit_run(train, work.folder, work.config, device=device, overwrite=True, progress=False)
    run = load_run(work.folder)
    if finished and run.info["data_sha256"] != data_hash(train, with_targets=knows_targets(work.config)):
        raise ValueError(f"{work.folder}: Expected a run on these data; got one on others. Delete it.")
    return run


def _is_fitted(work: Work) -> bool:
    return finished_config(work.folder) == config_hash(work.config)


def finished_config(folder: Path) -> str | None:
    """The SHA-256 of the config of the finished run in a folder; None where there is no such run."""
    from lcm.run.run_folder import FINISHED, read_state

    try:
        info = read_state(folder)
    except ValueError:
        return None
    return str(info.get("config_sha256")) if info.get("state") == FINISHED else None


def _fit_together(works: Sequence[Work], folder: Path, device: str) -> None:
    """Fit the cells of an ensemble and write their runs; an interrupted ensemble resumes from its checkpoints."""
    from lcm.learn.training.tracker import Recorder
    from lcm.run.fitting import fit_ensemble, resolve_device
    from lcm.run.runs import write_run

    folder.mkdir(parents=True, exist_ok=True)
    files = {work.train: _training_pairs(work) for work in {work.train: work for work in works}.values()}
    data, where = [files[work.train] for work in works], resolve_device(device)
    recorder = Recorder(folder, identity=_ensemble_hash(works, where.type))
    try:
        results = fit_ensemble(data, [work.config for work in works], where, recorder)
    finally:
        recorder.close()
    for pairs in files.values():
        pairs.require_unchanged()
    share = recorder.seconds / len(works)
    for work, result in zip(works, results, strict=True):
        if not _is_fitted(work):
            write_run(work.folder, replace(result, config=work.config, seconds=share), overwrite=True)


def _ensemble_hash(works: Sequence[Work], device: str) -> str:
    """SHA-256 of all that the numbers of an ensemble depend on; a key stands for data and settings."""
    import torch

    parts = [*(work.key for work in works), device, __version__, torch.__version__, np.__version__]
    return hashlib.sha256(" ".join(parts).encode()).hexdigest()


@final
@dataclass(frozen=True)
class Work:
    """A cell as a process needs it.

    train, test: files of pairs. source: the name of the training file in the run. folder: the run's.
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
    """Cells for one process, and the folder of their ensemble; None if they are fitted one by one."""

    works: tuple[Work, ...]
    folder: Path | None = None


def make_tasks(waiting: Sequence[Cell], retried: Sequence[Cell], out: Path, limit: int, jobs: int) -> list[Task]:
    """The tasks of cells that are not finished, ensembles first.

    Cells with data of one shape and configs that differ in the seed alone form an ensemble. A cell that failed before,
    was started alone, has restarts, or whose data are not one .safetensors file stays alone. An interrupted ensemble
    resumes with the same members.

    Args:
        waiting: cells that have not ended yet.
        retried: cells that failed before.
        out: the folder of the sweep.
        limit: the most members of an ensemble; 1 for no ensembles.
        jobs: the number of processes to keep busy; few cells make smaller ensembles.
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
    """Write the members of an ensemble to its folder, so that it can be resumed."""
    if task.folder is not None:
        task.folder.mkdir(parents=True, exist_ok=True)
        write_json(task.folder / MEMBERS_FILE, [work.key for work in task.works])


def _task(works: Sequence[Work], out: Path) -> Task:
    if len(works) == 1:
        return Task(tuple(works))
    name = hashlib.sha256(" ".join(work.key for work in works).encode()).hexdigest()[:16]
    return Task(tuple(works), out / "batches" / name)


def _interrupted(works: dict[str, Work], folder: Path) -> list[Task]:
    """Interrupted ensembles whose members are all still waiting, with their members in the old order."""
    tasks = []
    for file in sorted(folder.glob(f"*/{MEMBERS_FILE}")):
        keys = read_json(file)
        if all(key in works for key in keys):
            tasks.append(Task(tuple(works[key] for key in keys), file.parent))
    return tasks


def _shape(path: Path) -> tuple[int, ...] | None:
    """The shape of x in a .safetensors file; None for any other file."""
    try:
        with safe_open(path, framework="numpy") as file:
            return tuple(file.get_slice("x").get_shape())
    except (SafetensorError, OSError, ValueError):
        return None
