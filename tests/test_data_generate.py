"""Data sets on disk: what they hold, the same bytes for the same seed, and no half of one left behind."""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from lcm.base import __version__
from lcm.base.config import load_config
from lcm.data import data_set as module
from lcm.data.data_set import GenerateConfig, SplitConfig, generate
from lcm.data.nature.build import build_nature
from lcm.data.nature.config import NatureConfig
from lcm.data.nature.graphs import FullConfig
from lcm.data.pair_files import load_pairs
from lcm.data.sample import sample_data
from lcm.model.decoder import FlowDecoderConfig, MixingDecoderConfig
from lcm.model.intervention import PerfectInterventionConfig
from lcm.model.latent_causal_model import LatentCausalModel
from lcm.model.mechanism import LocationScaleMechanismConfig, SplineMechanismConfig
from lcm.model.noise import LaplaceNoiseConfig, SkewedNoiseConfig
from lcm.model.storage import load_model

SPLITS = ("train", "val", "test")
SMALL = SplitConfig(train=300, val=40, test=50)
CONFIGS: dict[str, GenerateConfig] = {
    "scaling": GenerateConfig(NatureConfig(4), SMALL, seed=3),
    "nonlinear": GenerateConfig(
        NatureConfig(3, FullConfig(), SplineMechanismConfig(), decoder=FlowDecoderConfig()), SMALL
    ),
    "several targets, embedded": GenerateConfig(
        NatureConfig(
            3,
            mechanism=LocationScaleMechanismConfig(),
            noise=SkewedNoiseConfig(),
            intervention=PerfectInterventionConfig(
                targets=((), (0, 2), (1,)), probabilities=(0.2, 0.3, 0.5), noise=LaplaceNoiseConfig()
            ),
            decoder=MixingDecoderConfig(dim_x=6),
        ),
        SMALL,
    ),
}
CONFIG_FOLDER = Path(__file__).parent.parent / "paper_configs"
PAPER_CONFIGS = sorted(path for path in CONFIG_FOLDER.glob("*.yaml") if not path.stem.startswith("sweep-"))
every_config = pytest.mark.parametrize("name", CONFIGS)


