"""A grid of images becomes pairs of a causal model: each image is the one of its levels."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lcm.data.data_set import GenerateConfig, SplitConfig
from lcm.data.image_files import PairWriter
from lcm.data.imported import source as write
from lcm.data.imported.grid import GridAxes, import_grid, level_numbers
from lcm.data.nature.config import NatureConfig
from lcm.data.nature.graphs import FullConfig
from lcm.data.pair_files import load_pairs
from lcm.data.pairs import PairData
from lcm.data.scene.scene import SceneConfig
from lcm.model.decoder import FlowDecoderConfig

SIZES = (3, 2, 5, 4)
NATURE = GenerateConfig(NatureConfig(2, FullConfig()), SplitConfig(30, 8, 9), seed=2)


def grid(sizes: tuple[int, ...] = SIZES, side: int = 16) -> Any:
    """Images that say their levels in their first pixels, the last factor fastest."""
    levels = np.stack(np.unravel_index(np.arange(np.prod(sizes)), sizes), axis=1)
    images = np.zeros((len(levels), side, side, 3), np.uint8)
    images[:, 0, : len(sizes), 1] = levels
    return images


def write_npy(folder: Path) -> Path:
    folder.mkdir()
    np.save(folder / "grid.npy", grid())
    return folder


def write_npz(save: Callable[..., Any], **more: Any) -> Callable[[Path], Path]:
    def written(folder: Path) -> Path:
        folder.mkdir()
        save(folder / "grid.npz", images=grid(), **more)
        return folder

    return written


KINDS: dict[str, Callable[[Path], Path]] = {
    "npy": write_npy,
    "npz": write_npz(np.savez),
    "compressed": write_npz(np.savez_compressed),
}
every_kind = pytest.mark.parametrize("make", KINDS.values(), ids=KINDS.keys())


def loaded(source: Path, out: Path, **options: Any) -> dict[str, PairData]:
    written = import_grid(source, out, 16, **{"nature": NATURE, "factors": SIZES} | options)
    assert list(written.values()) == [30, 8, 9]
    return {path.stem: load_pairs(path) for path in written}


@every_kind
def test_each_image_is_that_of_its_levels(make: Callable[[Path], Path], tmp_path: Path) -> None:
    for name, data in loaded(make(tmp_path / "set"), tmp_path / "out", drives=[3, 0], fixed={2: 4}).items():
        cuts = [np.array(each, np.float32) for each in json.loads(data.metadata["cuts"])]
        assert [len(each) for each in cuts] == [3, 2] and data.metadata["split"] == name
        for images, z in ((data.x, data.z), (data.x_tilde, data.z_tilde)):
            assert z is not None
            levels = level_numbers(z, cuts)
            np.testing.assert_array_equal(
                images[:, 0, :4, 1], np.stack([levels[:, 1], 0 * z[:, 0], 0 * z[:, 0] + 4, levels[:, 0]], 1)
            )
        assert data.adjacency is not None and data.adjacency.sum() == 1
        assert {"noise", "noise_tilde", "targets"} <= set(data.tensors())


def test_all_kinds_of_files_give_the_same_pairs(tmp_path: Path) -> None:
    found = [loaded(make(tmp_path / f"set {name}"), tmp_path / f"out {name}") for name, make in KINDS.items()]
    for other in found[1:]:
        for name, data in found[0].items():
            for key, tensor in data.tensors().items():
                np.testing.assert_array_equal(other[name].tensors()[key], tensor)


def test_the_pairs_are_those_of_lcm_generate(tmp_path: Path) -> None:
    from lcm.data.data_set import generate

    generate(NATURE, tmp_path / "vectors")
    data, same = (
        loaded(write_npy(tmp_path / "set"), tmp_path / "out")["val"],
        load_pairs(tmp_path / "vectors/val.safetensors"),
    )
    for key in ("z", "z_tilde", "targets", "adjacency"):
        np.testing.assert_array_equal(data.tensors()[key], same.tensors()[key])
    other = loaded(tmp_path / "set", tmp_path / "other", seed=5)["val"]
    assert other.metadata["seed"] == "5" and not np.array_equal(other.z, data.z)


def test_levels_rise_with_the_variable_and_are_equally_probable(tmp_path: Path) -> None:
    config = replace(NATURE, pairs=SplitConfig(6000, 8, 9))
    written = import_grid(write_npy(tmp_path / "set"), tmp_path / "out", 16, nature=config, factors=SIZES)
    data = load_pairs(next(iter(written)))
    assert json.loads(data.metadata["drives"]) == [2, 3] and data.z is not None
    for variable, factor in ((0, 2), (1, 3)):
        levels = data.x[:, 0, factor, 1].astype(int)
        order = np.argsort(data.z[:, variable])
        assert (np.diff(levels[order]) >= 0).all()
        np.testing.assert_allclose(np.bincount(levels) / 6000, 1 / SIZES[factor], atol=0.02)
    acted = np.asarray(data.targets).any(axis=1)
    unseen = (data.x[:][acted] == data.x_tilde[:][acted]).all(axis=(1, 2, 3)).mean()
    assert float(data.metadata["unseen"]) == pytest.approx(unseen, abs=1e-4) and 0.02 < unseen < 0.5


def test_factor_sizes_of_the_file_are_taken(tmp_path: Path) -> None:
    folder = write_npz(np.savez, factor_sizes=np.array(SIZES))(tmp_path / "set")
    data = loaded(folder / "grid.npz", tmp_path / "out", factors=None)["test"]
    assert json.loads(data.metadata["factor_sizes"]) == list(SIZES) and data.metadata["licence"].startswith("of MPI3D")


def test_numbers_count_the_last_factor_fastest() -> None:
    axes = GridAxes((6, 6, 2, 3, 3, 40, 40), (6, 0), (0, 1, 0, 0, 2, 7, 0))
    numbers = axes.numbers(np.array([[0, 0], [39, 5]]))
    first = ((((0 * 6 + 1) * 2 + 0) * 3 + 0) * 3 + 2) * 40 + 7
    assert numbers.tolist() == [first * 40, (first + 5 * 6 * 2 * 3 * 3 * 40) * 40 + 39]


@every_kind
def test_an_interrupted_import_goes_on_to_the_same_bytes(
    make: Callable[[Path], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(write, "_BLOCK", 4)
    source = make(tmp_path / "set")
    loaded(source, tmp_path / "whole")
    whole, count = PairWriter._write, []

    def fails_once(self: PairWriter, *arguments: Any) -> None:
        count.append(1)
        if len(count) == 4:
            raise KeyboardInterrupt
        whole(self, *arguments)

    monkeypatch.setattr(PairWriter, "_write", fails_once)
    with pytest.raises(KeyboardInterrupt):
        loaded(source, tmp_path / "out")
    assert not (tmp_path / "out").exists()
    loaded(source, tmp_path / "out")
    for name in ("train", "val", "test"):
        file = f"{name}.safetensors"
        assert (tmp_path / "out" / file).read_bytes() == (tmp_path / "whole" / file).read_bytes()


def saved(array: Any, **more: Any) -> Callable[[Path], Any]:
    return lambda folder: np.savez(folder / "grid.npz", images=array, **more)


ARRAYS: dict[str, tuple[Callable[[Path], Any], str]] = {
    "no file": (
        lambda folder: (folder / "grid.npz").unlink(),
        r"set: Expected one \.npy or \.npz file of a grid of images; got none \(licence of MPI3D, .*: CC BY 4\.0\)$",
    ),
    "two files": (lambda folder: np.save(folder / "a.npy", grid()), r"set: Expected one .*; got a\.npy, grid\.npz \("),
    "no images": (
        lambda folder: np.savez(folder / "grid.npz", x=1),
        r"images: Expected an array of this name; got none$",
    ),
    "floats": (
        saved(grid().astype(np.float32)),
        r"grid\.npz: images: Expected uint8 images \(N, H, H, 3\); got float32 \(120, 16, 16, 3\)$",
    ),
    "flat": (saved(grid().reshape(120, -1)), r"Expected uint8 images \(N, H, H, 3\); got uint8 \(120, 768\)$"),
    "no squares": (saved(grid()[:, :8]), r"Expected uint8 images \(N, H, H, 3\); got uint8 \(120, 8, 16, 3\)$"),
    "one channel": (saved(grid()[..., :1]), r"Expected uint8 images \(N, H, H, 3\); got uint8 \(120, 16, 16, 1\)$"),
    "an image too few": (
        saved(grid()[:-1]),
        r"^factors: Expected sizes with the product 119, the number of images; got 3 x 2 x 5 x 4 = 120$",
    ),
    "images too small": (
        saved(grid(side=8)),
        r"image \d+: Expected an image of at least 16 x 16 pixels, the size to be",
    ),
}


@pytest.mark.parametrize(("spoil", "message"), ARRAYS.values(), ids=ARRAYS.keys())
def test_arrays_that_are_no_grid_are_refused(spoil: Callable[[Path], Any], message: str, tmp_path: Path) -> None:
    spoil(KINDS["npz"](tmp_path / "set"))
    with pytest.raises(ValueError, match=message):
        import_grid(tmp_path / "set", tmp_path / "out", 16, nature=NATURE, factors=SIZES)
    assert [path.name for path in tmp_path.iterdir()] == ["set"]


@pytest.mark.parametrize(
    ("sizes", "message"),
    [
        (None, r"grid\.npz: factor_sizes: Expected the levels of each factor here, or --factors; got neither$"),
        (np.array([3.0, 40.0]), r"grid\.npz: factor_sizes: Expected whole numbers \(k,\); got float64 \(2,\)$"),
        (np.array(120), r"grid\.npz: factor_sizes: Expected whole numbers \(k,\); got int64 \(\)$"),
        (np.array([-3, -40]), r"^factors: Expected sizes with the product 120, .*; got -3 x -40 = 120$"),
    ],
)
def test_factor_sizes_that_are_none_are_refused(sizes: Any, message: str, tmp_path: Path) -> None:
    more = {} if sizes is None else {"factor_sizes": sizes}
    write_npz(np.savez, **more)(tmp_path / "set")
    with pytest.raises(ValueError, match=message):
        import_grid(tmp_path / "set", tmp_path / "out", 16, nature=NATURE)


def natured(**changes: Any) -> dict[str, Any]:
    return {"nature": replace(NATURE, **changes)}


OPTIONS: dict[str, tuple[dict[str, Any], str]] = {
    "one factor for two": ({"drives": [2]}, r"^drives: Expected 2 different factors, one for each variable; got 2$"),
    "a factor twice": ({"drives": [2, 2]}, r"^drives: Expected 2 different factors, one for each variable; got 2, 2$"),
    "no such factor": ({"drives": [2, 4]}, r"^drives: Expected factors from 0 to 3; got 4$"),
    "one level": (
        {"factors": [120, 1], "drives": [0, 1]},
        r"^drives: Expected factors with at least two levels; got f",
    ),
    "no such fixed factor": ({"fixed": {4: 0}}, r"^fixed: Expected factors from 0 to 3; got 4$"),
    "a factor that is driven": ({"fixed": {2: 0}}, r"^fixed: Expected factors that no variable drives; got 2$"),
    "no such level": ({"fixed": {1: 2}}, r"^fixed: Expected a level of factor 1 from 0 to 1; got 2$"),
    "more variables than factors": (
        natured(nature=NatureConfig(5)),
        r"^drives: Expected 5 different factors, one for each variable; got 0, 1, 2, 3$",
    ),
    "a decoder": (
        natured(nature=NatureConfig(2, decoder=FlowDecoderConfig())),
        r"^nature\.decoder: Expected none, as the grid has the images; got one of kind flow$",
    ),
    "observation noise": (
        natured(observation_noise=0.1),
        r"^observation_noise: Expected none, as the grid has the images; got 0\.1$",
    ),
    "a scene": (natured(scene=SceneConfig("circuit")), r"^scene: Expected none, as the grid has the images; got one$"),
    "a seed": ({"seed": -1}, r"^Expected seed >= 0; got -1\.$"),
    "a size": ({"size": 17}, r"^size: Expected a multiple of 16 from 16 to 512; got 17\.$"),
}


@pytest.mark.parametrize(("options", "message"), OPTIONS.values(), ids=OPTIONS.keys())
def test_options_that_do_not_fit_are_refused(options: dict[str, Any], message: str, tmp_path: Path) -> None:
    write_npy(tmp_path / "set")
    given = {"size": 16, "nature": NATURE, "factors": SIZES} | options
    with pytest.raises(ValueError, match=message):
        import_grid(tmp_path / "set", tmp_path / "out", **given)
    assert [path.name for path in tmp_path.iterdir()] == ["set"]
