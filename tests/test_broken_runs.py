"""Every command that reads a run refuses a broken one in one line that names the file, and leaves nothing behind."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from command_line import refused
from safetensors.numpy import save_file
from small import content

from lcm.app import cli
from lcm.app.commands import COMMANDS
from lcm.base.files import read_json, read_tensors, write_json

READERS: dict[str, Callable[[Path, Path, Path], list[object]]] = {
    "certify": lambda run, data, _: ["certify", run, data],
    "compare": lambda run, data, sound: ["compare", run, sound, data, "--json", run.parent / "out.json"],
    "compare, second": lambda run, data, sound: ["compare", sound, run, data, "--json", run.parent / "out.json"],
    "encode": lambda run, data, _: ["encode", run, data, "--out", run.parent / "out.npz"],
    "evaluate": lambda run, data, _: ["evaluate", run, data],
    "evaluate, nature": lambda run, data, sound: ["evaluate", sound / "model.safetensors", data, "--nature", run],
    "explore": lambda run, data, _: ["explore", run, "--data", data, "--no-browser"],
    "graph": lambda run, _, __: ["graph", run],
    "graph, method": lambda run, data, _: ["graph", run, "--method", "tests", "--data", data],
    "name": lambda run, _, __: ["name", run, "0=light"],
    "plan": lambda run, _, __: ["plan", run, "--out", run.parent / "plan"],
    "protocol": lambda run, _, __: ["protocol", run, "--pairs", "5", "--out", run.parent / "out.txt"],
    "refit": lambda run, data, _: ["refit", run, data, "--halves", "4"],
    "report": lambda run, data, _: ["report", run, data],
    "sample": lambda run, _, __: ["sample", run, "--n", "5", "--out", run.parent / "out.npz"],
    "sample, from": lambda run, data, _: [
        "sample",
        run,
        "--from",
        data,
        "--do",
        "0=1",
        "--out",
        run.parent / "out.npz",
    ],
}
OF_A_MODEL_ALONE = {"evaluate, nature"}
"""Commands that take a run for the model in it, and so need no more of it."""
NO_FOLDER = {
    "evaluate, nature": "run: Expected a saved model; got no such file",
    "explore": "run: Expected a run folder or a model file; got no such file or folder",
}
"""What commands that take something else than a run as well say of a missing one."""


def of_schema(version: object) -> Callable[[Path], None]:
    return lambda run: write_json(run / "run.json", {**read_json(run / "run.json"), "schema": version})


def unfinished(run: Path) -> None:
    write_json(run / "run.json", {**read_json(run / "run.json"), "state": "unfinished"})


def model_of_another_schema(run: Path) -> None:
    arrays, header = read_tensors(run / "model.safetensors")
    save_file(arrays, run / "model.safetensors", {**header, "schema": "99"})


BROKEN: dict[str, tuple[Callable[[Path], None], str]] = {
    "no folder": (shutil.rmtree, "run: Expected a run folder; got no such folder"),
    "earlier schema": (of_schema(1), "run.json: schema: Expected version 2; got 1 (an earlier lcm made it: fit again)"),
    "later schema": (of_schema(99), "run.json: schema: Expected version 2; got 99 (a later lcm made it: update lcm)"),
    "no run.json": (lambda run: (run / "run.json").unlink(), "run.json: Expected a file; got no such file"),
    "unfinished": (unfinished, "run.json: state: Expected a finished run; got 'unfinished'"),
    "no model": (
        lambda run: (run / "model.safetensors").unlink(),
        "model.safetensors: Expected a saved model; got no such file",
    ),
    "model of a later schema": (model_of_another_schema, "Expected a model of schema version 1; got 99"),
    "no fit.json": (lambda run: (run / "fit.json").unlink(), "fit.json: Expected a file; got no such file"),
    "no config": (lambda run: (run / "config.yaml").unlink(), "config.yaml: Expected a file; got no such file"),
}
OF_THE_MODEL = {"no folder", "no model", "model of a later schema"}


CASES = [
    (reader, case) for reader in READERS for case in BROKEN if reader not in OF_A_MODEL_ALONE or case in OF_THE_MODEL
]


@pytest.mark.parametrize(("reader", "case"), CASES)
def test_a_broken_run_is_one_line_and_leaves_nothing(
    reader: str,
    case: str,
    finished: dict[str, Path],
    data_file: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    run, (spoil, message) = tmp_path / "run", BROKEN[case]
    shutil.copytree(finished["linear"], run, ignore=shutil.ignore_patterns("figures", "events*"))
    spoil(run)
    before = content(tmp_path)
    line = refused(capsys, *READERS[reader](run, data_file, finished["linear"]))
    if case == "no folder":
        message = NO_FOLDER.get(reader, message)
    assert line.startswith(f"lcm {reader.partition(',')[0]}: error: {run}") and message in line
    assert content(tmp_path) == before


def test_every_command_that_takes_a_run_is_tried() -> None:
    takers = {
        name
        for name, parser in cli._parsers()[1].items()
        if any("RUN" in str(action.metavar) or "run folder" in str(action.help) for action in parser._actions)
    }
    assert takers - {"fit", "table"} == {reader.partition(",")[0] for reader in READERS}
    assert takers <= set(COMMANDS)


@pytest.mark.parametrize("version", [1, 99])
def test_a_fit_does_not_go_on_with_a_run_of_another_schema(
    version: int, finished: dict[str, Path], data_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = Path(shutil.copytree(finished["linear"], tmp_path / "run"))
    of_schema(version)(run)
    before = content(run)
    assert f"run.json: schema: Expected version 2; got {version}" in refused(capsys, "fit", data_file, "--out", run)
    assert content(run) == before
