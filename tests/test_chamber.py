"""The light tunnel: its simulator as a decoder, which readings tell its actuators apart, and what the extra is for.

The laws of decoders hold for it too (tests/test_decoder.py).
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from command_line import called, refused
from laws import normal

from lcm.base.config import load_config
from lcm.data.data_set import GenerateConfig
from lcm.data.nature.config import NatureConfig
from lcm.data.pair_files import load_pairs
from lcm.model.chamber import (
    ACTUATORS,
    FIXED,
    PARAMETERS,
    SENSORS,
    Values,
    import_simulators,
    run_simulator,
    simulate_light_tunnel,
)
from lcm.model.decoder import LightTunnelDecoder, LightTunnelDecoderConfig
from lcm.model.latent_causal_model import LatentCausalModel
from lcm.model.storage import load_model

CONFIGS = Path(__file__).parent.parent / "paper_configs"
MISSING = (
    r"Expected the extra `chamber` for the causal chambers \(pip install 'latent-causal-models\[chamber\]'\); got no "
)
every_size = pytest.mark.parametrize("n", [5, 6, 7])


@pytest.fixture
def extra() -> None:
    pytest.importorskip("causalchamber", exc_type=ImportError)


@pytest.fixture
def without_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    forget(monkeypatch)
    monkeypatch.setitem(sys.modules, "causalchamber", None)


def forget(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(sys.modules):
        if name.partition(".")[0] == "causalchamber":
            monkeypatch.delitem(sys.modules, name)


def drawn(rows: int, n: int, seed: int = 0) -> Values:
    return np.random.default_rng(seed).uniform(0.02, 0.98, (rows, n))


def slopes(read: Callable[[Values], Values], settings: Values, step: float = 1e-5) -> Values:
    """Derivatives (N, d, n) by central differences."""
    sides = [
        (read(settings + step * axis) - read(settings - step * axis)) / (2.0 * step)
        for axis in np.eye(settings.shape[1])
    ]
    return np.stack(sides, 2)


@pytest.mark.usefixtures("without_extra")
def test_without_the_extra_the_error_names_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for make in (
        lambda: import_simulators("wt"),
        lambda: LightTunnelDecoder(5),
        lambda: simulate_light_tunnel(drawn(2, 5)),
    ):
        with pytest.raises(ValueError, match=f"{MISSING}causalchamber"):
            make()
    line = refused(capsys, "generate", CONFIGS / "light_tunnel.yaml", "--out", tmp_path / "data")
    assert "got no causalchamber" in line and not (tmp_path / "data").exists()


def test_a_package_that_the_extra_needs_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(ValueError, match=f"{MISSING}pandas"):
        import_simulators("lt")


@pytest.mark.usefixtures("extra")
def test_nothing_is_printed_where_the_simulators_are_imported(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    forget(monkeypatch)
    assert import_simulators("lt").Deterministic and capsys.readouterr() == ("", "")


@pytest.mark.parametrize("n", [4, 8])
def test_other_numbers_of_variables_are_refused(n: int) -> None:
    with pytest.raises(ValueError, match=f"Expected 5 to 7 variables for the light tunnel; got {n}"):
        LightTunnelDecoder(n)
    with pytest.raises(ValueError, match=f"^n: Expected 5 to 7 for a decoder of kind light-tunnel; got {n}"):
        NatureConfig(n, decoder=LightTunnelDecoderConfig())


def test_there_is_no_other_number_of_sensors() -> None:
    with pytest.raises(ValueError, match="dim_x: Expected none for the 9 sensors of the light tunnel; got 12"):
        LightTunnelDecoderConfig(dim_x=12)
    assert LightTunnelDecoderConfig().dimension(5) == len(SENSORS) == 9


@every_size
@pytest.mark.usefixtures("extra", "float64")
def test_the_readings_are_those_of_the_simulator(n: int) -> None:
    z = normal(100, n, scale=2.0)
    simulated = torch.from_numpy(simulate_light_tunnel(torch.sigmoid(z).numpy()))
    assert torch.allclose(LightTunnelDecoder(n).decode(z), simulated, rtol=1e-12)


@pytest.mark.usefixtures("extra")
def test_settings_fill_the_ranges_of_the_actuators() -> None:
    seven = simulate_light_tunnel(np.stack([np.zeros(7), np.ones(7)]))
    ends = [{name: bounds[k] for name, bounds in ACTUATORS.items()} for k in (0, 1)]
    lit = import_simulators("lt").Deterministic(**{key: np.array(value) for key, value in PARAMETERS.items()})
    for row, actuators in zip(seven, ends, strict=True):
        np.testing.assert_allclose(run_simulator(lit, {**FIXED, **actuators}, 1)[0], row)
    # the exposures that no variable drives are the longest
    np.testing.assert_allclose(simulate_light_tunnel(np.ones((1, 5)))[0], seven[1])


@every_size
@pytest.mark.usefixtures("extra", "float64")
def test_derivatives_of_the_formula_are_those_of_the_simulator(n: int) -> None:
    settings = drawn(30, n)
    exact = LightTunnelDecoder(n).jacobian(torch.logit(torch.from_numpy(settings)))
    found = slopes(simulate_light_tunnel, settings)
    scale = np.abs(found).max((0, 2), keepdims=True)
    np.testing.assert_allclose(exact.numpy() / scale, found / scale, atol=1e-7)


VIEWS = {
    # name: sensors, and how many directions of the five actuators they show
    "all": (SENSORS, 5),
    "without the current": (tuple(name for name in SENSORS if name != "current"), 5),
    "without angles": (SENSORS[:7], 4),
    "third sensor": (("ir_3", "vis_3"), 2),
}


@pytest.mark.usefixtures("extra")
@pytest.mark.parametrize("view", VIEWS)
def test_what_sensors_show_of_the_actuators(view: str) -> None:
    sensors, directions = VIEWS[view]
    readings = simulate_light_tunnel(drawn(100, 5))
    jacobian = slopes(simulate_light_tunnel, drawn(100, 5)) / readings.std(0)[:, None]
    singular = np.linalg.svd(jacobian[:, [SENSORS.index(name) for name in sensors]], compute_uv=False)
    assert np.median(singular[:, directions - 1]) > 0.02
    assert singular.shape[1] == directions or singular[:, directions:].max() < 1e-6


@pytest.mark.usefixtures("extra")
def test_without_angle_sensors_only_the_square_of_the_cosine_enters() -> None:
    settings = drawn(50, 5)
    turned, exchanged = settings.copy(), settings[:, [0, 1, 2, 4, 3]]
    turned[:, 3:] = np.where(settings[:, 3:] > 0.5, settings[:, 3:] - 0.5, settings[:, 3:] + 0.5)
    for other in (turned, exchanged):
        assert np.abs(other - settings).max() > 0.1
        np.testing.assert_allclose(simulate_light_tunnel(other)[:, :7], simulate_light_tunnel(settings)[:, :7])
    # one angle sensor leaves two places of the other polariser, on either side of the first
    first = 0.5 * np.ones((1, 5))
    sides = [first + sign * 0.1 * np.eye(5)[4] for sign in (-1, 1)]
    one, other = (simulate_light_tunnel(side)[0, :8] for side in sides)
    np.testing.assert_allclose(one, other)


CAMERA: dict[str, Any] = {
    "S": np.array(
        [[0.2995802, 0.06920322, 0.028159], [0.04017132, 0.9209918, 0.31265], [0.00217392, 0.2071558, 0.75763]]
    ),
    **{"w_r": 2.65625, "w_g": 1.0, "w_b": 1.77344, "exposure": 0.2},
    **{"Tp": np.array([[0.29], [0.35], [0.33]]), "Tc": np.array([[0.02], [0.08], [0.18]])},
    **{"center_x": 0.5, "center_y": 0.5, "radius": 0.22, "offset": 0.0, "image_size": 8},
}
GEOMETRY = ("center_x", "center_y", "radius", "offset", "image_size")


@pytest.mark.usefixtures("extra")
@pytest.mark.filterwarnings("ignore:Arrays of 2-dimensional vectors:DeprecationWarning")
@pytest.mark.parametrize("name", ["ModelF1", "ModelF2", "ModelF3"])
def test_images_of_the_camera_models_show_three_directions(name: str) -> None:
    pandas = pytest.importorskip("pandas")
    lt, keys = import_simulators("lt"), [key for key in CAMERA if name == "ModelF3" or key not in ("Tp", "Tc")]
    camera = getattr(lt, name)(**{key: CAMERA[key] for key in (GEOMETRY if name == "ModelF1" else keys)})
    low, high = np.array(list(ACTUATORS.values()))[:5].T

    def picture(settings: Values) -> Values:
        inputs = dict(zip(ACTUATORS, (low + (high - low) * settings).T, strict=False))
        return np.asarray(camera.simulate_from_inputs(pandas.DataFrame(inputs))).reshape(len(settings), -1)

    singular = np.linalg.svd(slopes(picture, drawn(20, 5)), compute_uv=False)
    assert (singular[:, 3:].max(1) < 1e-6 * singular[:, 0]).all() and np.median(singular[:, 2]) > 1e-4


@pytest.mark.usefixtures("extra")
@pytest.mark.parametrize("name", ["light_tunnel", "light_tunnel_random"])
def test_a_data_set_of_the_light_tunnel(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = tmp_path / "config.yaml"
    text = (CONFIGS / f"{name}.yaml").read_text()
    config.write_text(text.replace("train: 30000", "train: 300"))
    out = tmp_path / "data"
    assert "Citation" not in called(capsys, "generate", config, "--out", out)
    data, model, n = (
        load_pairs(out / "train.safetensors"),
        load_model(out / "nature.safetensors"),
        load_config(config, GenerateConfig).nature.n,
    )
    assert isinstance(model, LatentCausalModel) and data.z is not None
    assert data.x.shape == (300, 9) and model.n == n
    np.testing.assert_allclose(model.encode(data.x).z, data.z, atol=0.02)
    np.testing.assert_allclose(model.decode(torch.from_numpy(data.z)).numpy(), data.x, rtol=1e-6)
    assert np.isfinite(np.asarray(model.log_prob(data.x, data.x_tilde))).all()
