"""The explorer in a real browser (`make test-web`): drag, switch, rename, export, two tabs, a killed server."""

from __future__ import annotations

import csv
import io
import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from browser import axe_text, opened_browser, what_is_missing
from small import small_data

import lcm
from lcm.app.explore.beside import Beside
from lcm.app.explore.server import make_server, open_socket
from lcm.app.explore.subject import open_subject
from lcm.isomorphism import find_isomorphism
from lcm.run.run_folder import PAGE_FILE
from lcm.run.stored import read_names

pytestmark = pytest.mark.skipif(bool(what_is_missing()), reason=f"tests in a browser are left out: {what_is_missing()}")
ROOT = Path(__file__).parent.parent
WAIT = 20_000
"""Milliseconds that a test waits for the page, on a machine with other work to do."""
UPDATE, QUIET = "/_dash-update-component", 200
"""Where the page asks, and the milliseconds without a question after which it has asked all."""


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with opened_browser() as found:
        yield found


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("explored") / "run"
    data = folder.parent / "data.safetensors"
    lcm.save_pairs(data, small_data("linear"))
    lcm.fit(data, model="linear", out=folder, quiet=True)
    return folder


@pytest.fixture(scope="module")
def address(run: Path) -> Iterator[str]:
    """The explorer of a run beside itself, served by this process."""
    subject = open_subject(run, [run.parent / "data.safetensors"])
    with open_socket(0) as listening:
        server = make_server(subject, Beside(subject, subject), listening)
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{listening.getsockname()[1]}/"
        server.shutdown()
        thread.join()


@pytest.fixture
def page(browser: Any, address: str) -> Iterator[Any]:
    context = browser.new_context(viewport={"width": 1280, "height": 900}, bypass_csp=False)
    with_page = opened(context, address)
    yield with_page
    assert with_page.problems == []
    context.close()


def opened(context: Any, address: str) -> Any:
    """A new tab with the page; it collects all requests to elsewhere and all errors of scripts."""
    page = context.new_page()
    page.problems, page.waiting = [], set()
    page.on("pageerror", lambda error: page.problems.append(str(error)))
    page.on("request", lambda sent: page.problems.append(sent.url) if not own(sent.url, address) else None)
    page.on("request", lambda sent: page.waiting.add(sent) if sent.url.endswith(UPDATE) else None)
    for end in ("requestfinished", "requestfailed"):
        page.on(end, lambda sent: page.waiting.discard(sent))
    page.goto(address)
    page.locator("#asked:not(:empty)").wait_for(timeout=WAIT)
    return page


def own(url: str, address: str) -> bool:
    return url.startswith((address, "data:"))


def settle(page: Any) -> None:
    """Wait until the page has had all its replies: the last ones to a drag come after the hand has let go."""
    quiet = 0
    while quiet < QUIET:
        page.wait_for_timeout(50)
        quiet = 0 if page.waiting else quiet + 50


def drag(page: Any, variable: int, share: float) -> None:
    """Drag the slider of a variable from where it is to a share of its width."""
    slider = page.locator(f"#slider-{variable}")
    slider.scroll_into_view_if_needed()
    box = slider.bounding_box()
    height = box["y"] + box["height"] / 2
    page.mouse.move(box["x"] + 0.5 * box["width"], height)
    page.mouse.down()
    for step in range(1, 9):
        page.mouse.move(box["x"] + box["width"] * (0.5 + (share - 0.5) * step / 8), height)
    page.mouse.up()
    settle(page)


def value_set(page: Any, variable: int) -> str:
    """What the page says of a variable that is set, once it says what its slider says."""
    held = float(page.locator(f"#slider-{variable}").input_value())
    text = f"z{variable} = {held:.3g}"
    page.locator("#asked", has_text=f"do({text})").wait_for(timeout=WAIT)
    return text


def test_a_drag_sets_a_variable_and_the_last_place_counts(page: Any) -> None:
    before = page.locator("#graph").get_attribute("src")
    drag(page, 0, 0.8)
    text = value_set(page, 0)
    slider = page.locator("#slider-0")
    low, high = (float(slider.get_attribute(end)) for end in ("min", "max"))
    held = float(slider.input_value())
    assert held == pytest.approx(low + 0.8 * (high - low), abs=0.08 * (high - low))
    assert page.locator("#title-0").inner_text() == "z0 (set)"
    assert page.locator("#graph").get_attribute("src") != before
    assert f"to {held:.2f}" in page.locator("#graph").get_attribute("alt") and "z0" in text
    page.locator("#release").click()
    page.locator("#asked", has_text="nothing set").wait_for(timeout=WAIT)
    assert float(page.locator("#slider-0").input_value()) != pytest.approx(held)


