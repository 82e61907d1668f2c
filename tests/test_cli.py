"""The command line: every command at work, every error of the contract in one line, and nothing left behind."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.numpy import save_file
from small import SHORT, SHORT_YAML, content, equal_weights, small_data, thick_nature

import lcm
from lcm.cli import main
from lcm.commands import COMMANDS, common
from lcm.commands.evaluate import format_scores
from lcm.commands.sample import parse_interventions
from lcm.data.pairs import load_pairs, save_pairs
from lcm.files import read_json, read_tensors, write_json
from lcm.learn.tracker import Recorder
from lcm.run import fit_run, load_run
from lcm.storage import save_model

ROOT = Path(__file__).parent.parent
GENERATE_YAML = "nature: {n: 2}\npairs: {train: 200, val: 30, test: 60}\nseed: 3\n"


@pytest.fixture(scope="module")
def run_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run on linear data."""
    out = tmp_path_factory.mktemp("cli") / "run"
    fit_run(small_data("linear"), out, SHORT, device="cpu", progress=False)
    return out


@pytest.fixture(scope="module")
def data_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The data of that run, with their truth."""
    path = tmp_path_factory.mktemp("data") / "data.safetensors"
    save_pairs(path, small_data("linear"))
    return path


def called(capsys: pytest.CaptureFixture[str], *argv: Any) -> str:
    """What a command that succeeds prints."""
    code = main([str(part) for part in argv])
    captured = capsys.readouterr()
    assert (code, captured.err) == (0, "")
    return captured.out


def refused(capsys: pytest.CaptureFixture[str], *argv: Any) -> str:
    """The one line of a command that fails with exit code 2."""
    code = main([str(part) for part in argv])
    captured = capsys.readouterr()
    assert code == 2 and captured.out == ""
    lines = captured.err.splitlines()
    assert len(lines) == 1 and ": error: " in lines[0]
    return lines[0]


def test_lcm_lists_the_commands(capsys: pytest.CaptureFixture[str]) -> None:
    listed = called(capsys, "--help")
    assert list(COMMANDS) == ["generate", "check", "fit", "encode", "evaluate", "sample", "reproduce"]
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
    code = f"import sys; from lcm.cli import main; main({argv}); print('torch' in sys.modules, 'numpy' in sys.modules)"
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


def write_data(path: Path, **changes: Any) -> Path:
    """Write the small data with some tensors replaced, unchecked; None leaves one out."""
    tensors = {**small_data("linear").tensors(), **changes}
    save_file({key: np.ascontiguousarray(value) for key, value in tensors.items() if value is not None}, path)
    return path


def bad_x(value: float) -> Callable[[Path], Path]:
    def write(folder: Path) -> Path:
        x = small_data("linear").x.copy()
        x[[7, 9], [1, 0]] = value
        return write_data(folder / "d.safetensors", x=x)

    return write


def truncated(folder: Path) -> Path:
    path = write_data(folder / "d.safetensors")
    path.write_bytes(path.read_bytes()[:-100])
    return path


def constant_column(folder: Path) -> Path:
    x = small_data("linear").x.copy()
    x[:, 1] = 3.0
    return write_data(folder / "d.safetensors", x=x)


CYCLE = np.array([[0, 1], [1, 0]], dtype=np.uint8)
X = small_data("linear").x
DATA_ERRORS: dict[str, tuple[Callable[[Path], Path], str]] = {
    "missing": (lambda folder: folder / "d.safetensors", "d.safetensors: Expected a file; got no such file"),
    "truncated": (truncated, "d.safetensors: Expected a whole safetensors file; got a truncated or unreadable one"),
    "folder": (lambda folder: folder, "Expected a file of pairs; got a folder that holds "),
    "another format": (lambda folder: folder / "d.csv", "d.csv: Expected a .safetensors or .npz file; got the suffix"),
    "no x_tilde": (
        lambda folder: write_data(folder / "d.safetensors", x_tilde=None),
        "d.safetensors: x_tilde: Expected the tensors x and x_tilde",
    ),
    "shapes": (
        lambda folder: write_data(folder / "d.safetensors", x_tilde=X[:, :1]),
        "d.safetensors: x_tilde: Expected the shape of x, (300, 2); got (300, 1)",
    ),
    "NaN": (bad_x(np.nan), "x: Expected finite numbers; got 2 NaN and 0 infinite entries, first in row 7"),
    "infinite": (bad_x(np.inf), "x: Expected finite numbers; got 0 NaN and 2 infinite entries, first in row 7"),
    "constant": (constant_column, "x: Expected columns that vary; got 1 constant (0-based index): 1"),
    "cyclic": (
        lambda folder: write_data(folder / "d.safetensors", adjacency=CYCLE),
        "adjacency: Expected an acyclic adjacency; got the cycle 0 -> 1 -> 0",
    ),
    "not square": (
        lambda folder: write_data(folder / "d.safetensors", adjacency=CYCLE[:1]),
        "adjacency: Expected a square (n, n) adjacency; got shape (1, 2)",
    ),
    "targets": (
        lambda folder: write_data(folder / "d.safetensors", targets=np.full((300, 2), 2, dtype=np.uint8)),
        "targets: Expected entries 0 and 1; got entries from 2 to 2",
    ),
}


@pytest.mark.parametrize("case", DATA_ERRORS)
@pytest.mark.parametrize("command", ["check", "fit", "encode", "evaluate", "sample"])
def test_bad_data_are_one_line_and_leave_nothing(
    command: str, case: str, run_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write, message = DATA_ERRORS[case]
    data = write(tmp_path)
    argv: dict[str, list[Any]] = {
        "check": [data, "--json", tmp_path / "new" / "check.json"],
        "fit": [data, "--out", tmp_path / "new" / "run"],
        "encode": [run_folder, data, "--out", tmp_path / "new" / "e.safetensors"],
        "evaluate": [run_folder, data, "--json", tmp_path / "new" / "scores.json"],
        "sample": [run_folder, "--from", data, "--do", "0=1", "--out", tmp_path / "new" / "s.safetensors"],
    }
    before = content(tmp_path), content(run_folder)
    line = refused(capsys, command, *argv[command])
    assert line.startswith(f"lcm {command}: error: ") and (message in line or case == "folder")
    assert (content(tmp_path), content(run_folder)) == before


CONFIG_ERRORS: dict[str, tuple[str, str]] = {
    "twice": ("seed: 1\nseed: 2\n", "c.yaml: seed: Expected each key once; got it again in line 2"),
    "unknown": (
        "noise_encoder: {step: 3}\n",
        "c.yaml: noise_encoder.step: Expected a known key (did you mean 'steps'?)",
    ),
    "type": ("restarts: many\n", "c.yaml: restarts: Expected an integer; got the string 'many'"),
    "range": ("validation_share: 2\n", "c.yaml: Expected a share in (0, 1); got 2.0"),
    "no YAML": ("{", "c.yaml: line 1: Expected YAML"),
    "target": ("targets: [[0], [2]]\n", "targets: Expected intervention targets in 0..1; got 2"),
}


@pytest.mark.parametrize("case", CONFIG_ERRORS)
def test_bad_configs_of_a_fit_are_one_line_and_leave_nothing(
    case: str, data_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text, message = CONFIG_ERRORS[case]
    (tmp_path / "c.yaml").write_text(text)
    line = refused(capsys, "fit", data_file, "--out", tmp_path / "new" / "run", "--config", tmp_path / "c.yaml")
    assert line.startswith("lcm fit: error: ") and message in line
    assert set(content(tmp_path)) == {"c.yaml"}


NATURE_ERRORS: dict[str, tuple[str, str]] = {
    "twice": ("seed: 1\nseed: 2\nnature: {n: 2}\n", "c.yaml: seed: Expected each key once"),
    "unknown": ("nature: {n: 2, grph: {}}\n", "c.yaml: nature.grph: Expected a known key (did you mean 'graph'?)"),
    "missing": ("seed: 1\n", "c.yaml: nature: Expected a value for this required key"),
    "cycle": (
        "nature: {n: 2, graph: {kind: edges, edges: [[0, 1], [1, 0]]}}\n",
        "c.yaml: nature: graph.edges: Expected an acyclic adjacency; got the cycle 0 -> 1 -> 0",
    ),
    "target": (
        "nature: {n: 2, intervention: {targets: [[], [2]]}}\n",
        "c.yaml: nature: intervention.targets: Expected targets in 0..1; got 2",
    ),
    "probabilities": (
        "nature: {n: 2, intervention: {probabilities: [0.5, 0.2, 0.2]}}\n",
        "c.yaml: nature.intervention: Expected probabilities that sum to 1; got a sum of 0.9",
    ),
    "size": ("nature: {n: 3, decoder: {dim_x: 2}}\n", "decoder.dim_x: Expected at least n = 3; got 2"),
}


@pytest.mark.parametrize("case", NATURE_ERRORS)
def test_bad_configs_of_a_nature_are_one_line_and_leave_nothing(
    case: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text, message = NATURE_ERRORS[case]
    (tmp_path / "c.yaml").write_text(text)
    line = refused(capsys, "generate", tmp_path / "c.yaml", "--out", tmp_path / "new" / "data")
    assert line.startswith("lcm generate: error: ") and message in line
    assert set(content(tmp_path)) == {"c.yaml"}


FIT_ERRORS: dict[str, tuple[list[str], str]] = {
    "dimensions": (["--n", "3"], "data.safetensors: x: Expected at least n = 3 dimensions; got 2"),
    "no variables": (["--n", "0"], "--n: Expected n of at least 1; got 0"),
    "no restarts": (["--restarts", "0"], "--restarts: Expected at least 1 restart; got 0"),
    "seed": (["--seed", "-1"], "--seed: Expected a non-negative seed; got -1"),
    "no config": (["--config", "nowhere.yaml"], "nowhere.yaml: Expected a file; got no such file"),
    "no device": (["--device", "cuda"], "device: Expected CUDA, as asked for; got a machine without it"),
}


@pytest.mark.parametrize("case", FIT_ERRORS)
def test_bad_options_of_a_fit_are_one_line_and_leave_nothing(
    case: str,
    data_file: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    options, message = FIT_ERRORS[case]
    assert message in refused(capsys, "fit", data_file, "--out", tmp_path / "new" / "run", *options)
    assert content(tmp_path) == {}


def test_too_few_pairs_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    save_pairs(tmp_path / "d.safetensors", small_data("linear", 149))
    line = refused(capsys, "fit", tmp_path / "d.safetensors", "--out", tmp_path / "run")
    assert "d.safetensors: x: Expected at least 150 pairs, 50 (n + 1) for n = 2; got 149" in line
    assert set(content(tmp_path)) == {"d.safetensors"}


def test_a_folder_with_another_run_is_refused(
    run_folder: Path, data_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = content(run_folder)
    line = refused(capsys, "fit", data_file, "--out", run_folder)
    assert "Expected a folder without another run; got a finished run (use --overwrite" in line
    assert content(run_folder) == before
    (tmp_path / "notes.txt").write_text("mine")
    assert "got a folder of other files" in refused(capsys, "fit", data_file, "--out", tmp_path, "--overwrite")
    assert "notes.txt: Expected a folder to write to; got a file" in refused(
        capsys, "fit", data_file, "--out", tmp_path / "notes.txt"
    )
    assert content(tmp_path) == {"notes.txt": b"mine"}


@pytest.mark.parametrize("command", ["encode", "evaluate", "sample"])
def test_unknown_schema_versions_and_missing_runs_are_refused(
    command: str, run_folder: Path, data_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out.safetensors"
    rest = {"encode": [data_file, "--out", out], "evaluate": [data_file], "sample": ["--n", "5", "--out", out]}[command]
    (tmp_path / "run").mkdir()
    write_json(tmp_path / "run" / "run.json", read_json(run_folder / "run.json") | {"schema": 9})
    assert "run.json: schema: Expected version 1; got 9" in refused(capsys, command, tmp_path / "run", *rest)
    assert "Expected a run folder; got no such folder" in refused(capsys, command, tmp_path / "none", *rest)
    save_file({"x": np.zeros(2)}, tmp_path / "m.safetensors", metadata={"schema": "9"})
    line = refused(capsys, command, tmp_path / "m.safetensors", *rest)
    assert "m.safetensors: Expected a model of schema version 1; got 9" in line
    assert not out.exists()


OUTPUTS: dict[str, tuple[str, str]] = {
    "suffix": ("out.csv", "out.csv: Expected a .safetensors file to write to; got the suffix '.csv'"),
    "folder": ("taken.safetensors", "taken.safetensors: Expected a file to write to; got a folder"),
    "input": ("data.safetensors", "data.safetensors: Expected another file to write to; got the one that is read"),
    "below a file": ("data.safetensors/out.safetensors", "data.safetensors: Expected a folder to write to; got a file"),
}


@pytest.mark.parametrize("case", OUTPUTS)
def test_places_that_cannot_be_written_to_are_refused(
    case: str, run_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    name, message = OUTPUTS[case]
    save_pairs(tmp_path / "data.safetensors", small_data("linear"))
    (tmp_path / "taken.safetensors").mkdir()
    before = content(tmp_path)
    line = refused(capsys, "encode", run_folder, tmp_path / "data.safetensors", "--out", tmp_path / name)
    assert message in line and content(tmp_path) == before


def test_data_of_another_dimension_are_refused(
    run_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = np.random.default_rng(0).standard_normal((50, 3))
    np.savez(tmp_path / "d.npz", x=other, x_tilde=other[::-1])
    images = np.random.default_rng(0).integers(0, 255, (50, 2, 2, 3), dtype=np.uint8)
    np.savez(tmp_path / "images.npz", x=images, x_tilde=images[::-1])
    for name, shape in (("d.npz", "(50, 3)"), ("images.npz", "(50, 2, 2, 3)")):
        line = refused(capsys, "evaluate", run_folder, tmp_path / name)
        assert f"{name}: x: Expected shape (N, 2), as the model's observations; got {shape}" in line
    assert "images.npz: x: Expected shape (N, d); got images" in refused(
        capsys, "fit", tmp_path / "images.npz", "--out", tmp_path / "run"
    )


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
    assert main([str(part) for part in [*argv, "--restarts", "2", "--threads", "1"]]) == 0
    captured = capsys.readouterr()
    assert "noise encoder (2)" in captured.err and "Fitted 2 causal variables to 200 pairs" in captured.out
    run = load_run(out)
    assert run.config.seed == 5 and run.config.restarts == 2 and run.info["threads"] == 1
    said = called(capsys, "evaluate", out, data / "test.safetensors", "--json", tmp_path / "s" / "scores.json")
    scores = json.loads((tmp_path / "s" / "scores.json").read_text())
    assert scores["fit_seconds"] == run.fit["fit_seconds"] and scores["n_variables"] == 2
    assert f"mcc                     {scores['mcc']:.4f}\n" in said
    for name in ("variables.png", "graphs.png"):
        assert f"figure: {out / 'figures' / name}" in said and (out / "figures" / name).is_file()


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
    assert "figure:" not in said and "fit_seconds             -" in said
    assert scores["mcc"] > 0.999 and scores["shd"] == 0 and scores["graph_isomorphic"] is True
    assert scores["intervention_accuracy"] > 0.97 and scores["fit_seconds"] is None


def test_evaluating_without_truth_draws_nothing(
    run_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = small_data("linear", 50)
    np.savez(tmp_path / "d.npz", x=data.x, x_tilde=data.x_tilde)
    before = content(run_folder)
    said = called(capsys, "evaluate", run_folder, tmp_path / "d.npz")
    assert "figure:" not in said and "\nmcc                     -\n" in said
    assert "\nnll                     -\n" not in said
    assert content(run_folder) == before


def test_a_failed_figure_is_an_error(
    run_folder: Path, data_file: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise OSError("no space left")

    monkeypatch.setattr("lcm.plot.draw_variables", fail)
    assert "no space left" in refused(capsys, "evaluate", run_folder, data_file)


def test_scores_are_a_table() -> None:
    scores = {"mcc": 0.5, "graph_isomorphic": True, "permutation": [1, -1], "r2_per_variable": [0.25, 1.0], "r2": None}
    assert format_scores(scores).splitlines() == [
        "mcc               0.5000",
        "graph_isomorphic  yes",
        "permutation       1 -1",
        "r2_per_variable   0.2500 1.0000",
        "r2                -",
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


SAMPLE_ERRORS: dict[str, tuple[list[str], str]] = {
    "nothing": ([], "--n: Expected a number of pairs, or --from DATA with --do; got neither"),
    "nothing but do": (["--do", "0=1"], "--n: Expected a number of pairs"),
    "from without do": (["--from", "d.safetensors", "--n", "3"], "--from: Expected --do beside it; got none"),
    "no pairs": (["--n", "0"], "--n: Expected at least 1 pair; got 0"),
    "seed": (["--n", "3", "--seed", "-1"], "--seed: Expected at least 0; got -1"),
    "range": (["--n", "3", "--do", "2=1"], "do: Expected learned variables in 0..1; got 2"),
    "form": (["--n", "3", "--do", "0"], "--do: Expected I=VALUE, I a 0-based variable; got '0'"),
    "name": (["--n", "3", "--do", "z0=1"], "--do: Expected I=VALUE, I a 0-based variable; got 'z0=1'"),
    "value": (["--n", "3", "--do", "0=one"], "--do: Expected a finite number as VALUE; got '0=one'"),
    "infinite": (["--n", "3", "--do", "0=inf"], "--do: Expected a finite number as VALUE; got '0=inf'"),
    "NaN": (["--n", "3", "--do", "0=nan"], "--do: Expected a finite number as VALUE; got '0=nan'"),
    "twice": (["--n", "3", "--do", "0=1", "0=2"], "--do: Expected each variable once; got 0 again"),
    "number": (["--n", "3", "--do", "0=1e39"], "x_tilde: Expected finite numbers"),
}


@pytest.mark.parametrize("case", SAMPLE_ERRORS)
def test_bad_samples_are_one_line_and_leave_nothing(
    case: str, run_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options, message = SAMPLE_ERRORS[case]
    line = refused(capsys, "sample", run_folder, "--out", tmp_path / "new" / "s.safetensors", *options)
    assert line.startswith("lcm sample: error: ") and message in line
    assert content(tmp_path) == {}


def test_more_counterfactuals_than_data_are_refused(
    run_folder: Path, data_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    argv = ["--from", data_file, "--do", "0=1", "--n", "301", "--out", tmp_path / "s.safetensors"]
    assert "n: Expected at most 300 pairs" in refused(capsys, "sample", run_folder, *argv)


def test_interventions_are_parsed() -> None:
    assert parse_interventions(["0=1.5", "12=-2e3"]) == {0: 1.5, 12: -2000.0}


def test_the_estimated_number_of_variables_is_printed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data, widen = small_data("linear", 200), np.random.default_rng(0).standard_normal((2, 4))
    np.savez(tmp_path / "d.npz", x=data.x @ widen, x_tilde=data.x_tilde @ widen)
    (tmp_path / "c.yaml").write_text(SHORT_YAML)
    argv = ["fit", str(tmp_path / "d.npz"), "--out", str(tmp_path / "run"), "--config", str(tmp_path / "c.yaml")]
    assert main(argv) == 0
    assert capsys.readouterr().out.startswith("n = 2, estimated: x has 4 columns")
    assert load_run(tmp_path / "run").fit["n_given"] is False


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
    assert capsys.readouterr().err == f"lcm fit: interrupted; the same command resumes what is in {tmp_path / 'run'}\n"
    assert main(argv) == 0 and load_run(tmp_path / "run").model.n == 2


def test_an_interrupted_generate_leaves_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("lcm.data.generate.save_model", interrupt)
    (tmp_path / "c.yaml").write_text(GENERATE_YAML)
    assert main(["generate", str(tmp_path / "c.yaml"), "--out", str(tmp_path / "data")]) == 130
    assert capsys.readouterr().err == "lcm generate: interrupted; nothing was written\n"
    assert set(content(tmp_path)) == {"c.yaml"}


def test_threads_hold_for_the_command_alone(data_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[int, str | None]] = []
    monkeypatch.setattr(
        "lcm.data.check.check_pairs",
        lambda *_: seen.append((torch.get_num_threads(), os.environ.get("OMP_NUM_THREADS"))) or {},
    )
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    monkeypatch.delenv("MKL_NUM_THREADS", raising=False)
    before = torch.get_num_threads()
    assert main(["check", str(data_file), "--threads", "3", "--quiet"]) == 0
    assert seen == [(3, "3")]
    assert (torch.get_num_threads(), os.environ["OMP_NUM_THREADS"]) == (before, "2")
    assert "MKL_NUM_THREADS" not in os.environ


EXPERIMENT = """
from experiments.neighbour import GREETING
def main(argv: list[str]) -> None:
    print(GREETING, argv)
    if "--fail" in argv:
        raise SystemExit(2)
