"""The page of a run in a real browser (`make test-web`): it draws, answers mouse and keys, and loads nothing."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from browser import axe_text, opened_browser, what_is_missing

from lcm.report.page import (
    Card,
    Cards,
    Page,
    Section,
    certainty_chart,
    course_chart,
    distribution_chart,
    write_page,
)
from lcm.run.runs import load_run

pytestmark = pytest.mark.skipif(bool(what_is_missing()), reason=f"tests in a browser are left out: {what_is_missing()}")
WAIT = 20_000
"""Milliseconds that a test waits for the page, on a machine with other work to do."""


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with opened_browser() as found:
        yield found


@pytest.fixture(params=[("light", 1280), ("dark", 400)], ids=["light, wide", "dark, narrow"])
def page(request: pytest.FixtureRequest, browser: Any, finished: dict[str, Path]) -> Iterator[Any]:
    """The page of a run with training curves; no script may fail, and nothing but the file may be asked for."""
    scheme, width = request.param
    context = browser.new_context(color_scheme=scheme, viewport={"width": width, "height": 900})
    page, problems = context.new_page(), []
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.on("request", lambda sent: None if sent.url.startswith(("file:", "data:")) else problems.append(sent.url))
    page.goto((finished["nonlinear"] / "report.html").as_uri())
    page.locator(".chart svg").last.wait_for(timeout=WAIT)
    yield page
    assert problems == []
    context.close()


def test_every_chart_is_drawn_and_the_page_is_not_wider_than_the_window(page: Any) -> None:
    assert page.locator(".chart").count() == page.locator(".chart .plot > svg").count() > 3
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")


@pytest.fixture
def charts(tmp_path: Path) -> Path:
    """A page with charts whose axes end anywhere."""
    sample = np.random.default_rng(0).normal(size=500)
    elements = [distribution_chart("z0", scale * sample, sample[:0]) for scale in np.geomspace(0.01, 500.0, 12)]
    records = [
        {"stage": "a", "restart": 0, "seconds": 0.6 + 1.37 * k, "log_likelihood": -1.0 / (k + 1)} for k in range(5)
    ]
    course = course_chart(records, "a")
    assert course is not None
    cards = [Card("a", [element]) for element in (*elements, certainty_chart(np.array([0.4, 1.0])), course)]
    write_page(tmp_path / "page.html", Page("a", [], [Section("a", [Cards(cards)])]))
    return tmp_path / "page.html"


@pytest.mark.parametrize("width", [330, 460, 800])
def test_no_two_numbers_of_an_axis_touch(charts: Path, browser: Any, width: int) -> None:
    page = browser.new_page(viewport={"width": width, "height": 900})
    page.goto(charts.as_uri())
    page.locator(".chart svg").last.wait_for(timeout=WAIT)
    axes = page.evaluate(
        """() => [...document.querySelectorAll('.chart svg .role-axis-label')].map((axis) =>
          [...axis.querySelectorAll('text')].filter((text) => getComputedStyle(text).opacity !== '0')
            .map((text) => text.getBoundingClientRect()).map((box) => [box.left, box.right, box.top, box.bottom]))"""
    )
    page.close()
    assert len(axes) == 28
    for axis in axes:
        axis.sort()
        for (_, right, top, bottom), (left, _, other_top, other_bottom) in pairwise(axis):
            assert left > right + 3 or other_bottom <= top + 4 or other_top >= bottom - 4


def test_the_slider_draws_the_graph_of_each_rate(page: Any, finished: dict[str, Path]) -> None:
    run, slider = load_run(finished["nonlinear"]), page.locator("input[type=range]")
    seen = set()
    for key in ("Home", "End"):
        slider.press(key)
        rate = float(page.locator("output").inner_text())
        edges = len(run.graph_at(rate).edges())
        assert page.locator(".arrow:visible").count() == edges
        assert page.locator(".count").inner_text() == f"{edges} edge{'' if edges == 1 else 's'}"
        seen.add(rate)
    assert seen == {1e-6, 0.5}


def test_numbers_are_said_by_the_mouse_and_by_the_keys(page: Any) -> None:
    page.locator("input[type=range]").press("End")
    about, nodes = page.locator(".about"), page.locator(".node")
    nodes.first.hover()
    assert about.inner_text().startswith("z0: causes")
    nodes.nth(1).focus()
    assert about.inner_text().startswith("z1: causes")
    for arrow in page.locator(".arrow:visible").all():
        arrow.focus()
        assert "strength" in about.inner_text() and "p " in about.inner_text()


def test_the_page_has_no_serious_fault_for_people_who_cannot_see_it(page: Any) -> None:
    page.evaluate(axe_text())
    found = page.evaluate("axe.run()")["violations"]
    assert [(each["impact"], each["id"]) for each in found if each["impact"] in ("serious", "critical")] == []


def test_what_opens_on_demand_is_printed(page: Any) -> None:
    assert page.locator("main details[open]").count() == 0
    page.evaluate("window.dispatchEvent(new Event('beforeprint'))")
    assert page.locator("main details[open]").count() == page.locator("main details").count() > 0
