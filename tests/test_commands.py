"""The commands at work, from a config to scores."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
from command_line import GENERATE_YAML, called, refused
from small import SHORT_YAML, content, small_data, thick_nature

import lcm
from lcm.app.cli import main
from lcm.app.commands.evaluate import format_scores
from lcm.app.commands.sample import parse_interventions
from lcm.base.files import read_json, read_tensors
from lcm.data.pair_files import load_pairs
from lcm.model.storage import save_model
from lcm.run.runs import load_run

pytestmark = pytest.mark.usefixtures("cheap_scores")


def test_from_config_to_scores(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "c.yaml").write_text(GENERATE_YAML)
    (tmp_path / "fit.yaml").write_text(SHORT_YAML)
    data, out = tmp_path / "data", tmp_path / "new" / "run"
    said = called(capsys, "generate", tmp_path / "c.yaml", "--out", data, "--seed", "4")
    assert "2 variables" in said and "lcm fit" in said
    assert load_pairs(data / "test.safetensors").metadata["seed"] == "4"
    said = called(capsys, "check", data / "train.safetensors", "--json", tmp_path / "check.json")
    assert "one-sparse" in said and read_json(tmp_path / "check.json")["n_guess"] == 2
    argv = ["fit", data / "train.safetensors", "--out", out, "--config", tmp_path / "fit.yaml", "--seed", "5"]
    assert "Fitted 2 causal variables to 200 pairs" in called(capsys, *argv, "--restarts", "2", "--threads", "1")
    run = load_run(out)
    assert run.config.seed == 5 and run.config.restarts == 2 and run.info["threads"] == 1
    said = called(capsys, "evaluate", out, data / "test.safetensors", "--json", tmp_path / "s" / "scores.json")
    scores = json.loads((tmp_path / "s" / "scores.json").read_text())
    assert scores["fit_seconds"] == run.fit["fit_seconds"] and scores["n_variables"] == 2
    assert f"{'mcc':<32}{scores['mcc']:.4f}\n" in said
    for name in ("variables.png", "graphs.png"):
        assert f"figure: {out / 'figures' / name}" in said and (out / "figures" / name).is_file()


def test_the_graph_at_another_rate(run_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run, out = load_run(run_folder), tmp_path / "new" / "graph.json"
    said = called(capsys, "graph", run_folder, "--fdr", "0.9", "--json", out)
    written = read_json(out)
    graph = run.graph_at(0.9)
    assert written["false_discovery_rate"] == 0.9 and np.array_equal(written["adjacency"], graph.adjacency)
    assert len(graph.edges()) == sum(f"  z{i} -> z{j}  " in said for i, j in graph.edges())
    assert "at a false discovery rate of 0.9\n" in said and "causes first: z" in said
    # By default it is the graph of the fit.
    called(capsys, "graph", run_folder, "--json", out)
    assert read_json(out) == read_json(run_folder / "graph.json")
    assert called(capsys, "graph", run_folder, "--quiet") == ""
    for rate in ("0", "1", "nan", "half"):
        message = f"argument --fdr: Expected a rate strictly between 0 and 1; got '{rate}'"
        assert message in refused(capsys, "graph", run_folder, "--fdr", rate)
    assert "Expected a run folder; got no such folder" in refused(capsys, "graph", tmp_path / "none")


def test_encodings_have_their_columns_in_the_metadata(
    run_folder: Path, data_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "new" / "e.safetensors"
    assert str(out) in called(capsys, "encode", run_folder, data_file, "--out", out)
    tensors, metadata = read_tensors(out)
    assert {name: value.shape for name, value in tensors.items()} == {
        **dict.fromkeys(("z", "z_tilde", "noise", "noise_tilde"), (300, 2)),
        "target_probability": (300, 3),
    }
    assert {value.dtype for value in tensors.values()} == {np.dtype(np.float32)}
    assert json.loads(metadata["target_sets"]) == [[], [0], [1]] and metadata["made_by"] == "lcm encode"
    called(capsys, "encode", run_folder, data_file, "--out", tmp_path / "double.safetensors", "--float64")
    double = read_tensors(tmp_path / "double.safetensors")[0]
    np.testing.assert_allclose(double["z"], tensors["z"], atol=1e-3)


def test_a_model_file_stands_for_a_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = thick_nature(2)
    save_model(model, tmp_path / "nature.safetensors")
    assert "1,000" in called(
        capsys, "sample", tmp_path / "nature.safetensors", "--n", "1000", "--out", tmp_path / "d.safetensors"
    )
    argv = ["evaluate", tmp_path / "nature.safetensors", tmp_path / "d.safetensors", "--float64"]
    said = called(capsys, *argv, "--json", tmp_path / "s.json", "--threads", "1")
    scores = read_json(tmp_path / "s.json")
    assert "figure:" not in said and f"{'fit_seconds':<32}-" in said
    assert scores["mcc"] > 0.999 and scores["shd"] == 0 and scores["graph_isomorphic"] is True
    assert scores["intervention_accuracy"] > 0.97 and scores["fit_seconds"] is None


def test_evaluating_without_truth_draws_nothing(
    run_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = small_data("linear", 50)
    np.savez(tmp_path / "d.npz", x=data.x, x_tilde=data.x_tilde)
    before = content(run_folder)
    said = called(capsys, "evaluate", run_folder, tmp_path / "d.npz")
    assert "figure:" not in said and f"\n  {'mcc':<32}-\n" in said
    assert f"\n{'nll':<32}-\n" not in said
    assert "DATA has no truth (z, targets or adjacency), so that nothing but the likelihood can be scored." in said
    assert content(run_folder) == before


def test_a_failed_figure_is_an_error(
    run_folder: Path, data_file: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise OSError("no space left")

    monkeypatch.setattr("lcm.report.draw_variables", fail)
    assert "no space left" in refused(capsys, "evaluate", run_folder, data_file)


def test_scores_are_a_table_in_groups() -> None:
    scores = {"mcc": 0.5, "graph_isomorphic": True, "permutation": [1, -1], "r2_per_variable": [0.25, 1.0], "r2": None}
    assert format_scores(scores).splitlines() == [
        "variables:",
        "  mcc               0.5000",
        "  permutation       1 -1",
        "  r2_per_variable   0.2500 1.0000",
        "  r2                -",
        "graph:",
        "  graph_isomorphic  yes",
    ]


def test_samples_and_counterfactuals_are_data_sets(
    run_folder: Path, data_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, names = tmp_path / "new" / "s.safetensors", {"z", "z_tilde", "noise", "noise_tilde", "targets", "adjacency"}
    called(capsys, "sample", run_folder, "--n", "20", "--out", out)
    plain = load_pairs(out)
    assert len(plain) == 20 and set(plain.tensors()) == names | {"x", "x_tilde"}
    called(capsys, "sample", run_folder, "--n", "20", "--seed", "1", "--out", out)
    assert not np.array_equal(load_pairs(out).x, plain.x)
    called(capsys, "sample", run_folder, "--n", "20", "--do", "0=1.5", "1=-2", "--out", out)
    both = load_pairs(out)
    assert both.targets is not None and both.targets.all() and both.z_tilde is not None
    np.testing.assert_allclose(both.z_tilde, np.broadcast_to([1.5, -2.0], (20, 2)))
    called(capsys, "sample", run_folder, "--from", data_file, "--do", "0=1.5", "--do", "1=-2", "--out", out)
    assert np.array_equal(load_pairs(out).x, load_pairs(data_file).x)


def test_interventions_are_parsed() -> None:
    assert parse_interventions(["0=1.5", "12=-2e3", "e\u0301=1"], ["z0", "é"]) == {0: 1.5, 12: -2000.0, 1: 1.0}


def test_the_estimated_number_of_variables_is_printed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data, widen = small_data("linear", 200), np.random.default_rng(0).standard_normal((2, 4))
    np.savez(tmp_path / "d.npz", x=data.x @ widen, x_tilde=data.x_tilde @ widen)
    (tmp_path / "c.yaml").write_text(SHORT_YAML)
    argv = ["fit", str(tmp_path / "d.npz"), "--out", str(tmp_path / "run"), "--config", str(tmp_path / "c.yaml")]
    assert main(argv) == 0
    assert capsys.readouterr().out.startswith("n = 2, estimated: the 4 columns of x span 2 dimensions")
    assert load_run(tmp_path / "run").fit["n_given"] is False


def test_a_bent_sheet_is_said_alike_by_fit_and_check_and_report(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    said = "the 4 columns of x lie on a sheet of 2 dimensions that bends into 4 directions"
    data = small_data("linear", 2_000)
    bent = {}
    for key, z in {"x": data.x, "x_tilde": data.x_tilde}.items():
        bent[key] = np.stack([*z.T, np.tanh(z.sum(1)), 0.3 * z.prod(1)], 1)
    np.savez(tmp_path / "d.npz", **bent)
    (tmp_path / "c.yaml").write_text(SHORT_YAML)
    run = tmp_path / "run"
    assert main(["fit", str(tmp_path / "d.npz"), "--out", str(run), "--config", str(tmp_path / "c.yaml")]) == 0
    assert capsys.readouterr().out.startswith(f"n = 2, estimated: {said}")
    assert main(["check", str(tmp_path / "d.npz")]) == 0
    assert f"n = 2: {said}; " in capsys.readouterr().out
    assert said in (run / "report.md").read_text()


EXPERIMENT = """
from experiments.neighbour import GREETING
def main(argv: list[str]) -> None:
    print(GREETING, argv)
    if "--fail" in argv:
        raise SystemExit(2)
