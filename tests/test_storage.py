"""Models on disk: the same tensors and the same numbers come back, and every bad file is refused by name."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from laws import DECODERS, GRAPH, MODELS, SCMS, N, default_dtype, generator
from safetensors import safe_open
from safetensors.torch import save_file

from lcm.model.decoder import AffineDecoder, ChainDecoder, EmbeddingDecoder
from lcm.model.do import Do
from lcm.model.intervention import SoftIntervention, TargetDistribution
from lcm.model.latent_causal_model import LatentCausalModel
from lcm.model.storage import SCHEMA_VERSION, load_causal_model, load_model, save_model
from lcm.peer.disentanglement import DisentanglementConfig
from lcm.peer.disentanglement.vae import BetaVAE

pytestmark = pytest.mark.usefixtures("float64")
every_model = pytest.mark.parametrize("name", MODELS)


def assert_equal(loaded: Any, model: Any) -> None:
    expected = model.state_dict()
    assert loaded.state_dict().keys() == expected.keys()
    for name, tensor in loaded.state_dict().items():
        assert tensor.dtype == expected[name].dtype, name
        assert torch.equal(tensor, expected[name]), name


@every_model
def test_what_is_saved_comes_back_bitwise(name: str, tmp_path: Path) -> None:
    model = MODELS[name]()
    save_model(model, tmp_path / "model.safetensors")
    loaded = load_causal_model(tmp_path / "model.safetensors")
    assert_equal(loaded, model)
    assert loaded.description() == model.description()
    pairs = model.sample_pairs(20, generator())
    density = model.pair_log_density(pairs.x, pairs.x_tilde)
    assert torch.equal(loaded.pair_log_density(pairs.x, pairs.x_tilde), density)
    assert torch.equal(loaded.sample_pairs(20, generator()).x_tilde, pairs.x_tilde)
    do = Do({1: 0.5, 2: -1.0})
    assert torch.equal(loaded.counterfactual(pairs.x, do), model.counterfactual(pairs.x, do))


@every_model
def test_a_loaded_model_can_be_trained_on(name: str, tmp_path: Path) -> None:
    model = MODELS[name]()
    save_model(model, tmp_path / "model.safetensors")
    loaded = load_model(tmp_path / "model.safetensors")
    names = {key for key, _ in model.named_parameters(remove_duplicate=False)}
    assert not any(parameter.requires_grad for parameter in loaded.parameters())
    loaded.requires_grad_()
    assert {key for key, parameter in loaded.named_parameters() if parameter.requires_grad} == names
    with torch.no_grad():
        for parameter in loaded.parameters():
            parameter.add_(1.0)
    # nothing of the file is shared with what was loaded from it
    assert_equal(load_model(tmp_path / "model.safetensors"), model)


@every_model
def test_float32_models_and_other_default_precisions(name: str, tmp_path: Path) -> None:
    for dtype, other in ((torch.float32, torch.float64), (torch.float64, torch.float32)):
        with default_dtype(dtype):
            model = MODELS[name]()
            save_model(model, tmp_path / "model.safetensors")
        with default_dtype(other):
            assert_equal(load_model(tmp_path / "model.safetensors"), model)


def test_a_run_folder_stands_for_the_model_in_it(tmp_path: Path) -> None:
    model = MODELS["linear"]()
    save_model(model, tmp_path / "model.safetensors")
    assert_equal(load_model(tmp_path), model)
    assert_equal(load_model(str(tmp_path)), model)
    assert [path.name for path in tmp_path.iterdir()] == ["model.safetensors"]


def test_parts_that_share_tensors_are_saved(tmp_path: Path) -> None:
    scm = SCMS["location-scale-skewed"](GRAPH)
    soft = SoftIntervention(scm.mechanism, scm.noise)
    model = LatentCausalModel(scm, DECODERS["rotation"](), soft, TargetDistribution.family(N, "atomic"))
    save_model(model, tmp_path / "model.safetensors")
    assert_equal(load_model(tmp_path / "model.safetensors"), model)


def test_a_failed_write_leaves_the_old_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = MODELS["linear"]()
    save_model(model, tmp_path / "model.safetensors")

    def fail(tensors: object, filename: Path, metadata: object) -> None:
        filename.write_bytes(b"half")
        raise OSError("disk full")

    monkeypatch.setattr("lcm.base.files.save_file", fail)
    with pytest.raises(OSError, match="disk full"):
        save_model(MODELS["additive"](), tmp_path / "model.safetensors")
    assert [path.name for path in tmp_path.iterdir()] == ["model.safetensors"]
    assert_equal(load_model(tmp_path), model)


def test_a_missing_file_is_an_error(tmp_path: Path) -> None:
    for path in (tmp_path / "nothing.safetensors", tmp_path):
        with pytest.raises(ValueError, match=rf"^{tmp_path}/.*: Expected a saved model; got no such file"):
            load_model(path)


@pytest.mark.parametrize("kept", [0, 5, 100, -1])
def test_a_truncated_file_is_an_error(kept: int, tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    save_model(MODELS["linear"](), path)
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(ValueError, match=rf"^{path}: Expected a whole safetensors file; got "):
        load_model(path)


@pytest.mark.parametrize(
    ("header", "found"),
    [
        ({"schema": str(SCHEMA_VERSION + 1), "model": "{}"}, str(SCHEMA_VERSION + 1)),
        ({"made by": "another program"}, "none"),
        (None, "none"),
    ],
)
def test_an_unknown_schema_version_is_an_error(header: dict[str, str] | None, found: str, tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    save_file({"x": torch.zeros(2)}, path, metadata=header)
    expected = f"^{path}: Expected a model of schema version {SCHEMA_VERSION}; got {found}"
    with pytest.raises(ValueError, match=expected):
        load_model(path)


def test_an_unknown_kind_of_part_is_an_error(tmp_path: Path) -> None:
    path, description = tmp_path / "model.safetensors", MODELS["linear"]().description()
    description["decoder"]["kind"] = "magic"
    header = {"schema": str(SCHEMA_VERSION), "model": json.dumps(description)}
    save_file({"x": torch.zeros(2)}, path, metadata=header)
    with pytest.raises(ValueError, match=r"Expected a component of kind affine, .*; got 'magic'"):
        load_model(path)


def small_vae() -> BetaVAE:
    standardisation = ChainDecoder([AffineDecoder(2), EmbeddingDecoder(2, 3)])
    model = BetaVAE(standardisation, TargetDistribution.family(2, "atomic"), DisentanglementConfig(hidden=4))
    model.draw_weights(generator())
    return model


def test_an_autoencoder_comes_back_bitwise(tmp_path: Path) -> None:
    for dtype, other in ((torch.float32, torch.float64), (torch.float64, torch.float32)):
        with default_dtype(dtype):
            model = small_vae()
            save_model(model, tmp_path / "model.safetensors")
        with default_dtype(other):
            loaded = load_model(tmp_path)
        assert isinstance(loaded, BetaVAE)
        assert_equal(loaded, model)
        assert loaded.description() == model.description()
        x = torch.randn(5, 3, generator=generator(), dtype=dtype)
        assert torch.equal(loaded.encode(x).z, model.encode(x).z)
        assert not any(parameter.requires_grad for parameter in loaded.parameters())


def test_the_file_of_a_causal_model_says_nothing_of_types(tmp_path: Path) -> None:
    save_model(MODELS["linear"](), tmp_path / "model.safetensors")
    with safe_open(tmp_path / "model.safetensors", framework="pt") as file:
        header = file.metadata()
    assert header["schema"] == "1"
    assert json.loads(header["model"]).keys() == {"scm", "decoder", "intervention", "target_sets"}


def test_an_autoencoder_where_a_causal_model_is_needed_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    save_model(small_vae(), path)
    with pytest.raises(ValueError, match=rf"^{path}: Expected a latent causal model; got one of kind beta-vae$"):
        load_causal_model(path)


def test_an_unknown_type_of_model_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    header = {"schema": str(SCHEMA_VERSION), "model": json.dumps({"type": "oracle"})}
    save_file({"x": torch.zeros(2)}, path, metadata=header)
    with pytest.raises(
        ValueError, match=rf"^{path}: Expected a latent causal model or one of .*, beta-vae, .*image; got .* 'oracle'"
    ):
        load_model(path)
