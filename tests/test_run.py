"""Runs: what a folder holds, that an interrupted fit ends as an uninterrupted one, and which folders are refused."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from small import SHORT, content, equal_weights, small_data, without

from lcm import __version__
from lcm import run as module
from lcm.config import config_hash, load_config
from lcm.data.pairs import PairData, data_hash, save_pairs
from lcm.files import read_json, write_json
from lcm.fit_report import fit_summary, stage_seconds
from lcm.learn.config import FitConfig
from lcm.learn.fit import FitResult
from lcm.learn.tracker import Recorder, StageTracker, read_metrics
from lcm.run import fit_run, load_run

FILES = {"model.safetensors", "config.yaml", "run.json", "fit.json", "graph.json", "report.md", "metrics.jsonl"}
FIGURES = {"graph.png", "training.png", "pairs.png"}
PATHS = ("linear", "nonlinear")
FIRST_STAGE, SECOND_STAGE = "noise encoder", "candidate mechanisms"
ROOT = Path(__file__).parent.parent

DATA = {name: small_data(name) for name in PATHS}


def fit_in(out: Path, name: str = "linear", config: FitConfig = SHORT, **options: Any) -> FitResult:
    return fit_run(DATA[name], out, config, device="cpu", progress=False, **options)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A run that nothing interrupted, for each path."""
    folders = {name: tmp_path_factory.mktemp(name) / "run" for name in PATHS}
    for name, out in folders.items():
        fit_in(out, name)
    return folders


