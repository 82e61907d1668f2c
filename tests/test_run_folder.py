"""Folders of runs: which are refused, what is overwritten, and what stays behind after an error."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from interrupted import FIRST_STAGE, SECOND_STAGE, assert_same_fit, interrupt_at, unfinished
from small import RUN_FILES, SHORT, STEPS, content, fit_in, small_data

from lcm.base.files import read_json, write_json
from lcm.base.lock import locked_folder
from lcm.data.pair_files import load_pairs, save_pairs
from lcm.data.pairs import PairData
from lcm.learn.training.tracker import StageTracker
from lcm.run import runs as module
from lcm.run.config import FitConfig
from lcm.run.runs import fit_run, load_run

LINEAR = small_data("linear")


REFUSED: dict[str, tuple[Callable[[Path], dict[str, Any]], str]] = {
    "finished": (lambda _: {}, "Expected a folder without another run; got a finished run"),
    "other data": (lambda _: {"state": "unfinished", "data_sha256": "0"}, "got an unfinished run of another data"),
    "other config": (lambda _: {"state": "unfinished", "config_sha256": "0"}, "an unfinished run of another config"),
    "other device": (lambda _: {"state": "unfinished", "device": "cuda"}, "an unfinished run of another device"),
    "other version": (lambda _: {"state": "unfinished", "lcm": "0"}, "an unfinished run of another package version"),
    "other schema": (lambda _: {"schema": 3}, r"run.json: schema: Expected version 2; got 3"),
}


@pytest.fixture
def copy(finished: dict[str, Path], tmp_path: Path) -> Path:
    """A folder that looks like a finished run, without its figures."""
    out = tmp_path / "run"
    out.mkdir()
    for name in RUN_FILES:
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
    (copy / "figures" / "graphs.png").write_bytes(b"old")
    (copy / "figures" / "mine.png").write_bytes(b"mine")
    config = replace(SHORT, seed=2)
    fit_in(copy, config=config, overwrite=True)
    assert load_run(copy).config == config
    assert (copy / "notes.txt").read_text() == "mine" and (copy / "figures" / "mine.png").read_bytes() == b"mine"
    assert not (copy / "figures" / "graphs.png").exists()


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


def test_somebody_elses_run_json_is_never_overwritten(tmp_path: Path) -> None:
    write_json(tmp_path / "run.json", {"schema": 7, "laps": 3})
    (tmp_path / "figures").mkdir()
    (tmp_path / "figures" / "graph.png").write_bytes(b"mine")
    before = content(tmp_path)
    with pytest.raises(ValueError, match=r"run\.json: schema: Expected version 2; got 7"):
        fit_in(tmp_path, overwrite=True)
    assert content(tmp_path) == before


@pytest.mark.parametrize("state", ["finished", "clearing"])
def test_a_fit_that_was_killed_between_its_last_step_and_its_exit_is_finished(state: str, copy: Path) -> None:
    (copy / ".lcm-lock").write_text('{"pid": 1, "note": "fit"}')
    (copy / "checkpoint").mkdir()
    (copy / ".run.0123456789ab.json").write_text("half")
    write_json(copy / "run.json", read_json(copy / "run.json") | {"state": state})
    before = (copy / "model.safetensors").read_bytes()
    result = fit_in(copy)
    assert (result.data is None) == (state == "finished")
    assert (copy / "model.safetensors").read_bytes() == before
    assert set(content(copy)) >= RUN_FILES and not list(copy.glob(".*")) and not (copy / "checkpoint").exists()


def test_what_a_fit_left_that_was_killed_at_its_first_file_is_cleared(tmp_path: Path) -> None:
    for name in (".run.0123456789ab.json", ".lcm-lock"):
        (tmp_path / name).write_text("")
    fit_in(tmp_path)
    assert set(content(tmp_path)) >= RUN_FILES and not list(tmp_path.glob(".*"))


@pytest.mark.parametrize("name", ["figures", "checkpoint", "metrics.jsonl"])
def test_nothing_is_written_through_a_link_that_leaves_the_run(name: str, copy: Path, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "graph.png").write_bytes(b"mine")
    (copy / name).unlink(missing_ok=True)
    (copy / name).symlink_to(elsewhere)
    with pytest.raises(ValueError, match=f"{name}: Expected a part of the run itself; got a link to .*elsewhere"):
        fit_in(copy, overwrite=True)
    assert content(elsewhere) == {"graph.png": b"mine"}


def test_a_link_to_nothing_is_no_run_folder(tmp_path: Path) -> None:
    (tmp_path / "run").symlink_to(tmp_path / "nothing")
    with pytest.raises(ValueError, match="run: Expected a folder to write to; got a link to nothing"):
        fit_in(tmp_path / "run")


def test_a_second_process_is_told_which_one_is_writing(tmp_path: Path) -> None:
    with locked_folder(tmp_path), pytest.raises(ValueError, match=rf"got one that process {os.getpid()} has been wri"):
        fit_in(tmp_path)
    assert content(tmp_path) == {}


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


X, X_TILDE = LINEAR.x, LINEAR.x_tilde
IMAGES = np.zeros((200, 18, 16, 1), np.uint8)
BAD: dict[str, tuple[PairData, FitConfig, str]] = {
    "few pairs": (PairData.from_arrays(X[:149], X_TILDE[:149]), SHORT, "x: Expected at least 150 pairs.*got 149"),
    "few dimensions": (LINEAR, replace(SHORT, n=3), "x: Expected at least n = 3 dimensions; got 2"),
    "target": (LINEAR, replace(SHORT, targets=((0,), (2,))), r"^targets: .*targets in 0\.\.1; got 2"),
    "set twice": (LINEAR, replace(SHORT, targets=((0,), (0,))), "^targets: Expected one or more distinct"),
    "images": (PairData.from_arrays(IMAGES, IMAGES + 1), SHORT, "^x: Expected images of a height and width that 4"),
    "no change": (PairData.from_arrays(X, X), SHORT, "^x_tilde: Expected pairs that differ"),
    "rounding": (
        PairData.from_arrays(1e4 + 1e-3 * X, 1e4 + 1e-3 * X_TILDE),
        SHORT,
        "^x: Expected a numerical rank of at least n = 1; got 0",
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
        fit_run(LINEAR, tmp_path / "run", SHORT, device="cuda", progress=False)
    assert content(tmp_path) == {}


@pytest.mark.parametrize("error", [ValueError("bad"), FloatingPointError("not finite")])
def test_an_error_that_would_come_again_leaves_nothing_behind(
    error: Exception, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    interrupt_at(monkeypatch, SECOND_STAGE, 1, error)
    with pytest.raises(type(error)):
        fit_in(tmp_path / "new" / "run")
    assert content(tmp_path) == {}


@pytest.mark.parametrize(("step", "stays"), [(0, False), (STEPS, True)])
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


@pytest.mark.parametrize("change", ["replaced", "truncated", "gone"])
def test_data_that_change_during_a_fit_are_an_error(
    change: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "pairs.safetensors"
    save_pairs(path, LINEAR)
    fit = module.fit_pairs

    def changed(*arguments: Any) -> Any:
        result = fit(*arguments)
        if change == "gone":
            path.unlink()
        else:
            content = path.read_bytes()
            path.write_bytes(content[:-4] + (b"" if change == "truncated" else b"\x01\x02\x03\x04"))
        return result

    monkeypatch.setattr(module, "fit_pairs", changed)
    with pytest.raises(ValueError, match=r"pairs\.safetensors: Expected a file that stays as it is while it is used"):
        fit_run(load_pairs(path), tmp_path / "run", SHORT, device="cpu", progress=False)
    assert not (tmp_path / "run").exists()


def test_a_run_that_is_replaced_while_it_is_read_is_refused(copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def load(path: Path) -> Any:
        write_json(copy / "run.json", read_json(copy / "run.json") | {"config_sha256": "0"})
        return load_model(path)

    load_model = module.load_model
    monkeypatch.setattr(module, "load_model", load)
    with pytest.raises(
        ValueError, match="run: Expected a run that stays as it is while it is read; got one that is re"
    ):
        load_run(copy)


def test_what_is_no_run_cannot_be_loaded(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="nothing: Expected a run folder; got no such folder"):
        load_run(tmp_path / "nothing")
    (tmp_path / "file").write_text("")
    with pytest.raises(ValueError, match="file: Expected a run folder; got a file"):
        load_run(tmp_path / "file")
    with pytest.raises(ValueError, match=r"run\.json: Expected a file; got no such file"):
        load_run(tmp_path)


BROKEN: dict[str, tuple[str, bytes | None, str]] = {
    "unknown schema": ("run.json", b'{"schema": 0}', "run.json: schema: Expected version 2; got 0"),
    "no schema": ("run.json", b"[]", "run.json: schema: Expected version 2; got None"),
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
