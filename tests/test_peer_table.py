"""The table of peers: what each entry promises, and a peer that is added from outside the package by one line."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass, fields, is_dataclass, replace
from pathlib import Path
from typing import Any, ClassVar, final

import pytest
import torch
from command_line import called
from small import fit_in, small_data
from torch import Tensor

from lcm.base.config import config_hash, load_config, parse_config, to_yaml
from lcm.base.requirement import to_dict
from lcm.data.pair_files import save_pairs
from lcm.learn.config import KnownConfig
from lcm.learn.training.objective import Stages
from lcm.model.decoder import ChainDecoder
from lcm.model.graph import Graph
from lcm.model.intervention import TargetDistribution
from lcm.model.pair_model import EncodedPairs, Encoding, PairModel
from lcm.model.storage import load_model
from lcm.peer import PEERS
from lcm.peer.base import Peer
from lcm.peer.variational import build_common
from lcm.run.config import FitConfig, models
from lcm.run.known import require_usable
from lcm.run.runs import load_run

ROOT = Path(__file__).parent.parent


@final
@dataclass(frozen=True)
class ToyConfig:
    """The settings of the toy peer."""

    scale: float = 2.0


@final
class Toy(PairModel):
    """z is the standardised x times a scale; nothing is learned."""

    kind: ClassVar[str] = "toy"

    def __init__(self, standardisation: ChainDecoder, targets: TargetDistribution, scale: float) -> None:
        super().__init__()
        self.standardisation, self.target_distribution, self.scale = standardisation, targets, scale

    @property
    def n(self) -> int:
        return self.standardisation.n

    @property
    def d(self) -> int:
        return self.standardisation.d

    @property
    def graph(self) -> Graph:
        return Graph.from_edges(self.n, [])

    def encoding(self, x: Tensor) -> Encoding:
        z = self.scale * self.standardisation.inverse(x)[0]
        return Encoding(z, z, None)

    def encode_pairs(self, x: Tensor, x_tilde: Tensor) -> EncodedPairs:
        z, z_tilde = self.encoding(x).z, self.encoding(x_tilde).z
        posterior = self.target_distribution.probabilities.to(z).expand(len(z), -1)
        return EncodedPairs(z, z_tilde, z, z_tilde, posterior, -z.square().sum(1))

    def description(self) -> dict[str, Any]:
        from lcm.base.component import describe

        return {
            "type": self.kind,
            "standardisation": describe(self.standardisation),
            "target_sets": self.target_distribution.as_lists(),
            "scale": self.scale,
        }


def fit_toy(
    prepared: Any, targets: TargetDistribution, config: ToyConfig, generator: torch.Generator, known: KnownConfig
) -> Stages[Toy]:
    yield from ()
    return Toy(prepared.standardisation, targets, config.scale)


TOY = Peer(
    summary="a toy that learns nothing",
    section="toy",
    config=ToyConfig,
    fit=fit_toy,
    load=lambda description: Toy(*build_common(description), description["scale"]),
    knows=frozenset({"targets"}),
    learns_graph=True,
)


@pytest.fixture
def toy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(PEERS, "toy", TOY)


def test_a_peer_from_outside_is_listed(toy: None, capsys: pytest.CaptureFixture[str]) -> None:
    text = called(capsys, "fit", "--help")
    assert "a toy that learns nothing" in text
    assert "  toy:\n    scale: 2.0\n" in text
    assert models()["toy"] == TOY.summary


def test_a_peer_from_outside_is_fitted_saved_and_loaded(
    toy: None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data, run = small_data("linear"), tmp_path / "run"
    save_pairs(tmp_path / "pairs.safetensors", data)
    (tmp_path / "config.yaml").write_text("model: toy\ntoy: {scale: 3.0}\n")
    config = str(tmp_path / "config.yaml")
    called(capsys, "fit", str(tmp_path / "pairs.safetensors"), "--out", str(run), "--config", config, "--quiet")
    found = load_run(run)
    assert isinstance(found.model, Toy) and found.model.scale == 3.0
    assert found.config.model == "toy" and found.config.peers["toy"] == ToyConfig(3.0)
    assert load_config(run / "config.yaml", FitConfig) == found.config
    model = load_model(run)
    x = torch.from_numpy(data.x)
    assert torch.equal(model.encode(x).z, found.model.encode(x).z)


def test_a_peer_from_outside_refuses_what_it_does_not_know(toy: None) -> None:
    require_usable(FitConfig(model="toy", known=KnownConfig(targets=True)), 2)
    with pytest.raises(ValueError, match=r"known.graph: Expected a model that makes use of a graph; got toy"):
        require_usable(FitConfig(model="toy", known=KnownConfig(graph=((0, 1),))), 2)
    with pytest.raises(ValueError, match=r"known.order: Expected a model that learns with an order; got toy"):
        require_usable(FitConfig(model="toy", known=KnownConfig(order=(0, 1))), 2)


def test_a_peer_that_is_not_in_the_table_is_unknown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patched:
        patched.setitem(PEERS, "toy", TOY)
        fit_in(tmp_path / "run", config=FitConfig(model="toy"))
    with pytest.raises(ValueError, match=r"got a model of type 'toy'"):
        load_model(tmp_path / "run")
    with pytest.raises(ValueError, match=r"toy: Expected one of the keys .*explicit.*; got an unknown one"):
        parse_config("toy: {scale: 1.0}", FitConfig, "config")


@pytest.mark.parametrize("name", PEERS)
def test_every_peer_has_settings_with_defaults_and_knows_what_there_is(name: str) -> None:
    peer = PEERS[name]
    assert is_dataclass(peer.config) and peer.config() == FitConfig(model=name).peers[peer.section]
    assert peer.section not in {each.name for each in fields(FitConfig)}
    assert peer.knows <= {"targets", "graph", "order"} and peer.summary
    assert not peer.needs_targets or "targets" in peer.knows


@pytest.mark.parametrize("name", PEERS)
def test_settings_of_a_peer_come_back_from_yaml(name: str) -> None:
    section = PEERS[name].section
    config = parse_config(f"model: {name}\n{section}: {{steps: 7}}\n", FitConfig, "config")
    assert config.peers[section].steps == 7
    assert parse_config(to_yaml(config), FitConfig, "config") == config
    assert to_dict(config)[section]["steps"] == 7 and "peers" not in to_dict(config)
    assert config_hash(config) != config_hash(FitConfig(model=name))


def test_settings_of_another_peer_do_not_count(toy: None) -> None:
    other = replace(FitConfig(model="dvae"), peers={"toy": ToyConfig(5.0)})
    assert config_hash(other) == config_hash(FitConfig(model="dvae"))


BAD = {
    "model: fow": "config: model: Expected one of 'flow', .* \\(did you mean 'flow'\\?\\); got the string 'fow'",
    "model: 3": "config: model: Expected a string; got the integer 3",
    "explicit: {stps: 3}": "config: explicit.stps: Expected a known key \\(did you mean 'steps'\\?\\); got an",
    "explicit: {steps: 0}": "config: explicit: steps: Expected at least 1; got 0",
    "explicit: {steps: no}": "config: explicit.steps: Expected an integer; got false",
    "explicit: 3": "config: explicit: Expected a mapping; got the integer 3",
    "peers: {}": "config: peers: Expected .*; got an unknown one",
    "explict: {}": "config: explict: Expected a known key \\(did you mean 'explicit'\\?\\); got an unknown one",
}


@pytest.mark.parametrize("text", BAD)
def test_bad_settings_are_named_by_their_place(text: str) -> None:
    with pytest.raises(ValueError, match=f"^{BAD[text]}"):
        parse_config(text, FitConfig, "config")


def test_an_unknown_section_is_an_error() -> None:
    with pytest.raises(ValueError, match=r"peers: Expected sections of explicit, .*; got 'explict'"):
        FitConfig(peers={"explict": None})


def test_the_table_and_the_command_line_import_no_torch() -> None:
    code = "import sys, lcm.peer, lcm.peer.search, lcm.run.config, lcm.app.cli; sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)
