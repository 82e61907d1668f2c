"""Sweeps in processes of this machine: the command, Ctrl-C, and a process that dies."""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from command_line import called, refused
from sweeps import InProcess, assert_equal_scores, opened, sweep_file

from lcm.app.cli import main
from lcm.app.sweep import executors
from lcm.app.sweep.executors import LocalExecutor
from lcm.app.sweep.sweep import cells_that_failed, run_sweep
from lcm.app.sweep.table import read_results
from lcm.app.sweep.work import Task, work_of
from lcm.base.files import read_json

ROOT = Path(__file__).parent.parent
BAD = {"list": [{"n": 7}, {"seed": 1}]}


def test_a_failed_cell_stops_no_other_and_is_tried_again(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file, out = sweep_file(tmp_path, **BAD), tmp_path / "out"
    assert main(["sweep", str(file), "--out", str(out), "--quiet", "--jobs", "1"]) == 1
    records = opened(tmp_path, **BAD)
    (failed,) = cells_that_failed(records)
    error = f"ValueError: {tmp_path / 'linear.safetensors'}: x: Expected at least n = 7 dimensions; got 2"
    assert failed == (records.cells[0].name, error)
    assert capsys.readouterr().err == f"lcm sweep: failed: {failed[0]}: {error}\n"
    assert "Traceback" in read_json(out / "cells" / f"{failed[0]}.json")["traceback"]
    rows = read_results(out).rows
    assert [row["status"] for row in rows] == ["failed", "finished"]
    assert rows[0]["error"] == error and rows[0]["mcc"] is None
    again = InProcess()
    run_sweep(records, again, batch=8)
    assert [work.config.n for task in again.tasks for work in task.works] == [7]


def test_a_process_that_dies_is_a_failure(tmp_path: Path) -> None:
    records = opened(tmp_path, grid={"seed": [0, 1]}, list=[{"noise_encoder.marginal_steps": 5000}])
    executor = LocalExecutor("cpu", jobs=1)
    (first, second) = records.cells
    updates = executor.run([Task((work_of(first, records.out),))])
    next(updates)
    _kill_children(records.out / "cells" / first.name / "run.json")
    outcomes = [outcome for update in updates for outcome in update.outcomes]
    assert [outcome.record["error"] for outcome in outcomes] == [
        "the process died (SIGKILL); did it run out of memory?"
    ]
    assert second.key != outcomes[0].key == first.key


def _kill_children(once: Path) -> None:
    _wait_for(once.exists)
    (child,) = multiprocessing.active_children()
    assert child.pid is not None
    os.kill(child.pid, signal.SIGKILL)


def _wait_for(condition: Any, seconds: float = 60.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.05)


def test_ctrl_c_leaves_a_sweep_that_resumes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    # the second must not end while the interruption is on its way
    steps = [{"noise_encoder.marginal_steps": 60}, {"noise_encoder.marginal_steps": 300, "mechanisms.steps": 60}]
    file, out = sweep_file(tmp_path, list=steps), tmp_path / "out"
    argv = ["sweep", str(file), "--out", str(out), "--jobs", "1", "--threads", "1"]
    # a shell starts background jobs, such as one of these tests, with interruptions ignored
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    started = subprocess.Popen(
        [sys.executable, "-m", "lcm", *argv],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    signal.signal(signal.SIGINT, before)
    _wait_for(lambda: list(out.glob("cells/*.json")) and list(out.glob("cells/*/checkpoint/*.safetensors")))
    (finished,) = out.glob("cells/*.json")
    content = finished.read_bytes()
    # as the terminal does, to all processes at once
    os.killpg(started.pid, signal.SIGINT)
    _, said = started.communicate(timeout=60)
    assert started.returncode == 130
    lines = said.splitlines()
    assert lines[0].startswith("[1/2] linear-marginal_steps60-") and "1 running, 0 failed, about" in said
    assert lines[-1] == f"lcm sweep: interrupted; the same command resumes the sweep in {out}"
    _wait_for(lambda: not _is_alive(started.pid))
    assert list(out.glob("cells/*/checkpoint/*.safetensors")) and not list(out.glob("cells/*/.*"))
    # without the seconds of another process
    monkeypatch.setattr(
        executors, "LocalExecutor", lambda device, jobs, threads: executors.InProcessExecutor(device, threads)
    )
    assert main([*argv, "--quiet"]) == 0
    assert finished.read_bytes() == content
    whole = opened(tmp_path / "whole", list=steps)
    run_sweep(whole, InProcess(), batch=1)
    assert_equal_scores(opened(tmp_path, list=steps), whole)
    assert called(capsys, *argv) == f"2 of 2 cells are finished: {out / 'results.csv'}\n"


def _is_alive(group: int) -> bool:
    """Whether any process of a group is left."""
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


REFUSED = {
    "jobs": (["--jobs", "0"], "lcm sweep: error: --jobs: Expected at least 1; got 0"),
    "address": (["--address", "auto"], "lcm sweep: error: --address: Expected --on ray with it; got none"),
    "jobs on ray": (
        ["--on", "ray", "--jobs", "2"],
        "Expected no --jobs on Ray, where each task declares its CPUs",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_bad_options(case: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    argv, message = REFUSED[case]
    assert message in refused(capsys, "sweep", sweep_file(tmp_path), "--out", tmp_path / "out", *argv)


def test_without_ray_the_extra_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    said = refused(capsys, "sweep", sweep_file(tmp_path), "--out", tmp_path / "out", "--on", "ray")
    assert said.endswith("Expected Ray to be installed; got none (pip install 'latent-causal-models[ray]')")
