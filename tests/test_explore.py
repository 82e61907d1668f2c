"""The explorer without a browser: its answers, its files, its errors, and whom its server answers."""

from __future__ import annotations

import ast
import csv
import io
import json
import re
import shutil
import socket
import webbrowser
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
import torch
from command_line import refused
from small import small_data, small_nature

import lcm
from lcm.app.explore import replies, server
from lcm.app.explore.asking import answer_to, checked_question, interval_text, question_text, warnings_of
from lcm.app.explore.beside import Beside
from lcm.app.explore.drawing import columns_address, columns_text, cut_names, graph_address, graph_text, place_address
from lcm.app.explore.export import exported, exported_pairs, script_of
from lcm.app.explore.subject import Given, Subject, observation, open_subject, subject_beside, subject_of
from lcm.data.pairs import PairData, load_pairs
from lcm.data.table import write_table
from lcm.isomorphism.apply import Isomorphism
from lcm.isomorphism.monotone import fit_monotone
from lcm.model.image import ImageAutoencoder, ImageModel
from lcm.report import draw_answer, effects
from lcm.report.answer import Answer, answer_table
from lcm.report.style import new_figure
from lcm.run.refits import Refits

MODES = ("counterfactual", "intervention")


@pytest.fixture(scope="module")
def run_folder(data_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that is fitted in a second."""
    folder = tmp_path_factory.mktemp("explored") / "run"
    lcm.fit(data_file, model="linear", out=folder, quiet=True)
    return folder


@pytest.fixture(scope="module")
def subject(run_folder: Path, data_file: Path) -> Subject:
    """A run, with the data of its fit."""
    return open_subject(run_folder, [data_file])


@pytest.fixture(scope="module")
def nature_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("nature") / "nature.safetensors"
    small_nature("nonlinear").save(path)
    return path


@pytest.fixture(scope="module")
def image_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model of images that nobody has trained."""
    autoencoder = ImageAutoencoder((16, 16, 3), code=2, channels=(4, 4), hidden=8)
    autoencoder.draw_weights(torch.Generator().manual_seed(0))
    path = tmp_path_factory.mktemp("images") / "model.safetensors"
    ImageModel(autoencoder, small_nature("linear")).save(path)
    return path


def with_refits(subject: Subject) -> Subject:
    """The subject with four refits that are the fit itself, but one of them with z_0 shifted."""
    assert subject.result is not None
    n = subject.model.n
    positions = np.linspace([-9.0] * n, [9.0] * n, 50)
    images = np.stack([positions] * 4)
    images[0, :, 0] += 0.5
    refits = Refits((subject.model,) * 4, np.tile(np.arange(n), (4, 1)), np.zeros((4, n, n)), positions, images)
    return replace(subject, result=replace(subject.result, refits=refits))


def ask(subject: Subject, mode: str, values: dict[str, float], row: int = 3) -> Answer:
    return answer_to(subject, checked_question(subject, row, mode, values))


def test_a_counterfactual_is_that_of_the_model(subject: Subject) -> None:
    answer = ask(subject, "counterfactual", {"0": 1.5})
    x = subject.data.x[3:4]
    np.testing.assert_array_equal(answer.x, x[0])
    np.testing.assert_allclose(answer.x_after, subject.model.counterfactual(x, lcm.Do({0: 1.5}))[0], rtol=1e-5)
    assert answer.z_after[0] == 1.5 and 0 in answer.changed and answer.done == (0,)


def test_nothing_set_changes_nothing(subject: Subject) -> None:
    answer = ask(subject, "counterfactual", {})
    np.testing.assert_allclose(answer.x_after, answer.x, atol=1e-4)
    assert answer.changed == () and "nothing set" in answer.title


def test_an_intervention_acts_on_draws_from_the_model(subject: Subject) -> None:
    answer = ask(subject, "intervention", {"1": -1.0})
    assert answer.z_after[1] == pytest.approx(-1.0)
    assert answer.low is not None and (answer.low <= answer.x_after).all()
    again = ask(subject, "intervention", {"1": -1.0}, row=7)
    np.testing.assert_array_equal(again.x_after, answer.x_after)


def test_an_interval_comes_from_refits(subject: Subject) -> None:
    with_errors = with_refits(subject)
    answer = ask(with_errors, "counterfactual", {"0": 1.0})
    x = subject.data.x[3:4]
    assert with_errors.result is not None
    expected = with_errors.result.counterfactual(x, lcm.Do({0: 1.0}), interval=0.9)
    np.testing.assert_allclose(answer.low, expected.low[0], rtol=1e-4, atol=1e-5)
    assert answer.high is not None and (answer.high > answer.x_after).any()


def test_what_the_whiskers_are_is_said(subject: Subject, nature_file: Path, image_file: Path) -> None:
    question = checked_question(subject, 0, "counterfactual", {})
    assert "This command makes them: lcm refit" in interval_text(subject, question)
    two = replace(subject, path=Path("run"), given=Given(("before.csv", "after 2.csv"), mark="late_"))
    assert interval_text(two, question).endswith(": lcm refit run before.csv 'after 2.csv' --after-mark late_")
    assert interval_text(replace(two, given=Given()), question).endswith(": lcm refit run DATA")
    assert "90% interval" in interval_text(with_refits(subject), question)
    assert "nine in ten draws" in interval_text(subject, replace(question, mode="intervention"))
    assert "a model file has no refits" in interval_text(open_subject(nature_file), question)
    assert "have no interval" in interval_text(replace(open_subject(image_file), result=subject.result), question)


def test_what_lies_beyond_the_data_is_said(subject: Subject, nature_file: Path) -> None:
    far = checked_question(subject, 0, "counterfactual", {"0": 1e3})
    assert any("z0 = 1e+03 lies outside the data" in text for text in warnings_of(subject, far))
    assert warnings_of(subject, replace(far, values={})) == []
    nature = open_subject(nature_file)
    assert warnings_of(nature, far) == ["z0 = 1e+03 lies outside all 500 observations."]


BAD_QUESTIONS: dict[str, tuple[tuple[Any, Any, Any], str]] = {
    "row": ((300, "counterfactual", {}), r"observation: Expected a row in 0\.\.299; got 300"),
    "no row": ((None, "counterfactual", {}), "observation: Expected a row .*; got no number"),
    "part of a row": ((1.5, "counterfactual", {}), "observation: Expected a row .*; got 1.5"),
    "mode": ((0, "both", {}), "mode: Expected counterfactual or intervention; got 'both'"),
    "no mapping": ((0, "intervention", [1]), r"values: Expected a mapping from variables to numbers; got \[1\]"),
    "variable": ((0, "intervention", {"2": 1.0}), "values: Expected finite numbers for variables; got '2': 1.0"),
    "text": ((0, "intervention", {"1": "1"}), "values: Expected finite numbers for variables; got '1': '1'"),
    "infinite": ((0, "intervention", {"1": float("inf")}), "values: Expected finite numbers"),
}


@pytest.mark.parametrize(("sent", "message"), BAD_QUESTIONS.values(), ids=BAD_QUESTIONS)
def test_what_a_browser_sends_is_checked(subject: Subject, sent: tuple[Any, Any, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        checked_question(subject, *sent)


def test_the_rows_that_are_kept_are_said(run_folder: Path, data_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lcm.app.explore.subject._MOST_ROWS", 200)
    cut = open_subject(run_folder, [data_file])
    with pytest.raises(ValueError, match=r"Expected a row in 0\.\.199 \(the first 200 rows are kept\); got 250"):
        checked_question(cut, 250, "intervention", {})


def test_the_columns_most_related_to_a_variable_are_known(subject: Subject, image_file: Path) -> None:
    x = subject.z[:, ::-1] ** 3
    data = replace(subject.data, x=x, columns=("of z1", "of z0"))
    (first, _), (second, _) = replace(subject, data=data).related
    assert first == ("of z0", pytest.approx(1.0)) and second == ("of z1", pytest.approx(1.0))
    assert open_subject(image_file).related == ((), ())
    assert subject.result is not None
    fitted = replace(subject.result, related=((("a", 0.5),), (("b", 0.4),)))
    assert replace(subject, result=fitted).related == fitted.related


def decoded(address: str) -> str:
    import base64

    return base64.b64decode(address.partition("base64,")[2]).decode()


def test_pictures_are_well_formed_and_say_in_words_what_they_show(subject: Subject) -> None:
    names, columns = ["a<b>&", "z1"], ["<x>", "y"]
    hostile = Answer("t", lcm.Graph([[0, 1], [0, 0]]), names, (0,), *np.zeros((2, 2)), columns, *np.ones((2, 2)))
    for address in (
        graph_address(hostile),
        columns_address(hostile),
        place_address(subject.z[:, 0], subject.ranges[0], 0.5),
    ):
        ElementTree.fromstring(decoded(address))
    answer = ask(subject, "counterfactual", {"0": 1.5})
    assert graph_text(answer).startswith("Graph. Edges: ") and "z0 from" in graph_text(answer)
    assert columns_text(answer).count(", x1 ") == 1
    drawn = decoded(graph_address(answer))
    assert drawn.count("<circle") == 2 and drawn.count(' set"') == 1


def test_of_many_columns_those_that_change_most_are_drawn(subject: Subject, tmp_path: Path) -> None:
    x = np.zeros(100)
    after = x.copy()
    after[77] = 5.0
    answer = replace(
        ask(subject, "counterfactual", {}), x=x, x_after=after, columns=[f"c{i}" for i in range(100)], usual=None
    )
    assert "c77" in decoded(columns_address(answer)) and decoded(columns_address(answer)).count('class="axis"') == 40
    draw_answer(tmp_path / "many.png", answer)
    assert len(answer_table(answer)["name"]) == 102


def sensors(scale: float = 1.0) -> Answer:
    """Columns of very different units, in units of another size."""
    usual = np.array([[0.0, 15.0], [850.0, 27.0]]) * scale
    x, after = np.array([412.0, 21.0]) * scale, np.array([790.0, 24.0]) * scale
    columns = ["light (lx)", "temperature at the window (°C)"]
    return Answer("t", lcm.Graph([[0, 0], [0, 0]]), ["a", "b"], (0,), *np.zeros((2, 2)), columns, x, after, usual=usual)


def test_columns_of_any_unit_are_drawn_over_their_own_range() -> None:
    answer = sensors()
    np.testing.assert_allclose(answer.positions(answer.x), [412 / 850, 0.5])
    np.testing.assert_allclose(sensors(1e-3).positions(sensors(1e-3).x_after), answer.positions(answer.x_after))
    assert answer.positions(answer.x * 100).max() < 1.5
    figure = new_figure(5, 3)
    effects._draw_columns(figure.subplots(), answer)
    (axes,) = figure.axes
    assert [text.get_text() for text in axes.texts] == ["412 → 790", "21 → 24"]
    drawn = np.concatenate([np.asarray(points.get_offsets())[:, 0] for points in axes.collections[1:]])
    np.testing.assert_allclose(drawn, [412 / 850, 0.5, 790 / 850, 0.75])


def test_names_of_columns_begin_in_the_picture_and_are_cut_at_the_right() -> None:
    drawn = ElementTree.fromstring(decoded(columns_address(sensors())))
    svg = "{http://www.w3.org/2000/svg}"
    labels = drawn.findall(f"{svg}svg")
    texts = [label.find(f"{svg}text") for label in labels]
    assert [text.text for text in texts if text is not None] == ["light (lx)", "temperature at the wind…"]
    assert all(text is not None and text.get("x") == "0" and text.get("text-anchor") is None for text in texts)
    assert (
        [label.findtext(f"{svg}title") for label in labels]
        == sensors().columns
        == ["light (lx)", *cut_names(sensors())]
    )


def far_off() -> Answer:
    """A value and ends of its interval beyond the axis, on both sides, and long numbers."""
    answer = sensors()
    ends = np.array([[-9e4, 20.0], [9e4, 22.0]])
    return replace(answer, x=np.array([1.11e3, -999.0]), x_after=np.array([2.35e33, 24.0]), low=ends[0], high=ends[1])


def test_what_is_off_the_scale_is_marked_and_said() -> None:
    answer = far_off()
    drawn = decoded(columns_address(answer))
    assert drawn.count(' off"') == 2 and drawn.count("<circle") == 2
    assert "light (lx) 1.11e+03 to 2.35e+33 (off the scale)" in columns_text(answer)
    assert "temperature at the window (°C) -999 (off the scale) to 24" in columns_text(answer)
    assert ' off"' not in decoded(columns_address(sensors())) and "off" not in columns_text(sensors())
    np.testing.assert_array_equal(answer.off_scale(answer.x_after), [1, 0])
    np.testing.assert_array_equal(answer.off_scale(answer.x), [0, -1])
    figure = new_figure(5, 3)
    effects._draw_columns(figure.subplots(), replace(answer, whiskers="nine in ten draws"))
    (axes,) = figure.axes
    assert len(axes.collections) == 8
    assert axes.get_xlabel().split("\n") == [
        "ring: before; dot: after; triangle: off the scale",
        "black line: nine in ten draws",
    ]
    ends, values = np.array([0.0, 1.0]), np.linspace(0.0, 1.0, 5)
    assert [" off" in decoded(place_address(values, ends, at)) for at in (-3.0, 0.5, 2.0)] == [True, False, True]


def test_the_picture_of_x_is_as_wide_as_its_numbers() -> None:
    widths = [
        float(ElementTree.fromstring(decoded(columns_address(each))).get("width", 0)) for each in (sensors(), far_off())
    ]
    assert widths[1] > widths[0] + 40


def test_noise_and_place_stand_beside_the_value_before(subject: Subject) -> None:
    question = checked_question(subject, 3, "counterfactual", {"0": 1.5})
    answer = answer_to(subject, question)
    text = replies._reading(subject, answer, question, 0)
    assert re.fullmatch(r"before: \S+ \(noise \S+, \d+% of the data lie below\); after: 1\.5", text)
    drawn = replace(question, mode="intervention")
    text = replies._reading(subject, answer_to(subject, drawn), drawn, 0)
    assert re.fullmatch(r"before: mean \S+ \(\d+% of the data lie below\); after: 1\.5", text)


def test_cells_without_an_interval_are_empty(subject: Subject) -> None:
    question = checked_question(subject, 3, "counterfactual", {"0": 1.5})
    for asked in (subject, with_refits(subject)):
        rows = list(csv.DictReader(io.StringIO(exported(asked, question, ".csv").decode())))
        assert {(row["low"], row["high"]) for row in rows if row["kind"] == "variable"} == {("", "")}
        assert all((row["low"] == "") == (asked is subject) for row in rows if row["kind"] == "column")


@pytest.mark.parametrize("mode", MODES)
def test_the_python_that_is_exported_makes_the_exported_data(
    subject: Subject, mode: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = with_refits(subject) if mode == "counterfactual" else subject
    question = checked_question(asked, 5, mode, {"0": 0.75})
    monkeypatch.chdir(tmp_path)
    # the refits of this test are in memory alone
    monkeypatch.setattr(lcm, "load", lambda _: asked.result)
    exec(compile(script_of(asked, question), "script", "exec"), {})
    assert Path("answer.png").is_file()
    assert_same_numbers(Path("answer.csv").read_bytes(), exported(asked, question, ".csv"))


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("kind", ["run", "nature", "images"])
def test_the_python_runs_as_it_is(
    kind: str,
    mode: str,
    subject: Subject,
    nature_file: Path,
    image_file: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    files = {"nature": nature_file, "images": image_file}
    asked = subject if kind == "run" else open_subject(files[kind])
    question = checked_question(asked, 2, mode, {"1": 0.5})
    monkeypatch.chdir(tmp_path)
    script = script_of(asked, question)
    exec(compile(script, "script", "exec"), {})
    assert_same_numbers(Path("answer.csv").read_bytes(), exported(asked, question, ".csv"))
    assert "It writes answer.csv and answer.png" in script.splitlines()[1]
    assert unused_imports(script) == []


def unused_imports(script: str) -> list[str]:
    nodes = list(ast.walk(ast.parse(script)))
    named = [alias for node in nodes if isinstance(node, ast.Import | ast.ImportFrom) for alias in node.names]
    used = {node.id for node in nodes if isinstance(node, ast.Name)}
    return [each.name for each in named if (each.asname or each.name) not in used]


def test_the_python_keeps_the_names_and_the_mark_of_its_question(
    run_folder: Path, subject: Subject, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lcm.save_pairs(tmp_path / "pairs.npz", subject.data)
    before, after = (lcm.load_pairs(tmp_path / "pairs.npz").tensors()[key] for key in ("x", "x_tilde"))
    write_table(
        tmp_path / "one.csv", {"a": before[:, 0], "b": before[:, 1], "late_a": after[:, 0], "late_b": after[:, 1]}
    )
    asked = open_subject(shutil.copytree(run_folder, tmp_path / "run"), [tmp_path / "one.csv"], "late_")
    asked.rename(0, "light")
    script = script_of(asked, checked_question(asked, 5, "counterfactual", {"0": 1.0}))
    asked.rename(0, "shadow")
    monkeypatch.chdir(tmp_path)
    exec(compile(script, "script", "exec"), {})
    rows = csv.DictReader(io.StringIO(Path("answer.csv").read_text()))
    assert [row["name"] for row in rows] == ["light", "z1", "a", "b"]


def test_the_python_reads_columns_in_the_order_of_the_fit(
    subject: Subject, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    x, x_tilde = (np.asarray(part[:150]) for part in (subject.data.x, subject.data.x_tilde))
    monkeypatch.chdir(tmp_path)
    for name, order in {"fitted.csv": (0, 1), "turned.csv": (1, 0)}.items():
        columns = {f"{'ab'[i]}{mark}": part[:, i] for mark, part in (("", x), ("_tilde", x_tilde)) for i in order}
        write_table(tmp_path / name, columns)
    lcm.fit("fitted.csv", model="linear", out="run", quiet=True)
    asked = open_subject("run", ["turned.csv"])
    question = checked_question(asked, 5, "counterfactual", {"0": 1.0})
    script = script_of(asked, question)
    exec(compile(script, "script", "exec"), {})
    assert_same_numbers(Path("answer.csv").read_bytes(), exported(asked, question, ".csv"))
    assert unused_imports(script) == []


def test_drawn_pairs_have_the_names_of_the_columns(subject: Subject, tmp_path: Path) -> None:
    for columns, kept in {("light (lx)", "b"): True, ("z0", "b"): False}.items():
        named = replace(subject, data=replace(subject.data, columns=columns))
        (tmp_path / "pairs.csv").write_bytes(exported_pairs(named, 60, 1, ".csv"))
        header = (tmp_path / "pairs.csv").read_text().splitlines()[0].split(",")
        assert tuple(header[:2]) == (columns if kept else ("x0", "x1"))
        assert load_pairs(tmp_path / "pairs.csv").z is not None and header.count("z0") == 1


def assert_same_numbers(one: bytes, other: bytes) -> None:
    first, second = (list(csv.DictReader(io.StringIO(text.decode()))) for text in (one, other))
    assert [row["name"] for row in first] == [row["name"] for row in second] and len(first) > 1
    for key in ("before", "after", "low", "high"):
        numbers = [[float(row[key] or "nan") for row in rows] for rows in (first, second)]
        np.testing.assert_allclose(*numbers, rtol=1e-4, atol=1e-5)


def test_figures_and_pairs_are_files_of_their_kind(subject: Subject, image_file: Path, tmp_path: Path) -> None:
    question = checked_question(subject, 0, "counterfactual", {"0": 1.0})
    assert exported(subject, question, ".png").startswith(b"\x89PNG")
    ElementTree.fromstring(exported(subject, question, ".svg").decode())
    (tmp_path / "pairs.csv").write_bytes(exported_pairs(subject, 60, 1, ".csv"))
    assert load_pairs(tmp_path / "pairs.csv").z is not None
    images = open_subject(image_file)
    assert exported(images, replace(question, mode="intervention"), ".png").startswith(b"\x89PNG")


def test_a_name_is_kept_by_a_run_alone(run_folder: Path, nature_file: Path, tmp_path: Path) -> None:
    asked = open_subject(shutil.copytree(run_folder, tmp_path / "run"))
    assert asked.rename(1, "height") == asked.names() == ("z0", "height")
    assert "height = 1" in question_text(asked, checked_question(asked, 0, "counterfactual", {"1": 1.0}))
    with pytest.raises(ValueError, match="Expected a run folder to keep names in; got a model file"):
        open_subject(nature_file).rename(0, "a")


def test_the_folder_of_lcm_generate_is_its_nature(nature_file: Path) -> None:
    assert open_subject(nature_file.parent).path == nature_file
    x, z = observation(open_subject(nature_file), 4)
    assert x.shape == (1, 2) and z.shape == (1, 2)


@pytest.mark.parametrize("mode", MODES)
def test_a_question_is_carried_to_another_model(mode: str, subject: Subject, monkeypatch: pytest.MonkeyPatch) -> None:
    z = np.linspace([-5.0, -5.0], [5.0, 5.0], 60)
    # z′_1 = -2 z_0 and z′_0 = z_1, as the isomorphism was made
    maps, noise = (fit_monotone(z, z * sign) for sign in (np.array([-2.0, 1.0]), np.array([1.0, 1.0])))
    model = Isomorphism((1, 0), noise, maps).apply(subject.model).float()
    other = subject_of(subject.path, model, subject.result, subject.data, subject.given)
    found = SimpleNamespace(permutation=(1, 0), variable_map=maps)
    monkeypatch.setattr("lcm.app.explore.beside.find_isomorphism", lambda *_: found)
    carried = Beside(subject, other).carry(checked_question(subject, 1, mode, {"0": 0.5}))
    assert carried.permutation == (1, 0) and carried.carried[0] == pytest.approx(-1.0, abs=1e-3)
    assert carried.other.done == (1,)
    # each model draws its own: 500 draws of a standard deviation near 1
    error = 0.25 if mode == "intervention" else 1e-3
    assert carried.apart.max() < error
    np.testing.assert_allclose(carried.other.x_after, carried.mine.x_after, atol=error)


def test_a_model_of_other_observations_cannot_stand_beside(subject: Subject, image_file: Path) -> None:
    with pytest.raises(
        ValueError, match=r"Expected a model of 2 variables of x of shape \(2,\); got 2 of \(16, 16, 3\)"
    ):
        subject_beside(subject, image_file)


BROKEN: dict[str, tuple[str, str]] = {
    "schema": ("run.json", "schema: Expected version 2; got 9"),
    "no model": ("model.safetensors", "model.safetensors: Expected a saved model; got no such file"),
    "names": ("names.json", "names.json: names: Expected a list of 2 names"),
}


@pytest.mark.parametrize(("name", "message"), BROKEN.values(), ids=BROKEN)
def test_a_broken_run_is_one_line(
    name: str, message: str, run_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = Path(shutil.copytree(run_folder, tmp_path / "run"))
    if name == "run.json":
        (run / name).write_text(json.dumps({**json.loads((run / name).read_text()), "schema": 9}))
    elif name == "names.json":
        (run / name).write_text('{"names": []}')
    else:
        (run / name).unlink()
    assert message in refused(capsys, "explore", run, "--no-browser", "--port", "0")


def test_other_bad_input_is_one_line(
    run_folder: Path,
    tmp_path: Path,
    data_file: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    run = [run_folder, "--no-browser", "--port", "0"]
    assert "Expected a run folder or a model file; got no such" in refused(capsys, "explore", tmp_path / "no", *run[1:])
    assert "--port: Expected a number in 0..65535; got 70000" in refused(capsys, "explore", *run, "--port", "70000")
    assert "--data: Expected one or two files; got 3" in refused(capsys, "explore", *run, "--data", "a", "b", "c")
    other = PairData.from_arrays(*np.random.default_rng(0).standard_normal((2, 400, 5)).astype(np.float32))
    lcm.save_pairs(tmp_path / "other.npz", other)
    said = refused(capsys, "explore", *run, "--data", tmp_path / "other.npz")
    assert "x: Expected shape (N, 2), as the model's observations; got (400, 5)" in said
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert f"--port: Expected a port that is free; got {port}" in refused(capsys, "explore", *run, "--port", port)

    def no_browser() -> None:
        raise webbrowser.Error("none")

    monkeypatch.setattr(webbrowser, "get", no_browser)
    assert "Expected a browser on this machine; got none (--no-browser" in refused(capsys, "explore", run_folder)
    monkeypatch.setattr(server, "find_spec", lambda _: None)
    assert "Expected the extra `explore` for lcm explore (pip install" in refused(capsys, "explore", *run)


def test_a_model_without_mechanisms_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from test_models import CONFIG

    peer = lcm.fit(small_data("linear"), config=CONFIG, model="dvae", quiet=True).model
    peer.save(tmp_path / "peer.safetensors")
    said = refused(capsys, "explore", tmp_path / "peer.safetensors", "--no-browser", "--port", "0")
    assert "A model of kind dvae has no mechanisms to intervene with" in said


@pytest.fixture(scope="module")
def client(subject: Subject) -> Iterator[Any]:
    pytest.importorskip("dash")
    with server.make_app(subject, None, 8765).server.test_client() as client:
        yield client


@pytest.mark.parametrize("path", ["/", "/alive", "/_dash-layout"])
def test_the_server_answers_its_own_address_alone(client: Any, path: str) -> None:
    own = {"Host": "127.0.0.1:8765"}
    answer = client.get(path, headers=own)
    assert answer.status_code == 200 and "default-src 'none'" in answer.headers["Content-Security-Policy"]
    assert client.get(path, headers={"Host": "localhost:8765"}).status_code == 200
    for host in ("evil.example", "evil.example:8765", "127.0.0.1", "127.0.0.1:80", "192.168.0.7:8765"):
        assert client.get(path, headers={"Host": host}).status_code == 403
    assert client.get(path, headers={**own, "Origin": "http://evil.example"}).status_code == 403
    assert client.get(path, headers={**own, "Origin": "null"}).status_code == 403


def test_the_server_takes_no_question_from_another_page(client: Any) -> None:
    headers = {"Host": "127.0.0.1:8765", "Sec-Fetch-Site": "cross-site"}
    assert client.post("/_dash-update-component", json={}, headers=headers).status_code == 403


def test_the_page_names_nothing_outside(client: Any) -> None:
    page = client.get("/", headers={"Host": "127.0.0.1:8765"}).get_data(as_text=True)
    assert "http://" not in page and "https://" not in page and 'lang="en"' in page
