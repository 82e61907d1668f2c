"""The explorer without a browser: its answers, its names, its errors, and whom its server answers."""

from __future__ import annotations

import json
import shutil
import socket
import webbrowser
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from command_line import refused
from explored import MODES, ask, with_refits
from small import small_data

import lcm
from lcm.app.explore import server
from lcm.app.explore.asking import checked_question, interval_text, question_text, warnings_of
from lcm.app.explore.beside import Beside
from lcm.app.explore.subject import Given, Subject, observation, open_subject, subject_beside, subject_of
from lcm.data.pairs import PairData
from lcm.isomorphism.apply import Isomorphism
from lcm.isomorphism.monotone import fit_monotone


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


def test_the_rows_that_are_kept_are_said(explored_run: Path, data_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lcm.app.explore.subject._MOST_ROWS", 200)
    cut = open_subject(explored_run, [data_file])
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


def test_a_name_is_kept_by_a_run_alone(explored_run: Path, nature_file: Path, tmp_path: Path) -> None:
    asked = open_subject(shutil.copytree(explored_run, tmp_path / "run"))
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
    name: str, message: str, explored_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = Path(shutil.copytree(explored_run, tmp_path / "run"))
    if name == "run.json":
        (run / name).write_text(json.dumps({**json.loads((run / name).read_text()), "schema": 9}))
    elif name == "names.json":
        (run / name).write_text('{"names": []}')
    else:
        (run / name).unlink()
    assert message in refused(capsys, "explore", run, "--no-browser", "--port", "0")


def test_other_bad_input_is_one_line(
    explored_run: Path,
    tmp_path: Path,
    data_file: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    run = [explored_run, "--no-browser", "--port", "0"]
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
    assert "Expected a browser on this machine; got none (--no-browser" in refused(capsys, "explore", explored_run)
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
