"""What a process does with a task: fits and scores its cells, and says of each what it has come to."""

from __future__ import annotations

import platform
import shutil
import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, final

from lcm.sweep.tasks import Task, Work

if TYPE_CHECKING:
    from lcm.data.pairs import PairData
    from lcm.run import Run

FINISHED, FAILED = "finished", "failed"


@final
@dataclass(frozen=True)
class Outcome:
    """What a cell has come to: the part of its record that depends on the work, and what is to be shown of it."""

    key: str
    record: dict[str, Any]
    files: dict[str, bytes] = field(default_factory=dict)

    @property
    def failed(self) -> bool:
        """Whether it has an error instead of scores."""
        return bool(self.record["status"] == FAILED)


def failure(key: str, error: str, trace: str = "") -> Outcome:
    """The outcome of a cell that failed, with one line that says why."""
    return Outcome(key, {"status": FAILED, "error": " ".join(error.split()), "traceback": trace})


def run_task(task: Task, device: str, threads: int) -> Iterator[Outcome]:
    """Fit and score the cells of a task; a cell that fails does not stop the others.

    An ensemble that fails as a whole is done again one by one, so that those fail alone that have to.

    Args:
        task: its cells; what is there of their runs is used.
        device: "auto", "cpu" or "cuda".
        threads: to compute with.
    """
    import torch

    torch.set_num_threads(threads)
    together = 1
    if task.folder is not None:
        try:
            _fit_together(task.works, task.folder, device)
            together = len(task.works)
        except Exception:
            # each says by itself what is wrong with it
            pass
        shutil.rmtree(task.folder, ignore_errors=True)
    for work in task.works:
        yield _guarded(work, partial(_fit_and_score, work, device, threads, together))


def _guarded(work: Work, compute: Callable[[], dict[str, Any]]) -> Outcome:
    try:
        return Outcome(work.key, compute())
    except Exception as error:
        return failure(work.key, f"{type(error).__name__}: {error}", traceback.format_exc())


def _fit_and_score(work: Work, device: str, threads: int, together: int) -> dict[str, Any]:
    from lcm.data.pairs import load_pairs
    from lcm.metric.evaluate import evaluate

    train = _training_pairs(work)
    run = _fitted(work, train, device)
    scores = evaluate(
        run.model,
        load_pairs(work.test),
        edge_strength=run.edge_strength,
        fit_seconds=run.fit["fit_seconds"],
        n_jobs=threads,
    )
    made = {key: run.info[key] for key in ("data_sha256", "config_sha256", "lcm", "torch", "threads", "device")}
    return {
        "status": FINISHED,
        "error": None,
        "scores": scores,
        "n_pairs": len(train),
        "batch": together,
        "machine": platform.node(),
        **made,
    }


def _training_pairs(work: Work) -> PairData:
    from lcm.data.pairs import load_pairs

    return replace(load_pairs(work.train), source=work.source)


def _fitted(work: Work, train: PairData, device: str) -> Run:
    """The run of a cell, fitted or finished now where it is not yet."""
    from lcm.run import fit_run, load_run

    if not _is_fitted(work):
        fit_run(train, work.folder, work.config, device=device, overwrite=True, progress=False)
    return load_run(work.folder)


def _is_fitted(work: Work) -> bool:
    """Whether the folder of a run, which is named after data and settings, holds it whole."""
    from lcm.config import config_hash
    from lcm.run_folder import FINISHED as WHOLE
    from lcm.run_folder import read_state

    try:
        info = read_state(work.folder)
    except ValueError:
        return False
    return bool(info.get("state") == WHOLE and info.get("config_sha256") == config_hash(work.config))


def _fit_together(works: Sequence[Work], folder: Path, device: str) -> None:
    """Fit the cells of an ensemble and write their runs; an interrupted one goes on from its checkpoints."""
    from lcm.learn.fit import fit_ensemble, resolve_device
    from lcm.learn.tracker import Recorder
    from lcm.run import write_run

    folder.mkdir(parents=True, exist_ok=True)
    files = {work.train: _training_pairs(work) for work in {work.train: work for work in works}.values()}
    data, where = [files[work.train] for work in works], resolve_device(device)
    recorder = Recorder(folder)
    try:
        results = fit_ensemble(data, [work.config for work in works], where, recorder)
    finally:
        recorder.close()
    share = recorder.seconds / len(works)
    for work, pairs, result in zip(works, data, results, strict=True):
        if not _is_fitted(work):
            write_run(work.folder, replace(result, seconds=share), pairs, work.config, where)
