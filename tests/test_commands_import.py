"""`lcm import` writes data sets, says what it wrote and what to run next, and refuses in one line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from chambers import write_experiment, write_image_experiment
from command_line import GENERATE_YAML, called, refused
from imported_images import write_3dident, write_circuit, write_folder

from lcm.app.cli import main
from lcm.data.chamber.actuator import TUNNEL_ACTUATORS
from lcm.data.image_files import PairWriter
from lcm.data.pair_files import load_pairs


def test_causal_circuit_is_imported(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_circuit(tmp_path / "set", train_0=3, train_1=2, val=2, test=2)
    out = tmp_path / "new" / "out"
    said = called(capsys, "import", "causalcircuit", tmp_path / "set", "--out", out, "--size", 16)
    assert said.splitlines() == [
        "Wrote pairs of images of 16 x 16 pixels:",
        f"  {out / 'train.safetensors'}  5 pairs",
        f"  {out / 'val.safetensors'}  2 pairs",
        f"  {out / 'test.safetensors'}  2 pairs",
        "Next:",
        f"  lcm fit {out / 'train.safetensors'} --out RUN",
    ]
    assert load_pairs(out / "train.safetensors").x.shape == (5, 16, 16, 3)


def test_causal3dident_is_imported(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_3dident(tmp_path / "set", 4, classes=(0, 1), split="testset")
    options = ("--out", tmp_path / "out", "--size", 32, "--object", 1, "--seed", 2)
    said = called(capsys, "import", "causal3dident", tmp_path / "set", *options)
    assert said.endswith(f"  lcm fit {tmp_path / 'out' / 'test.safetensors'} --out RUN\n")
    metadata = load_pairs(tmp_path / "out" / "test.safetensors").metadata
    assert (metadata["object"], metadata["seed"]) == ("hare", "2")


def test_a_folder_is_imported_in_silence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_folder(tmp_path / "set", 2, ["0", ""])
    options = ("--out", tmp_path / "out", "--size", 32, "--n", 3, "--quiet", "--threads", 2)
    assert called(capsys, "import", "folder", tmp_path / "set" / "pairs.csv", *options) == ""
    data = load_pairs(tmp_path / "out" / "data.safetensors")
    assert data.targets is not None and data.targets.tolist() == [[True, False, False], [False] * 3]


def test_measurements_are_imported_with_the_licence_of_the_set(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_experiment(tmp_path / "set")
    out = tmp_path / "out"
    options = ("--out", out, "--experiment", "walk", "--actuators", *TUNNEL_ACTUATORS, "--sensors", "vis_1", "vis_3")
    said = called(capsys, "import", "chamber", tmp_path / "set", *options)
    assert said.splitlines() == [
        "Wrote pairs of sensors:",
        f"  {out / 'data.safetensors'}  8 pairs",
        "Next:",
        f"  lcm fit {out / 'data.safetensors'} --out RUN",
        "The data sets of the causal chambers are under CC BY 4.0: name Gamella, Peters and Bühlmann (2025).",
    ]
    assert load_pairs(out / "data.safetensors").columns == ("vis_1", "vis_3")


@pytest.mark.parametrize("options", [["--images"], ["--images", "image_file"], ["--sensors", "image_file"]])
def test_images_of_a_chamber_are_imported(
    options: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_image_experiment(tmp_path / "set")
    more = ("--size", 16, "--image-folder", "images_32", "--allow-outside")
    said = called(capsys, "import", "chamber", tmp_path / "set", "--out", tmp_path / "out", *options, *more)
    assert said.startswith("Wrote pairs of images of 16 x 16 pixels:") and "CC BY 4.0" in said
    assert load_pairs(tmp_path / "out" / "data.safetensors").x.shape == (5, 16, 16, 3)


def test_a_grid_is_imported_for_a_nature(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    np.savez(tmp_path / "grid.npz", images=np.random.default_rng(0).integers(0, 255, (24, 16, 16, 3), np.uint8))
    (tmp_path / "c.yaml").write_text(GENERATE_YAML)
    options = ("--factors", "2,3,4", "--drives", "2,0", "--fixed", "1=2", "--seed", 4, "--size", 16)
    argv = ["grid", tmp_path / "grid.npz", "--nature", tmp_path / "c.yaml", "--out", tmp_path / "out", *options]
    said = called(capsys, "import", *argv)
    assert f"  {tmp_path / 'out' / 'test.safetensors'}  60 pairs" in said and "MPI3D is under CC BY 4.0" in said
    metadata = load_pairs(tmp_path / "out" / "train.safetensors").metadata
    assert [metadata[key] for key in ("drives", "fixed", "seed")] == ["[2, 0]", "[0, 2, 0]", "4"]


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["causalcircuit", "set", "--out", "out"], "Download it from https://developer.qualcomm.com/"),
        (
            ["causal3dident", "set", "--out", "out"],
            "Download it from https://zenodo.org/record/4784282 (licence: CC BY",
        ),
        (["folder", "set", "--out", "out"], "set: Expected a file; got no such file"),
        (["folder", "set", "--out", "out", "--size", "20"], "size: Expected a multiple of 16 from 16 to 512; got 20."),
        (
            ["folder", "set", "--out", "."],
            ".: Expected a new or empty folder to write to; got a folder that holds files.",
        ),
        (["folder", "set", "--out", "file"], "file: Expected a folder to write to; got a file."),
        (["folder", "set", "--out", "file/out"], "file: Expected a folder to write to; got a file"),
        (
            ["folder", "set", "--out", "out", "--seed", "1"],
            "--seed: Expected no such option for folder; got one, which",
        ),
        (
            ["folder", "set", "--out", "out", "--object", "1"],
            "--object: Expected no such option for folder; got one, wh",
        ),
        (
            ["causalcircuit", "set", "--out", "out", "--n", "4"],
            "--n: Expected no such option for causalcircuit; got one",
        ),
        (
            ["folder", "set", "--out", "out", "--overlapping"],
            "--overlapping: Expected no such option for folder; got one",
        ),
        (["grid", "set", "--out", "out", "--allow-outside"], "one, which is for folder and chamber"),
        (["grid", "set", "--out", "out"], "--nature: Expected the config of a causal model for grid; got none"),
        (
            ["grid", "set", "--out", "out", "--nature", "file", "--factors", "6x6"],
            "--factors: Expected whole numbers with commas between them; got '6x6'",
        ),
        (
            ["grid", "set", "--out", "out", "--nature", "file", "--drives", "1,"],
            "--drives: Expected whole numbers with co",
        ),
        (
            ["grid", "set", "--out", "out", "--nature", "file", "--fixed", "1"],
            "--fixed: Expected FACTOR=LEVEL, both 0-based; got '1'",
        ),
        (
            ["grid", "set", "--out", "out", "--nature", "file", "--fixed", "1=1", "1=2"],
            "--fixed: Expected each factor once; got 1 again",
        ),
        (["grid", "set", "--out", "out", "--nature", "none.yaml"], "none.yaml: Expected a file; got no such file"),
        (["chamber", "set", "--out", "out", "--size", "32"], "--size: Expected none without images; got 32"),
        (
            ["chamber", "set", "--out", "out"],
            "set: Expected NAME.csv or NAME/NAME.csv of a causal chamber; got no such",
        ),
        (
            ["chamber", "set", "--out", "out", "--images", "--sensors", "vis_1"],
            "sensors: Expected none beside images; got vis_1",
        ),
        (["pictures", "set", "--out", "out"], "argument KIND: invalid choice: 'pictures'"),
    ],
)
def test_bad_input_is_one_line(
    argv: list[Any], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("file").write_text("")
    line = refused(capsys, "import", *argv)
    assert line.startswith("lcm import: error: ") and message in line
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_an_interruption_says_what_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted(*arguments: Any) -> None:
        raise KeyboardInterrupt

    write_folder(tmp_path / "set", 2)
    argv = ["import", "folder", str(tmp_path / "set"), "--out", str(tmp_path / "out"), "--size", "32"]
    with monkeypatch.context() as patched:
        patched.setattr(PairWriter, "write", interrupted)
        assert main(argv) == 130
    captured = capsys.readouterr()
    expected = (
        f"interrupted; the images written so far are kept, and the same command continues with {tmp_path / 'out'}"
    )
    assert captured.err.strip() == f"lcm import: {expected}" and not (tmp_path / "out").exists()
    called(capsys, *argv)
    assert len(load_pairs(tmp_path / "out" / "data.safetensors")) == 2
