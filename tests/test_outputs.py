"""No command writes onto what it reads, onto a part of a run, or through a link; data must stay while they are used."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from command_line import refused
from small import content

from lcm.app.commands.common import check_output
from lcm.data.image_files import shard_files

INTO_A_RUN: dict[str, Callable[[Path, Path], list[object]]] = {
    "encode": lambda run, data: ["encode", run, data, "--out", run / "model.safetensors"],
    "sample": lambda run, data: ["sample", run, "--n", "5", "--out", run / "model.safetensors"],
    "protocol": lambda run, data: ["protocol", run, "--pairs", "5", "--out", run / "graph.txt"],
    "evaluate": lambda run, data: ["evaluate", run, data, "--json", run / "run.json"],
    "graph": lambda run, data: ["graph", run, "--json", run / "graph.json"],
    "compare": lambda run, data: ["compare", run, run, data, "--json", run / "fit.json"],
    "check": lambda run, data: ["check", data, "--json", run / "fit.json"],
    "checkpoint": lambda run, data: ["encode", run, data, "--out", run / "checkpoint" / "0-a.safetensors"],
}


@pytest.mark.parametrize("command", INTO_A_RUN)
def test_no_command_writes_onto_a_part_of_a_run(
    command: str, run_folder: Path, data_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = content(run_folder)
    line = refused(capsys, *INTO_A_RUN[command](run_folder, data_file))
    assert (
        "Expected another file to write to; got one that a run is read from" in line
        or "got the one that is read" in line
    )
    assert content(run_folder) == before


def test_a_run_that_holds_the_config_is_not_replaced(
    run_folder: Path, data_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    argv = ["fit", data_file, "--out", run_folder, "--config", run_folder / "config.yaml", "--overwrite"]
    assert "--config: Expected a file outside of" in refused(capsys, *argv)


def test_an_input_by_any_name_is_no_output(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    data, hard, link = tmp_path / "data.csv", tmp_path / "hard.csv", tmp_path / "link.csv"
    data.write_text("")
    os.link(data, hard)
    link.symlink_to(data)
    for name in ("data.csv", "./data.csv", str(hard)):
        with pytest.raises(ValueError, match="got the one that is read"):
            check_output(name, ".csv", str(data))
    with pytest.raises(ValueError, match=r"link\.csv: Expected a file to write to; got a link to .*data\.csv"):
        check_output("link.csv", ".csv")
    part = shard_files(tmp_path / "images.safetensors", 2)
    for each in part:
        each.write_text("")
    with pytest.raises(ValueError, match="got the one that is read"):
        check_output(str(part[1]), ".safetensors", "images.safetensors")


def test_what_a_killed_command_left_of_its_output_is_cleared(tmp_path: Path) -> None:
    for name in (".a[1].0123456789ab.csv", ".b.0123456789ab.csv"):
        (tmp_path / name).write_text("half")
    check_output(str(tmp_path / "a[1].csv"), ".csv")
    assert [path.name for path in tmp_path.iterdir()] == [".b.0123456789ab.csv"]
