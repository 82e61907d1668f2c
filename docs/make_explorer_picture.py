"""Draw docs/figures/explorer.gif: an observation, a variable that is dragged, its effects, and x.

    .venv/bin/python docs/make_explorer_picture.py

It fits data/sample.safetensors, opens `lcm explore` on the run in headless Chromium, and prints how long that took.
"""

from __future__ import annotations

import io
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from PIL import Image

ROOT = Path(__file__).parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]
import browser  # noqa: E402

import lcm  # noqa: E402

PICTURE = ROOT / "docs" / "figures" / "explorer.gif"
SIZE = {"width": 1180, "height": 790}
NAMES = {0: "light", 1: "sun", 2: "shade"}
REDRAWN = 30
_TIMES = """async () => {
  const slider = document.getElementById("slider-0"), found = [];
  const set = Object.getOwnPropertyDescriptor(HTMLInputElement.prototype, "value").set;
  const shown = () => document.querySelector("#x img").src;
  for (let k = 0; k < %d; k++) {
    const before = shown(), start = performance.now();
    set.call(slider, +slider.min + (0.2 + 0.02 * k) * (slider.max - slider.min));
    slider.dispatchEvent(new Event("input", { bubbles: true }));
    while (shown() === before) await new Promise(requestAnimationFrame);
    found.push(performance.now() - start);
    await new Promise(done => setTimeout(done, 50));
  }
  return found.sort((a, b) => a - b);
}"""


def main() -> None:
    """Draw the picture and print the times."""
    with tempfile.TemporaryDirectory() as folder, browser.opened_browser() as chromium:
        data = Path(shutil.copy(ROOT / "data" / "sample.safetensors", folder)).name
        result = lcm.refit(lcm.fit(f"{folder}/{data}", model="linear", quiet=True), quiet=True)
        lcm.save(result.named(NAMES), f"{folder}/run")
        started = time.perf_counter()
        command = [sys.executable, "-m", "lcm", "explore", "run", "--data", data, "--port", "0", "--no-browser"]
        where = {**os.environ, "PYTHONPATH": str(ROOT)}
        with subprocess.Popen(command, cwd=folder, env=where, stdout=subprocess.PIPE, text=True) as served:
            try:
                address = served.stdout.readline().split(" ")[0] if served.stdout else ""
                page = chromium.new_page(viewport=SIZE)
                page.goto(address)
                page.locator("#asked:not(:empty)").wait_for()
                print(f"from the command to the page: {time.perf_counter() - started:.1f} s")
                frames = _frames(page)
                times = page.evaluate(_TIMES % REDRAWN)
                middle, most = times[REDRAWN // 2], times[-1]
                print(f"from the hand to the picture: {middle:.0f} ms in the median, {most:.0f} ms at most")
            finally:
                served.kill()
    _write(frames)


def _frames(page: Any) -> list[Image.Image]:
    """The page while an observation is picked and its first variable is dragged there and back."""
    frames = [_photograph(page)] * 4
    page.locator("#row").fill("12")
    page.locator("#asked", has_text="observation 12").wait_for()
    slider = page.locator("#slider-1")
    slider.scroll_into_view_if_needed()
    frames += [_photograph(page)] * 4
    box = slider.bounding_box()
    height, shares = (
        box["y"] + box["height"] / 2,
        [0.5, 0.55, 0.6, 0.65, 0.7, 0.75, 0.8, 0.82, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.25],
    )
    page.mouse.move(box["x"] + 0.5 * box["width"], height)
    page.mouse.down()
    for share in shares:
        page.mouse.move(box["x"] + share * box["width"], height)
        page.wait_for_timeout(200)
        frames.append(_photograph(page))
    page.mouse.up()
    for _ in range(6):
        page.wait_for_timeout(120)
        frames.append(_photograph(page))
    return frames


def _photograph(page: Any) -> Image.Image:
    return Image.open(io.BytesIO(page.screenshot())).convert("RGB")


def _write(frames: list[Image.Image]) -> None:
    first, *rest = [frame.quantize(128, dither=Image.Dither.NONE) for frame in frames]
    PICTURE.parent.mkdir(exist_ok=True)
    first.save(PICTURE, save_all=True, append_images=rest, duration=220, loop=0, optimize=True)
    print(f"{PICTURE}: {PICTURE.stat().st_size / 1e6:.2f} MB, {len(frames)} frames")


if __name__ == "__main__":
    main()