def test_the_keyboard_sets_a_variable(page: Any) -> None:
    page.locator("#slider-1").focus()
    start = float(page.locator("#slider-1").input_value())
    for _ in range(3):
        page.keyboard.press("ArrowRight")
    value_set(page, 1)
    assert float(page.locator("#slider-1").input_value()) > start
    # every control is reached with the tabulator
    page.locator("#row").focus()
    reached = set()
    for _ in range(30):
        page.keyboard.press("Tab")
        reached.add(page.evaluate("() => document.activeElement.id"))
    controls = {"any", "slider-0", "slider-1", "exact-1", "release", "name-0", "name-1", "draw", "export-py", "compare"}
    assert controls <= reached


def test_another_observation_and_the_switch_to_interventions(page: Any) -> None:
    drag(page, 0, 0.7)
    text = value_set(page, 0)
    page.locator("#row").fill("7")
    page.locator("#asked", has_text=f"Counterfactual of observation 7: do({text})").wait_for(timeout=WAIT)
    counterfactual = page.locator("#x img").get_attribute("alt")
    page.get_by_role("button", name="Intervention").click()
    page.locator("#asked", has_text=f"Intervention of 500 draws: do({text})").wait_for(timeout=WAIT)
    assert page.locator("#x img").get_attribute("alt") != counterfactual
    assert "nine in ten draws" in page.locator("#interval").inner_text()
    # a row that is not there is said, and stops nothing
    page.locator("#row").fill("9999")
    page.locator("#warnings", has_text="got 9999. The page stays at").wait_for(timeout=WAIT)
    page.get_by_role("button", name="Counterfactual").click()
    page.locator("#asked", has_text="Counterfactual of observation").wait_for(timeout=WAIT)
    assert page.locator("#row").input_value() != "9999" and "9999" not in page.locator("#warnings").inner_text()


def test_a_typed_value_sets_a_variable(page: Any) -> None:
    page.locator("#exact-1").fill("0.125")
    page.keyboard.press("Enter")
    page.locator("#asked", has_text="do(z1 = 0.125)").wait_for(timeout=WAIT)
    assert float(page.locator("#slider-1").input_value()) == pytest.approx(0.125)
    drag(page, 1, 0.9)
    value_set(page, 1)
    page.wait_for_function(
        "() => Math.abs(document.querySelector('#exact-1').value - document.querySelector('#slider-1').value) < 1e-4"
    )
    assert "Most related: x" in page.locator("#related-1").inner_text()


def test_a_name_is_kept_and_shown_everywhere_and_a_bad_one_is_refused(page: Any, run: Path) -> None:
    (run / PAGE_FILE).touch()
    page.locator("#draw").click()
    page.locator("#pairs thead", has_text="z1").wait_for(timeout=WAIT)
    page.locator("#name-1").fill("shadow")
    page.keyboard.press("Enter")
    page.locator("#title-1", has_text="shadow").wait_for(timeout=WAIT)
    assert read_names(run / "names.json", 2) == ("z0", "shadow")
    assert "shadow" in page.locator("#graph").get_attribute("alt")
    page.locator("#named", has_text=f"variable 1 is shadow. lcm report {run} DATA").wait_for(timeout=WAIT)
    page.locator("#pairs thead", has_text="shadow").wait_for(timeout=WAIT)
    page.locator("#name-1").fill("a<b")
    page.keyboard.press("Enter")
    page.locator("#named", has_text="The name was not kept").wait_for(timeout=WAIT)
    assert read_names(run / "names.json", 2) == ("z0", "shadow")
    page.locator("#name-1").fill("")
    page.keyboard.press("Enter")
    page.locator("#title-1", has_text="z1").wait_for(timeout=WAIT)


