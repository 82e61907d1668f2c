"""Pages load nothing, show what they are given as text, and say the same as the run."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import altair
import hypothesis.strategies as st
import numpy as np
import pytest
from command_line import called, refused
from hypothesis import given, settings
from PIL import Image
from small import small_data

import lcm
from lcm.data.table import write_table
from lcm.model.graph import Graph
from lcm.readout.evidence import GraphEvidence
from lcm.report.page import (
    Card,
    Cards,
    CodeBlock,
    MarkdownText,
    Page,
    Paragraph,
    Picture,
    Section,
    TextTable,
    certainty_chart,
    course_chart,
    distribution_chart,
    drawn_graph,
    match_chart,
    page_html,
    results_page,
    share_chart,
)
from lcm.report.page.causal_graph import first_rates, rates_with
from lcm.run.page import of_run
from lcm.run.pages import rewrite_page
from lcm.run.runs import load_run

HOSTILE = "</script><img src=http://x.example onerror=alert(1)>&\"'`z`"
RECORDS = [
    {"stage": "noise encoder", "restart": r, "step": s, "seconds": s + r, "log_likelihood": -9.0 / s, **more}
    for r in (0, 1)
    for s, more in ((1, {}), (2, {"validation_log_likelihood": -4.0}), (3, {"validation_log_likelihood": None}))
]
NORMAL = np.random.default_rng(0).normal(size=(200, 2))
CHARTS = {
    "distribution": distribution_chart("z0", NORMAL[:, 0], NORMAL[:50, 1]),
    "distribution without interventions": distribution_chart(HOSTILE, NORMAL[:, 0], NORMAL[:0, 1]),
    "constant": distribution_chart("z0", np.zeros(5), np.zeros(3)),
    "shares": share_chart(["z0", HOSTILE], np.array([0.25, 0.75]), np.array([0.5, 0.5])),
    "shares of the model": share_chart(["z0", "z1"], np.array([0.25, 0.75]), None),
    "certainty": certainty_chart(np.array([0.0, 0.5, 1.0])),
    "course": course_chart(RECORDS, "noise encoder"),
    "match": match_chart("z0", "z1", NORMAL[:, 0], NORMAL[:, 1], 0.5),
}
ELEMENTS: dict[str, Any] = {
    **CHARTS,
    "paragraph": Paragraph(HOSTILE, "warning"),
    "listing": CodeBlock(HOSTILE, HOSTILE),
    "table": TextTable([HOSTILE, "n"], [[HOSTILE, "1"]], HOSTILE, marks=["broken"], folded=True),
    "markdown": MarkdownText(f"{HOSTILE} ![a](http://x.example/a.png)\n\n| a |\n|---|\n| {HOSTILE} |\n"),
    "graph": drawn_graph(Graph([[0, 1], [0, 0]]), np.eye(2)[::-1].astype(float), [HOSTILE, "z1"], [HOSTILE, "z1"]),
    "cards": Cards([Card(HOSTILE, [Paragraph(HOSTILE)])]),
}


class _Loads(HTMLParser):
    """Collects all that a page would load, and the event handlers in it."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for key, value in attrs:
            # a link is followed only by a click
            inside = (value or "").startswith(("#", "data:", *(["http"] if tag == "a" else [])))
            if key.startswith("on") or (key in ("src", "href", "srcset", "data", "action") and not inside):
                self.found.append(f"{tag} {key}={value}")


def loads(html: str) -> list[str]:
    """All that a page would load or run by an attribute."""
    parser = _Loads()
    parser.feed(html)
    return parser.found


def page_of(*elements: Any) -> str:
    """A page with these elements."""
    return page_html(Page(HOSTILE, [HOSTILE], [Section(HOSTILE, elements)]))


@pytest.mark.parametrize("element", ELEMENTS.values(), ids=ELEMENTS)
def test_every_element_is_shown_as_text_and_loads_nothing(element: Any) -> None:
    html = page_of(element)
    assert loads(html) == [] and "<img src=http" not in html
    assert html.count("<script") == html.count("</script>") == (3 if element.kind == "chart" else 1)


def test_a_page_has_the_code_of_charts_only_where_it_has_charts() -> None:
    with_chart, in_card, without = (
        page_of(CHARTS["match"]),
        page_of(Cards([Card("a", [CHARTS["match"]])])),
        page_of(Paragraph("a")),
    )
    assert "vegaEmbed=" in with_chart and "vegaEmbed=" in in_card and "vegaEmbed=" not in without
    assert len(with_chart) < 1_100_000