@pytest.fixture(autouse=True)
def no_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Draw in the fixtures of the module alone, since it takes longer than a short fit."""
    monkeypatch.setattr(module, "_draw", lambda *_: None)


every_path = pytest.mark.parametrize("name", PATHS)


@pytest.fixture(scope="module")
def restarted(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, FitResult]:
    """A run with two restarts in a folder whose parent is new, and its result."""
    out = tmp_path_factory.mktemp("restarts") / "new" / "run"
    return out, fit_in(out, config=replace(SHORT, restarts=2, n=2))


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
        interrupt_at(patched, FIRST_STAGE, 200, KeyboardInterrupt())
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


@every_path
def test_a_finished_folder_holds_all_and_nothing_else(name: str, finished: dict[str, Path]) -> None:
    found = content(finished[name])
    events = {file for file in found if file.startswith("events.out.tfevents.")}
    assert len(events) == 1 and set(found) - events == FILES | {"figures"} | {f"figures/{file}" for file in FIGURES}
    assert all(found[f"figures/{file}"].startswith(b"\x89PNG") for file in FIGURES)


@every_path
def test_run_json_says_what_was_fitted_with_what(name: str, finished: dict[str, Path]) -> None:
    assert read_json(finished[name] / "run.json") == {
        "schema": 1,
        "state": "finished",
        "data": "",
        "data_sha256": data_hash(DATA[name]),
        "config_sha256": config_hash(SHORT),
        "lcm": __version__,
        "torch": torch.__version__,
        "threads": torch.get_num_threads(),
        "device": "cpu",
    }
    assert load_config(finished[name] / "config.yaml", FitConfig) == SHORT


@every_path
def test_graph_json_is_in_the_learned_numbering(name: str, finished: dict[str, Path]) -> None:
    graph = read_json(finished[name] / "graph.json")
    assert list(graph) == ["adjacency", "edge_strength", "order"]
    model = load_run(finished[name]).model
    assert np.array_equal(graph["adjacency"], model.scm.graph.adjacency)
    assert graph["order"] == list(model.scm.graph.order())
    assert np.shape(graph["edge_strength"]) == (2, 2) and np.min(graph["edge_strength"]) >= 0.0


def test_fit_json_says_how_it_went(restarted: tuple[Path, FitResult]) -> None:
    out, result = restarted
    fit = read_json(out / "fit.json")
    assert fit["n"] == 2 and fit["n_given"] is True and fit["n_pairs"] == 300
    assert fit["fit_seconds"] == result.seconds > 0.0
    assert fit["implicit_nll"] == result.implicit_nll and fit["explicit_nll"] == result.explicit_nll
    assert len(fit["restart_nll"]) == 2 and fit["restart"] == int(np.argmin(fit["restart_nll"]))
    assert fit["explicit_nll"] == min(fit["restart_nll"])
    assert fit["target_sets"] == [[], [0], [1]] and sum(fit["target_probabilities"]) == pytest.approx(1.0)
    assert len(fit["thickness"]) == 2 and min(fit["thickness"]) > 0.0
    assert fit["order_conflicts"] == [list(pair) for pair in result.ancestry.conflicts]
    stages = [(stage["restart"], stage["stage"]) for stage in fit["stage_seconds"]]
    assert stages == list(dict.fromkeys((r["restart"], r["stage"]) for r in result.records))
    assert stages[:2] == [(0, FIRST_STAGE), (0, SECOND_STAGE)] and (1, FIRST_STAGE) in stages
    # The clock of the whole runs on between and after the stages.
    assert 0.0 < sum(stage["seconds"] for stage in fit["stage_seconds"]) <= fit["fit_seconds"]


def test_the_report_and_the_summary_are_readable(restarted: tuple[Path, FitResult]) -> None:
    out, result = restarted
    report = (out / "report.md").read_text(encoding="utf-8")
    assert "2 causal variables, fitted to 300 pairs" in report and "(kept)" in report
    assert all(f"](figures/{name})" in report for name in FIGURES)
    summary = fit_summary(result, DATA["linear"], "RUN")
    assert f"explicit {-result.explicit_nll:.4f}" in summary and "lcm evaluate RUN DATA" in summary
    for i, j in result.model.scm.graph.edges():
        assert f"z{i} -> z{j}  {result.edge_strength[i, j]:.3f}" in report
        assert f"z{i} -> z{j}  {result.edge_strength[i, j]:.3f}" in summary


def test_conflicts_are_said(restarted: tuple[Path, FitResult]) -> None:
    result = restarted[1]
    conflicting = replace(result, ancestry=replace(result.ancestry, conflicts=((1, 0),)))
    assert "No order of the variables agrees with all tests" in fit_summary(conflicting, DATA["linear"], "RUN")


def test_stage_seconds_are_differences() -> None:
    lines = [(0, "a", 1.0), (0, "a", 3.0), (0, "b", 4.5), (1, "a", 5.0)]
    records = [{"restart": restart, "stage": stage, "seconds": seconds} for restart, stage, seconds in lines]
    assert [stage["seconds"] for stage in stage_seconds(records)] == [3.0, 1.5, 0.5]


def test_a_run_comes_back_as_it_was(restarted: tuple[Path, FitResult]) -> None:
    out, result = restarted
    run = load_run(str(out))
    assert run.folder == out and equal_weights(run.model, result.model)
    assert run.config == replace(SHORT, restarts=2, n=2)
    assert run.info["state"] == "finished" and run.fit["restart"] == result.restart
    np.testing.assert_array_equal(run.edge_strength, result.edge_strength)
    assert not any(parameter.requires_grad for parameter in run.model.parameters())


@every_path
def test_the_same_seed_gives_the_same_weights_and_another_one_others(
    name: str, finished: dict[str, Path], tmp_path: Path
) -> None:
    # The truth is not looked at: without it, the fit is the same.
    blind = without(DATA[name], "z", "z_tilde", "noise", "noise_tilde", "targets", "adjacency")
    fit_run(blind, tmp_path / "again", SHORT, device="cpu", progress=False)
    assert_same_fit(tmp_path / "again", finished[name])
    other = fit_in(tmp_path / "other", name, replace(SHORT, seed=1))
    assert not equal_weights(other.model, load_run(finished[name]).model)


@every_path
@pytest.mark.parametrize("record", [0, 2, 5, -1])
def test_an_interrupted_fit_ends_as_one_that_was_not(
    record: int, name: str, finished: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Before and after the first checkpoint, in a later stage, and at the very end.
    last = read_metrics(finished[name] / "metrics.jsonl")[record]
    stage, step = last["stage"], last["step"]
    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        interrupt_at(patched, stage, step, KeyboardInterrupt())
        fit_in(tmp_path / "run", name)
    assert read_json(tmp_path / "run" / "run.json")["state"] == "unfinished"
    before = read_metrics(tmp_path / "run" / "metrics.jsonl")[-1]["seconds"]
    resumed = fit_in(tmp_path / "run", name)
    assert resumed.seconds > before
    assert_same_fit(tmp_path / "run", finished[name])


KILL = """
import os, signal, sys
from pathlib import Path
sys.path.insert(0, "tests")
from small import SHORT
from lcm.data.pairs import load_pairs
from lcm.learn.tracker import Recorder
from lcm.run import fit_run
record = Recorder.record
def recorded(self, restart, stage, values):
    record(self, restart, stage, values)
    if values["step"] == 200:
        with (self.folder / "metrics.jsonl").open("a") as file:
            file.write('{"restart": 0, "sta')
        os.kill(os.getpid(), signal.SIGKILL)
