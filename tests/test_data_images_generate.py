"""Data sets of scenes: what `lcm generate` writes, that it goes on where it was stopped, and what it refuses."""

from __future__ import annotations

import ctypes.util
import json
import os
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from command_line import called, refused

from lcm.app.cli import main
from lcm.data.data_set import GenerateConfig, SplitConfig, generate
from lcm.data.image_files import PairWriter
from lcm.data.nature.config import NatureConfig
from lcm.data.pair_files import load_pairs
from lcm.data.pairs import PairData
from lcm.data.scene import render
from lcm.data.scene.render import SceneMap, scene_parameters
from lcm.data.scene.scene import SceneConfig
from lcm.metric.scores import evaluate
from lcm.model.decoder import LinearDecoderConfig
from lcm.model.mechanism import CircuitMechanismConfig, LocationScaleMechanismConfig
from lcm.model.storage import load_causal_model

pytestmark = pytest.mark.skipif(
    not any(ctypes.util.find_library(name) for name in ("EGL", "OSMesa")), reason="neither EGL nor OSMesa is installed"
)

PAIRS = SplitConfig(train=60, val=8, test=30)
CIRCUIT = GenerateConfig(
    NatureConfig(n=4, mechanism=CircuitMechanismConfig()), PAIRS, scene=SceneConfig(size=16, supersampling=1)
)
OBJECTS = GenerateConfig(
    NatureConfig(n=3, mechanism=LocationScaleMechanismConfig()),
    PAIRS,
    scene=SceneConfig("objects", size=16, parameters=("hue", "spotlight", "floor_hue")),
)
YAML = """
nature: {n: 4, mechanism: {kind: circuit}}
scene: {kind: circuit, size: 16, supersampling: 1}
pairs: {train: 60, val: 8, test: 30}
"""


def images(out: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(out.glob("*.safetensors"))}


@pytest.fixture(scope="module")
def circuit(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("circuit") / "data"
    generate(CIRCUIT, out, processes=1)
    return out


@pytest.mark.parametrize("config", [CIRCUIT, OBJECTS], ids=["circuit", "objects"])
def test_images_with_their_truth_are_written(config: GenerateConfig, tmp_path: Path) -> None:
    generate(config, tmp_path / "data", processes=1)
    test = load_pairs(tmp_path / "data" / "test.safetensors")
    assert test.x.shape == (30, 16, 16, 3) and test.x.dtype == np.uint8
    assert test.targets is not None and test.z is not None and test.adjacency is not None
    nothing = ~test.targets.any(1)
    assert nothing.any() and np.array_equal(test.x[nothing], test.x_tilde[nothing])
    assert not (test.x == test.x_tilde).all((1, 2, 3))[~nothing].any()
    assert config.scene is not None
    names = json.loads(test.metadata["variables"])
    assert names == list(config.scene.parameters or ("red", "green", "blue", "arm"))
    written = {path.name for path in (tmp_path / "data").iterdir()}
    splits = {f"{split}.safetensors" for split in ("train", "val", "test", "nature")}
    assert written == splits | {"config.yaml"}


def test_the_nature_is_what_drives_the_scene(circuit: Path) -> None:
    test, nature = load_pairs(circuit / "test.safetensors"), load_causal_model(circuit / "nature.safetensors")
    assert nature.d == nature.n == 4
    assert np.array_equal(nature.graph.adjacency, test.adjacency)
    assert test.z is not None and test.z_tilde is not None
    variables = PairData.from_arrays(test.z, test.z_tilde, z=test.z, targets=test.targets, adjacency=test.adjacency)
    assert evaluate(nature, variables, n_jobs=1)["mcc"] > 0.999


def test_the_same_seed_gives_the_same_bytes_by_default_with_a_process_for_each_core(
    circuit: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    draw, counts = render.render_blocks, []

    def counted(*arguments: Any) -> Any:
        counts.append(arguments[-1])
        # what several processes draw is what one does: tests/test_data_images_render.py
        return draw(*arguments[:-1], 1)

    monkeypatch.setattr(render, "render_blocks", counted)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 3, 4})
    generate(CIRCUIT, tmp_path / "default")
    generate(CIRCUIT, tmp_path / "other", seed=1, processes=2)
    assert counts == [3, 3, 3, 2, 2, 2]
    assert images(tmp_path / "default") == images(circuit)
    assert images(tmp_path / "other")["test.safetensors"] != images(circuit)["test.safetensors"]


