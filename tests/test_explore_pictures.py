"""The pictures of the explorer: what they draw, and the words beside them."""

from __future__ import annotations

import csv
import io
import re
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
from explored import ask, with_refits

import lcm
from lcm.app.explore import replies
from lcm.app.explore.asking import answer_to, checked_question
from lcm.app.explore.drawing import columns_address, columns_text, cut_names, graph_address, graph_text, place_address
from lcm.app.explore.export import exported
from lcm.app.explore.subject import Subject
from lcm.report import draw_answer, effects
from lcm.report.answer import Answer, answer_table
from lcm.report.style import new_figure


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
    assert columns_text(answer).count(", x1 ") == 1 and "between" not in columns_text(answer)
    told = replace(answer, low=answer.x_after - 0.5, high=answer.x_after + 0.25)
    assert f"(between {told.x_after[1] - 0.5:.3g} and {told.x_after[1] + 0.25:.3g})" in columns_text(told)
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
