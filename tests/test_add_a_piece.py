"""A new mechanism, decoder or metric is one class, and everything takes it: configs, draws, fits, files and lists.

Each toy is defined in a test, as it would be in a package of one's own; the tables are the originals again afterwards.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Self, final

import pytest
import torch
from command_line import called, refused
from small import without
from torch import Tensor, nn

from lcm.base.kinds import Kinds
from lcm.data.pair_files import load_pairs
from lcm.learn.config import MechanismsConfig, NoiseEncoderConfig
from lcm.metric.case import Metric
from lcm.metric.scores import KEYS, METRICS, evaluate
from lcm.model.decoder import Decoder, DecoderConfig, Flow
from lcm.model.graph import Graph
from lcm.model.latent_causal_model import LatentCausalModel
from lcm.model.mechanism import Mechanism, MechanismConfig, TrainableMechanism
from lcm.model.noise import Noise
from lcm.model.storage import load_model

SHORT = "noise_encoder: {layers: 2, hidden: 4, bins: 4, steps: 200, marginal_steps: 60, batch_size: 128"
NATURE = "nature: {{n: 2, graph: {{kind: edges, edges: [[0, 1]]}}, {}}}\npairs: {{train: 2000, val: 20, test: 60}}\n"


@pytest.fixture(autouse=True)
def own_tables(monkeypatch: pytest.MonkeyPatch) -> None:
    families: tuple[type[Kinds], ...] = (Mechanism, MechanismConfig, Decoder, DecoderConfig, Flow)
    for family in families:
        monkeypatch.setattr(family, "kinds", dict(family.kinds))


def generated(capsys: pytest.CaptureFixture[str], folder: Path, part: str) -> Path:
    config = folder / "data.yaml"
    config.write_text(NATURE.format(part))
    called(capsys, "generate", config, "--out", folder / "data", "--quiet")
    return folder / "data"


def fitted(capsys: pytest.CaptureFixture[str], folder: Path, config: str) -> LatentCausalModel:
    """The model of `lcm fit`, loaded from its run."""
    (folder / "fit.yaml").write_text(config)
    out = folder / "run"
    called(
        capsys, "fit", folder / "data" / "train.safetensors", "--config", folder / "fit.yaml", "--out", out, "--quiet",
        "--device", "cpu",
    )  # fmt: skip
    model = load_model(out)
    assert isinstance(model, LatentCausalModel)
    return model


def define_mechanism() -> None:
    @final
    class BentMechanism(TrainableMechanism):
        """f_i = bias_i + Σ_j weight_ji z_j + bend_ji tanh z_j + exp(log_scale_i) ε_i."""

        kind = "bent"

        def __init__(self, adjacency: Tensor | list[list[int]]) -> None:
            super().__init__(adjacency)
            self.weight, self.bend = (nn.Parameter(torch.zeros(self.n, self.n)) for _ in range(2))
            self.bias, self.log_scale = (nn.Parameter(torch.zeros(self.n)) for _ in range(2))

        def settings(self) -> dict[str, Any]:
            return {"adjacency": self.adjacency_list()}

        @classmethod
        def untrained(cls, adjacency: Tensor, hidden: int) -> Self:
            return cls(adjacency)

        @torch.no_grad()
        def set_linear(self, i: int, parents: Tensor, weight: Tensor, bias: Tensor, log_scale: Tensor) -> None:
            self.weight[parents, i], self.bias[i], self.log_scale[i] = weight, bias, log_scale

        def location_and_log_scale(self, z: Tensor, variables: Tensor | None = None) -> tuple[Tensor, Tensor]:
            index = torch.arange(self.n) if variables is None else variables
            weight, bend = (part * self.adjacency for part in (self.weight, self.bend))
            location = (self.bias + z @ weight + torch.tanh(z) @ bend)[:, index]
            return location, self.log_scale[index].expand_as(location)

        def forward(self, noise: Tensor, z: Tensor, variables: Tensor | None = None) -> tuple[Tensor, Tensor]:
            location, log_scale = self.location_and_log_scale(z, variables)
            return location + log_scale.exp() * noise, log_scale

        def inverse(self, value: Tensor, z: Tensor, variables: Tensor | None = None) -> tuple[Tensor, Tensor]:
            location, log_scale = self.location_and_log_scale(z, variables)
            return (value - location) * torch.exp(-log_scale), -log_scale

    @final
    @dataclass(frozen=True, kw_only=True)
    class BentMechanismConfig(MechanismConfig):
        """All bends are equal."""

        kind: Literal["bent"] = "bent"
        bend: float = 1.0

        def draw(self, graph: Graph, noise: Noise, generator: torch.Generator) -> BentMechanism:
            mechanism = BentMechanism(torch.tensor(graph.adjacency))
            nn.init.constant_(mechanism.bend, self.bend)
            return mechanism


def test_a_mechanism_from_outside_is_drawn_fitted_saved_loaded_and_listed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    define_mechanism()
    data = generated(capsys, tmp_path, "mechanism: {kind: bent, bend: 2.0}")
    nature = load_model(data / "nature.safetensors")
    assert isinstance(nature, LatentCausalModel) and nature.scm.mechanism.kind == "bent"
    assert nature.scm.mechanism.get_parameter("bend").unique().tolist() == [2.0]
    model = fitted(capsys, tmp_path, SHORT + "}\nmechanisms: {kind: bent, bins: 4, steps: 40, batch_size: 128}\n")
    assert model.scm.mechanism.kind == "bent" and model.graph.n_edges == 1
    assert "bent" in TrainableMechanism.names() and "bent" in MechanismConfig.names()
    with pytest.raises(
        ValueError, match=r"^kind: Expected one of .*'bent', .* \(did you mean 'bent'\?\); got .* 'bend'"
    ):
        MechanismsConfig(kind="bend")
    (tmp_path / "wrong.yaml").write_text(NATURE.format("mechanism: {kind: bent, bends: 2.0}"))
    said = refused(capsys, "generate", tmp_path / "wrong.yaml", "--out", tmp_path / "wrong")
    assert "nature.mechanism.bends: Expected a known key (did you mean 'bend'?) of the kind bent" in said


def define_decoder() -> None:
    @final
    class ShearDecoder(Decoder):
        """x_0 = z_0 and x_i = z_i + amount_i sin z_0."""

        kind = "shear"

        def __init__(self, n: int) -> None:
            super().__init__()
            self.n = self.d = n
            self.amount = nn.Parameter(torch.zeros(n))

        def settings(self) -> dict[str, Any]:
            return {"n": self.n}

        def _shift(self, first: Tensor) -> Tensor:
            others = torch.arange(self.n, device=first.device) > 0
            return torch.sin(first) * self.amount * others

        def forward(self, z: Tensor) -> tuple[Tensor, Tensor]:
            return z + self._shift(z[:, :1]), z.new_zeros(len(z))

        def inverse(self, x: Tensor) -> tuple[Tensor, Tensor]:
            return x - self._shift(x[:, :1]), x.new_zeros(len(x))

    @final
    @dataclass(frozen=True, kw_only=True)
    class ShearDecoderConfig(DecoderConfig):
        """All variables are sheared alike."""

        kind: Literal["shear"] = "shear"
        amount: float = 1.0

        def draw(self, n: int, generator: torch.Generator) -> ShearDecoder:
            decoder = ShearDecoder(n)
            nn.init.constant_(decoder.amount, self.amount)
            return decoder

    @final
    class ShearFlow(Flow):
        """The shear as a noise encoder."""

        kind = "shear"
        layers, hidden, learning_rate = 1, 1, 0.05

        @classmethod
        def start(cls, n: int, layers: int, hidden: int, bins: int, generator: torch.Generator) -> ShearDecoder:
            return ShearDecoder(n).to(generator.device)


def test_a_decoder_from_outside_is_drawn_fitted_saved_loaded_and_listed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    define_decoder()
    data = generated(capsys, tmp_path, "decoder: {kind: shear, amount: 1.5, dim_x: 3}")
    nature = load_model(data / "nature.safetensors")
    assert isinstance(nature, LatentCausalModel)
    assert [part.kind for part in nature.decoder.parts] == ["shear", "embedding"]  # type: ignore[union-attr]
    config = SHORT + ", flow: shear}\nmechanisms: {bins: 4, steps: 40, batch_size: 128}\nn: 2\n"
    model = fitted(capsys, tmp_path, config)
    first = model.decoder.noise_decoder.parts[0]  # type: ignore[union-attr]
    assert first.kind == "shear" and bool(first.amount.any())
    x = torch.from_numpy(load_pairs(data / "test.safetensors").x)
    assert torch.allclose(model.decode(model.encode(x).z), x, atol=1e-2)
    assert "shear" in Flow.names() and "shear" in DecoderConfig.names()
    with pytest.raises(ValueError, match=r"^flow: Expected one of .*'shear', .* \(did you mean 'shear'\?\)"):
        NoiseEncoderConfig(flow="sheer")


def test_a_metric_from_outside_is_computed_written_and_listed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    pairs = Metric("pairs", "number of pairs, at least 1", lambda case: len(case.learned), ("z",))
    monkeypatch.setitem(METRICS, pairs.key, pairs)
    data = generated(capsys, tmp_path, "thickness: 0.1")
    scores = tmp_path / "scores.json"
    said = called(capsys, "evaluate", data / "nature.safetensors", data / "test.safetensors", "--json", scores)
    assert json.loads(scores.read_text())["pairs"] == 60
    assert "pairs" in KEYS and "\n  pairs " in said.partition("further:")[2]
    blind = without(load_pairs(data / "test.safetensors"), "z")
    assert evaluate(load_model(data / "nature.safetensors"), blind)["pairs"] is None