def test_an_interruption_is_gone_on_with(circuit: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(render, "_BLOCK", 10)
    draw, drawn = render.render_blocks, []

    def interrupted(*arguments: Any) -> Any:
        for block in draw(*arguments):
            drawn.append(len(block))
            if len(drawn) == 4:
                raise KeyboardInterrupt
            yield block

    monkeypatch.setattr(render, "render_blocks", interrupted)
    with pytest.raises(KeyboardInterrupt):
        generate(CIRCUIT, tmp_path / "data", processes=1)
    assert not (tmp_path / "data").exists() and (tmp_path / ".data.partial").is_dir()
    monkeypatch.setattr(render, "render_blocks", draw)
    generate(CIRCUIT, tmp_path / "data", processes=1)
    assert images(tmp_path / "data") == images(circuit)
    assert [path.name for path in tmp_path.iterdir()] == ["data"]


def test_an_interruption_of_several_parts_is_gone_on_with(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(render, "_BLOCK", 10)
    monkeypatch.setattr(render, "PairWriter", partial(PairWriter, shard_bytes=30_000))
    generate(CIRCUIT, tmp_path / "whole", processes=1)
    draw, drawn = render.render_blocks, []

    def interrupted(*arguments: Any) -> Any:
        for block in draw(*arguments):
            drawn.append(len(block))
            if len(drawn) == 3:
                raise KeyboardInterrupt
            yield block

    monkeypatch.setattr(render, "render_blocks", interrupted)
    with pytest.raises(KeyboardInterrupt):
        generate(CIRCUIT, tmp_path / "data", processes=1)
    monkeypatch.setattr(render, "render_blocks", draw)
    generate(CIRCUIT, tmp_path / "data", processes=1)
    assert len(images(tmp_path / "data")) > 5 and images(tmp_path / "data") == images(tmp_path / "whole")


def test_the_command_says_what_an_interruption_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    (tmp_path / "config.yaml").write_text(YAML)
    monkeypatch.setattr(render, "write_images", interrupted)
    argv = ("generate", tmp_path / "config.yaml", "--out", tmp_path / "data")
    assert main([str(part) for part in argv]) == 130
    assert "images drawn so far are kept, and the same command continues" in capsys.readouterr().err


def test_an_interruption_of_other_settings_is_begun_anew(circuit: Path, tmp_path: Path) -> None:
    left = tmp_path / ".data.partial"
    left.mkdir()
    (left / "train.safetensors").write_bytes(b"of something else")
    (left / "identity.json").write_text('{"config": "another"}')
    generate(CIRCUIT, tmp_path / "data", processes=1)
    assert images(tmp_path / "data") == images(circuit)


def test_the_command_draws_and_says_what_to_do_next(
    circuit: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "config.yaml").write_text(YAML)
    argv = ("generate", tmp_path / "config.yaml", "--out", tmp_path / "data", "--processes", 1)
    printed = called(capsys, *argv, "--quiet")
    assert printed == "" and images(tmp_path / "data") == images(circuit)
    assert "a folder that holds files" in refused(capsys, *argv)
    assert "--processes: Expected at least 1; got 0" in refused(capsys, *argv[:-1], 0)


def test_variables_are_standardised_and_squashed() -> None:
    z = np.array([[0.0, 5.0], [2.0, 3.0]])
    squashed = SceneMap(("a", "b"), (0.0, 3.0), (1.0, 2.0))(z)
    np.testing.assert_allclose(squashed, 1 / (1 + np.exp(-1.5 * np.array([[0.0, 1.0], [2.0, 0.0]]))))
    assert np.array_equal(SceneMap(("a", "b"))(z), z)


def test_what_is_needed_to_draw_again_is_in_the_metadata(tmp_path: Path) -> None:
    generate(OBJECTS, tmp_path / "data", processes=1)
    test = load_pairs(tmp_path / "data" / "test.safetensors")
    known = json.loads(test.metadata["scene_map"])
    to_scene = SceneMap(("hue", "spotlight", "floor_hue"), tuple(known["mean"]), tuple(known["scale"]))
    assert test.z is not None
    assert OBJECTS.scene is not None and OBJECTS.scene.parameters is not None
    (again,) = render.render_blocks("objects", OBJECTS.scene.parameters, 16, 2, [to_scene(test.z[:3])], 1)
    assert np.array_equal(again, test.x[:3])


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "unknown parameter": ({"parameters": ("red", "green", "blue", "leg")}, r"scene.parameters: Expected some of red"),
    "too few": ({"parameters": ("red", "arm")}, r"scene.parameters: Expected one for each of 4 variables; got 2"),
    "unknown scene": (
        {"kind": "room"},
        r"scene.kind: Expected one of circuit, objects, light-tunnel, or FILE.py:CLASS",
    ),
}


@pytest.mark.parametrize("case", REFUSED.values(), ids=REFUSED)
def test_scenes_that_do_not_fit_are_refused(case: tuple[dict[str, Any], str], tmp_path: Path) -> None:
    config = GenerateConfig(CIRCUIT.nature, PAIRS, scene=SceneConfig(**{"size": 16, **case[0]}))
    with pytest.raises(ValueError, match=case[1]):
        generate(config, tmp_path / "data")
    assert not (tmp_path / "data").exists()


def test_variables_outside_the_unit_interval_are_refused(tmp_path: Path) -> None:
    nature = NatureConfig(n=3, mechanism=LocationScaleMechanismConfig())
    config = GenerateConfig(nature, PAIRS, scene=SceneConfig("objects", size=16, values="unit"))
    with pytest.raises(ValueError, match=r"scene.values: Expected rotation in \(0, 1\), as for unit"):
        generate(config, tmp_path / "data", processes=1)


def test_settings_out_of_range_are_refused() -> None:
    for key, value, message in (
        ("size", 20, r"size: Expected a multiple of 16 from 16 to 512; got 20"),
        ("supersampling", 9, r"supersampling: Expected 1 to 4; got 9"),
        ("parameters", ("red", "red"), r"parameters: Expected each parameter once; got red again"),
    ):
        with pytest.raises(ValueError, match=message):
            SceneConfig(**{key: value})
    with pytest.raises(ValueError, match=r"Expected no observation_noise beside a scene"):
        GenerateConfig(CIRCUIT.nature, observation_noise=0.1, scene=SceneConfig())
    nature = NatureConfig(n=4, mechanism=CircuitMechanismConfig(), decoder=LinearDecoderConfig())
    with pytest.raises(ValueError, match=r"nature.decoder: Expected none beside a scene; got one of kind linear"):
        GenerateConfig(nature, scene=SceneConfig())


def test_the_number_of_parameters_is_that_of_the_scene() -> None:
    assert scene_parameters(SceneConfig("objects"), 3) == ("rotation", "hue", "spotlight")
    with pytest.raises(ValueError, match=r"scene.parameters: Expected one for each of 9 variables; got 7"):
        scene_parameters(SceneConfig("objects"), 9)
