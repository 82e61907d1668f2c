"""What the explorer exports: Python that repeats an answer, tables, figures and pairs."""

from __future__ import annotations

import ast
import csv
import io
import shutil
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from explored import MODES, with_refits

import lcm
from lcm.app.explore.asking import checked_question
from lcm.app.explore.export import exported, exported_pairs, script_of
from lcm.app.explore.subject import Subject, open_subject
from lcm.data.pair_files import load_pairs
from lcm.data.table import write_table


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
    explored_run: Path, subject: Subject, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lcm.save_pairs(tmp_path / "pairs.npz", subject.data)
    before, after = (lcm.load_pairs(tmp_path / "pairs.npz").tensors()[key] for key in ("x", "x_tilde"))
    write_table(
        tmp_path / "one.csv", {"a": before[:, 0], "b": before[:, 1], "late_a": after[:, 0], "late_b": after[:, 1]}
    )
    asked = open_subject(shutil.copytree(explored_run, tmp_path / "run"), [tmp_path / "one.csv"], "late_")
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
