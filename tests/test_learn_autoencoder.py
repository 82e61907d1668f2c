"""Fits to images end to end: what is recovered, what is written, what is refused, and that a killed fit goes on."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from command_line import called, refused
from small import figures_drawn, small_nature
from small_images import image_pairs

from lcm.app.cli import main
from lcm.base.files import read_tensors, write_text
from lcm.data.encode import encode_pairs
from lcm.data.pair_files import load_pairs, save_pairs
from lcm.data.pairs import PairData
from lcm.isomorphism import find
from lcm.learn.config import ImageConfig, MechanismsConfig, NoiseEncoderConfig
from lcm.metric.scores import evaluate
from lcm.model.do import Do
from lcm.model.image import ImageModel
from lcm.peer.search.config import GraphSearchConfig, NetworksConfig
from lcm.run.config import FitConfig
from lcm.run.fitting import choose_n, fit_pairs
from lcm.run.runs import fit_run, load_run

IMAGE = ImageConfig(channels=(8, 16), hidden=64, passes=10.0)
CONFIG = FitConfig(noise_encoder=NoiseEncoderConfig(steps=600), mechanisms=MechanismsConfig(steps=100), image=IMAGE)
SHORT_YAML = """
noise_encoder: {steps: 40}
mechanisms: {steps: 20}
image: {channels: [8, 16], hidden: 64, passes: 0.3}
"""
SHORT = replace(
    CONFIG,
    n=2,
    noise_encoder=NoiseEncoderConfig(steps=40),
    mechanisms=MechanismsConfig(steps=20),
    image=replace(IMAGE, passes=0.5),
    graph_search=GraphSearchConfig(networks=NetworksConfig(steps=20)),
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with images to fit and to score on, and a finished fit."""
    folder = tmp_path_factory.mktemp("images")
    for name, data in (("train", image_pairs(1500)), ("test", image_pairs(800, 1))):
        save_pairs(folder / f"{name}.safetensors", data)
    with figures_drawn():
        fit_run(load_pairs(folder / "train.safetensors"), folder / "run", CONFIG, progress=False)
    return folder


def fitted(folder: Path) -> ImageModel:
    model = load_run(folder / "run").model
    assert isinstance(model, ImageModel)
    return model


def test_variables_targets_and_graph_are_recovered(folder: Path) -> None:
    # n was not given: two variables are found
    # a nature of other variables, so that its effects are others; of images it has no decoder
    nature = small_nature("linear")
    scores = evaluate(fitted(folder), load_pairs(folder / "test.safetensors"), n_jobs=1, nature=nature)
    assert scores["n_variables"] == 2 and scores["shd"] == 0
    assert scores["mcc"] > 0.98 and scores["dci_disentanglement"] > 0.9
    assert scores["intervention_accuracy"] > 0.9
    assert scores["counterfactual_error_z"] < 0.15 and scores["counterfactual_error_x"] < 0.3
    assert scores["ate_error"] > 0.5 and scores["interventional_mmd"] is None


def test_a_run_says_what_was_fitted_and_shows_it(folder: Path) -> None:
    run = load_run(folder / "run")
    assert run.fit["image"]["shape"] == [16, 16, 3] and run.fit["image"]["code"] == 2
    assert 0 < run.fit["image"]["reconstruction_error"] < 0.03
    stages = [stage["stage"] for stage in run.fit["stage_seconds"]]
    assert stages[:3] == ["autoencoder", "noise encoder", "candidate mechanisms"]
    report = (folder / "run" / "report.md").read_text()
    for name in ("traversals", "counterfactuals", "samples", "targets"):
        assert (folder / "run" / "figures" / f"{name}.png").exists() and f"figures/{name}.png" in report


def test_an_intervention_acts_on_the_image(folder: Path) -> None:
    """do() on the place, a cause, moves the spot and changes the patch; on the brightness it leaves the spot alone."""
    model, data = fitted(folder), load_pairs(folder / "test.safetensors")
    encoded = encode_pairs(model, data)
    permutation = evaluate(model, data, keys=("permutation",))["permutation"]
    images = torch.from_numpy(data.x[:40])

    def change(variable: int, part: slice) -> float:
        value = float(encoded.z[:, permutation[variable]].quantile(0.9))
        after = model.counterfactual(images, Do({permutation[variable]: value}))
        return float((after.float() - images).abs()[:, part].max(2).values.max(2).values.max(1).values.mean())

    upper, lower = slice(0, 7), slice(9, 15)
    assert change(1, lower) > 30 and change(1, upper) > 15
    assert change(0, upper) > 2 * change(0, lower)


