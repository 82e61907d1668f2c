"""The number of variables from what x and x̃ share: counts, regressions, and the numbers that are left open."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from small import SHORT, small_data

import lcm
from lcm.app.cli import main
from lcm.data.shared_variation import SharedVariation, shared_directions
from lcm.data.variable_count import DimensionEvidence, neighbour_dimension
from lcm.run.injective import folded_share
from lcm.run.runs import load_run

Array = NDArray[np.float64]


def pairs(n: int, d: int, noise: float, curved: bool, count: int = 5_000) -> lcm.PairData:
    """Independent variables, each the target as often as any other, in d columns with noise on each."""
    rng = np.random.default_rng([n, d, int(curved)])
    z, target = rng.standard_normal((count, n)), rng.integers(n + 1, size=(count, 1)) == np.arange(n)
    z_tilde = np.where(target, rng.standard_normal((count, n)), z)
    mixing, inner, outer = (rng.standard_normal(shape) for shape in ((n, d), (n, d), (d, d)))

    def read(values: Array) -> Array:
        x = values @ mixing + (2.0 * np.tanh(values @ inner / np.sqrt(n)) @ outer / np.sqrt(d) if curved else 0.0)
        return np.asarray(x + noise * rng.standard_normal(x.shape))

    return lcm.PairData.from_arrays(read(z), read(z_tilde))


@pytest.mark.parametrize("noise", [0.0, 0.05])
@pytest.mark.parametrize(("n", "extra"), [(1, 2), (2, 0), (2, 1), (3, 1), (5, 1), (5, 5), (8, 1)])
def test_noise_of_a_single_spare_column_is_told_from_a_variable(n: int, extra: int, noise: float) -> None:
    data = pairs(n, n + extra, noise, curved=False)
    assert data.estimated_n == data.spectrum.shared.correlated == n
    assert n in data.dimension_evidence.plausible


@pytest.mark.parametrize("noise", [0.0, 0.02])
@pytest.mark.parametrize(("n", "d"), [(2, 3), (2, 6), (3, 6), (4, 6), (6, 12)])
def test_functions_of_the_variables_are_no_further_variables(n: int, d: int, noise: float) -> None:
    data = pairs(n, d, noise, curved=True, count=10_000)
    assert data.spectrum.shared.correlated > n
    assert data.estimated_n == n


def test_what_a_missing_variable_leaves_is_common_to_both_observations_and_noise_is_not() -> None:
    variation = pairs(3, 6, 0.1, curved=True, count=20_000).spectrum.variation
    assert variation.unexplained(2).mean > 0.4
    assert variation.unexplained(3).mean < 0.1
    assert variation.unexplained(3).largest < 0.3


def test_directions_are_counted_by_correlation_by_stillness_and_by_their_squares() -> None:
    rng = np.random.default_rng(0)
    first, second = rng.standard_normal((2, 8_000))
    fresh = rng.standard_normal(8_000)
    # of a product, one factor is drawn again: uncorrelated, but not independent
    before = np.stack([first, first * second, rng.standard_normal(8_000)], 1)
    after = np.stack([first, first * fresh, rng.standard_normal(8_000)], 1)
    assert shared_directions(before, after, 1e-12) == (1, 2)
    still = np.where(rng.random(8_000) < 0.1, fresh, rng.standard_normal(8_000))
    assert shared_directions(fresh[:, None], still[:, None], 1e-12).correlated == 1
    assert shared_directions(before[:10], after[:10], 1e-12) == (0, 0)


def test_no_direction_is_left_to_explain_once_all_are_taken() -> None:
    rows = np.random.default_rng(0).standard_normal((500, 2))
    assert SharedVariation.of(rows, rows, 2).unexplained(1).mean == pytest.approx(1.0, abs=0.3)


@pytest.mark.parametrize("k", [1, 2, 3])
def test_distances_of_neighbours_give_the_dimension(k: int) -> None:
    rng = np.random.default_rng(k)
    rows = np.tanh(rng.random((20_000, k)) @ rng.standard_normal((k, 6)))
    assert neighbour_dimension(rows) == pytest.approx(k, abs=0.15)
    assert neighbour_dimension(np.repeat(rows[:2_000], 3, 0)) == pytest.approx(k, abs=0.3)
    assert neighbour_dimension(rows[:20]) == 0.0


def test_the_nearest_plausible_numbers_come_in_order() -> None:
    evidence = DimensionEvidence(4, 5.6, 9, (2, 3, 4, 5, 6))
    assert evidence.nearest(3) == (3, 4, 5)
    assert evidence.nearest(9) == (2, 3, 4, 5, 6)


@pytest.mark.usefixtures("laid_out")
def test_auto_keeps_the_likeliest_of_the_plausible_numbers(
    tmp_path: Path, figures: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lcm.run.fitting.plausible_n", lambda data, config: (1, 2))
    data = pairs(2, 4, 0.1, curved=False, count=1_500)
    result = lcm.fit(data, config=replace(SHORT, n="auto"), out=tmp_path / "run", quiet=True)
    assert [n for n, _ in result.tried] == [1, 2]
    assert result.held_out_nll == min(nll for _, nll in result.tried)
    assert result.config.n == "auto"
    assert (tmp_path / "run" / "figures" / "number_of_variables.png").stat().st_size > 10_000
    assert "the likeliest of 2 fits" in (tmp_path / "run" / "report.md").read_text()
    stored = load_run(tmp_path / "run").result()
    assert [n for n, _ in stored.tried] == [1, 2]
    assert [nll for _, nll in stored.tried] == pytest.approx([nll for _, nll in result.tried])
    assert json.loads((tmp_path / "run" / "fit.json").read_text())["n_given"] is False


def test_auto_is_for_the_default_model_of_vectors() -> None:
    with pytest.raises(ValueError, match=r"n: Expected a number, or null, for the model linear; got auto\."):
        lcm.FitConfig(model="linear", n="auto")
    images = np.zeros((200, 32, 32, 3), np.uint8)
    images[:, 0, 0, 0] = np.arange(200)
    data = lcm.PairData.from_arrays(images, images[::-1])
    with pytest.raises(ValueError, match=r"n: Expected a number, or null, for images; got auto\."):
        lcm.fit(data, config=lcm.FitConfig(n="auto"), quiet=True)


@pytest.mark.usefixtures("laid_out")
def test_check_draws_the_evidence_of_vectors(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lcm.save_pairs(tmp_path / "pairs.npz", pairs(2, 4, 0.1, curved=True))
    figure = tmp_path / "n.png"
    assert main(["check", str(tmp_path / "pairs.npz"), "--evidence", str(figure)]) == 0
    assert figure.stat().st_size > 10_000
    said = capsys.readouterr().out
    assert "n = 2: the 4 columns of x lie on a sheet of 2 dimensions that bends into " in said
    plausible = lcm.load_pairs(tmp_path / "pairs.npz").dimension_evidence.plausible
    assert ("; plausible: " if len(plausible) > 1 else "; no other number is plausible") in said


def test_check_draws_no_evidence_of_images(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    images = np.random.default_rng(0).integers(256, size=(60, 16, 16, 3), dtype=np.uint8)
    lcm.save_pairs(tmp_path / "images.npz", lcm.PairData.from_arrays(images, images[::-1]))
    assert main(["check", str(tmp_path / "images.npz"), "--evidence", str(tmp_path / "n.png")]) == 2
    assert "--evidence: Expected vectors; got images" in capsys.readouterr().err
    assert not (tmp_path / "n.png").exists()


def test_a_projection_that_folds_the_sheet_is_doubted() -> None:
    rng = np.random.default_rng(0)
    angle = rng.uniform(0.0, 2.0 * np.pi, (4_000, 1))
    moved = np.where(rng.random((4_000, 1)) < 0.8, rng.uniform(0.0, 2.0 * np.pi, (4_000, 1)), angle)
    x, x_tilde = (np.concatenate([3.0 * np.cos(part), np.sin(part), np.sin(2.0 * part)], 1) for part in (angle, moved))
    data = lcm.PairData.from_arrays(x, x_tilde)
    result = lcm.fit(data, config=lcm.FitConfig(model="linear", n=1), quiet=True)
    assert folded_share(result, data) > 0.5
    assert any(doubt.startswith("A code that tells points apart") for doubt in result.doubts)
    flat, mixing = small_data("linear", 2_000), rng.standard_normal((2, 4))
    wide = lcm.PairData.from_arrays(*(part @ mixing for part in (flat.x, flat.x_tilde)))
    assert folded_share(lcm.fit(wide, model="linear", quiet=True), wide) < 0.1