Recorder.record = recorded
fit_run(load_pairs(sys.argv[1]), sys.argv[2], SHORT, device="cpu", progress=False)
"""


@every_path
def test_a_fit_killed_for_real_ends_as_one_that_was_not(name: str, finished: dict[str, Path], tmp_path: Path) -> None:
    save_pairs(tmp_path / "data.safetensors", DATA[name])
    out = tmp_path / "run"
    arguments = [sys.executable, "-c", KILL, str(tmp_path / "data.safetensors"), str(out)]
    assert subprocess.run(arguments, cwd=ROOT, env=os.environ).returncode == -signal.SIGKILL
    assert [path.name for path in (out / "checkpoint").iterdir()] == ["0-noise-encoder.safetensors"]
    # Killed between the record of a step and its checkpoint, and in the middle of a line.
    assert json.loads((out / "metrics.jsonl").read_text().splitlines()[-2])["step"] == 200
    fit_in(out, name)
    assert_same_fit(out, finished[name])


def test_progress_bars_are_closed_when_a_stage_is_over(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    recorder = Recorder(tmp_path, progress=True)
    first = recorder.stage(0, "first")
    first.advance(5, 10, -1.0)
    recorder.stage(0, "second").advance(1, 10, -1.0)
    recorder.close()
    assert first._bar is None
    assert "first (1)" in capsys.readouterr().err


REFUSED: dict[str, tuple[Callable[[Path], dict[str, Any]], str]] = {
    "finished": (lambda _: {}, "Expected a folder without another run; got a finished run"),
    "other data": (lambda _: {"state": "unfinished", "data_sha256": "0"}, "got an unfinished run of another data"),
    "other config": (lambda _: {"state": "unfinished", "config_sha256": "0"}, "an unfinished run of another config"),
    "other device": (lambda _: {"state": "unfinished", "device": "cuda"}, "an unfinished run of another device"),
    "other version": (lambda _: {"state": "unfinished", "lcm": "0"}, "an unfinished run of another package version"),
    "other schema": (lambda _: {"schema": 2}, r"run.json: schema: Expected version 1; got 2"),
}


@pytest.fixture
def copy(finished: dict[str, Path], tmp_path: Path) -> Path:
    """A folder that looks like a finished run, without its figures."""
    out = tmp_path / "run"
    out.mkdir()
    for name in FILES:
        (out / name).write_bytes((finished["linear"] / name).read_bytes())
    return out


@pytest.mark.parametrize("case", REFUSED)
def test_a_folder_with_another_run_is_refused_and_left_alone(case: str, copy: Path) -> None:
    change, message = REFUSED[case]
    write_json(copy / "run.json", read_json(copy / "run.json") | change(copy))
    before = content(copy)
    with pytest.raises(ValueError, match=message):
        fit_in(copy)
    assert content(copy) == before


@pytest.mark.parametrize("case", ["finished", "other schema"])
def test_another_run_is_overwritten_on_request_and_nothing_else(case: str, copy: Path) -> None:
    write_json(copy / "run.json", read_json(copy / "run.json") | REFUSED[case][0](copy))
    (copy / "notes.txt").write_text("mine")
    (copy / "figures").mkdir()
    (copy / "figures" / "old.png").write_bytes(b"old")
    config = replace(SHORT, seed=2)
    fit_in(copy, config=config, overwrite=True)
    assert load_run(copy).config == config
    assert (copy / "notes.txt").read_text() == "mine" and not (copy / "figures" / "old.png").exists()


def test_overwrite_resumes_the_same_fit(
    finished: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    unfinished(tmp_path / "run", monkeypatch)
    restored: list[bool] = []
    restore = StageTracker.restore

    def watched(self: StageTracker) -> Any:
        found = restore(self)
        restored.append(found is not None)
        return found

    monkeypatch.setattr(StageTracker, "restore", watched)
    fit_in(tmp_path / "run", overwrite=True)
    assert restored[0]
    assert_same_fit(tmp_path / "run", finished["linear"])


@pytest.mark.parametrize("overwrite", [False, True])
def test_a_folder_that_is_no_run_is_refused_and_left_alone(overwrite: bool, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(ValueError, match="Expected a new or empty folder, or a run; got a folder of other files"):
        fit_in(tmp_path, overwrite=overwrite)
    assert content(tmp_path) == {"notes.txt": b"mine"}


def test_a_file_in_the_place_of_the_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "run").write_text("mine")
    with pytest.raises(ValueError, match="run: Expected a folder to write to; got a file"):
        fit_in(tmp_path / "run")
    assert content(tmp_path) == {"run": b"mine"}


X, X_TILDE = DATA["linear"].x, DATA["linear"].x_tilde
BAD: dict[str, tuple[PairData, FitConfig, str]] = {
    "few pairs": (PairData.from_arrays(X[:149], X_TILDE[:149]), SHORT, "x: Expected at least 150 pairs.*got 149"),
    "few dimensions": (DATA["linear"], replace(SHORT, n=3), "x: Expected at least n = 3 dimensions; got 2"),
    "target": (DATA["linear"], replace(SHORT, targets=((0,), (2,))), r"^targets: .*targets in 0\.\.1; got 2"),
    "set twice": (DATA["linear"], replace(SHORT, targets=((0,), (0,))), "^targets: Expected one or more distinct"),
    "images": (PairData.from_arrays(*[np.zeros((200, 2, 2, 1), np.uint8)] * 2), SHORT, "^x: .*got images"),
    "no change": (PairData.from_arrays(X, X), SHORT, "^x_tilde: Expected pairs that differ"),
    "rounding": (
        PairData.from_arrays(1e4 + 1e-3 * X, 1e4 + 1e-3 * X_TILDE),
        SHORT,
        "^x: Expected columns that vary beyond the rounding of float32",
    ),
    "too many subsets": (
        PairData.from_arrays(*np.random.default_rng(0).normal(size=(2, 1000, 17))),
        replace(SHORT, targets="all"),
        "^targets: Expected n <= 16 for all subsets; got n = 17",
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_what_cannot_be_fitted_leaves_nothing_behind(case: str, tmp_path: Path) -> None:
    data, config, message = BAD[case]
    with pytest.raises(ValueError, match=message):
        fit_run(data, tmp_path / "new" / "run", config, device="cpu", progress=False)
    assert content(tmp_path) == {}


def test_a_device_that_is_not_there_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(ValueError, match="device: Expected CUDA, as asked for; got a machine without it"):
        fit_run(DATA["linear"], tmp_path / "run", SHORT, device="cuda", progress=False)
    assert content(tmp_path) == {}


@pytest.mark.parametrize("error", [ValueError("bad"), FloatingPointError("not finite")])
def test_an_error_that_would_come_again_leaves_nothing_behind(
    error: Exception, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    interrupt_at(monkeypatch, SECOND_STAGE, 1, error)
    with pytest.raises(type(error)):
        fit_in(tmp_path / "new" / "run")
    assert content(tmp_path) == {}


@pytest.mark.parametrize(("step", "stays"), [(0, False), (200, True)])
def test_another_error_leaves_what_can_be_resumed(
    step: int, stays: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    interrupt_at(monkeypatch, FIRST_STAGE, step, OSError("no space left"))
    with pytest.raises(OSError, match="no space left"):
        fit_in(tmp_path / "run")
    assert (tmp_path / "run").exists() == stays


def test_an_error_in_a_resumed_run_leaves_its_checkpoints(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    unfinished(tmp_path / "run", monkeypatch)
    interrupt_at(monkeypatch, SECOND_STAGE, 1, ValueError("bad"))
    with pytest.raises(ValueError, match="bad"):
        fit_in(tmp_path / "run")
    assert (tmp_path / "run" / "checkpoint").is_dir()


def test_a_failed_figure_leaves_the_run_unfinished(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise OSError("no space left")

    with monkeypatch.context() as patched, pytest.raises(OSError, match="no space left"):
        patched.setattr(module, "_draw", fail)
        fit_in(tmp_path / "run")
    with pytest.raises(ValueError, match=r"run\.json: state: Expected a finished run; got 'unfinished'"):
        load_run(tmp_path / "run")
    fit_in(tmp_path / "run")
    assert load_run(tmp_path / "run").model.n == 2


def test_what_is_no_run_cannot_be_loaded(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="nothing: Expected a run folder; got no such folder"):
        load_run(tmp_path / "nothing")
    (tmp_path / "file").write_text("")
    with pytest.raises(ValueError, match="file: Expected a run folder; got a file"):
        load_run(tmp_path / "file")
    with pytest.raises(ValueError, match=r"run\.json: Expected a file; got no such file"):
        load_run(tmp_path)


BROKEN: dict[str, tuple[str, bytes | None, str]] = {
    "unknown schema": ("run.json", b'{"schema": 0}', "run.json: schema: Expected version 1; got 0"),
    "no schema": ("run.json", b"[]", "run.json: schema: Expected version 1; got None"),
    "no model": ("model.safetensors", None, "model.safetensors: Expected a saved model; got no such file"),
    "half a model": ("model.safetensors", b"\x08\x00", "model.safetensors: Expected a whole safetensors file"),
    "bad config": ("config.yaml", b"m: 3", "config.yaml: m: Expected .* key.*; got an unknown one"),
    "no graph": ("graph.json", None, "graph.json: Expected a file; got no such file"),
    "graph that is a list": ("graph.json", b"[]", "graph.json: Expected a JSON object; got list"),
    "half of the numbers": ("fit.json", b'{"n": 2', "fit.json: Expected JSON; got at line 1"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_broken_run_is_refused_by_name(case: str, copy: Path) -> None:
    name, bytes_, message = BROKEN[case]
    if bytes_ is None:
        (copy / name).unlink()
    else:
        (copy / name).write_bytes(bytes_)
    with pytest.raises(ValueError, match=message):
        load_run(copy)