"""
SWEEP_YAML = "data: [{generate: small.yaml, grid: {seed: [0, 1]}}]\ngrid: {seed: [0, 1]}\n"


@pytest.fixture(params=["checkout", "installed"])
def source(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder with one experiment and one config: a checkout, or what an installed package holds."""
    installed = request.param == "installed"
    root = tmp_path / "lcm" / "shipped" if installed else tmp_path
    (root / "experiments").mkdir(parents=True)
    (root / "experiments" / "toy.py").write_text(EXPERIMENT)
    (root / "experiments" / "neighbour.py").write_text("GREETING = 'hello'\n")
    (root / "experiments" / "_private.py").write_text("")
    (root / "paper_configs").mkdir()
    (root / "paper_configs" / "small.yaml").write_text(GENERATE_YAML)
    (root / "paper_configs" / "sweep.yaml").write_text(SWEEP_YAML)
    if not installed:
        (root / "pyproject.toml").write_text("")
    monkeypatch.setattr(lcm, "__file__", str(tmp_path / "lcm" / "__init__.py"))
    for name in [name for name in sys.modules if name.partition(".")[0] == "experiments"]:
        monkeypatch.delitem(sys.modules, name)
    yield root
    for name in [name for name in sys.modules if name.partition(".")[0] == "experiments"]:
        del sys.modules[name]


