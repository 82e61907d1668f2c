"""`lcm protocol` writes instructions and their truth from a run, a model or a config; `lcm import` reads them back."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from chambers import measured, write_rows
from command_line import GENERATE_YAML, called, refused
from small import content, small_nature, thick_nature

from lcm.app.cli import main
from lcm.data.chamber.protocol_files import read_protocol
from lcm.data.pair_files import load_pairs
from lcm.model.storage import save_model


@pytest.fixture
def config(tmp_path: Path) -> Path:
    (tmp_path / "c.yaml").write_text("nature: {n: 5, graph: {kind: chain}}\nseed: 3\n")
    return tmp_path / "c.yaml"


def test_pairs_of_a_config_are_measured_and_imported(
    config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "new" / "protocol.txt"
    options = ("--range", "pol_1=0,45.5,0.5", "--set", "l_11=3", "--wait", 20)
    said = called(capsys, "protocol", config, "--pairs", 40, "--out", out, *options)
    truth = out.with_suffix(".json")
    assert said.splitlines() == [
        f"Wrote 80 measurements of 40 pairs: {out}",
        "  z0 sets red, 0 to 255",
        "  z1 sets green, 0 to 255",
        "  z2 sets blue, 0 to 255",
        "  z3 sets pol_1, 0.0 to 45.5",
        "  z4 sets pol_2, -90.0 to 90.0",
        f"Wrote their truth: {truth}",
        "Next, with what was measured:",
        f"  lcm import chamber MEASURED.csv --protocol {truth} --out OUT",
    ]
    lines = out.read_text().splitlines()
    assert lines[0] == "SET,l_11,3" and lines.count("MSR,1,0") == 80 and "WAIT,20" in lines
    csv = write_rows(tmp_path / "m.csv", measured(lines))
    said = called(capsys, "import", "chamber", csv, "--protocol", truth, "--out", tmp_path / "data")
    assert "CC BY" not in said and said.endswith(f"lcm fit {tmp_path / 'data' / 'data.safetensors'} --out RUN\n")
    data, protocol = load_pairs(tmp_path / "data" / "data.safetensors"), read_protocol(truth)
    np.testing.assert_array_equal(data.z_tilde, protocol.after.astype(np.float32))
    np.testing.assert_array_equal(data.targets, protocol.targets)
    assert data.adjacency is not None and data.adjacency.sum() == 4


def test_the_seed_is_that_of_the_option_or_the_config(
    config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, options in (("a", ()), ("b", ("--seed", 3)), ("c", ("--seed", 0))):
        out = tmp_path / f"{name}.txt"
        assert called(capsys, "protocol", config, "--pairs", 9, "--out", out, "--quiet", *options) == ""
    texts = [(tmp_path / f"{name}.txt").read_text() for name in "abc"]
    assert texts[0] == texts[1] != texts[2]
    assert [json.loads((tmp_path / f"{name}.json").read_text())["seed"] for name in "abc"] == [3, 3, 0]


@pytest.mark.parametrize("source", ["run", "model", "thick model"])
def test_models_are_taken_as_they_are_saved(
    source: str, run_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = run_folder if source == "run" else tmp_path / "model.safetensors"
    if source != "run":
        save_model(small_nature("linear") if source == "model" else thick_nature(), path)
    called(capsys, "protocol", path, "--pairs", 30, "--out", tmp_path / "p.txt")
    protocol = read_protocol(tmp_path / "p.json")
    assert len(protocol) == 30 and protocol.names == ("red", "green", "blue")[: len(protocol.names)]


BAD: dict[str, tuple[list[Any], str]] = {
    "no pairs": (["c.yaml", "--pairs", 0], "pairs: Expected from 1 to 1,000,000 pairs of 5 variables; got 0"),
    "another suffix": (
        ["c.yaml", "--pairs", 3, "--out", "p.csv"],
        "p.csv: Expected a .txt file to write to; got the suff",
    ),
    "a wait back": (["c.yaml", "--pairs", 3, "--wait", -1], "--wait: Expected at least 0 milliseconds; got -1"),
    "a seed below 0": (["c.yaml", "--pairs", 3, "--seed", -1], "--seed: Expected at least 0; got -1"),
    "no such config": (["none.yaml", "--pairs", 3], "none.yaml: Expected a file; got no such file"),
    "no such run": (["none", "--pairs", 3], "none: Expected a "),
    "actuators too few": (
        ["c.yaml", "--pairs", 3, "--actuators", "red"],
        "actuators: Expected 5, one for each variable",
    ),
    "a range that is none": (
        ["c.yaml", "--pairs", 3, "--range", "red=1"],
        "range: Expected NAME=LOW,HIGH or NAME=LOW,HI",
    ),
    "a setting that is none": (
        ["c.yaml", "--pairs", 3, "--set", "iso"],
        "set: Expected NAME=VALUE, without commas and",
    ),
    "a setting that is driven": (
        ["c.yaml", "--pairs", 3, "--set", "iso=1", "red=3"],
        "--set: Expected no actuator that a variable drives; got red",
    ),
    "a config that is none": (["bad.yaml", "--pairs", 3], "bad.yaml: nature: n: Expected at least 1; got 0."),
}


@pytest.mark.parametrize(("argv", "message"), BAD.values(), ids=BAD.keys())
def test_bad_input_is_one_line(
    argv: list[Any],
    message: str,
    config: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "bad.yaml").write_text("nature: {n: 0}\n")
    before = content(tmp_path)
    line = refused(capsys, "protocol", *(argv if "--out" in argv else [*argv, "--out", "p.txt"]))
    assert line.startswith("lcm protocol: error: ") and message in line
    assert content(tmp_path) == before


def test_an_interruption_leaves_neither_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted(*_: Any, **__: Any) -> str:
        raise KeyboardInterrupt

    (tmp_path / "c.yaml").write_text(GENERATE_YAML)
    monkeypatch.setattr("lcm.data.chamber.protocol_files.json.dumps", interrupted)
    argv = ["protocol", str(tmp_path / "c.yaml"), "--pairs", "5", "--out", str(tmp_path / "p.txt")]
    assert main(argv) == 130
    assert capsys.readouterr().err == "lcm protocol: interrupted; nothing was written\n"
    assert content(tmp_path).keys() == {"c.yaml"}


def test_a_model_without_mechanisms_has_no_pairs_to_measure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def without(_: object) -> None:
        raise NotImplementedError("A model of kind dvae has no mechanisms to sample from.")

    save_model(small_nature("linear"), tmp_path / "m.safetensors")
    monkeypatch.setattr("lcm.model.latent_causal_model.LatentCausalModel.causal_model", without)
    line = refused(capsys, "protocol", tmp_path / "m.safetensors", "--pairs", 3, "--out", tmp_path / "p.txt")
    assert "A model of kind dvae has no mechanisms" in line and not (tmp_path / "p.txt").exists()