def content(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@every_config
def test_the_folder_holds_the_splits_the_config_and_the_nature(name: str, tmp_path: Path) -> None:
    config, out = CONFIGS[name], tmp_path / "new" / "data"
    generate(config, out)
    assert set(content(out)) == {
        *(f"{split}.safetensors" for split in SPLITS),
        "config.yaml",
        "nature.safetensors",
    }
    assert load_config(out / "config.yaml", GenerateConfig) == config
    for split, count in asdict(SMALL).items():
        data = load_pairs(out / f"{split}.safetensors")
        assert data.x.shape == (count, config.nature.decoder.dim_x or config.nature.n)
        assert data.metadata["split"] == split and data.metadata["seed"] == str(config.seed)
        assert data.metadata["version"] == __version__ and '"n": ' in data.metadata["nature"]


@every_config
def test_the_truth_in_the_files_is_the_truth_of_the_nature(name: str, tmp_path: Path) -> None:
    generate(CONFIGS[name], tmp_path / "data")
    model = load_model(tmp_path / "data" / "nature.safetensors").requires_grad_(False)
    data = load_pairs(tmp_path / "data" / "train.safetensors")
    truth = {key: torch.as_tensor(value) for key, value in data.tensors().items()}
    assert torch.equal(truth["adjacency"].bool(), torch.tensor(model.scm.graph.adjacency))
    for z, noise, x in (("z", "noise", "x"), ("z_tilde", "noise_tilde", "x_tilde")):
        assert torch.allclose(model.decode(truth[z]), truth[x], atol=1e-4)
        assert torch.allclose(model.scm.abduct(truth[z])[0], truth[noise], atol=1e-4)
    kept = ~truth["targets"]
    assert torch.allclose(truth["noise"][kept], truth["noise_tilde"][kept], atol=1e-4)
    moved = (truth["noise"] - truth["noise_tilde"]).abs()[truth["targets"]] > 1e-4
    assert float(moved.float().mean()) > 0.99
    drawn = {tuple(row) for row in data.targets.tolist()} if data.targets is not None else set()
    assert drawn == {tuple(row) for row in model.target_distribution.target_sets.tolist()}


@every_config
def test_the_same_seed_gives_the_same_bytes(name: str, tmp_path: Path) -> None:
    for folder in "ab":
        generate(CONFIGS[name], tmp_path / folder)
    assert content(tmp_path / "a") == content(tmp_path / "b")


def test_another_seed_gives_other_data_and_is_recorded(tmp_path: Path) -> None:
    generate(CONFIGS["scaling"], tmp_path / "a")
    generate(CONFIGS["scaling"], tmp_path / "b", seed=11)
    first, second = content(tmp_path / "a"), content(tmp_path / "b")
    assert all(first[name] != second[name] for name in first)
    assert load_config(tmp_path / "b" / "config.yaml", GenerateConfig) == replace(CONFIGS["scaling"], seed=11)


def test_splits_are_drawn_independently_of_each_other(tmp_path: Path) -> None:
    generate(CONFIGS["scaling"], tmp_path / "a")
    generate(replace(CONFIGS["scaling"], pairs=SplitConfig(100, 300, 50)), tmp_path / "b")
    rows = [load_pairs(tmp_path / "a" / f"{split}.safetensors").x for split in SPLITS]
    assert len(np.unique(np.concatenate(rows), axis=0)) == sum(map(len, rows))
    # The size of one split changes no other.
    assert content(tmp_path / "a")["test.safetensors"] == content(tmp_path / "b")["test.safetensors"]


def test_pairs_are_drawn_in_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    model = build_nature(NatureConfig(3), 0)
    sizes: list[int] = []
    sample_pairs = LatentCausalModel.sample_pairs

    def counted(self: LatentCausalModel, n_samples: int, generator: torch.Generator) -> Any:
        sizes.append(n_samples)
        return sample_pairs(self, n_samples, generator)

    monkeypatch.setattr(LatentCausalModel, "sample_pairs", counted)
    data = sample_data(model, 25, torch.Generator().manual_seed(0), {"made_by": "a test"}, chunk=10)
    assert sizes == [10, 10, 5] and len(data) == 25
    assert len(np.unique(data.x, axis=0)) == 25
    assert data.metadata == {"made_by": "a test"} and data.targets is not None and data.targets.dtype == np.bool_


def test_sampling_from_a_trainable_model_keeps_no_gradient() -> None:
    model = build_nature(NatureConfig(2), 0).requires_grad_(True)
    assert isinstance(sample_data(model, 10, torch.Generator().manual_seed(0)).x, np.ndarray)


def test_an_empty_folder_is_filled(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    generate(CONFIGS["scaling"], tmp_path / "data")
    assert len(content(tmp_path / "data")) == 5


def test_a_folder_that_holds_files_is_refused_and_left_alone(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(ValueError, match="Expected a new or empty folder to write to; got a folder that holds files"):
        generate(CONFIGS["scaling"], tmp_path)
    assert content(tmp_path) == {"notes.txt": b"mine"}


def test_a_file_in_the_place_of_the_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("mine")
    with pytest.raises(ValueError, match="data: Expected a folder to write to; got a file"):
        generate(CONFIGS["scaling"], tmp_path / "data")


@pytest.mark.parametrize("error", [OSError("no space left"), KeyboardInterrupt()])
def test_nothing_is_left_when_it_fails_on_the_way(
    error: BaseException, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr(module, "save_model", fail)
    with pytest.raises(type(error)):
        generate(CONFIGS["scaling"], tmp_path / "data")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("split", SPLITS)
def test_every_split_needs_a_pair(split: str) -> None:
    with pytest.raises(ValueError, match=f"Expected {split} >= 1; got 0"):
        SplitConfig(**{split: 0})


def test_a_negative_seed_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="Expected seed >= 0; got -1"):
        generate(CONFIGS["scaling"], tmp_path / "data", seed=-1)


@pytest.mark.parametrize("path", PAPER_CONFIGS, ids=lambda path: path.stem)
def test_published_configs_are_valid_and_generate(path: Path, tmp_path: Path) -> None:
    config = load_config(path, GenerateConfig)
    if config.nature.decoder.kind == "light-tunnel":
        pytest.importorskip("causalchamber", exc_type=ImportError)
    generate(replace(config, pairs=SMALL), tmp_path / "data", processes=1)
    assert load_pairs(tmp_path / "data" / "test.safetensors").x.shape[0] == SMALL.test


def test_the_scaling_config_is_the_default_family() -> None:
    path = next(path for path in PAPER_CONFIGS if path.stem == "scaling")
    assert load_config(path, GenerateConfig) == GenerateConfig(NatureConfig(4))
