"""Scenes by a formula: the light tunnel as its camera sees it, and one of one's own, without MuJoCo."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
from test_chamber import MISSING, extra, without_extra

from lcm.data.data_set import GenerateConfig, SplitConfig, generate
from lcm.data.nature.config import NatureConfig
from lcm.data.pair_files import load_pairs
from lcm.data.scene.render import Painter, render_blocks
from lcm.data.scene.scene import SceneConfig

__all__ = ["extra", "without_extra"]

LAMPS = ("red", "green", "blue")
OWN_SCENE = """
import numpy as np

from lcm.data.scene.scene import FormulaScene


class Grey(FormulaScene):
    parameters = {"level": 0.5}

    def image(self, values, pixels):
        return np.full((pixels, pixels, 3), round(255 * values["level"]), np.uint8)
"""


def resting(**values: float) -> dict[str, float]:
    return {**dict.fromkeys((*LAMPS, "pol_1", "pol_2"), 0.5), **values}


@pytest.mark.usefixtures("extra")
def test_every_lamp_shows_over_its_whole_range() -> None:
    painter = Painter("light-tunnel", 16, 2)
    for lamp in LAMPS:
        images = [painter.draw(resting(**{lamp: value})).astype(int) for value in np.linspace(0.02, 0.98, 20)]
        assert np.abs(np.diff(images, axis=0)).reshape(19, -1).max(1).min() >= 4
    bright, dark = (painter.draw(resting(**dict.fromkeys(LAMPS, value))) for value in (1.0, 0.0))
    assert 240 <= bright.max() < 255 and not dark.any()


@pytest.mark.usefixtures("extra")
def test_polarisers_show_by_the_angle_between_them_alone() -> None:
    painter = Painter("light-tunnel", 16, 1)
    parallel, crossed = painter.draw(resting()), painter.draw(resting(pol_1=1.0))
    assert not np.array_equal(parallel, crossed) and crossed.max() < parallel.max()
    assert np.array_equal(painter.draw(resting(pol_1=0.7, pol_2=0.7)), parallel)
    one, exchanged = painter.draw(resting(pol_1=0.6, pol_2=0.3)), painter.draw(resting(pol_1=0.3, pol_2=0.6))
    assert np.array_equal(one, exchanged) and not np.array_equal(one, parallel)


@pytest.mark.usefixtures("extra")
def test_supersampling_averages_pixels_of_a_formula() -> None:
    large, small = (Painter("light-tunnel", size, factor).draw(resting()) for size, factor in ((32, 1), (16, 2)))
    expected = large.astype(float).reshape(16, 2, 16, 2, 3).mean((1, 3))
    assert np.abs(small - expected).max() <= 0.5


@pytest.mark.usefixtures("extra")
def test_pairs_of_images_of_the_light_tunnel(tmp_path: Path) -> None:
    config = GenerateConfig(NatureConfig(3), SplitConfig(20, 4, 4), scene=SceneConfig("light-tunnel", size=16))
    generate(config, tmp_path / "data", processes=1)
    data = load_pairs(tmp_path / "data" / "train.safetensors")
    assert data.x.shape == (20, 16, 16, 3) and data.x.dtype == np.uint8 and data.targets is not None
    changed = (data.x != data.x_tilde).any((1, 2, 3))
    assert not changed[~data.targets.any(1)].any() and changed[data.targets.any(1)].mean() > 0.8


@pytest.mark.usefixtures("without_extra")
def test_without_the_extra_no_process_starts() -> None:
    with pytest.raises(ValueError, match=f"{MISSING}causalchamber"):
        next(render_blocks("light-tunnel", LAMPS, 16, 1, [np.full((1, 3), 0.5)], 2))


def test_a_formula_of_ones_own_needs_no_simulator(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "mujoco", None)
    (tmp_path / "grey.py").write_text(OWN_SCENE)
    blocks = render_blocks(f"{tmp_path / 'grey.py'}:Grey", ["level"], 16, 2, [np.array([[0.2], [0.8]])], 1)
    (images,) = blocks
    assert images.reshape(2, -1).max(1).tolist() == images.reshape(2, -1).min(1).tolist() == [51, 204]
