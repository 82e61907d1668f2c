"""Instruments: laws of their physics, and the experiment that fits their readings."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from test_experiments import TINY, reproduce, results

from experiments._instruments import INSTRUMENTS, arm, photodiodes, polarisers, tanks
from experiments.physics import draw_readings

every_instrument = pytest.mark.parametrize("name", INSTRUMENTS)


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


def test_noise_is_fresh_on_each_reading_and_a_share_of_each_column() -> None:
    exact, noisy = (draw_readings("arm", noise, 0, "train", 4_000) for noise in (0.0, 0.05))
    errors = [getattr(noisy, part) - getattr(exact, part) for part in ("x", "x_tilde")]
    for error in errors:
        np.testing.assert_allclose(error.std(0) / exact.x.std(0), 0.05, rtol=0.1)
    assert abs(np.corrcoef(errors[0].ravel(), errors[1].ravel())[0, 1]) < 0.03


def test_the_experiment_runs_and_keeps_its_data(tmp_path: Path) -> None:
    argv = [*TINY, "--instrument", "tanks", "--noise", "0.01", "--data-seeds", "1", "--told", "--out", str(tmp_path)]
    reproduce("physics", *argv)
    (cell,) = results(tmp_path)["cells"]
    assert (cell["instrument"], cell["noise"], cell["n"]) == ("tanks", 0.01, 4)
    with pytest.raises(ValueError, match=r"train.safetensors: Expected 400 pairs; got 500. Choose another --out"):
        reproduce("physics", *argv, "--pairs", "400")
