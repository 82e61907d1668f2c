"""Sweeps that are run: ensembles, failures, what is done again and what is not."""

from __future__ import annotations

import shutil
from collections.abc import Generator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from command_line import called, refused
from small import RUN_FILES, small_data
from sweeps import InProcess, assert_equal_scores, opened, scores, written

from lcm.app.sweep.executors import Update
from lcm.app.sweep.sweep import Records, cells_that_failed, open_sweep, run_sweep
from lcm.app.sweep.table import read_results
from lcm.app.sweep.work import Task
from lcm.base.config import load_config
from lcm.base.files import write_json
from lcm.data.pair_files import save_pairs
from lcm.run.config import FitConfig
from lcm.run.runs import load_run

ROOT = Path(__file__).parent.parent
SEEDS = {"grid": {"seed": [0, 1, 2]}}
BAD = {"list": [{"seed": 0}, {"n": 7}, {"seed": 1}]}
pytestmark = pytest.mark.usefixtures("cheap_scores")


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Records:
    """Three seeds, fitted one by one."""
    records = opened(tmp_path_factory.mktemp("alone"), **SEEDS)
    assert run_sweep(records, InProcess(), batch=1) == []
    return records


@pytest.fixture(scope="module")
def together(tmp_path_factory: pytest.TempPathFactory) -> Records:
    """The same as an ensemble."""
    records, executor = opened(tmp_path_factory.mktemp("together"), **SEEDS), InProcess()
    assert run_sweep(records, executor, batch=8) == []
    assert [len(task.works) for task in executor.tasks] == [3]
    return records


def test_cells_are_runs_with_records_and_rows(alone: Records) -> None:
    for cell, record in zip(alone.cells, written(alone), strict=True):
        folder = alone.out / "cells" / cell.name
        assert {path.name for path in folder.iterdir()} >= RUN_FILES
        run = load_run(folder)
        assert run.config == cell.config == load_config(folder / "config.yaml", FitConfig)
        assert (record["status"], record["batch"], record["error"]) == ("finished", 1, None)
        assert record["scores"]["fit_seconds"] == run.fit["fit_seconds"]
        assert record["config_sha256"] == run.info["config_sha256"] and record["data"]["key"] == cell.data.key
    results = read_results(alone.out)
    assert results.columns[:5] == ("cell", "status", "data", "model", "seed")
    assert results.settings == ("data", "model", "seed")
    assert [row["seed"] for row in results.rows] == [0, 1, 2]
    assert [row["mcc"] for row in results.rows] == [each["mcc"] for each in scores(alone)]
    assert all(row["n_pairs"] == 300 and row["graph_isomorphic"] in (True, False) for row in results.rows)


def test_an_ensemble_is_the_same_fits_as_separate_ones(alone: Records, together: Records) -> None:
    assert_equal_scores(alone, together)
    for cell, other in zip(alone.cells, together.cells, strict=True):
        one, two = (load_run(records.out / "cells" / each.name) for records, each in ((alone, cell), (together, other)))
        for key in ("data_sha256", "config_sha256", "device", "lcm"):
            assert one.info[key] == two.info[key]
        assert one.fit["explicit_nll"] == pytest.approx(two.fit["explicit_nll"], abs=1e-3)
        stages = [(record["stage"], record["step"]) for record in _metrics(one.folder)]
        assert stages == [(record["stage"], record["step"]) for record in _metrics(two.folder)]
        assert {path.name for path in one.folder.iterdir()} - _events(one.folder) == {
            path.name for path in two.folder.iterdir()
        } - _events(two.folder)
    assert not any((together.out / "batches").iterdir())


def _metrics(folder: Path) -> list[dict[str, Any]]:
    from lcm.learn.training.tracker import read_metrics

    return read_metrics(folder / "metrics.jsonl")


def _events(folder: Path) -> set[str]:
    found = {path.name for path in folder.glob("events.out.tfevents.*")}
    assert found
    return found


def test_a_changed_sweep_keeps_the_cells_that_it_still_has(alone: Records, tmp_path: Path) -> None:
    shutil.copytree(alone.out.parent, tmp_path, dirs_exist_ok=True)
    before = {path: path.read_bytes() for path in (tmp_path / "out" / "cells").glob("*.json")}
    records, executor = opened(tmp_path, grid={"seed": [1, 2, 3], "restarts": [1]}), InProcess()
    assert run_sweep(records, executor, batch=8) == []
    assert [work.config.seed for task in executor.tasks for work in task.works] == [3]
    assert all(path.read_bytes() == content for path, content in before.items())
    assert [row["seed"] for row in read_results(tmp_path / "out").rows] == [1, 2, 3]


def test_ensembles_are_of_one_kind_and_keep_all_jobs_busy(tmp_path: Path) -> None:
    class Nothing(InProcess):
        def run(self, tasks: Sequence[Task]) -> Generator[Update, None, None]:
            self.tasks += tasks
            yield Update((), 0)

    def sizes(jobs: int, batch: int, **keys: Any) -> list[int]:
        executor = Nothing(jobs)
        run_sweep(opened(tmp_path, **keys), executor, batch)
        assert all(len({work.config.mechanisms.hidden for work in task.works}) == 1 for task in executor.tasks)
        return [len(task.works) for task in executor.tasks]

    four = {"grid": {"seed": [0, 1, 2, 3]}}
    assert sizes(1, 8, **four) == [4] and sizes(1, 3, **four) == [3, 1] and sizes(1, 1, **four) == [1] * 4
    assert sizes(2, 8, **four) == [2, 2] and sizes(8, 8, **four) == [1] * 4
    assert sizes(1, 8, grid={"seed": [0, 1], "mechanisms.hidden": [4, 5]}) == [2, 2]
    assert sizes(1, 8, grid={"seed": [0, 1], "restarts": [2]}) == [1, 1]
    assert sizes(1, 8, data=("linear", "nonlinear")) == [2]


