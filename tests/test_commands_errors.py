"""Every error of the contract: one line that names the file or the key, exit code 2, and nothing left behind."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from command_line import refused
from safetensors.numpy import save_file
from small import content, small_data

from lcm.base.files import read_json, write_json
from lcm.data.pair_files import save_pairs


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


def folder_of_pairs(folder: Path) -> Path:
    (folder / "set").mkdir()
    return write_data(folder / "set" / "d.safetensors").parent


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
    "folder": (folder_of_pairs, "set: Expected a file of pairs; got a folder that holds d.safetensors"),
    "another format": (
        lambda folder: folder / "d.txt",
        "d.txt: Expected a .safetensors, .npz, .csv or .parquet file; got the",
    ),
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
    assert line.startswith(f"lcm {command}: error: ") and message in line
    assert (content(tmp_path), content(run_folder)) == before


CONFIG_ERRORS: dict[str, tuple[str, str]] = {
    "twice": ("seed: 1\nseed: 2\n", "c.yaml: seed: Expected each key once; got it again in line 2"),
    "unknown": (
        "noise_encoder: {step: 3}\n",
        "c.yaml: noise_encoder.step: Expected a known key (did you mean 'steps'?)",
    ),
    "type": ("restarts: many\n", "c.yaml: restarts: Expected an integer; got the string 'many'"),
    "range": ("validation_share: 2\n", "c.yaml: validation_share: Expected a share strictly between 0 and 1; got 2.0"),
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
    "no variables": (["--n", "0"], "--n: Expected at least 1; got 0"),
    "no restarts": (["--restarts", "0"], "--restarts: Expected at least 1; got 0"),
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
    options: dict[str, list[Any]] = {
        "encode": [data_file, "--out", out],
        "evaluate": [data_file],
        "sample": ["--n", "5", "--out", out],
    }
    rest = options[command]
    (tmp_path / "run").mkdir()
    write_json(tmp_path / "run" / "run.json", read_json(run_folder / "run.json") | {"schema": 9})
    assert "run.json: schema: Expected version 2; got 9" in refused(capsys, command, tmp_path / "run", *rest)
    assert "Expected a run folder; got no such folder" in refused(capsys, command, tmp_path / "none", *rest)
    save_file({"x": np.zeros(2)}, tmp_path / "m.safetensors", metadata={"schema": "9"})
    line = refused(capsys, command, tmp_path / "m.safetensors", *rest)
    assert "m.safetensors: Expected a model of schema version 1; got 9" in line
    assert not out.exists()


OUTPUTS: dict[str, tuple[str, str]] = {
    "suffix": ("out.txt", "Expected a .safetensors, .npz, .csv or .parquet file to write to; got the suffix '.txt'"),
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
    images = np.random.default_rng(0).integers(0, 255, (50, 16, 16, 3), dtype=np.uint8)
    np.savez(tmp_path / "images.npz", x=images, x_tilde=images[::-1])
    for name, shape in (("d.npz", "(50, 3)"), ("images.npz", "(50, 16, 16, 3)")):
        line = refused(capsys, "evaluate", run_folder, tmp_path / name)
        assert f"{name}: x: Expected shape (N, 2), as the model's observations; got {shape}" in line
    assert "images.npz: x: Expected at least 150 pairs" in refused(
        capsys, "fit", tmp_path / "images.npz", "--out", tmp_path / "run", "--n", 2
    )


SAMPLE_ERRORS: dict[str, tuple[list[str], str]] = {
    "nothing": ([], "--n: Expected a number of pairs, or --from DATA with --do; got neither"),
    "nothing but do": (["--do", "0=1"], "--n: Expected a number of pairs"),
    "from without do": (["--from", "d.safetensors", "--n", "3"], "--from: Expected --do with it; got none"),
    "no pairs": (["--n", "0"], "--n: Expected at least 1 pair; got 0"),
    "seed": (["--n", "3", "--seed", "-1"], "--seed: Expected at least 0; got -1"),
    "range": (["--n", "3", "--do", "2=1"], "do: Expected learned variables in 0..1; got 2"),
    "form": (
        ["--n", "3", "--do", "0"],
        "--do: Expected I=VALUE or NAME=VALUE, I a 0-based variable, NAME one of z0, z1; got '0'",
    ),
    "name": (["--n", "3", "--do", "z2=1"], "NAME one of z0, z1; got 'z2=1'"),
    "twice by name": (["--n", "3", "--do", "0=1", "z0=2"], "--do: Expected each variable once; got z0 again"),
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
