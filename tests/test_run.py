"""Runs: what a folder holds and what comes back; an interrupted fit ends as an uninterrupted one."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from shutil import copytree

import numpy as np
import pytest
import torch
from interrupted import FIRST_STAGE, SECOND_STAGE, assert_same_fit, interrupt_at
from small import NATURES, RUN_FILES, SHORT, STEPS, content, equal_weights, fit_in, small_data, without

from lcm.base import __version__
from lcm.base.config import config_hash, load_config
from lcm.base.files import read_json, write_json
from lcm.data.pair_files import save_pairs
from lcm.data.pairs import data_hash
from lcm.learn.training.tracker import Recorder, read_metrics
from lcm.run.config import FitConfig
from lcm.run.report import stage_seconds
from lcm.run.result import FitResult
from lcm.run.runs import fit_run, load_run
from lcm.run.suggestions import next_steps

pytestmark = pytest.mark.usefixtures("cheap_scores")

FIGURES = {"graph.png", "number_of_variables.png", "training.png", "pairs.png"}
ROOT = Path(__file__).parent.parent
DATA = {name: small_data(name) for name in NATURES}

every_path = pytest.mark.parametrize("name", NATURES)


@pytest.fixture(scope="module")
def restarted(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, FitResult]:
    """A run with two restarts in a folder whose parent is new, and its result."""
    out = tmp_path_factory.mktemp("restarts") / "new" / "run"
    return out, fit_in(out, config=replace(SHORT, restarts=2, n=2))


@every_path
def test_a_finished_folder_holds_all_and_nothing_else(name: str, finished: dict[str, Path]) -> None:
    found = content(finished[name])
    events = {file for file in found if file.startswith("events.out.tfevents.")}
    assert len(events) == 1 and set(found) - events == RUN_FILES | {"report.html", "figures"} | {
        f"figures/{file}" for file in FIGURES
    }
    assert all(found[f"figures/{file}"].startswith(b"\x89PNG") for file in FIGURES)


@every_path
def test_run_json_says_what_was_fitted_with_what(name: str, finished: dict[str, Path]) -> None:
    assert read_json(finished[name] / "run.json") == {
        "schema": 2,
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
    assert list(graph)[:3] == ["adjacency", "edge_strength", "order"]
    run = load_run(finished[name])
    assert np.array_equal(graph["adjacency"], run.model.scm.graph.adjacency)
    assert sorted(graph["order"]) == [0, 1]
    assert all(graph["order"].index(i) < graph["order"].index(j) for i, j in run.model.scm.graph.edges())
    assert np.shape(graph["edge_strength"]) == (2, 2) and np.min(graph["edge_strength"]) >= 0.0
    assert graph["false_discovery_rate"] == SHORT.readout.false_discovery_rate
    assert run.graph_at(graph["false_discovery_rate"]) == run.model.scm.graph
    for key in ("edge_p_value", "ancestor_p_value"):
        assert np.shape(graph[key]) == (2, 2) and 0.0 <= np.min(graph[key]) <= np.max(graph[key]) <= 1.0
        assert graph[key][0][0] == graph[key][1][1] == 1.0
    low, high = np.moveaxis(np.array(graph["edge_strength_interval"]), -1, 0)
    assert np.all(low <= graph["edge_strength"]) and np.all(high >= graph["edge_strength"])
    assert np.array_equal(graph["ancestors"], run.evidence.ancestors_at(graph["false_discovery_rate"]))


@pytest.mark.parametrize("key", ["edge_p_value", "order"])
def test_a_graph_without_a_key_is_refused(key: str, finished: dict[str, Path], tmp_path: Path) -> None:
    copytree(finished["linear"], tmp_path / "run")
    graph = read_json(tmp_path / "run" / "graph.json")
    del graph[key]
    write_json(tmp_path / "run" / "graph.json", graph)
    with pytest.raises(ValueError, match=rf"graph\.json: Expected the key {key}; got none"):
        load_run(tmp_path / "run")


def test_fit_json_says_how_it_went(restarted: tuple[Path, FitResult]) -> None:
    out, result = restarted
    fit = read_json(out / "fit.json")
    assert fit["n"] == 2 and fit["n_given"] is True and fit["n_pairs"] == 300
    assert fit["fit_seconds"] == result.seconds > 0.0
    assert fit["implicit_nll"] == result.implicit_nll and fit["explicit_nll"] == result.held_out_nll
    assert len(fit["restart_nll"]) == 2 and fit["restart"] == int(np.argmin(fit["restart_nll"]))
    assert fit["explicit_nll"] == min(fit["restart_nll"])
    assert fit["target_sets"] == [[], [0], [1]] and sum(fit["target_probabilities"]) == pytest.approx(1.0)
    assert len(fit["thickness"]) == 2 and min(fit["thickness"]) > 0.0
    assert fit["order_conflicts"] == [list(pair) for pair in result.ancestry.conflicts]
    stages = [(stage["restart"], stage["stage"]) for stage in fit["stage_seconds"]]
    assert stages == list(dict.fromkeys((r["restart"], r["stage"]) for r in result.records))
    assert stages[:2] == [(0, FIRST_STAGE), (1, FIRST_STAGE)] and (0, SECOND_STAGE) in stages
    # The clock of the whole runs on between and after the stages.
    assert 0.0 < sum(stage["seconds"] for stage in fit["stage_seconds"]) <= fit["fit_seconds"]


def test_the_report_and_the_summary_are_readable(restarted: tuple[Path, FitResult]) -> None:
    out, result = restarted
    report = (out / "report.md").read_text(encoding="utf-8")
    assert "2 causal variables, fitted to 300 pairs" in report and "(kept)" in report
    assert all(f"](figures/{name})" in report for name in FIGURES - {"number_of_variables.png"})
    assert "number_of_variables" not in report
    summary = f"{result}\n{next_steps(result, 'RUN')}"
    assert f"explicit {-result.held_out_nll:.4f}" in summary and "lcm evaluate RUN DATA" in summary
    for step in ("Open RUN/report.html", "lcm explore RUN ", "lcm name RUN 0=NAME ", "lcm plan RUN "):
        assert step in summary
    for i, j in result.model.scm.graph.edges():
        line = f"z{i} -> z{j}  {result.edge_strength[i, j]:.3f}  ["
        assert line in report and line in summary


def test_conflicts_are_said(restarted: tuple[Path, FitResult]) -> None:
    result = restarted[1]
    conflicting = replace(result, ancestry=replace(result.ancestry, conflicts=((1, 0),)))
    assert "ancestor relations form a cycle" in str(conflicting)


def test_stage_seconds_are_differences() -> None:
    lines = [(0, "a", 1.0), (0, "a", 3.0), (0, "b", 4.5), (1, "a", 5.0)]
    records = [{"restart": restart, "stage": stage, "seconds": seconds} for restart, stage, seconds in lines]
    assert [stage["seconds"] for stage in stage_seconds(records)] == [3.0, 1.5, 0.5]
    together = [{"restart": restart, "stage": "a", "seconds": 2.0 + restart} for restart in (0, 1, 0, 1)]
    assert [stage["seconds"] for stage in stage_seconds(together)] == [1.5, 1.5]


def test_a_run_comes_back_as_it_was(restarted: tuple[Path, FitResult]) -> None:
    out, result = restarted
    run = load_run(str(out))
    assert run.folder == out and equal_weights(run.model, result.model)
    assert run.config == replace(SHORT, restarts=2, n=2)
    assert run.info["state"] == "finished" and run.fit["restart"] == result.restart
    np.testing.assert_array_equal(run.edge_strength, result.edge_strength)
    for part in ("edge_p_value", "ancestor_p_value", "edge_strength_error", "order"):
        np.testing.assert_array_equal(getattr(run.evidence, part), getattr(result.evidence, part))
    assert run.graph_at(0.2) == result.graph_at(0.2)
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
from small import SHORT, STEPS
from lcm.data.pair_files import load_pairs
from lcm.learn.training.tracker import Recorder
from lcm.run.runs import fit_run
record = Recorder.record
def recorded(self, restart, stage, values):
    record(self, restart, stage, values)
    if values["step"] == STEPS:
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
    assert json.loads((out / "metrics.jsonl").read_text().splitlines()[-2])["step"] == STEPS
    fit_in(out, name)
    assert_same_fit(out, finished[name])


@pytest.mark.parametrize("watched", [True, False])
def test_progress_bars_are_shown_to_a_terminal_and_closed_when_a_stage_is_over(
    watched: bool, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: watched)
    recorder = Recorder(tmp_path, progress=True)
    first = recorder.stage(0, "first")
    first.advance(5, 10, -1.0)
    recorder.stage(0, "second").advance(1, 10, -1.0)
    recorder.close()
    assert first._bar is None
    assert ("first (1)" in capsys.readouterr().err) == watched


HEAVY = ("sympy", "networkx", "sklearn", "torch._dynamo", "matplotlib.pyplot")
"""What costs tens of megabytes or a second, and slips in easily; scipy.stats controls the false discovery rate."""


def test_a_fit_imports_nothing_large_that_it_can_do_without(tmp_path: Path) -> None:
    # of a nonlinear nature, whose fit has every stage
    save_pairs(tmp_path / "data.safetensors", small_data("nonlinear"))
    code = f"""
import sys
from dataclasses import replace
from small import SHORT
from lcm.data.pair_files import load_pairs
from lcm.run.runs import fit_run
few = replace(SHORT, noise_encoder=replace(SHORT.noise_encoder, steps=20, marginal_steps=20))
folder = {str(tmp_path)!r}
fit_run(load_pairs(folder + "/data.safetensors"), folder + "/run", few, device="cpu", progress=False)
print([name for name in {HEAVY} if name in sys.modules])
"""
    finished = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=Path(__file__).parent
    )
    assert finished.stdout.splitlines()[-1] == "[]"
