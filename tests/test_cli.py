"""The command line itself: help without waiting, usage errors, exit codes, interrupts, threads."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from command_line import GENERATE_YAML, called, refused
from small import SHORT_YAML, content, equal_weights

import lcm
from lcm.app.cli import main
from lcm.app.commands import COMMANDS
from lcm.learn.training.tracker import Recorder
from lcm.run.runs import load_run

pytestmark = pytest.mark.usefixtures("cheap_scores")

ROOT = Path(__file__).parent.parent


def test_lcm_lists_the_commands(capsys: pytest.CaptureFixture[str]) -> None:
    listed = called(capsys, "--help")
    assert list(COMMANDS) == [
        "generate",
        "import",
        "check",
        "fit",
        "graph",
        "name",
        "encode",
        "evaluate",
        "compare",
        "report",
        "certify",
        "refit",
        "sample",
        "explore",
        "plan",
        "protocol",
        "sweep",
        "table",
        "reproduce",
    ]
    assert all(f"\n    {name}" in listed for name in COMMANDS)


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help_with_an_example(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    said = called(capsys, name, "--help")
    assert "example" in said and f"  lcm {name} " in said
    assert all(option in said for option in ("--threads", "--quiet", "--debug"))


def test_the_version_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    assert called(capsys, "--version") == f"lcm {lcm.__version__}\n"


@pytest.mark.parametrize("argv", [["--help"], ["fit", "--help"], ["--version"], ["fit"]])
def test_what_needs_no_torch_does_not_load_it(argv: list[str]) -> None:
    code = (
        f"import sys; from lcm.app.cli import main; main({argv}); print('torch' in sys.modules, 'numpy' in sys.modules)"
    )
    finished = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert finished.stdout.splitlines()[-1] == "False False"


USAGE: dict[str, tuple[list[str], str]] = {
    "no command": ([], "lcm: error: the following arguments are required: COMMAND"),
    "unknown command": (["fitt"], "lcm: error: argument COMMAND: invalid choice: 'fitt'"),
    "no data": (["fit", "--out", "run"], "lcm fit: error: the following arguments are required: DATA"),
    "unknown option": (["check", "data", "--jason", "f"], "lcm check: error: unrecognized arguments: --jason f"),
    "abbreviated option": (
        ["fit", "data", "--o", "run"],
        "lcm fit: error: the following arguments are required: --out",
    ),
    "no number": (["fit", "d", "--out", "r", "--n", "two"], "lcm fit: error: argument --n: invalid int value: 'two'"),
    "unknown device": (["fit", "d", "--out", "r", "--device", "tpu"], "lcm fit: error: argument --device: invalid"),
    "no threads": (["check", "d", "--threads", "0"], "lcm check: error: argument --threads: Expected a number of at"),
    "words for threads": (["check", "d", "--threads", "two"], "Expected a number of at least 1; got 'two'"),
}


@pytest.mark.parametrize("case", USAGE)
def test_bad_usage_is_one_line(case: str, capsys: pytest.CaptureFixture[str]) -> None:
    argv, message = USAGE[case]
    assert message in refused(capsys, *argv)


def test_quiet_prints_nothing_and_takes_no_other_result(
    data_file: Path, run_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "c.yaml").write_text(SHORT_YAML)
    (tmp_path / "g.yaml").write_text(GENERATE_YAML)
    run, out = tmp_path / "run", tmp_path / "o.safetensors"
    commands: list[list[Any]] = [
        ["generate", tmp_path / "g.yaml", "--out", tmp_path / "data"],
        ["check", data_file],
        ["fit", data_file, "--out", run, "--config", tmp_path / "c.yaml"],
        ["encode", run, data_file, "--out", out],
        ["evaluate", run, data_file],
        ["sample", run, "--n", "5", "--out", out],
    ]
    for argv in commands:
        assert called(capsys, *argv, "--quiet") == ""
    assert equal_weights(load_run(run).model, load_run(run_folder).model)


def test_debug_shows_the_traceback(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", str(tmp_path / "d.npz"), "--debug"]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert lines[0].startswith("Traceback") and lines[-1].startswith("lcm check: error: ")


def failing(monkeypatch: pytest.MonkeyPatch, error: BaseException) -> None:
    def record(*_: object) -> None:
        raise error

    monkeypatch.setattr(Recorder, "record", record)


def test_a_likelihood_that_is_not_finite_is_exit_1(
    data_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    failing(monkeypatch, FloatingPointError("the held-out log-likelihood became nan at step 0"))
    assert main(["fit", str(data_file), "--out", str(tmp_path / "run"), "--quiet"]) == 1
    error = capsys.readouterr().err
    assert error == "lcm fit: error: the held-out log-likelihood became nan at step 0\n"
    assert content(tmp_path) == {}


def test_an_interrupted_fit_says_how_it_resumes(
    data_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "c.yaml").write_text(SHORT_YAML)
    argv = ["fit", str(data_file), "--out", str(tmp_path / "run"), "--config", str(tmp_path / "c.yaml"), "--quiet"]
    with monkeypatch.context() as patched:
        failing(patched, KeyboardInterrupt())
        assert main(argv) == 130
    assert capsys.readouterr().err == f"lcm fit: interrupted; the same command resumes the fit in {tmp_path / 'run'}\n"
    assert main(argv) == 0 and load_run(tmp_path / "run").model.n == 2


def test_an_interrupted_generate_leaves_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("lcm.data.data_set.save_model", interrupt)
    (tmp_path / "c.yaml").write_text(GENERATE_YAML)
    assert main(["generate", str(tmp_path / "c.yaml"), "--out", str(tmp_path / "data")]) == 130
    assert capsys.readouterr().err == "lcm generate: interrupted; nothing was written\n"
    assert set(content(tmp_path)) == {"c.yaml"}


def test_threads_hold_for_the_command_alone(data_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[int, str | None]] = []

    def check(*_: object) -> dict[str, object]:
        seen.append((torch.get_num_threads(), os.environ.get("OMP_NUM_THREADS")))
        return {}

    monkeypatch.setattr("lcm.run.check.check_pairs", check)
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    monkeypatch.delenv("MKL_NUM_THREADS", raising=False)
    before = torch.get_num_threads()
    assert main(["check", str(data_file), "--threads", "3", "--quiet"]) == 0
    assert seen == [(3, "3")]
    assert (torch.get_num_threads(), os.environ["OMP_NUM_THREADS"]) == (before, "2")
    assert "MKL_NUM_THREADS" not in os.environ


def test_a_program_calls_it_with_python_m(data_file: Path, tmp_path: Path) -> None:
    def run(*argv: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run([sys.executable, "-m", "lcm", *argv], capture_output=True, text=True, cwd=ROOT)

    good = run("check", str(data_file))
    assert good.returncode == 0 and good.stdout.startswith("pairs") and good.stderr == ""
    bad = run("check", str(tmp_path / "d.npz"))
    assert bad.returncode == 2 and len(bad.stderr.splitlines()) == 1 and bad.stdout == ""


def test_a_reader_that_has_enough_is_no_error(data_file: Path) -> None:
    code = f"{sys.executable} -m lcm check {data_file} | true; exit ${{PIPESTATUS[0]}}"
    finished = subprocess.run(["bash", "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert (finished.returncode, finished.stderr) == (0, "")
