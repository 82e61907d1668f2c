"""`lcm import` writes data sets, says what it wrote and what to run next, and refuses in one line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from command_line import called, refused
from imported_images import write_3dident, write_circuit, write_folder

from lcm.app.cli import main
from lcm.data.image_files import PairWriter
from lcm.data.pairs import load_pairs


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