"""


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A checkout with one experiment and one config."""
    (tmp_path / "experiments").mkdir()
    (tmp_path / "experiments" / "toy.py").write_text(EXPERIMENT)
    (tmp_path / "experiments" / "neighbour.py").write_text("GREETING = 'hello'\n")
    (tmp_path / "experiments" / "_private.py").write_text("")
    (tmp_path / "paper_configs").mkdir()
    (tmp_path / "paper_configs" / "small.yaml").write_text(GENERATE_YAML)
    (tmp_path / "pyproject.toml").write_text("")
    monkeypatch.setattr(common, "source_root", lambda: tmp_path)
    for name in [name for name in sys.modules if name.partition(".")[0] == "experiments"]:
        monkeypatch.delitem(sys.modules, name)
    yield tmp_path
    for name in [name for name in sys.modules if name.partition(".")[0] == "experiments"]:
        del sys.modules[name]


def test_an_experiment_gets_what_follows_its_name(checkout: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = list(sys.path)
    said = called(capsys, "reproduce", "toy", "--quick", "--n", "4", "--data", "a b", "--", "--help")
    assert said == "hello ['--quick', '--n', '4', '--data', 'a b', '--help']\n"
    assert sys.path == path
    assert called(capsys, "reproduce", "toy", "--quiet", "--threads", "1") == ""


@pytest.mark.parametrize("options", [[], ["--quiet"]])
def test_the_exit_code_of_an_experiment_is_kept(options: Sequence[str], checkout: Path) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(["reproduce", "toy", "--fail", *options])


def test_an_unknown_experiment_lists_those_there_are(checkout: Path, capsys: pytest.CaptureFixture[str]) -> None:
    line = refused(capsys, "reproduce", "nothing")
    assert line.startswith("lcm reproduce: error: ") and "(neighbour, toy); got 'nothing'" in line


def test_paper_configs_are_found_from_anywhere(
    checkout: Path,
    tmp_path_factory: pytest.TempPathFactory,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    monkeypatch.chdir(elsewhere)
    called(capsys, "generate", "paper_configs/small.yaml", "--out", "data", "--quiet")
    assert (elsewhere / "data" / "train.safetensors").is_file()
    line = refused(capsys, "generate", "paper_configs/other.yaml", "--out", "more")
    assert "Expected a config of paper_configs/; got none of that name (there are: small.yaml)" in line


def test_an_installed_package_says_how_to_get_a_checkout(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(common, "source_root", lambda: tmp_path)
    monkeypatch.chdir(tmp_path)
    for argv in (["reproduce", "toy2d"], ["generate", "paper_configs/toy2d.yaml", "--out", "data"]):
        line = refused(capsys, *argv)
        assert "Expected a checkout of the source; got an installed package" in line and "git clone" in line
    assert content(tmp_path) == {}


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
