"""The card of a run says what its certificate and its settings say, and what it tells a reader to type works."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pytest
import yaml

import lcm
from lcm.base.files import read_json
from lcm.run.card import hub_config, model_card

CHOSEN = ["linear", "nonlinear"]


@pytest.mark.parametrize("name", CHOSEN)
def test_the_card_holds_the_graph_and_the_certificate(name: str, finished: dict[str, Path]) -> None:
    result, card = lcm.load(finished[name]), (finished[name] / "README.md").read_text()
    _, head, body = card.split("---\n", 2)
    assert yaml.safe_load(head)["library_name"] == "latent-causal-models"
    assert result.certificate.markdown() in body and result.certificate.summary() in body
    edges = re.findall(r"^- z(\d+) -> z(\d+) ", body.partition("## Certificate")[0], flags=re.MULTILINE)
    assert {(int(i), int(j)) for i, j in edges} == set(result.graph.edges())
    assert model_card(result) == card


@pytest.mark.parametrize("name", CHOSEN)
def test_the_settings_are_those_of_the_run(name: str, finished: dict[str, Path]) -> None:
    content = read_json(finished[name] / "config.json")
    assert content["settings"] == yaml.safe_load((finished[name] / "config.yaml").read_text())
    assert (content["n"], content["model_type"]) == (lcm.load(finished[name]).model.n, content["settings"]["model"])
    assert content == json.loads(json.dumps(hub_config(lcm.load(finished[name]))))


def test_the_lines_of_python_run_on_what_is_uploaded(
    finished: dict[str, Path], data_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = (Path(__file__).parent.parent / "docs" / "hub.md").read_text()
    left_out = re.findall(r'--exclude "([^"/]*)(?:/\*)?"', command)
    copy = shutil.copytree(finished["linear"], tmp_path / "copy", ignore=shutil.ignore_patterns(*left_out, "figures"))
    (code,) = re.findall(r"```python\n(.*?)```", (copy / "README.md").read_text(), flags=re.DOTALL)
    names: dict[str, object] = {"pairs": lcm.load_pairs(data_file)}
    exec(code.replace("FOLDER", str(copy)), names)
    assert capsys.readouterr().out == f"{lcm.load(copy).certificate}\n" and names["z"] is not None
