"""The circuit: an ordinary SCM with values in (0, 1), and the map into that interval."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from laws import batch_jacobian, generator, normal

from lcm.base.component import describe
from lcm.base.config import load_config
from lcm.data.data_set import GenerateConfig
from lcm.data.nature.build import build_nature
from lcm.data.nature.config import NatureConfig
from lcm.data.nature.graphs import ChainConfig
from lcm.data.scene.circuit import BUTTON_POSITIONS
from lcm.model.decoder import LinearDecoderConfig
from lcm.model.elementwise import ElementwiseMap, UnitIntervalMap
from lcm.model.intervention import SoftInterventionConfig
from lcm.model.latent_causal_model import LatentCausalModel
from lcm.model.mechanism import CircuitMechanism, CircuitMechanismConfig, Mechanism
from lcm.model.noise import LaplaceNoiseConfig
from lcm.model.storage import load_causal_model, save_model

pytestmark = pytest.mark.usefixtures("float64")

CIRCUIT = NatureConfig(n=4, mechanism=CircuitMechanismConfig())
RED, GREEN, BLUE, ARM = range(4)


def inside(count: int = 50) -> torch.Tensor:
    return torch.sigmoid(normal(count, 4, seed=2))


def nature() -> LatentCausalModel:
    return build_nature(CIRCUIT, 0).double()


def test_inverse_undoes_forward_and_the_other_way_round() -> None:
    mechanism, z, noise = CircuitMechanism().double(), inside(), normal(50, 4)
    value, log_derivative = mechanism(noise, z)
    returned, log_inverse = mechanism.inverse(value, z)
    torch.testing.assert_close(returned, noise, atol=1e-8, rtol=0)
    torch.testing.assert_close(log_inverse, -log_derivative, atol=1e-8, rtol=0)
    torch.testing.assert_close(mechanism(mechanism.inverse(inside(), z)[0], z)[0], inside())


def test_each_value_depends_on_its_own_noise_alone_with_the_stated_derivative() -> None:
    mechanism, z = CircuitMechanism().double(), inside()
    for apply, values in ((mechanism, normal(50, 4)), (mechanism.inverse, inside())):
        jacobian = batch_jacobian(lambda rows, apply=apply: apply(rows, z)[0], values)  # type: ignore[misc]
        diagonal = torch.diagonal(jacobian, dim1=1, dim2=2)
        assert torch.equal(jacobian, torch.diag_embed(diagonal)) and bool((diagonal > 0).all())
        torch.testing.assert_close(diagonal.log(), apply(values, z)[1], atol=1e-7, rtol=0)


def test_the_causal_variables_influence_each_other_along_the_edges() -> None:
    mechanism, noise = CircuitMechanism().double(), normal(200, 4)
    jacobian = batch_jacobian(lambda rows: mechanism(noise, rows)[0], inside(200))
    influence = jacobian.abs().amax(0).T > 1e-3
    assert torch.equal(influence, mechanism.adjacency)
    assert {tuple(edge) for edge in np.argwhere(mechanism.adjacency.numpy()).tolist()} == set(mechanism.EDGES)


def test_variables_select_columns() -> None:
    mechanism, noise, z = CircuitMechanism(), normal(20, 4), inside(20)
    variables = torch.tensor([3, 0])
    for apply, values in ((mechanism, noise), (mechanism.inverse, z)):
        for part, full in zip(apply(values[:, variables], z, variables), apply(values, z), strict=True):
            torch.testing.assert_close(part, full[:, variables])


@pytest.mark.parametrize("light", [RED, GREEN, BLUE])
def test_the_arm_over_a_button_raises_its_light_and_no_other(light: int) -> None:
    mechanism, noise = CircuitMechanism().double(), torch.zeros(1, 4)
    away = torch.tensor([[0.3, 0.3, 0.3, 0.35]])
    pressing = away.clone()
    pressing[0, ARM] = CircuitMechanism.BUTTONS[light]
    change = (mechanism(noise, pressing)[0] - mechanism(noise, away)[0])[0]
    assert change[light] > 0.2
    others = [other for other in (RED, GREEN, BLUE) if other != light]
    assert bool((change[others].abs() < 0.1).all())


def test_values_lie_inside_the_interval_also_where_they_are_imposed() -> None:
    pairs = nature().sample_pairs(20_000, generator(0))
    for z in (pairs.z, pairs.z_tilde):
        assert float(z.min()) > 0 and float(z.max()) < 1
    imposed = pairs.z_tilde[pairs.targets]
    spread = torch.quantile(imposed, torch.tensor([0.02, 0.98]))
    assert spread[0] < 0.1 and spread[1] > 0.9


def test_abduction_undoes_the_solution() -> None:
    model = nature()
    noise = model.scm.sample_noise(1000, generator(0)).double()
    torch.testing.assert_close(model.scm.abduct(model.scm.solve(noise)[0])[0], noise, atol=1e-7, rtol=0)


def test_it_is_saved_and_loaded(tmp_path: Path) -> None:
    model = nature()
    save_model(model, tmp_path / "nature.safetensors")
    loaded = load_causal_model(tmp_path / "nature.safetensors")
    first, second = (each.sample_pairs(50, generator(1)).z_tilde for each in (model, loaded))
    assert torch.equal(first, second)
    rebuilt = Mechanism.build(describe(CircuitMechanism()))
    assert torch.equal(rebuilt.adjacency, CircuitMechanism().adjacency)


def test_the_map_onto_the_interval_and_back() -> None:
    elementwise, values = UnitIntervalMap(3, 1.5), normal(50, 3, scale=3.0)
    image, log_derivative = elementwise(values)
    assert float(image.min()) > 0 and float(image.max()) < 1
    returned, log_inverse = elementwise.inverse(image)
    torch.testing.assert_close(returned, values, atol=1e-6, rtol=0)
    torch.testing.assert_close(log_inverse, -log_derivative, atol=1e-6, rtol=0)
    jacobian = batch_jacobian(lambda rows: elementwise(rows)[0], values)
    torch.testing.assert_close(torch.diagonal(jacobian, dim1=1, dim2=2).log(), log_derivative)
    assert ElementwiseMap.build(describe(elementwise)).slope == 1.5
    border = elementwise.inverse(torch.tensor([[0.0, 0.5, 1.0]]))[0]
    assert bool(border.isfinite().all()) and border[0, 1] == 0


def test_a_slope_that_is_not_positive_is_refused() -> None:
    with pytest.raises(ValueError, match=r"Expected a positive slope; got 0"):
        UnitIntervalMap(2, 0.0)


REFUSED = {
    "n": ({"n": 3}, r"n: Expected 4 for mechanisms of kind circuit; got 3"),
    "graph": ({"graph": ChainConfig()}, r"graph: Expected none for mechanisms of kind circuit"),
    "noise": ({"noise": LaplaceNoiseConfig()}, r"noise.kind: Expected normal for .* circuit; got laplace"),
    "intervention": ({"intervention": SoftInterventionConfig()}, r"intervention: Expected perfect.*; got soft"),
}


@pytest.mark.parametrize("case", REFUSED.values(), ids=REFUSED)
def test_settings_that_the_circuit_does_not_have_are_refused(case: tuple[dict[str, object], str]) -> None:
    changed, message = case
    with pytest.raises(ValueError, match=message):
        NatureConfig(**{"n": 4, "mechanism": CircuitMechanismConfig(), **changed})  # type: ignore[arg-type]


def test_the_circuit_may_be_seen_through_any_decoder() -> None:
    config = NatureConfig(n=4, mechanism=CircuitMechanismConfig(), decoder=LinearDecoderConfig())
    pairs = build_nature(config, 0).sample_pairs(10, generator(0))
    assert pairs.x.shape == (10, 4) and not torch.allclose(pairs.x, pairs.z)


def test_the_scene_has_its_buttons_where_the_mechanism_has_them() -> None:
    assert BUTTON_POSITIONS == CircuitMechanism.BUTTONS


def test_the_config_that_ships_draws_it() -> None:
    file = Path(__file__).parent.parent / "paper_configs" / "circuit.yaml"
    config = load_config(file, GenerateConfig)
    assert config.nature == CIRCUIT and config.scene is not None and config.scene.kind == "circuit"