def test_what_is_exported_is_what_is_on_the_page(page: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    drag(page, 1, 0.3)
    value_set(page, 1)
    files = {}
    for suffix in ("png", "svg", "csv", "py"):
        with page.expect_download(timeout=WAIT) as download:
            page.locator(f"#export-{suffix}").click()
        files[suffix] = Path(download.value.path()).read_bytes()
        assert download.value.suggested_filename == f"answer.{suffix}"
    assert files["png"].startswith(b"\x89PNG") and b"<svg" in files["svg"]
    held = float(value_set(page, 1).partition("= ")[2])
    rows = {row["name"]: row for row in csv.DictReader(io.StringIO(files["csv"].decode()))}
    assert float(rows["z1"]["after"]) == pytest.approx(held, rel=5e-3) and rows["z1"]["is_set"] == "1"
    monkeypatch.chdir(tmp_path)
    exec(compile(files["py"], "answer.py", "exec"), {})
    again = {row["name"]: row for row in csv.DictReader(io.StringIO(Path("answer.csv").read_text()))}
    assert float(again["x0"]["after"]) == pytest.approx(float(rows["x0"]["after"]), rel=1e-4)


def test_pairs_are_drawn_and_saved(page: Any) -> None:
    page.locator("#draw").click()
    page.locator("#pairs tbody tr").nth(5).wait_for(timeout=WAIT)
    first = page.locator("#pairs").inner_text()
    page.locator("#draw").click()
    page.wait_for_timeout(500)
    assert page.locator("#pairs").inner_text() != first
    with page.expect_download(timeout=WAIT) as download:
        page.locator("#pairs-file").click()
    assert len(Path(download.value.path()).read_text().splitlines()) == 1_001


def test_two_runs_stand_side_by_side(page: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = threading.Event()

    def held(*given: Any) -> Any:
        seen.wait(WAIT / 1_000)
        return find_isomorphism(*given)

    # the comparison ends when the page has said that it runs
    monkeypatch.setattr("lcm.app.explore.beside.find_isomorphism", held)
    page.locator("#compare").click()
    page.locator("#comparing", has_text="Comparing…").wait_for(timeout=WAIT)
    seen.set()
    page.locator("#beside", has_text="The two models").wait_for(timeout=3 * WAIT)
    assert "z0 ↔ z0" in page.locator("#beside").inner_text()


def test_tabs_share_nothing(page: Any, address: str) -> None:
    drag(page, 0, 0.8)
    held = page.locator("#asked", has_text="do(z0")
    held.wait_for(timeout=WAIT)
    other = opened(page.context, address)
    assert "nothing set" in other.locator("#asked").inner_text()
    drag(other, 1, 0.2)
    other.locator("#asked", has_text="do(z1").wait_for(timeout=WAIT)
    page.locator("#row").fill("4")
    page.locator("#asked", has_text="observation 4: do(z0").wait_for(timeout=WAIT)
    assert "z1 =" not in page.locator("#asked").inner_text() and "z0 =" not in other.locator("#asked").inner_text()
    assert other.problems == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_nothing_stands_in_the_way_of_anybody(scheme: str, browser: Any, address: str) -> None:
    context = browser.new_context(viewport={"width": 1280, "height": 900}, color_scheme=scheme)
    page = opened(context, address)
    drag(page, 0, 0.8)
    page.locator("#draw").click()
    page.locator("#pairs tbody tr").nth(5).wait_for(timeout=WAIT)
    page.evaluate(axe_text())
    found = page.evaluate("() => axe.run()")
    serious = [each for each in found["violations"] if each["impact"] in ("serious", "critical")]
    assert [(each["id"], [node["html"] for node in each["nodes"]]) for each in serious] == []
    context.close()


@pytest.mark.parametrize("width", [400, 720, 1030, 1300])
def test_numbers_of_x_are_whole_at_every_width(browser: Any, address: str, width: int) -> None:
    context = browser.new_context(viewport={"width": width, "height": 900})
    page = opened(context, address)
    page.locator("#exact-0").fill("-54321")
    page.keyboard.press("Enter")
    page.locator("#asked", has_text="do(z0").wait_for(timeout=WAIT)
    source = page.locator("#x img").get_attribute("src")
    box, card = (page.locator(part).bounding_box() for part in ("#x img", ".card.x"))
    assert box["x"] + box["width"] <= card["x"] + card["width"]
    inner = context.new_page()
    inner.goto(source)
    ends = inner.evaluate(
        """() => [...document.documentElement.querySelectorAll(':scope > text')].map((text) =>
          text.getBBox().x + text.getBBox().width - document.documentElement.viewBox.baseVal.width)"""
    )
    assert len(ends) == 2 and max(ends) <= 0
    context.close()


def test_a_narrow_page_does_not_scroll_sideways(browser: Any, address: str) -> None:
    context = browser.new_context(viewport={"width": 400, "height": 800})
    page = opened(context, address)
    page.locator("#draw").click()
    page.locator("#pairs tbody tr").nth(5).wait_for(timeout=WAIT)
    assert page.evaluate("() => document.documentElement.scrollWidth") <= 400
    context.close()


def test_the_command_opens_and_a_killed_server_is_noticed(browser: Any, run: Path) -> None:
    command = [sys.executable, "-m", "lcm", "explore", str(run), "--port", "0", "--no-browser"]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as served:
        assert served.stdout is not None
        address = served.stdout.readline().split(" ")[0]
        page = opened(browser.new_context(), address)
        assert "500 observations drawn from the model itself" in page.locator("header").inner_text()
        assert page.locator("#lost").is_hidden()
        served.kill()
        page.locator("#lost").wait_for(state="visible", timeout=WAIT)
        page.context.close()


def test_a_run_that_breaks_while_it_is_open_says_so_on_the_page(browser: Any, run: Path, tmp_path: Path) -> None:
    import shutil

    copy = Path(shutil.copytree(run, tmp_path / "run"))
    with open_socket(0) as listening:
        server = make_server(open_subject(copy), None, listening)
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        page = opened(browser.new_context(), f"http://127.0.0.1:{listening.getsockname()[1]}/")
        (copy / "run.json").write_text(json.dumps({"schema": 9}))
        page.locator("#name-0").fill("light")
        page.keyboard.press("Enter")
        page.locator("#named", has_text="schema: Expected version 2; got 9").wait_for(timeout=WAIT)
        page.context.close()
        server.shutdown()
        thread.join()
