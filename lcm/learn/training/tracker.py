"""The records of a fit: a progress bar, metrics.jsonl, TensorBoard, and checkpoints in safetensors."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, final

import torch
from torch import Tensor
from tqdm import tqdm

from lcm.base.atomic import room_for
from lcm.base.files import write_text
from lcm.base.json_text import json_lines
from lcm.base.rows import return_free_memory
from lcm.base.text import shown
from lcm.learn.training.checkpoint import read_checkpoint, write_checkpoint
from lcm.learn.training.objective import Tracker

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

METRICS_FILE = "metrics.jsonl"
CHECKPOINT_FOLDER = "checkpoint"
_RESTARTS = "restarts"
_KEYS = {"restart": (int,), "stage": (str,), "step": (int,), "seconds": (int, float)}


@final
class Recorder:
    """Collects the records of a whole fit; with a folder, it also writes them and keeps checkpoints there.

    A fit that resumes in its folder keeps its clock, and its records up to the last checkpoints. `identity` is the hash
    of the fit, without which its checkpoints are not read.
    """

    def __init__(self, folder: Path | None = None, progress: bool = False, identity: str = "") -> None:
        self.folder, self.progress, self.identity = folder, progress, identity
        self.records: list[dict[str, Any]] = []
        self._writer: SummaryWriter | None = None
        self._stage: StageTracker | None = None
        if folder is not None and (folder / METRICS_FILE).exists():
            self.records = read_metrics(folder / METRICS_FILE)
            # a killed process may have left half a line, which the next record would continue
            self._rewrite()
        self._before = max((float(record["seconds"]) for record in self.records), default=0.0)
        self._started = time.perf_counter()

    @property
    def seconds(self) -> float:
        """Seconds spent on this fit, including interrupted parts up to their last record."""
        return self._before + time.perf_counter() - self._started

    def stage(self, restarts: int | Sequence[int], name: str) -> StageTracker:
        """A tracker for the next stage of one or several restarts; it ends the stage before."""
        self._finish_stage()
        return_free_memory()
        self._stage = StageTracker(self, [restarts] if isinstance(restarts, int) else restarts, name)
        return self._stage

    def _finish_stage(self) -> None:
        if self._stage is not None:
            self._stage.finish()

    def _rewrite(self) -> None:
        if self.folder is not None:
            write_text(self.folder / METRICS_FILE, "".join(json.dumps(r) + "\n" for r in self.records))

    def keep(self, restart: int, stage: str, step: int) -> None:
        """Drop the records of a stage after `step`, which a resumed run writes again."""
        kept = [r for r in self.records if (r["restart"], r["stage"]) != (restart, stage) or r["step"] <= step]
        dropped = len(kept) != len(self.records)
        self.records = kept
        if dropped:
            self._rewrite()

    def record(self, restart: int, stage: str, values: Mapping[str, object]) -> None:
        """Append one record; with a folder, also to the file and to TensorBoard."""
        line = {"restart": restart, "stage": stage, "seconds": round(self.seconds, 3), **values}
        self.records.append(line)
        if self.folder is None:
            return
        path = self.folder / METRICS_FILE
        with room_for(path), path.open("a") as file:
            file.write(json.dumps(line) + "\n")
        for name, value in values.items():
            if isinstance(value, float):
                self._tensorboard().add_scalar(f"{stage}/{restart}/{name}", value, values["step"])

    def _tensorboard(self) -> SummaryWriter:
        if self._writer is None:
            from torch.utils.tensorboard import SummaryWriter

            self._writer = SummaryWriter(str(self.folder))
        return self._writer

    def close(self) -> None:
        """Close the progress bar and flush TensorBoard; checkpoints stay."""
        self._finish_stage()
        if self._writer is not None:
            self._writer.close()
            self._writer = None

    def delete_checkpoints(self) -> None:
        """Delete the checkpoints of a fit that is finished."""
        if self.folder is not None:
            for path in (self.folder / CHECKPOINT_FOLDER).glob("*.safetensors"):
                path.unlink(missing_ok=True)
            # a file of somebody else keeps the folder
            with suppress(OSError):
                (self.folder / CHECKPOINT_FOLDER).rmdir()


@final
class StageTracker(Tracker):
    """Reports one stage of one or several restarts to a recorder and keeps their checkpoint in a single file."""

    def __init__(self, recorder: Recorder, restarts: Sequence[int], name: str) -> None:
        self._recorder, self._restarts, self._name = recorder, list(restarts), name
        self._bar: tqdm[Any] | None = None

    def _checkpoint(self) -> Path | None:
        if self._recorder.folder is None:
            return None
        file = f"{self._restarts[0]}-{self._name.replace(' ', '-')}.safetensors"
        return self._recorder.folder / CHECKPOINT_FOLDER / file

    def record(self, values: Mapping[str, object], member: int = 0) -> None:
        self._recorder.record(self._restarts[member], self._name, values)

    def advance(self, step: int, steps: int, log_likelihood: float) -> None:
        if not self._recorder.progress:
            return
        if self._bar is None:
            several = f"{len(self._restarts)} fits"
            name = f"{self._name} ({self._restarts[0] + 1 if len(self._restarts) == 1 else several})"
            self._bar = tqdm(total=steps, desc=name, file=sys.stderr, unit="step", disable=None)
        self._bar.update(step - self._bar.n)
        self._bar.set_postfix_str(f"held-out log-likelihood {log_likelihood:.3f}")
        if step == steps:
            self.finish()

    def finish(self) -> None:
        """Close the progress bar, also after an early stop."""
        if self._bar is not None:
            self._bar.close()
            self._bar = None

    def save(self, state: dict[str, Tensor]) -> None:
        path = self._checkpoint()
        if path is None:
            return
        write_checkpoint(path, state | {_RESTARTS: torch.tensor(self._restarts)}, self._recorder.identity, self._name)

    def restore(self) -> dict[str, Tensor] | None:
        path = self._checkpoint()
        found = None
        if path is not None and path.exists():
            found = read_checkpoint(path, self._recorder.identity, self._name)
            # only the same restarts in one batch have the same rounding
            found = found if found.pop(_RESTARTS).tolist() == self._restarts else None
        # without a checkpoint the stage starts again and writes its record of step 0 again
        step = -1 if found is None else int(found["step"])
        for restart in self._restarts:
            self._recorder.keep(restart, self._name, step)
        return found


def read_metrics(path: Path) -> list[dict[str, Any]]:
    """The records in a metrics.jsonl, without a half-written last line that a killed process may have left.

    Raises:
        ValueError: a line that is no record of a fit.
    """
    records = list(json_lines(path))
    for number, record in enumerate(records, 1):
        known = isinstance(record, dict) and all(map(_is_measure, record.values()))
        if not known or any(type(record.get(key)) not in types for key, types in _KEYS.items()):
            raise ValueError(
                f"{path}: line {number}: Expected a record with restart, stage, step and seconds; got "
                f"{shown(record)}. Delete the file to go on without its records."
            )
    return records


def _is_measure(value: Any) -> bool:
    numbers = value if isinstance(value, list) else [value]
    return isinstance(value, str | None) or all(isinstance(each, int | float | None) for each in numbers)