def test_an_ensemble_whose_member_fails_is_done_one_by_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from lcm.run import fitting as fit

    whole = fit.fit_ensemble

    def failing(data: Any, configs: Any, *rest: Any) -> Any:
        if any(config.seed == 1 for config in configs):
            raise FloatingPointError("the likelihood became nan")
        return whole(data, configs, *rest)

    monkeypatch.setattr(fit, "fit_ensemble", failing)
    records = opened(tmp_path, **SEEDS)
    failed = run_sweep(records, InProcess(), batch=8)
    assert [cell.config.seed for cell in failed] == [1]
    assert cells_that_failed(records)[0][1] == "FloatingPointError: the likelihood became nan"
    assert [each["status"] for each in written(records)] == ["finished", "failed", "finished"]


def test_an_interrupted_ensemble_goes_on(together: Records, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import lcm.run.runs

    records, write = opened(tmp_path, **SEEDS), lcm.run.runs.write_run

    def interrupted(folder: Path, *rest: Any, **options: Any) -> None:
        if list(folder.parent.glob("linear-*")):
            raise KeyboardInterrupt
        write(folder, *rest, **options)

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(lcm.run.runs, "write_run", interrupted)
        run_sweep(records, InProcess(), batch=8)
    (batch,) = (records.out / "batches").iterdir()
    assert list(batch.glob("checkpoint/*.safetensors"))
    again = InProcess(jobs=3)
    assert run_sweep(opened(tmp_path, **SEEDS), again, batch=8) == []
    assert [task.folder for task in again.tasks] == [batch] and not batch.exists()
    assert scores(opened(tmp_path, **SEEDS)) == scores(together)


def test_two_sweeps_keep_apart(tmp_path: Path) -> None:
    class Second(InProcess):
        def run(self, tasks: Sequence[Task]) -> Generator[Update, None, None]:
            with pytest.raises(ValueError, match="out: Expected a folder that no other process is writing"):
                run_sweep(opened(tmp_path), InProcess(), 1)
            yield Update((), 0)

    run_sweep(opened(tmp_path), Second(), 1)


def test_a_record_of_something_else_is_refused(tmp_path: Path) -> None:
    (cell,) = opened(tmp_path).cells
    path = tmp_path / "out" / "cells" / f"{cell.name}.json"
    path.parent.mkdir(parents=True)
    write_json(path, {"schema": 1, "key": "other"})
    with pytest.raises(ValueError, match=rf"{cell.name}.json: Expected the data and settings of the cell {cell.name};"):
        opened(tmp_path)


def test_data_are_generated_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "nature.yaml").write_text("nature: {n: 2}\n")
    file, out = tmp_path / "sweep.yaml", tmp_path / "out"
    file.write_text(
        "data: [{generate: nature.yaml, base: {pairs: {train: 20, val: 5, test: 5}}, grid: {seed: [0, 1]}}]"
    )
    argv = ["sweep", file, "--out", out]
    listed = called(capsys, *argv, "--dry-run").splitlines()
    assert listed[-1] == "2 cells: 2 waiting" and not out.exists()
    # there, but too few pairs to fit
    assert len(run_sweep(open_sweep(file, out)[1], InProcess(), 1)) == 2
    configs = list((out / "data").glob("nature-seed*/config.yaml"))
    assert len(configs) == 2
    before = [path.stat().st_mtime_ns for path in configs]
    run_sweep(open_sweep(file, out)[1], InProcess(), 1)
    assert [path.stat().st_mtime_ns for path in configs] == before
    assert called(capsys, *argv, "--dry-run").splitlines()[-1] == "2 cells: 2 failed"
    assert called(capsys, *argv, "--dry-run", "--quiet") == ""
    for path in configs:
        path.write_text("another")
    assert "Expected the data of these settings; got others. Choose another --out." in refused(capsys, *argv)


def test_pairs_to_score_on_may_have_their_columns_in_another_order(tmp_path: Path) -> None:
    pairs = replace(small_data("linear", 300), columns=("a", "b"))
    turned = replace(pairs, x=pairs.x[:, ::-1], x_tilde=pairs.x_tilde[:, ::-1], columns=("b", "a"))
    found = []
    for name, test in (("same", pairs), ("turned", turned)):
        save_pairs(tmp_path / "train.csv", pairs)
        save_pairs(tmp_path / "test.csv", test)
        file = tmp_path / "sweep.yaml"
        file.write_text("data: [{name: d, train: train.csv, test: test.csv}]\nbase: {model: linear}\n")
        records = open_sweep(file, tmp_path / name)[1]
        assert run_sweep(records, InProcess(), 1) == []
        found += scores(records)
    assert found[0]["nll"] == pytest.approx(found[1]["nll"])