def test_an_experiment_gets_what_follows_its_name(source: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = list(sys.path)
    said = called(capsys, "reproduce", "toy", "--quick", "--n", "4", "--data", "a b", "--", "--help")
    assert said == "hello ['--quick', '--n', '4', '--data', 'a b', '--help']\n"
    assert sys.path == path
    assert called(capsys, "reproduce", "toy", "--quiet", "--threads", "1") == ""


def test_the_results_of_an_experiment_have_a_page(source: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = source / "out"
    out.mkdir()
    assert "Page:" not in called(capsys, "reproduce", "toy", "--out", out)
    (out / "results.md").write_text("# toy\n\n| n |\n|---|\n| 7 |\n")
    assert f"Page: {out / 'index.html'}\n" in called(capsys, "reproduce", "toy", "--out", out)
    assert "<td>7</td>" in (out / "index.html").read_text(encoding="utf-8")
    (out / "index.html").unlink()
    assert called(capsys, "reproduce", "toy", "--quiet", "--out", out) == "" and (out / "index.html").is_file()


@pytest.mark.parametrize("options", [[], ["--quiet"]])
def test_the_exit_code_of_an_experiment_is_kept(options: Sequence[str], source: Path) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(["reproduce", "toy", "--fail", *options])


def test_an_unknown_experiment_lists_those_there_are(source: Path, capsys: pytest.CaptureFixture[str]) -> None:
    line = refused(capsys, "reproduce", "nothing")
    elsewhere = "" if (source / "pyproject.toml").is_file() else "; all others are in a checkout of the source"
    assert line.startswith("lcm reproduce: error: ") and f"(neighbour, toy{elsewhere}); got 'nothing'" in line


@pytest.mark.usefixtures("source")
def test_paper_configs_are_found_from_anywhere(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    monkeypatch.chdir(elsewhere)
    called(capsys, "generate", "paper_configs/small.yaml", "--out", "data", "--quiet")
    assert (elsewhere / "data" / "train.safetensors").is_file()
    called(capsys, "protocol", "paper_configs/small.yaml", "--pairs", "9", "--out", "protocol.txt", "--quiet")
    assert "4 cells" in called(capsys, "sweep", "paper_configs/sweep.yaml", "--out", "sweep", "--dry-run")
    line = refused(capsys, "generate", "paper_configs/other.yaml", "--out", "more")
    assert "Expected a config of paper_configs/ (small.yaml, sweep.yaml); got no file of that name" in line
