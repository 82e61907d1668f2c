"""Scenes: every variable can be seen over its whole range, equal values give equal bytes, and what is refused."""

from __future__ import annotations

import ctypes.util
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lcm.data.scene import render
from lcm.data.scene.render import Painter, choose_library, render_blocks
from lcm.data.scene.scene import SCENE_HOMES, Scene, find_scene

needs_graphics = pytest.mark.skipif(
    not any(ctypes.util.find_library(name) for name in ("EGL", "OSMesa")), reason="neither EGL nor OSMesa is installed"
)

# scenes by a formula: tests/test_chamber.py
MUJOCO_SCENES = [kind for kind in SCENE_HOMES if issubclass(find_scene(kind), Scene)]

OWN_SCENE = '''
from lcm.data.scene.scene import Scene


class Slider(Scene):
    parameters = {"place": 0.5}

    def xml(self):
        return """<mujoco><worldbody><camera name="camera" pos="0 0 3" fovy="60"/><light pos="0 0 3"/>
          <body><joint name="slide" type="slide" axis="1 0 0"/><geom type="box" size=".4 .4 .1"/></body>
        </worldbody></mujoco>"""

    def place(self, model, data, values):
        data.joint("slide").qpos[0] = 2 * values["place"] - 1
'''


@pytest.fixture(scope="module")
def painters() -> dict[str, Painter]:
    return {kind: Painter(kind, 32, 2) for kind in MUJOCO_SCENES}


@needs_graphics
@pytest.mark.parametrize("kind", MUJOCO_SCENES)
def test_every_parameter_shows_over_its_whole_range(kind: str, painters: dict[str, Painter]) -> None:
    """A step of a twentieth anywhere changes some pixel by ten levels or more, whatever the others are."""
    painter, generator = painters[kind], np.random.default_rng(0)
    names = list(painter.scene.parameters)
    for others in generator.uniform(0.1, 0.9, size=(3, len(names))):
        base = dict(zip(names, others.tolist(), strict=True))
        for name in names:
            images = [painter.draw({**base, name: value}).astype(int) for value in np.linspace(0.02, 0.98, 20)]
            steps = np.abs(np.diff(images, axis=0)).reshape(19, -1).max(1)
            assert steps.min() >= 5, (name, steps)
            assert np.median(steps) >= 10, (name, steps)


@needs_graphics
@pytest.mark.parametrize("light", ["red", "green", "blue"])
def test_a_light_shows_where_the_arm_is_in_front_of_it(light: str, painters: dict[str, Painter]) -> None:
    position = {"red": 0.2, "green": 0.5, "blue": 0.8}[light]
    dark, bright = (painters["circuit"].draw(_circuit(arm=position, **{light: value})) for value in (0.3, 0.5))
    changed = np.abs(bright.astype(int) - dark).max(2) >= 3
    assert changed.sum() > 40


def _circuit(**values: float) -> dict[str, float]:
    return {"red": 0.5, "green": 0.5, "blue": 0.5, "arm": 0.5, **values}


@needs_graphics
def test_an_image_depends_on_its_values_alone(painters: dict[str, Painter]) -> None:
    painter = painters["objects"]
    names = list(painter.scene.parameters)
    values = np.random.default_rng(1).uniform(size=(6, len(names)))
    first = [painter.draw(dict(zip(names, row, strict=True))) for row in values.tolist()]
    again = [painter.draw(dict(zip(names, row, strict=True))) for row in values[::-1].tolist()][::-1]
    assert all(np.array_equal(*pair) for pair in zip(first, again, strict=True))
    assert not np.array_equal(first[0], first[1])


@needs_graphics
def test_several_processes_draw_what_one_does(tmp_path: Path) -> None:
    values = np.random.default_rng(0).uniform(size=(10, 2))
    blocks = np.array_split(values, 5)
    one, two = (list(render_blocks("circuit", ["arm", "red"], 16, 1, blocks, processes)) for processes in (1, 2))
    assert [part.shape for part in one] == [(2, 16, 16, 3)] * 5
    assert all(np.array_equal(*pair) for pair in zip(one, two, strict=True))


@needs_graphics
def test_a_scene_of_ones_own_is_one_file(tmp_path: Path) -> None:
    file = tmp_path / "slider.py"
    file.write_text(OWN_SCENE)
    kind = f"{file}:Slider"
    (images,) = render_blocks(kind, ["place"], 16, 2, [np.array([[0.1], [0.9]])], 1)
    columns = [np.abs(image.astype(int) - image.min()).sum((0, 2)).argmax() for image in images]
    assert columns[0] < 8 <= columns[1]


@needs_graphics
def test_supersampling_averages_pixels() -> None:
    sharp, smooth = (Painter("circuit", size, factor) for size, factor in ((64, 1), (32, 2)))
    values = _circuit(arm=0.3)
    large = sharp.draw(values).astype(float)
    expected = large.reshape(32, 2, 32, 2, 3).mean((1, 3))
    assert np.abs(smooth.draw(values) - expected).max() <= 0.5


REFUSED = {
    "unknown": ("room", r"scene.kind: Expected one of circuit, objects, light-tunnel, or FILE.py:CLASS; got 'room'"),
    "missing file": ("nothing.py:Room", r"scene.kind: Expected a file with a scene; got 'nothing.py'"),
}


@pytest.mark.parametrize("case", REFUSED.values(), ids=REFUSED)
def test_scenes_that_are_not_there_are_refused(case: tuple[str, str]) -> None:
    with pytest.raises(ValueError, match=case[1]):
        find_scene(case[0])


def test_a_file_without_the_scene_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "slider.py"
    file.write_text(OWN_SCENE + "\nclass Other: pass\n")
    with pytest.raises(ValueError, match=r"scene.kind: Expected a class Room in .*slider.py; got none"):
        find_scene(f"{file}:Room")
    with pytest.raises(ValueError, match=r"scene.kind: Expected a subclass of .*Scene; got '.*:Other'"):
        find_scene(f"{file}:Other")
    assert issubclass(find_scene(f"{file}:Slider"), Scene)


def test_without_a_library_to_draw_with_the_error_names_the_packages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MUJOCO_GL", raising=False)
    monkeypatch.setattr(ctypes.util, "find_library", lambda _: None)
    with pytest.raises(ValueError, match=r"Expected EGL or OSMesa.*; got neither \(apt-get install libegl1"):
        choose_library()


def test_a_library_that_was_chosen_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MUJOCO_GL", "osmesa")
    assert choose_library() == "osmesa"


def test_without_the_extra_the_error_names_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "mujoco", None)
    with pytest.raises(ValueError, match=r"Expected the extra `images`.*got no mujoco"):
        Painter("circuit", 16, 1)


def test_a_library_that_fails_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    class Broken:
        def __getattr__(self, name: str) -> Any:
            if name == "Renderer":
                raise RuntimeError("no context")
            return getattr(real, name)

    real = pytest.importorskip("mujoco")
    monkeypatch.setattr(render, "_import_mujoco", lambda: Broken())
    with pytest.raises(ValueError, match=r"Expected EGL or OSMesa.*fails: no context \(apt-get install"):
        Painter("circuit", 16, 1)