def test_commands_take_images(folder: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    run, test = folder / "run", folder / "test.safetensors"
    called(capsys, "encode", run, test, "--out", tmp_path / "encoded.safetensors")
    encoded, _ = read_tensors(tmp_path / "encoded.safetensors")
    assert encoded["z"].shape == (800, 2) and encoded["target_probability"].shape == (800, 3)
    assert "Verdict: NOT DECIDED by these data" in called(capsys, "compare", run, run, test)
    described = called(capsys, "check", test, "--figure", tmp_path / "pairs.png")
    assert "sheet that the images lie on" in described and (tmp_path / "pairs.png").exists()
    called(capsys, "evaluate", run, test, "--json", tmp_path / "scores.json")
    assert json.loads((tmp_path / "scores.json").read_text())["shd"] == 0
    called(capsys, "sample", run, "--n", 5, "--out", tmp_path / "fresh.safetensors")
    fresh = load_pairs(tmp_path / "fresh.safetensors")
    assert fresh.x.shape == (5, 16, 16, 3) and fresh.x.dtype == np.uint8
    acted = tmp_path / "acted.safetensors"
    called(capsys, "sample", run, "--from", test, "--n", 5, "--do", "0=0.5", "1=0.5", "--out", acted)
    pairs = load_pairs(acted)
    assert np.array_equal(pairs.x, load_pairs(test).x[:5])
    # all variables are set, so that all images are the same
    assert np.ptp(pairs.x_tilde.astype(int), axis=0).max() <= 2
    assert np.ptp(pairs.x.astype(int), axis=0).max() > 50


def test_a_killed_fit_goes_on_to_the_same_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from lcm.learn.training.tracker import StageTracker

    data = image_pairs(400)
    fit_run(data, tmp_path / "whole", SHORT, progress=False)
    save, seen = StageTracker.save, []

    def interrupted(self: StageTracker, state: dict[str, Any]) -> None:
        save(self, state)
        if self._name == "noise encoder":
            seen.append(state["step"])
            if len(seen) == 1:
                raise KeyboardInterrupt

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(StageTracker, "save", interrupted)
        fit_run(data, tmp_path / "killed", SHORT, progress=False)
    checkpoints = {path.name for path in (tmp_path / "killed" / "checkpoint").iterdir()}
    assert {"0-autoencoder.safetensors", "0-noise-encoder.safetensors"} <= checkpoints
    fit_run(data, tmp_path / "killed", SHORT, progress=False)
    models = [(tmp_path / name / "model.safetensors").read_bytes() for name in ("whole", "killed")]
    assert models[0] == models[1]


@pytest.mark.parametrize("model", ["linear", "ilcm-vae", "dvae"])
def test_peers_are_fitted_to_the_codes(model: Any, tmp_path: Path, figures: None) -> None:
    shortened = {section: replace(settings, steps=20) for section, settings in SHORT.peers.items()}
    config = replace(SHORT, model=model, peers=shortened)
    data = image_pairs(400)
    fit_run(data, tmp_path / "run", config, progress=False)
    run = load_run(tmp_path / "run")
    assert isinstance(run.model, ImageModel) and encode_pairs(run.model, data).z.shape == (400, 2)
    assert (tmp_path / "run" / "figures" / "targets.png").exists()
    if model != "linear":
        with pytest.raises(NotImplementedError, match=f"A model of kind {model} has no mechanisms to"):
            run.model.decode(torch.zeros(1, 2))


def test_restarts_share_the_autoencoder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(find, "_PROBES", 500)
    result = fit_pairs(image_pairs(400), replace(SHORT, restarts=2))
    assert isinstance(result.model, ImageModel)
    stages = {(record["stage"], record["restart"]) for record in result.records}
    assert {("autoencoder", 0), ("noise encoder", 0), ("noise encoder", 1)} <= stages
    assert ("autoencoder", 1) not in stages
    assert len(result.restart_nll) == 2


def test_a_code_may_have_more_dimensions_than_there_are_variables() -> None:
    result = fit_pairs(image_pairs(400), replace(SHORT, image=replace(SHORT.image, code=4)))
    assert result.codes.x.shape == (400, 4) and result.model.n == 2
    assert result.model.decode(torch.zeros(3, 2)).shape == (3, 16, 16, 3)


def test_the_same_seed_gives_the_same_model() -> None:
    first, second, other = (fit_pairs(image_pairs(300), replace(SHORT, seed=seed)) for seed in (0, 0, 1))
    for name, value in first.model.state_dict().items():
        assert torch.equal(value, second.model.state_dict()[name]), name
    assert any(
        not torch.equal(value, other.model.state_dict()[name]) for name, value in first.model.state_dict().items()
    )


def test_known_targets_number_the_variables() -> None:
    known = replace(CONFIG.known, targets=True)
    encoder = replace(CONFIG.noise_encoder, steps=200)
    config = replace(SHORT, known=known, noise_encoder=encoder, image=replace(IMAGE, passes=8.0))
    result = fit_pairs(image_pairs(600), config)
    assert evaluate(result.model, image_pairs(500, 1), keys=("permutation",))["permutation"] == [0, 1]


REFUSED = {
    "odd size": ((18, 16), SHORT, r"multiples of 4; got 18 x 16"),
    "small code": (
        (16, 16),
        replace(SHORT, image=replace(IMAGE, code=1)),
        r"image.code: Expected at least n = 2; got 1",
    ),
    "few pairs": ((16, 16), replace(SHORT, n=12), r"x: Expected at least 650 pairs"),
}


@pytest.mark.parametrize("case", REFUSED.values(), ids=REFUSED)
def test_what_cannot_be_fitted_is_refused(case: tuple[tuple[int, int], FitConfig, str]) -> None:
    size, config, message = case
    images = np.zeros((200, *size, 3), np.uint8)
    images[:, :16, :16] = image_pairs(200).x
    with pytest.raises(ValueError, match=message):
        fit_pairs(PairData.from_arrays(images, images[::-1].copy()), config)


def test_images_of_another_size_than_the_models_are_refused(
    folder: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    images = np.zeros((120, 8, 8, 3), np.uint8)
    images[:60] = 9
    save_pairs(tmp_path / "other.safetensors", PairData.from_arrays(images, images[::-1].copy()))
    for command in (("encode", "--out", tmp_path / "e.safetensors"), ("evaluate",)):
        line = refused(capsys, command[0], folder / "run", tmp_path / "other.safetensors", *command[1:])
        assert "Expected shape (N, 16, 16, 3), as the model's observations; got (120, 8, 8, 3)" in line
    line = refused(capsys, "compare", folder / "run", folder / "run", tmp_path / "other.safetensors")
    assert "Expected shape (N, 16, 16, 3), as the models' observations" in line


def test_settings_out_of_range_are_refused() -> None:
    for key, value in (("code", 0), ("passes", 0.0), ("channels", ())):
        with pytest.raises(ValueError, match=rf"{key}: Expected"):
            ImageConfig(**{key: value})


def test_the_number_of_variables_is_estimated_or_given() -> None:
    data = image_pairs(1500)
    assert choose_n(data, FitConfig()) == 2 and choose_n(data, FitConfig(n=3)) == 3


def test_equal_images_cannot_be_fitted() -> None:
    images = image_pairs(300).x
    with pytest.raises(ValueError, match=r"x_tilde: Expected pairs that differ"):
        choose_n(PairData.from_arrays(images, images), FitConfig())


def test_the_summary_of_a_fit_is_of_the_codes(
    folder: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_text(tmp_path / "config.yaml", SHORT_YAML)
    argv = ("fit", folder / "test.safetensors", "--out", tmp_path / "run", "--config", tmp_path / "config.yaml")
    assert main([str(part) for part in argv]) == 0
    printed = capsys.readouterr().out
    assert "n = 2, estimated: the images lie on a sheet of 2 dimensions" in printed
    assert "Fitted 2 causal variables to 800 pairs" in printed
