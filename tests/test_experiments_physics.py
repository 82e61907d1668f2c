"""Instruments: laws of their physics, and the experiment that fits their readings."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy.integrate import solve_ivp
from test_chamber import MISSING, without_extra
from test_experiments import TINY, reproduce, results

from experiments._ceiling import CEILINGS, supervised_ceiling
from experiments._instruments import INSTRUMENTS, arm, photodiodes, polarisers, springs, tanks, wind_tunnel
from experiments._plot_instruments import draw_instruments
from experiments.physics import MODELS, draw_readings
from lcm.run.config import models

__all__ = ["without_extra"]

every_instrument = pytest.mark.parametrize("name", [name for name in INSTRUMENTS if INSTRUMENTS[name].is_installed])

pytestmark = pytest.mark.usefixtures("cheap_scores")


def settings(n: int, rows: int = 200) -> np.ndarray:
    return np.random.default_rng(0).uniform(0.02, 0.98, (rows, n))


@every_instrument
def test_readings_tell_every_setting_apart(name: str) -> None:
    instrument = INSTRUMENTS[name]
    values, step = settings(instrument.n), 1e-5
    readings = instrument.read(values)
    assert readings.shape[1] > instrument.n and np.isfinite(readings).all()
    slopes = [(instrument.read(values + step * axis) - readings) / step for axis in np.eye(instrument.n)]
    jacobian = np.stack(slopes, 2) / readings.std(0)[:, None]
    assert np.linalg.svd(jacobian, compute_uv=False)[:, -1].min() > 0.02
    apart = np.linalg.norm((readings[:, None] - readings) / readings.std(0), axis=2)
    assert apart[~np.eye(len(values), dtype=bool)].min() > 0.02


def test_the_links_of_the_arm_keep_their_lengths() -> None:
    markers = arm(settings(3)).reshape(-1, 5, 2)
    ends = np.concatenate([np.zeros((200, 1, 2)), markers[:, :3]], 1)
    np.testing.assert_allclose(np.linalg.norm(np.diff(ends, axis=1), axis=2), [[1.0, 0.8, 0.6]] * 200)
    np.testing.assert_allclose(2.0 * markers[:, 3], markers[:, 0])


def test_the_lamp_is_brightest_below_it_by_the_inverse_square() -> None:
    below = np.array([[0.5 + 1.0 / 3.6, 0.5 + 1.0 / 3.6, height] for height in (0.0, 1.0)])
    low, high = photodiodes(below)[:, 10]
    assert low / high == pytest.approx((1.5 / 0.7) ** 2)


def test_the_tanks_lose_what_flows_out() -> None:
    full = tanks(np.array([[0.5, 0.5, 0.5, 0.1], [0.5, 0.5, 0.5, 0.9]]))
    assert (full[1] > full[0]).all()
    steady = ((0.5 + 0.5) / (0.3 + 0.25)) ** 2
    assert abs(full[0, -2] - steady) < abs(full[0, 0] - steady)


def test_polarisers_pass_by_the_cosine_of_the_angle_between_them() -> None:
    # the second polariser is turned by 95° more than the first at equal settings, and by 90° here
    crossed = np.array([[1.0, 0.0, 0.0, 5.0 / 80.0, 0.0]])
    assert polarisers(crossed)[0, 4] == pytest.approx(0.11 * 0.90 * 0.03)
    assert polarisers(crossed)[0, 7:] == pytest.approx(np.radians([5.0, 95.0]))


def test_the_springs_follow_newtons_law() -> None:
    values = settings(4, rows=5)
    for row, readings in zip(values, springs(values).reshape(5, 4, 3), strict=True):
        first, second, third = 20.0 + 40.0 * row[:3]

        def motion(time: float, state: np.ndarray, k: tuple[float, ...] = (first, second, third)) -> np.ndarray:
            pulls = np.array([k[0], k[1], k[2]]) * np.diff(state[:3], prepend=0.0)
            return np.concatenate([state[3:], np.append(pulls[1:], 0.0) - pulls])

        start = np.array([0.02, -0.03, 0.05 + 0.1 * row[3], 0.0, 0.0, 0.0])
        found = solve_ivp(motion, (0.0, 0.4), start, t_eval=[0.1, 0.2, 0.3, 0.4], rtol=1e-10, atol=1e-12)
        np.testing.assert_allclose(readings, found.y[:3].T, atol=1e-8)


def test_the_hatch_of_the_wind_tunnel_shows_in_the_pressure_alone() -> None:
    pytest.importorskip("causalchamber", exc_type=ImportError)
    values = settings(3)
    moved = values.copy()
    moved[:, 2] = 1.0 - values[:, 2]
    readings, other = wind_tunnel(values), wind_tunnel(moved)
    assert (readings[:, 0] != other[:, 0]).all() and (readings[:, 1:] == other[:, 1:]).all()
    # the fan that blows in works more, so that the pressure is above that outside, and less so with an open hatch
    assert (readings[:, 0] > 101_325.0).all()
    assert ((readings[:, 0] > other[:, 0]) == (values[:, 2] < moved[:, 2])).all()


@pytest.mark.parametrize("name", [name for name, instrument in INSTRUMENTS.items() if instrument.needs_extra])
@pytest.mark.usefixtures("without_extra")
def test_an_instrument_without_its_simulator_is_an_error(name: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=f"{MISSING}causalchamber"):
        reproduce("physics", *TINY, "--instrument", name, "--out", str(tmp_path))


def test_figures_of_no_instruments_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="Expected one or more instruments; got none"):
        draw_instruments(tmp_path / "a.png", [])


def test_supervised_networks_reach_more_with_less_noise() -> None:
    low, high = (
        supervised_ceiling(*(draw_readings("arm", noise, 0, split, 2_000) for split in ("train", "test")))
        for noise in (0.01, 0.3)
    )
    for key in ("ceiling_mcc", "ceiling_accuracy"):
        assert 1.0 >= low[key] > high[key] + 0.02 > 0.02
    assert low["ceiling_mcc"] > 0.97 and low["ceiling_accuracy"] > 0.8


def test_networks_that_are_told_nothing_are_refused() -> None:
    blind = replace(draw_readings("arm", 0.0, 0, "train", 50), targets=None)
    with pytest.raises(RuntimeError, match="the pairs of an instrument hold their truth"):
        supervised_ceiling(blind, blind)


def test_noise_is_fresh_on_each_reading_and_a_share_of_each_column() -> None:
    exact, noisy = (draw_readings("arm", noise, 0, "train", 4_000) for noise in (0.0, 0.05))
    errors = [getattr(noisy, part) - getattr(exact, part) for part in ("x", "x_tilde")]
    for error in errors:
        np.testing.assert_allclose(error.std(0) / exact.x.std(0), 0.05, rtol=0.1)
    assert abs(np.corrcoef(errors[0].ravel(), errors[1].ravel())[0, 1]) < 0.03


def test_models_of_the_experiment_are_models_of_a_fit() -> None:
    assert MODELS[0] == "flow" and set(MODELS) <= set(models())


def test_the_experiment_runs_and_keeps_its_data(tmp_path: Path) -> None:
    argv = [*TINY, "--instrument", "arm", "--data-seeds", "1", "--n-told", "--out", str(tmp_path)]
    reproduce("physics", *argv, "--noise", "0.01", "--models", "flow", "linear")
    cells = results(tmp_path)["cells"]
    assert [(cell["noise"], cell["model"], cell["n"]) for cell in cells] == [(0.01, "flow", 3), (0.01, "linear", 3)]
    assert all(0.0 < cell[column.key] <= 1.0 for cell in cells for column in CEILINGS)
    assert "MCC, supervised" in (tmp_path / "results.md").read_text()
    assert [path.name for path in (tmp_path / "figures").iterdir()] == ["arm.png"]
    reproduce("physics", *argv, "--noise", "0", "--models", "linear")
    (exact,) = results(tmp_path)["cells"]
    assert exact["noise"] == 0.0 and not any(column.key in exact for column in CEILINGS)
    with pytest.raises(ValueError, match=r"train.safetensors: Expected 400 pairs; got 500. Choose another --out"):
        reproduce("physics", *argv, "--pairs", "400")
