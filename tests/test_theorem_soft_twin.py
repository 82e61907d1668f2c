"""The model without edges has the pairs of the one with soft interventions, exactly."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch

from experiments._theorem.soft_twin import empty_graph_twin
from lcm.data.nature.build import build_nature
from lcm.data.nature.config import NatureConfig
from lcm.model.intervention import InterventionConfig, ShiftedInterventionConfig
from lcm.model.mechanism import AdditiveMechanismConfig, LocationScaleMechanismConfig
from lcm.model.noise import SkewedNoiseConfig
from lcm.model.storage import load_causal_model, save_model

pytestmark = pytest.mark.usefixtures("float64")

SHIFTED = ShiftedInterventionConfig()
NATURES: dict[str, NatureConfig] = {
    "linear": NatureConfig(n=4, intervention=SHIFTED, thickness=0.02),
    "additive": NatureConfig(n=3, mechanism=AdditiveMechanismConfig(), intervention=SHIFTED, thickness=0.02),
    "skewed": NatureConfig(n=3, noise=SkewedNoiseConfig(), intervention=SHIFTED, thickness=0.1),
    "several targets": NatureConfig(n=3, intervention=ShiftedInterventionConfig(targets="all"), thickness=0.1),
}


@pytest.mark.parametrize("name", NATURES)
def test_pairs_have_the_same_density(name: str) -> None:
    model = build_nature(NATURES[name], seed=1).double()
    with torch.no_grad():
        model.scm.mechanism.log_scale.copy_(torch.linspace(-0.5, 0.5, model.n))  # type: ignore[operator, union-attr]
    twin = empty_graph_twin(model)
    assert model.scm.graph.edges() and not twin.scm.graph.edges()
    pairs = model.sample_pairs(500, torch.Generator().manual_seed(0))
    expected = model.pair_log_density(pairs.x, pairs.x_tilde)
    assert torch.allclose(twin.pair_log_density(pairs.x, pairs.x_tilde), expected, atol=1e-9)
    assert torch.allclose(twin.encode(pairs.x).z, pairs.noise, atol=1e-9)


def test_it_shares_nothing_and_can_be_saved(tmp_path: Any) -> None:
    model = build_nature(NATURES["linear"], seed=1).double()
    twin = empty_graph_twin(model)
    pairs = model.sample_pairs(50, torch.Generator().manual_seed(0))
    before = twin.pair_log_density(pairs.x, pairs.x_tilde)
    for tensor in model.state_dict().values():
        tensor.zero_()
    assert torch.equal(twin.pair_log_density(pairs.x, pairs.x_tilde), before)
    save_model(twin, tmp_path / "model.safetensors")
    loaded = load_causal_model(tmp_path)
    assert torch.equal(loaded.pair_log_density(pairs.x, pairs.x_tilde), before)


@pytest.mark.parametrize("kind", ["perfect", "soft"])
def test_other_interventions_are_an_error(kind: Any) -> None:
    model = build_nature(NatureConfig(n=3, intervention=InterventionConfig.of_kind(kind)()), seed=0)
    with pytest.raises(ValueError, match=f"Expected shifted interventions; got {kind}"):
        empty_graph_twin(model)


def test_other_mechanisms_are_an_error() -> None:
    config = replace(NATURES["linear"], mechanism=LocationScaleMechanismConfig())
    with pytest.raises(ValueError, match="Expected linear or additive mechanisms; got location-scale"):
        empty_graph_twin(build_nature(config, seed=0))
