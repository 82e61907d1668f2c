"""Names of variables: what is a name, where it is kept, and where it is shown."""

from __future__ import annotations

import csv
import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import networkx as nx
import numpy as np
import pytest
from command_line import called, refused
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

import lcm
from lcm.base.files import read_json, read_tensors
from lcm.model.do import Do
from lcm.model.names import checked_names, default_names, named_columns, put_names, renamed
from lcm.model.noise import NormalNoise
from lcm.report import draw_refits, draw_variables

GOOD = ["light", "angle of the polariser", "ε", "血圧", "2nd (mm/s)", "temp. °C", "z1b", "x²", "50 %"]
BAD: dict[str, tuple[Any, str]] = {
    "no list": ("ab", "names: Expected a list of 2 names, one for each variable; got 'ab'"),
    "three": (["a", "b", "c"], "Expected a list of 2 names"),
    "number": (["a", 3], "variable 1: Expected a name of 1 to 40 characters; got 3"),
    "empty": (["a", ""], "variable 1: Expected a name of 1 to 40 characters; got ''"),
    "long": (["a", "b" * 41], "variable 1: Expected a name of 1 to 40 characters"),
    "control": (["a\x1b[2J", "b"], r"variable 0: Expected printable characters.*got 'a\\x1b\[2J'"),
    "line": (["a\nb", "b"], "variable 0: Expected printable characters"),
    "turned": (["a\u202eb", "b"], "variable 0: Expected printable characters"),
    "space": (["a ", "b"], "variable 0: Expected printable characters, without spaces at the ends"),
    "formula": (["=1+1", "b"], r"variable 0: Expected a letter or digit first, and none of .*got '=1\+1' with \+"),
    "tag": (["a<b>", "b"], "got 'a<b>' with <"),
    "first": (["-a", "b"], "Expected a letter or digit first, and none of .*; got '-a'"),
    "twice": (["Red", "red"], "Expected names that differ; got 'red' twice"),
    "another's": (["z1", "b"], "variable 0: Expected a name of its own; got 'z1', that of variable 1"),
    "number as text": (["1", "b"], "variable 0: Expected a name of its own; got '1', a number"),
    "no variable": (["None", "b"], "variable 0: Expected a name of its own; got 'None', which means no variable"),
    "column": (["a", "a_tilde"], "variable 1: Expected no name that begins with .* got 'a_tilde'"),
    "column of noise": (["a", "noise_a"], "variable 1: Expected no name that begins with noise"),
}