@pytest.mark.parametrize("chart", CHARTS.values(), ids=CHARTS)
def test_charts_are_valid_and_say_in_words_what_they_show(chart: Any) -> None:
    altair.Chart.from_dict(chart.specification, validate=True)
    html = page_of(chart)
    inside = re.search(r'<script type="application/json">(.*?)</script>', html, re.DOTALL)
    assert inside is not None and json.loads(inside[1]) == chart.specification
    assert chart.text.endswith(".") and 'role="img" aria-label=' in html


def test_a_stage_without_likelihoods_has_no_course() -> None:
    assert course_chart([{"stage": "linear start", "step": 0, "restart": 0, "seconds": 0.1}], "linear start") is None
    assert course_chart(RECORDS, "another") is None


def course(values: list[float]) -> Any:
    records = [{"stage": "a", "restart": 0, "seconds": k, "log_likelihood": v} for k, v in enumerate(values)]
    return course_chart(records, "a")


def test_a_course_shows_its_first_point_unless_it_would_hide_the_rest() -> None:
    for values in ([-7.168, -6.9, -6.83, -6.82, -6.82], [-1.42402, -1.42401, -1.42403]):
        chart = course(values)
        low, high = chart.specification["encoding"]["y"]["scale"]["domain"]
        assert low < min(values) and max(values) < high and "below the axis" not in chart.text
    chart = course([-1e6, *np.linspace(-3.0, -2.0, 40)])
    assert chart.specification["encoding"]["y"]["scale"]["domain"][0] > -10
    assert "1 of the first points lies below the axis" in chart.text


def test_the_distribution_of_a_sample_has_unit_area_and_leaves_no_state_out() -> None:
    rows = CHARTS["distribution"].specification["data"]["values"]
    for state in ("observed", "under intervention"):
        z, density = np.array([[row["z"], row["density"]] for row in rows if row["state"] == state]).T
        assert density.sum() * np.diff(z).mean() == pytest.approx(1.0, abs=0.03)


def evidence_of(p_values: np.ndarray[Any, Any]) -> GraphEvidence:
    """Evidence with given p-values of edges along 0, 1, 2, …"""
    n = len(p_values)
    return GraphEvidence(p_values, p_values, np.ones((n, n)), np.full((n, n), 0.1), tuple(range(n)))


@settings(max_examples=25, deadline=None)
@given(st.lists(st.floats(0.0, 1.0), min_size=9, max_size=9), st.sampled_from([0.05, 0.07]))
def test_the_slider_shows_the_graph_of_every_rate(values: list[float], rate: float) -> None:
    p_values = np.where(np.eye(3, dtype=bool), 1.0, np.array(values).reshape(3, 3))
    evidence = evidence_of(p_values)
    rates, chosen = rates_with(rate)
    since = first_rates(evidence, rates)
    assert rates[chosen] == rate
    for index, each in enumerate(rates):
        assert np.array_equal(since <= index, evidence.graph_at(each).adjacency)
    drawn = drawn_graph(evidence.graph_at(rate), np.ones((3, 3)), ["a", "b", "c"], ["", "", ""], evidence, rate)
    assert drawn.shown == evidence.graph_at(rate).adjacency.sum()


def test_a_graph_without_p_values_has_no_slider() -> None:
    assert "<input" not in page_of(ELEMENTS["graph"])
    graph = Graph([[0, 1], [0, 0]])
    drawn = drawn_graph(graph, np.ones((2, 2)), ["a", "b"], ["", ""], evidence_of(np.full((2, 2), 1e-20)), 0.05)
    html = page_of(drawn)
    assert "<input" in html and "a → b: strength 1.000, 95 % interval 0.804 to 1.196, p &lt; 1e-15" in html


def test_pictures_are_inside_and_not_wider_than_a_page(tmp_path: Path) -> None:
    Image.new("RGB", (2000, 100), "red").save(tmp_path / "a.png")
    html = page_of(Picture.read(tmp_path / "a.png", HOSTILE))
    assert loads(html) == [] and 'src="data:image/webp;base64,' in html


