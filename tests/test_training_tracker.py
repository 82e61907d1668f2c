"""Where a fit reports to: records, their file, checkpoints and progress bars."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
import torch

from lcm.learn.training.tracker import CHECKPOINT_FOLDER, METRICS_FILE, Recorder, read_metrics


def values(step: int) -> dict[str, object]:
    return {"step": step, "validation_log_likelihood": -float(step), "thickness": [0.5, 0.25]}


def recorded(folder: Path | None) -> Recorder:
    """Two stages of one restart and the first of another."""
    recorder = Recorder(folder)
    for restart, stage in ((0, "first"), (0, "second"), (1, "first")):
        tracker = recorder.stage(restart, stage)
        for step in (0, 10, 20):
            tracker.record(values(step))
    recorder.close()
    return recorder


def labels(recorder: Recorder) -> list[tuple[int, str, int]]:
    return [(record["restart"], record["stage"], record["step"]) for record in recorder.records]


def test_every_record_is_one_line_that_says_where_it_is_from(tmp_path: Path) -> None:
    recorder = recorded(tmp_path)
    lines = [json.loads(line) for line in (tmp_path / METRICS_FILE).read_text().splitlines()]
    assert lines == recorder.records == read_metrics(tmp_path / METRICS_FILE)
    assert len(lines) == 9
    assert lines[4] == {"restart": 0, "stage": "second", "seconds": lines[4]["seconds"], **values(10)}
    seconds = [line["seconds"] for line in lines]
    # the records are rounded to milliseconds
    assert seconds == sorted(seconds) and 0.0 <= seconds[-1] <= recorder.seconds + 5e-4
    assert len(list(tmp_path.glob("events.out.tfevents.*"))) == 1


def test_without_a_folder_records_are_in_memory_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    recorder = recorded(None)
    tracker = recorder.stage(0, "first")
    tracker.save({"step": torch.tensor(0)})
    recorder.delete_checkpoints()
    assert len(recorder.records) == 9
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("on_disk", [True, False])
def test_keep_drops_later_records_of_that_stage(on_disk: bool, tmp_path: Path) -> None:
    recorder = recorded(tmp_path if on_disk else None)
    before = labels(recorder)
    recorder.keep(0, "first", 10)
    assert labels(recorder) == [label for label in before if label != (0, "first", 20)]
    recorder.keep(0, "second", -1)
    assert labels(recorder) == [(0, "first", 0), (0, "first", 10), *((1, "first", step) for step in (0, 10, 20))]
    if on_disk:
        assert read_metrics(tmp_path / METRICS_FILE) == recorder.records


def test_half_a_line_is_left_out_and_removed(tmp_path: Path) -> None:
    whole = recorded(tmp_path).records
    path = tmp_path / METRICS_FILE
    with path.open("a") as file:
        file.write('{"restart": 1, "sta')
    assert read_metrics(path) == whole
    recorder = Recorder(tmp_path)
    recorder.stage(1, "second").record(values(0))
    recorder.close()
    assert read_metrics(path) == [*whole, recorder.records[-1]]
    assert labels(recorder)[-1] == (1, "second", 0)


def test_the_clock_of_a_continued_fit_runs_on(tmp_path: Path) -> None:
    (tmp_path / METRICS_FILE).write_text(json.dumps({"restart": 0, "stage": "a", "seconds": 1000.0, "step": 0}) + "\n")
    recorder = Recorder(tmp_path)
    recorder.stage(0, "b").record(values(0))
    recorder.close()
    assert 1000.0 <= recorder.records[-1]["seconds"] < 1100.0


def test_a_checkpoint_comes_back_as_it_was(tmp_path: Path) -> None:
    state = {
        # Views, of several types: what the optimiser hands over.
        "state.weight": torch.randn(4, 3).T,
        "generator": torch.Generator().get_state(),
        "counters": torch.tensor([[1.0, 5.0, -0.1]], dtype=torch.float64),
        "step": torch.tensor(10),
    }
    recorder = recorded(tmp_path)
    recorder.stage(1, "first").save(state)
    recorder.close()
    continued = Recorder(tmp_path)
    found = continued.stage(1, "first").restore()
    assert found is not None and found.keys() == state.keys()
    assert all(torch.equal(found[name], value) and found[name].dtype == value.dtype for name, value in state.items())
    # What was recorded after the checkpoint is about to be recorded again.
    assert labels(continued)[-1] == (1, "first", 10)
    assert {path.name for path in (tmp_path / CHECKPOINT_FOLDER).iterdir()} == {"1-first.safetensors"}


def test_each_stage_has_a_checkpoint_of_its_own(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path)
    stages = [(0, "noise encoder"), (0, "mechanisms"), (1, "noise encoder")]
    for number, stage in enumerate(stages):
        for step in (0, number):
            recorder.stage(*stage).save({"step": torch.tensor(step)})
    for number, stage in enumerate(stages):
        found = recorder.stage(*stage).restore()
        assert found is not None and int(found["step"]) == number
    recorder.delete_checkpoints()
    assert recorder.stage(0, "mechanisms").restore() is None
    assert not (tmp_path / CHECKPOINT_FOLDER).exists()
    recorder.close()


def test_a_stage_without_a_checkpoint_begins_again(tmp_path: Path) -> None:
    recorder = recorded(tmp_path)
    assert recorder.stage(0, "second").restore() is None
    assert (0, "second") not in {label[:2] for label in labels(recorder)} and len(recorder.records) == 6


@pytest.mark.parametrize(("progress", "terminal"), [(True, True), (True, False), (False, True)])
def test_progress_goes_to_a_terminal_or_nowhere(
    progress: bool, terminal: bool, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: terminal)
    recorder = Recorder(progress=progress)
    tracker = recorder.stage(0, "noise encoder")
    for step in (0, 5, 10):
        tracker.advance(step, 10, -1.25)
    recorder.close()
    captured = capsys.readouterr()
    assert captured.out == ""
    if progress and terminal:
        assert "noise encoder (1)" in captured.err and "held-out log-likelihood -1.250" in captured.err
        assert "10/10" in captured.err
    else:
        assert captured.err == ""