@pytest.mark.parametrize(("names", "message"), BAD.values(), ids=BAD)
def test_what_is_no_name_is_refused(names: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        checked_names(names, 2)
    assert str(caught.value).isprintable()


def test_names_of_many_scripts_and_the_default_are_taken() -> None:
    assert checked_names(GOOD, len(GOOD)) == tuple(GOOD)
    assert checked_names(default_names(12), 12) == default_names(12)
    assert checked_names(["e\u0301"], 1) == ("é",)


@given(st.lists(st.text(max_size=8), min_size=2, max_size=2))
def test_columns_of_an_encoding_differ_whatever_the_names(names: list[str]) -> None:
    try:
        found = checked_names(names, 2)
    except ValueError:
        return
    columns = [column for key in ("z", "z_tilde", "noise", "noise_tilde") for column in named_columns(key, found)]
    assert len(set(columns)) == 8


def test_names_stand_for_the_variables_of_a_sentence() -> None:
    assert put_names("z1 -> z0, z10 and xz1, z1_tilde", ["a", "b"]) == "b -> a, z10 and xz1, z1_tilde"


def test_a_name_can_be_taken_back_and_a_wrong_number_is_refused() -> None:
    assert renamed(("a", "z1"), {0: "", 1: "b"}) == ("z0", "b")
    for wrong in (2, -1, True, "0"):
        with pytest.raises(ValueError, match=r"names: Expected variables in 0\.\.1; got"):
            renamed(("a", "b"), {wrong: "c"})  # type: ignore[dict-item]


@pytest.fixture(scope="module")
def named(finished: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with one named variable."""
    folder = Path(shutil.copytree(finished["linear"], tmp_path_factory.mktemp("named") / "run"))
    lcm.name_variables(folder, {0: "light"})
    return folder


def test_names_are_kept_in_the_run_and_shown_in_all_that_is_made_of_it(named: Path, finished: dict[str, Path]) -> None:
    result, before = lcm.load(named), lcm.load(finished["linear"])
    assert (result.names, before.names) == (("light", "z1"), ("z0", "z1"))
    assert read_json(named / "names.json") == {"names": ["light", "z1"]}
    unchanged = read_json(finished["linear"] / "graph.json")
    assert unchanged["names"] == ["z0", "z1"]
    assert read_json(named / "graph.json") == unchanged | {"names": ["light", "z1"]}
    assert (named / "report.md").read_text() == result.report() == result.report().replace("z0", "light")
    assert "light" in str(result) and "z0" not in str(result)
    with pytest.warns(UserWarning, match="light = 1e"):
        result.counterfactual([[0.0, 0.0]], lcm.Do({0: 1e9}))


def test_the_figure_of_the_graph_is_drawn_again(named: Path, finished: dict[str, Path]) -> None:
    new, old = (Image.open(folder / "figures" / "graph.png").tobytes() for folder in (named, finished["linear"]))
    assert new != old


def test_frames_have_the_names_as_columns(named: Path, data_file: Path) -> None:
    import pandas as pd

    result = lcm.load(named)
    frame = pd.DataFrame(lcm.load_pairs(data_file).x, columns=["a", "b"])
    assert list(result.encode(frame).columns) == ["light", "z1"]
    assert list(result.encode(lcm.load_pairs(frame, frame)).columns) == ["light", "z1"]


def test_an_encoding_has_the_names(
    named: Path, data_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    called(capsys, "encode", named, data_file, "--out", tmp_path / "z.csv")
    with (tmp_path / "z.csv").open() as file:
        header = next(csv.reader(file))
    first = ["light", "z1", "light_tilde", "z1_tilde", "noise_light", "noise1", "noise_light_tilde", "noise1_tilde"]
    assert header == [*first, "probability_none", "probability_light", "probability_z1"]
    called(capsys, "encode", named, data_file, "--out", tmp_path / "z.safetensors")
    tensors, metadata = read_tensors(tmp_path / "z.safetensors")
    assert json.loads(metadata["names"]) == ["light", "z1"] and "z" in tensors


def test_commands_name_and_show(named: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = Path(shutil.copytree(named, tmp_path / "run"))
    assert called(capsys, "name", run) == "0  light\n1  z1\n"
    assert called(capsys, "name", run, "1=shadow of it", "0=").startswith("0  z0\n1  shadow of it\n")
    said = called(capsys, "graph", run, "--fdr", "0.99", "--figure", tmp_path / "graph.png")
    assert "shadow of it" in said and "z1" not in said
    for argument, message in {
        "shadow": "I=NAME: Expected the 0-based number of a variable and its name; got 'shadow'",
        "7=a": "names: Expected variables in 0..1; got 7",
        "0=a$": "names: variable 0: Expected a letter or digit first, and none of",
    }.items():
        assert message in refused(capsys, "name", run, argument)
    assert "I=NAME: Expected each variable once; got 0 again" in refused(capsys, "name", run, "0=a", "0=b")


def test_other_figures_take_the_names(
    named: Path,
    data_file: Path,
    cheap_scores: None,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    given: dict[str, Any] = {}
    monkeypatch.setattr("lcm.report.draw_variables", lambda *args: given.update(learned=args[3]))
    called(capsys, "evaluate", named, data_file)
    assert sorted(given["learned"]) == ["light", "z1"]
    found = SimpleNamespace(numbers=dict, text=lambda *names: str(names))
    monkeypatch.setattr("lcm.isomorphism.find_isomorphism", lambda *_: found)
    monkeypatch.setattr("lcm.report.draw_comparison", lambda *_, variables: given.update(both=variables))
    figure = named.parent / "compared.png"
    said = called(capsys, "compare", named, named / "model.safetensors", data_file, "--figure", figure)
    assert given["both"] == (("light", "z1"), ("z0", "z1")) and str(given["both"]) in said


def test_a_comparison_says_the_names_of_both(
    named: Path, finished: dict[str, Path], data_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    page = tmp_path / "compared.html"
    files = "--html", page, "--figure", tmp_path / "compared.png"
    said = called(capsys, "compare", named, finished["linear"], data_file, *files)
    assert "\nlight -> z0  1.0000" in said and "\nz1 -> z1     1.0000" in said
    html = page.read_text(encoding="utf-8")
    assert "<td>light</td>" in html and "light -&gt; z0" in html


def test_a_plan_says_the_names(named: Path) -> None:
    result = lcm.load(named)
    plan = lcm.plan_pairs(result, width=0.01)
    assert plan.labels == ("light", "z1") and "light" in str(plan) and "z0" not in str(plan)
    assert all("light" in curve.label for curve in plan.curves) and plan.curves
    names = [result.names[i] for i in result.order]
    by_name = lcm.plan_pairs(result, f"effect {names[0]}:{names[1]}")
    by_number = lcm.plan_pairs(result, "effect {}:{}".format(*result.order))
    assert by_name.needed == by_number.needed
    assert by_name.curves[0].label == f"total effect of {names[0]} on {names[1]}"
    with pytest.raises(ValueError, match=f"got {names[1]} and {names[0]}, between which"):
        lcm.plan_pairs(result, f"effect {names[1]}:{names[0]}")


def test_a_variable_is_set_by_its_name(named: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    files = [tmp_path / f"{k}.safetensors" for k in range(2)]
    for variable, file in zip(("light", 0), files, strict=True):
        called(capsys, "sample", named, "--n", 20, "--do", f"{variable}=0.5", "z1=1", "--out", file)
    by_name, by_number = map(lcm.load_pairs, files)
    np.testing.assert_array_equal(by_name.x_tilde, by_number.x_tilde)
    asked = "--do", "shadow=1", "--out", files[0]
    assert "NAME one of light, z1; got 'shadow=1'" in refused(capsys, "sample", named, "--n", 20, *asked)


def test_the_page_takes_the_names_when_it_is_written(
    named: Path, data_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = Path(shutil.copytree(named, tmp_path / "run"))
    before = (run / "report.html").read_bytes()
    said = called(capsys, "name", run, "1=shadow")
    assert f"lcm report {run} DATA writes the page with the new names" in said
    # the pairs of the data are not lost
    assert (run / "report.html").read_bytes() == before
    called(capsys, "report", run, data_file)
    html = (run / "report.html").read_text(encoding="utf-8")
    assert set(re.findall(r"learned (\w+)</h", html)) == {"light", "shadow"}
    (run / "report.html").unlink()
    assert "writes the page" not in called(capsys, "name", run, "1=")


@pytest.mark.usefixtures("laid_out")
def test_named_variables_are_drawn_with_their_names(tmp_path: Path) -> None:
    z = np.random.default_rng(0).standard_normal((50, 2))
    bands = np.sort(z[:20].T), np.full((2, 20), 0.1)
    figures: dict[str, Callable[[Path, Any], None]] = {
        "variables": lambda path, names: draw_variables(path, z, z, names),
        "refits": lambda path, names: draw_refits(path, *bands, names),
    }
    for name, draw in figures.items():
        drawn = [tmp_path / f"{name}{k}.png" for k in range(3)]
        for path, names in zip(drawn, (["light", "z1"], None, ["z0", "z1"]), strict=True):
            draw(path, names)
        named, unnamed, default = (Image.open(path).tobytes() for path in drawn)
        assert named != unnamed
        # a default name stands as the formula that it has always been
        assert name == "variables" or unnamed == default


def test_a_broken_file_of_names_is_one_line(named: Path, tmp_path: Path) -> None:
    run = Path(shutil.copytree(named, tmp_path / "run"))
    for content, message in {
        '{"names": ["a"]}': "names.json: names: Expected a list of 2 names",
        '{"name": []}': "names.json: Expected the key names; got none",
        "[]": "names.json: Expected a JSON object; got list",
        "{": "names.json: Expected",
    }.items():
        (run / "names.json").write_text(content)
        with pytest.raises(ValueError, match=message):
            lcm.load(run)


def test_a_new_fit_in_the_folder_has_no_names(named: Path, tmp_path: Path, data_file: Path) -> None:
    run = Path(shutil.copytree(named, tmp_path / "run"))
    lcm.fit(data_file, model="linear", out=run, overwrite=True, quiet=True)
    assert lcm.load(run).names == ("z0", "z1") and not (run / "names.json").exists()


def test_a_named_result_is_saved_with_its_names(data_file: Path, tmp_path: Path) -> None:
    result = lcm.fit(data_file, model="linear", quiet=True).named({1: "shadow"})
    lcm.save(result, tmp_path / "run")
    assert lcm.load(tmp_path / "run").names == ("z0", "shadow")
    lcm.save(lcm.load(tmp_path / "run").named({0: "light"}), tmp_path / "copy")
    assert lcm.load(tmp_path / "copy").names == ("light", "shadow")
    assert "light" in (tmp_path / "copy" / "report.md").read_text(encoding="utf-8")


def test_exported_graphs_have_labels(tmp_path: Path) -> None:
    graph = lcm.Graph.from_edges(2, [(1, 0)])
    parsed = nx.parse_graphml(graph.to_graphml(tmp_path / "g.graphml", ["light", "z1"]), node_type=int)
    assert dict(parsed.nodes(data="label")) == {0: "light", 1: "z1"}
    assert graph.to_dot(["light", "z1"]) == 'digraph {\n  0 [label="light"];\n  1 [label="z1"];\n  1 -> 0;\n}\n'


def test_values_are_set_by_number_or_name(named: Path) -> None:
    result = lcm.load(named)
    x = np.zeros((3, 2), np.float32)
    expected = result.counterfactual(x, Do({0: 1.5, 1: -0.5}))
    for asked in ({0: 1.5, 1: -0.5}, {"light": 1.5, "z1": -0.5}, {"light": 1.5, 1: -0.5}, {"0": 1.5, "z1": -0.5}):
        assert np.array_equal(result.counterfactual(x, asked), expected)
    drawn, again = (result.sample(50, seed=3, do=each) for each in ({"light": 1.5}, Do({0: 1.5})))
    assert np.array_equal(drawn.x_tilde, again.x_tilde) and drawn.columns == result.columns
    assert drawn.targets is not None and drawn.targets.tolist() == [[True, False]] * 50
    assert np.allclose(result.encode(drawn.x_tilde)[:, 0], 1.5, atol=1e-3)


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"dark": 1.0}, "Expected a variable of light, z1; got 'dark'"),
        ({"light": 1.0, 0: 2.0}, "Expected one value for each variable; got two for variable 0"),
        ([1.0], r"Expected lcm\.Do\({0: 1\.0}\), or values by number or name such as {0: 1\.0}; got \[1\.0\]"),
        ({9: 1.0}, r"9"),
    ],
)
def test_what_is_no_intervention_is_refused(asked: Any, message: str, named: Path) -> None:
    result = lcm.load(named)
    for ask in (lambda: result.counterfactual(np.zeros((1, 2)), asked), lambda: result.sample(5, do=asked)):
        with pytest.raises(ValueError, match=message):
            ask()


def test_drawn_pairs_have_the_value_that_is_set_and_no_law(named: Path) -> None:
    with pytest.raises(ValueError, match="do: Expected numbers, the same for all pairs; got a law"):
        lcm.load(named).sample(5, do=Do({0: NormalNoise(1)}))