def test_results_are_on_one_page_with_their_figures(tmp_path: Path) -> None:
    assert results_page(tmp_path, "title", "lcm reproduce a") is None
    for folder in (tmp_path, tmp_path / "part", tmp_path / "cells"):
        (folder / "figures").mkdir(parents=True)
        (folder / "results.md").write_text("# a\n\n![b](b.png)\n\n| n | mcc |\n|---|---|\n| 2 | 0.75 |\n")
        Image.new("RGB", (20, 10)).save(folder / "figures" / "one-two.png")
    page = results_page(tmp_path, "title", "lcm reproduce a")
    assert page is not None and [section.title for section in page.sections] == ["Results", "part"]
    html = page_html(page)
    assert html.count("<td>0.75</td>") == html.count('alt="one two"') == 2 and loads(html) == []


def test_the_page_of_a_run_says_what_the_run_says(finished: dict[str, Path]) -> None:
    for folder in finished.values():
        html, run = (folder / "report.html").read_text(encoding="utf-8"), load_run(folder)
        assert loads(html) == [] and len(html) < 3_000_000
        for i, j in run.model.graph.edges():
            assert f"z{i} → z{j}: strength {run.edge_strength[i, j]:.3f}" in html
        for row in run.result().certificate.rows:
            assert f"<td>{row.assumption}</td><td>{row.verdict}</td>" in html
        for text in ("in the pairs of the fit", "Under", run.info["data_sha256"], "lcm fit", "Course of the fit"):
            assert text.lower() in html.lower()
        assert "Against the truth in" in html and "learned z" in html
        assert ("answer different questions" in html) == ("p-value of no edge" in html)


def test_a_run_without_refits_has_no_section_on_them(finished: dict[str, Path], tmp_path: Path) -> None:
    result = load_run(finished["linear"]).result()
    for told, shown in {2: [], None: ["Number of variables"]}.items():
        asked = replace(result, config=replace(result.config, n=told))
        for names in ([], ["refits"]):
            figures = tmp_path / f"{told}{len(names)}"
            figures.mkdir()
            for name in ["number_of_variables", *names]:
                Image.new("RGB", (20, 10)).save(figures / f"{name}.png")
            expected = [*shown, *(["Refits"] if names else [])]
            assert [section.title for section in of_run._number(asked, figures)] == expected


def test_the_page_names_both_files_of_its_pairs(run_folder: Path, data_file: Path, tmp_path: Path) -> None:
    pairs = lcm.load_pairs(data_file)
    for name, x in (("before", pairs.x), ("after", pairs.x_tilde)):
        write_table(tmp_path / f"{name}.csv", {"a": x[:, 0], "b": x[:, 1]})
    page = rewrite_page(run_folder, lcm.load_pairs(tmp_path / "before.csv", tmp_path / "after.csv"))
    assert "the pairs of before.csv and after.csv" in page.read_text(encoding="utf-8")


def test_the_page_of_a_run_is_written_again(
    run_folder: Path, data_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    page = run_folder / "report.html"
    page.unlink()
    assert f"page: {page}" in called(capsys, "report", run_folder)
    drawn = page.read_text(encoding="utf-8")
    assert "pairs that the model drew" in drawn and "Against the truth" not in drawn
    assert called(capsys, "report", run_folder, data_file, "--quiet") == ""
    assert f"Against the truth in the pairs of {data_file.name}" in page.read_text(encoding="utf-8")
    assert "Expected a run folder; got no such folder" in refused(capsys, "report", tmp_path / "none")


@pytest.mark.usefixtures("figures")
def test_the_page_repeats_the_mark_and_knows_the_names(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = small_data("linear", 600)
    columns = dict(zip("ab", data.x.T, strict=True)) | dict(zip(("a_post", "b_post"), data.x_tilde.T, strict=True))
    write_table(tmp_path / "post.csv", columns)
    run = tmp_path / "run"
    called(capsys, "fit", tmp_path / "post.csv", "--after-mark", "_post", "--model", "linear", "--out", run)
    html = (run / "report.html").read_text(encoding="utf-8")
    command = f"lcm fit {tmp_path / 'post.csv'} --after-mark _post --config {run / 'config.yaml'} --out NEW_RUN"
    assert command in html
    called(capsys, *command.removeprefix("lcm ").replace("NEW_RUN", str(tmp_path / "again")).split())
    called(capsys, "name", run, "0=light")
    array = tmp_path / "array.npz"
    np.savez(array, x=data.x, x_tilde=np.roll(data.x_tilde, 7, 0))
    called(capsys, "report", run, array)
    html = (run / "report.html").read_text(encoding="utf-8")
    assert "light" in html and "column 0" not in html
    certificate = html.partition("Certificate</h2>")[2].partition("</section>")[0]
    assert "z0" not in certificate
