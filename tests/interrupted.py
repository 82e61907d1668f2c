"""Fits that stop on the way, and what they must come to when they go on."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from small import STEPS, equal_weights, fit_in

from lcm.base.files import read_json
from lcm.learn.training.tracker import Recorder, read_metrics
from lcm.run.runs import load_run

FIRST_STAGE, SECOND_STAGE = "noise encoder", "candidate mechanisms"


def interrupt_at(monkeypatch: pytest.MonkeyPatch, stage: str, step: int, error: BaseException) -> None:
    """Let the fit fail right after the record of a step, as a signal would."""
    record = Recorder.record

    def recorded(self: Recorder, restart: int, name: str, values: Any) -> None:
        record(self, restart, name, values)
        if (name, values["step"]) == (stage, step):
            raise error

    monkeypatch.setattr(Recorder, "record", recorded)


def unfinished(out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave an interrupted run with a checkpoint."""
    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        interrupt_at(patched, FIRST_STAGE, STEPS, KeyboardInterrupt())
        fit_in(out)


def assert_same_fit(resumed: Path, whole: Path) -> None:
    """The same weights, graph and records but for times and TensorBoard."""
    assert equal_weights(load_run(resumed).model, load_run(whole).model)
    assert read_json(resumed / "graph.json") == read_json(whole / "graph.json")
    records = [read_metrics(folder / "metrics.jsonl") for folder in (resumed, whole)]
    steps = Counter((record["restart"], record["stage"], record["step"]) for record in records[0])
    assert set(steps.values()) == {1}
    timeless = [[{k: v for k, v in record.items() if k != "seconds"} for record in part] for part in records]
    assert timeless[0] == timeless[1]
    assert not (resumed / "checkpoint").exists()
