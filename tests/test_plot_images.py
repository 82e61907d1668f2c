"""Figures of images: which pairs are shown, and what is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from command_line import called
from matplotlib.image import imread
from small_images import image_pairs

from lcm.data.pairs import PairData
from lcm.report import images
from lcm.report.images import difference, draw_contact_sheet, draw_image_grid

pytestmark = pytest.mark.usefixtures("laid_out")


def test_every_target_is_shown_in_turn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data, seen = image_pairs(60), []
    monkeypatch.setattr(images, "draw_image_grid", lambda *arguments: seen.append(arguments))
    draw_contact_sheet(tmp_path / "pairs.png", data, rows=6)
    _, shown, rows, columns = seen[0]
    assert sorted(rows[:3]) == ["$z_{0}$", "$z_{1}$", "none"] and rows[:3] == rows[3:]
    assert columns[:2] == ["x", "x̃"] and shown.shape == (6, 3, 16, 16, 3)
    unchanged = shown[rows.index("none")]
    assert np.array_equal(unchanged[0], unchanged[1]) and (unchanged[2] == 127).all()


def test_names_of_variables_are_those_of_the_scene(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data, seen = image_pairs(60), []
    monkeypatch.setattr(images, "draw_image_grid", lambda *arguments: seen.append(arguments))
    named = PairData.from_arrays(
        data.x, data.x_tilde, targets=data.targets, metadata={"variables": '["patch", "spot"]'}
    )
    draw_contact_sheet(tmp_path / "pairs.png", named, rows=3)
    assert sorted(seen[0][2]) == ["none", "patch", "spot"]


def test_without_targets_the_first_pairs_are_shown(tmp_path: Path) -> None:
    data = image_pairs(5)
    draw_contact_sheet(tmp_path / "pairs.png", PairData.from_arrays(data.x, data.x_tilde))
    assert imread(tmp_path / "pairs.png").shape[0] > 300


def test_a_difference_is_signed_about_grey() -> None:
    before = np.full((1, 2, 2, 1), 100, np.uint8)
    after = before.copy()
    after[0, 0, 0], after[0, 1, 1] = 110, 0
    found = difference(before, after)[0, :, :, 0]
    assert found[0, 0] == 157 and found[1, 1] == 0 and found[0, 1] == 127


def test_vectors_are_no_images(tmp_path: Path) -> None:
    data = PairData.from_arrays([[1.0, 2.0], [3.0, 4.0]], [[1.0, 2.5], [3.0, 4.0]])
    with pytest.raises(ValueError, match=r"x: Expected images \(N, H, W, C\); got shape \(2, 2\)"):
        draw_contact_sheet(tmp_path / "pairs.png", data)


def test_labels_are_as_many_as_rows_and_columns(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"Expected images \(R, C, …\) of 1 rows, 2 columns; got \(1, 3, 4, 4, 3\)"):
        draw_image_grid(tmp_path / "grid.png", np.zeros((1, 3, 4, 4, 3), np.uint8), ["a"], ["b", "c"])


def test_a_check_draws_vectors_as_arrows(data_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "figure: " in called(capsys, "check", data_file, "--figure", tmp_path / "pairs.png")
    assert (tmp_path / "pairs.png").exists()
