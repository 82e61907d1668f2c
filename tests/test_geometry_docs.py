"""The examples of docs/geometry.md run, and the figure of a decoder is drawn."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
import torch
from laws import drawn_flow, generator, normal
from matplotlib.image import imread

from experiments._magnification import magnification_panel
from experiments._plot_geometry import MagnificationPanel, draw_magnification

pytestmark = pytest.mark.usefixtures("laid_out")

PAGE = Path(__file__).parent.parent / "docs" / "geometry.md"


def test_the_examples_of_the_page_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    blocks = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), flags=re.DOTALL)
    assert len(blocks) == 6
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {}
    for block in blocks:
        exec(block, names)
    lines = capsys.readouterr().out.splitlines()
    assert float(lines[-3]) > 0.5
    assert float(lines[-2]) < 1e-5
    assert lines[-1].startswith("torch.Size([2000, 3])")
    for figure in ("magnification.png", "circle.png"):
        assert (tmp_path / figure).stat().st_size > 10_000


def test_every_module_is_on_the_page() -> None:
    text = PAGE.read_text(encoding="utf-8")
    modules = {path.name for path in (PAGE.parent.parent / "lcm" / "geometry").glob("*.py")} - {"__init__.py"}
    named = set(re.findall(r"`(\w+\.py)`", text))
    assert named == modules


def panel(seed: int = 0, title: str = "a flow") -> MagnificationPanel:
    flow, z = drawn_flow(2, "affine", seed=seed), normal(300, 2, seed=seed)
    return magnification_panel(title, flow, z, (z[:3], z[3:6]), resolution=20)


@pytest.mark.parametrize("count", [1, 6])
def test_figures_of_several_decoders(count: int, tmp_path: Path) -> None:
    path = tmp_path / "magnification.png"
    draw_magnification(path, [panel(seed) for seed in range(count)])
    image = imread(path)
    assert image.shape[1] > 300 * min(count, 5)
    # colours, and not grey alone
    assert float(np.ptp(image[..., :3], axis=2).max()) > 0.3


def test_panels_hold_data_ends_and_curves() -> None:
    z = normal(400, 2)
    far = torch.tensor([[6.0, 0.0]])
    found = magnification_panel("far", drawn_flow(2, "affine"), z, (far, z[:1]), resolution=10)
    assert found.grid[0][-1] > 6.0 > found.grid[1][-1]
    assert found.magnification.shape == (10, 10)
    assert np.allclose(found.geodesics[0, 0], [6.0, 0.0], atol=1e-5)
    corner = torch.tensor([[found.grid[0][2], found.grid[1][7]]], dtype=torch.float32)
    expected = float(drawn_flow(2, "affine")(corner)[1].detach().exp())
    assert float(found.magnification[2, 7]) == pytest.approx(expected, rel=1e-4)


def test_a_constant_magnification_can_be_drawn(tmp_path: Path) -> None:
    z = normal(50, 2)
    flat = magnification_panel("flat", lambda rows: 2.0 * rows, z, (z[:2], z[2:4]), resolution=5)
    assert np.allclose(flat.magnification, 4.0)
    draw_magnification(tmp_path / "flat.png", [flat])
    assert (tmp_path / "flat.png").exists()


def test_wrong_panels_are_errors(tmp_path: Path) -> None:
    axis, points, curves = np.linspace(0, 1, 3), np.zeros((4, 2)), np.zeros((1, 5, 2))
    good = np.ones((3, 3))
    with pytest.raises(ValueError, match=r"Expected a magnification of shape \(3, 3\); got \(3, 2\)"):
        MagnificationPanel("", (axis, axis), good[:, :2], points, curves, curves)
    with pytest.raises(ValueError, match="Expected a magnification that is positive and finite everywhere"):
        MagnificationPanel("", (axis, axis), 0 * good, points, curves, curves)
    with pytest.raises(ValueError, match=r"Expected encodings of shape \(N, 2\); got \(4, 1\)"):
        MagnificationPanel("", (axis, axis), good, points[:, :1], curves, curves)
    with pytest.raises(
        ValueError, match=r"Expected curves of equal shape \(P, T, 2\); got \(1, 5, 2\) and \(1, 4, 2\)"
    ):
        MagnificationPanel("", (axis, axis), good, points, curves, curves[:, :4])
    with pytest.raises(ValueError, match="Expected at least one panel; got none"):
        draw_magnification(tmp_path / "none.png", [])
    with pytest.raises(ValueError, match=r"Expected encodings of shape \(N, 2\); got \(5, 3\)"):
        magnification_panel("", drawn_flow(3, "affine"), torch.randn(5, 3, generator=generator()), (points, points))
