"""Laws of every model behind `lcm fit --model NAME`: one config each, and the same questions to all."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from command_line import called
from interrupted import assert_same_fit
from small import SHORT, STEPS, equal_weights, small_data, without

from lcm.base.config import config_hash, parse_config, to_yaml
from lcm.base.files import read_tensors
from lcm.data.encode import encode_data, encode_pairs
from lcm.data.pair_files import save_pairs
from lcm.data.pairs import PairData
from lcm.isomorphism import find_isomorphism
from lcm.learn.training.tracker import Recorder
from lcm.metric.scores import evaluate
from lcm.model.pair_model import PairModel
from lcm.model.storage import load_model, save_model
from lcm.peer.disentanglement import DisentanglementConfig
from lcm.peer.explicit import ExplicitConfig
from lcm.peer.implicit import ImplicitVAEConfig
from lcm.peer.search.config import GraphSearchConfig
from lcm.peer.switch import SwitchVAEConfig
from lcm.run.config import FitConfig
from lcm.run.config import models as model_names
from lcm.run.fitting import fit_ensemble, fit_pairs
from lcm.run.known import require_usable
from lcm.run.runs import fit_run, load_run

pytestmark = pytest.mark.usefixtures("cheap_scores")

CONFIG = replace(
    SHORT,
    peers={
        "implicit_vae": ImplicitVAEConfig(hidden=8, steps=STEPS, batch_size=32),
        "explicit": ExplicitConfig(
            layers=2, hidden=8, bins=4, mechanism_hidden=4, steps=STEPS, refit_steps=20, batch_size=32
        ),
        "disentanglement": DisentanglementConfig(hidden=8, steps=STEPS, batch_size=32),
        "switch_vae": SwitchVAEConfig(hidden=8, steps=STEPS, batch_size=32),
    },
    graph_search=GraphSearchConfig(method="none"),
)
"""Long enough for two checkpoints, too short to learn anything."""

MODELS = tuple(model_names())
TRAINED = tuple(model for model in MODELS if model != "linear")
every_model = pytest.mark.parametrize("name", MODELS)
every_trained_model = pytest.mark.parametrize("name", TRAINED)


def config_of(name: str, **changed: object) -> FitConfig:
    return replace(CONFIG, model=name, **changed)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def data() -> PairData:
    return small_data("nonlinear")


@pytest.fixture(scope="module")
def runs(data: PairData, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The folder of a fit of each model, without figures; to be read only."""
    folder = tmp_path_factory.mktemp("models")
    for name in MODELS:
        fit_run(data, folder / name, config_of(name), device="cpu", progress=False)
    return {name: folder / name for name in MODELS}


@pytest.fixture(scope="module")
def models(runs: dict[str, Path]) -> dict[str, PairModel]:
    return {name: load_run(folder).model for name, folder in runs.items()}


@every_model
def test_encodings_have_their_shapes_and_are_the_same_each_time(
    name: str, models: dict[str, PairModel], data: PairData
) -> None:
    model = models[name]
    encoded, again = (encode_pairs(model, data) for _ in range(2))
    assert (model.n, model.d) == (2, 2)
    assert all(part.shape == (300, 2) for part in encoded[:4])
    assert encoded.posterior.shape == (300, 3)
    assert torch.allclose(encoded.posterior.sum(1), torch.ones(300), atol=1e-5)
    assert bool(encoded.log_density.isfinite().all())
    assert all(torch.equal(*parts) for parts in zip(encoded, again, strict=True))


@every_model
def test_an_encoding_depends_on_its_own_pair_alone(name: str, models: dict[str, PairModel], data: PairData) -> None:
    whole, part = (encode_data(models[name], each) for each in (data, PairData(data.x[:7], data.x_tilde[:7])))
    for key, value in part.items():
        np.testing.assert_allclose(whole[key][:7], value, rtol=1e-4, atol=1e-4)


@every_model
def test_no_pairs_have_no_likelihoods(name: str, models: dict[str, PairModel], data: PairData) -> None:
    none = torch.from_numpy(data.x[:0])
    assert models[name].encode_pairs(none, none).log_density.shape == (0,)


@every_model
def test_variables_are_decoded_in_the_units_of_the_data_or_not_at_all(
    name: str, models: dict[str, PairModel], data: PairData
) -> None:
    z = encode_pairs(models[name], data).z
    try:
        found = models[name].decode(z)
    except NotImplementedError:
        assert name in ("ilcm-vae", "icrl-sm", "elcm-vae")
    else:
        assert found.shape == data.x.shape
        if name in ("flow", "linear", "elcm-flow"):
            torch.testing.assert_close(found, torch.from_numpy(data.x), rtol=1e-2, atol=1e-2)


@every_model
def test_a_saved_model_encodes_alike(name: str, models: dict[str, PairModel], data: PairData, tmp_path: Path) -> None:
    save_model(models[name], tmp_path / "model.safetensors")
    loaded = load_model(tmp_path / "model.safetensors")
    assert type(loaded) is type(models[name]) and equal_weights(loaded, models[name])
    assert loaded.graph == models[name].graph
    for one, two in zip(encode_pairs(models[name], data), encode_pairs(loaded, data), strict=True):
        assert torch.equal(one, two)


@every_model
def test_a_fit_is_evaluated_by_the_same_scores(name: str, models: dict[str, PairModel], data: PairData) -> None:
    scores = evaluate(models[name], data, n_jobs=1)
    assert all(scores[key] is not None for key in ("mcc", "dci_disentanglement", "intervention_accuracy", "shd", "nll"))
    json.dumps(scores, allow_nan=False)


@every_model
def test_a_model_is_isomorphic_to_itself(name: str, models: dict[str, PairModel], data: PairData) -> None:
    found = find_isomorphism(models[name], models[name], data)
    assert found.permutation == (0, 1) and found.r2.min() > 0.99


@every_model
def test_double_precision_changes_little(
    name: str, models: dict[str, PairModel], data: PairData, tmp_path: Path
) -> None:
    save_model(models[name], tmp_path / "model.safetensors")
    double = load_model(tmp_path / "model.safetensors").double()
    one, two = encode_pairs(models[name], data), encode_pairs(double, data)
    assert two.z.dtype == torch.float64
    assert torch.allclose(one.z.double(), two.z, rtol=1e-3, atol=1e-3)


def with_few_steps(name: str) -> FitConfig:
    """So few steps that rounding is not amplified."""
    peers = {section: replace(settings, steps=20) for section, settings in CONFIG.peers.items()}
    return config_of(name, noise_encoder=replace(SHORT.noise_encoder, steps=20), peers=peers)


@every_trained_model
def test_the_seed_decides(name: str, data: PairData) -> None:
    few = with_few_steps(name)
    first, again, other = (fit_pairs(data, replace(few, seed=seed)).model for seed in (0, 0, 1))
    assert equal_weights(first, again) and not equal_weights(first, other)


@every_trained_model
def test_a_fit_that_was_interrupted_ends_as_if_it_was_not(
    name: str, runs: dict[str, Path], data: PairData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = config_of(name)
    record = Recorder.record

    def interrupted(self: Recorder, restart: int, stage: str, values: object) -> None:
        record(self, restart, stage, values)  # type: ignore[arg-type]
        if values["step"] >= STEPS:  # type: ignore[index]
            raise KeyboardInterrupt

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(Recorder, "record", interrupted)
        fit_run(data, tmp_path / "run", config, device="cpu", progress=False)
    (checkpoint,) = (tmp_path / "run" / "checkpoint").iterdir()
    assert 100 <= int(read_tensors(checkpoint)[0]["step"]) < 200
    fit_run(data, tmp_path / "run", config, device="cpu", progress=False)
    assert_same_fit(tmp_path / "run", runs[name])


@every_trained_model
def test_an_ensemble_equals_separate_fits(name: str, data: PairData) -> None:
    configs = [replace(with_few_steps(name), seed=seed) for seed in (0, 1)]
    together = fit_ensemble(data, configs, "cpu")
    for result, config in zip(together, configs, strict=True):
        alone = fit_pairs(data, config)
        assert abs(result.held_out_nll - alone.held_out_nll) < 1e-4 * (1.0 + abs(alone.held_out_nll))
    assert together[0].held_out_nll != pytest.approx(together[1].held_out_nll, rel=0.01)


@every_model
def test_the_commands_work_alike(name: str, tmp_path: Path, figures: None, capsys: pytest.CaptureFixture[str]) -> None:
    save_pairs(tmp_path / "pairs.safetensors", small_data("linear"))
    (tmp_path / "config.yaml").write_text(to_yaml(replace(CONFIG, seed=3)))
    pairs, run = str(tmp_path / "pairs.safetensors"), str(tmp_path / "run")
    called(capsys, "fit", pairs, "--out", run, "--model", name, "--config", str(tmp_path / "config.yaml"), "--quiet")
    assert load_run(run).config.model == name
    called(capsys, "evaluate", run, pairs, "--json", str(tmp_path / "scores.json"))
    assert json.loads((tmp_path / "scores.json").read_text())["n_variables"] == 2
    called(capsys, "encode", run, pairs, "--out", str(tmp_path / "encoded.safetensors"))
    called(capsys, "compare", run, run, pairs, "--json", str(tmp_path / "compared.json"))
    figures = {path.name for path in (tmp_path / "run" / "figures").iterdir()}
    assert {"graph.png", "pairs.png", "variables.png", "graphs.png"} <= figures
    report = (tmp_path / "run" / "report.md").read_text(encoding="utf-8")
    # a closed form takes no steps
    trained = name != "linear"
    assert trained == ("training.png" in figures) == ("![training](figures/training.png)" in report)
    assert trained == ("A closed form has no training curves." not in report)


def test_settings_of_other_models_do_not_count() -> None:
    other = replace(CONFIG, peers={**CONFIG.peers, "explicit": ExplicitConfig(steps=7)})
    assert config_hash(other) == config_hash(CONFIG)
    assert config_hash(replace(other, model="elcm-vae")) != config_hash(replace(CONFIG, model="elcm-vae"))
    assert len({config_hash(replace(CONFIG, model=name)) for name in MODELS}) == len(MODELS)


@pytest.mark.parametrize("name", ["vae-supervised-interventions", "icrl-sm"])
def test_a_supervised_fit_needs_targets(name: str, data: PairData) -> None:
    with pytest.raises(ValueError, match=r"targets: Expected the targets of every pair"):
        fit_pairs(without(data, "targets"), config_of(name))


def test_every_config_of_the_documentation_loads() -> None:
    text = (Path(__file__).parent.parent / "docs" / "models.md").read_text(encoding="utf-8")
    blocks = re.findall(r"```yaml\n(.*?)```", text, flags=re.DOTALL)
    configs = [parse_config(block, FitConfig, "docs/models.md") for block in blocks]
    assert {config.model for config in configs} == set(MODELS)
    for config in configs:
        require_usable(config, 3)
