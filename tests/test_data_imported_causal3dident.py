"""Images of Causal3DIdent are paired with neighbours in their latents; whatever does not fit is named."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from imported_images import SIDE, write_3dident
from PIL import Image
from small import content

from lcm.data.imported.published import LATENTS, import_causal3dident, neighbours
from lcm.data.pair_files import load_pairs
from lcm.data.pairs import PairData


def loaded(folder: Path, out: Path, **options: Any) -> dict[str, PairData]:
    return {path.stem: load_pairs(path) for path in import_causal3dident(folder, out, SIDE, **options)}


def test_a_neighbour_is_the_nearest_image_to_what_is_wanted() -> None:
    """On a full grid, what is wanted is itself there."""
    axes = np.linspace(-1, 1, 5)
    latents = np.stack(np.meshgrid(axes, axes, axes), -1).reshape(-1, 3)
    found = neighbours(latents, np.random.default_rng(0))
    differs = latents[found.after] != latents
    redrawn = found.redrawn[:, None] == np.arange(3)
    assert (found.after != np.arange(125)).all()
    exact = (differs <= redrawn).all(1)
    # where the redrawn value happened to be the old one, the image itself is the nearest, and another is taken
    assert 0.7 < exact.mean() < 0.95
    assert set(found.redrawn) == {0, 1, 2}
    assert (np.abs(latents[found.after] - latents)[~exact].sum(1) == 0.5).all()


def test_redrawn_values_are_distributed_as_in_the_set() -> None:
    latents = np.random.default_rng(1).uniform(-1, 1, size=(4000, 2))
    found = neighbours(latents, np.random.default_rng(0))
    after = latents[found.after]
    for column in range(2):
        values = after[found.redrawn == column, column]
        np.testing.assert_allclose(np.quantile(values, [0.1, 0.5, 0.9]), [-0.8, 0.0, 0.8], atol=0.07)


def test_two_images_are_each_others_neighbours() -> None:
    latents = np.array([[0.0, 0.0], [1.0, 1.0]])
    assert neighbours(latents, np.random.default_rng(0)).after.tolist() == [1, 0]


def test_the_truth_is_that_of_the_images_found(tmp_path: Path) -> None:
    write_3dident(tmp_path / "set", 12)
    write_3dident(tmp_path / "set", 5, split="testset")
    splits = loaded(tmp_path / "set", tmp_path / "out")
    assert {name: len(data) for name, data in splits.items()} == {"train": 12, "test": 5}
    data = splits["train"]
    latents = np.load(tmp_path / "set" / "trainset" / "raw_latents_0.npy").astype(np.float32)
    images = [
        np.asarray(Image.open(tmp_path / "set" / "trainset" / "images_0" / f"{row:02d}.png")) for row in range(12)
    ]
    assert set(data.tensors()) == {"x", "x_tilde", "z", "z_tilde", "targets"}
    np.testing.assert_array_equal(data.z, latents)
    np.testing.assert_array_equal(data.x, images)
    assert data.z_tilde is not None and data.targets is not None
    assert (data.targets.sum(1) == 1).all()
    for x_tilde, z_tilde in zip(data.x_tilde, data.z_tilde, strict=True):
        row = int(np.argmin(np.abs(latents - z_tilde).sum(1)))
        np.testing.assert_array_equal(z_tilde, latents[row])
        np.testing.assert_array_equal(x_tilde, images[row])


def test_the_file_says_what_it_is(tmp_path: Path) -> None:
    write_3dident(tmp_path / "set", classes=(2,))
    data = loaded(tmp_path / "set", tmp_path / "out", object_class=2, seed=3)["train"]
    metadata = dict(data.metadata)
    assert (metadata["source"], metadata["object"], metadata["seed"]) == ("causal3dident", "dragon", "3")
    assert json.loads(metadata["variables"]) == list(LATENTS)
    assert metadata["licence"] == "https://zenodo.org/record/4784282: CC BY 4.0"
    assert data.z is not None and data.z_tilde is not None and data.targets is not None
    change = np.abs(data.z_tilde - data.z)
    assert float(metadata["mean_change_redrawn"]) == pytest.approx(change[data.targets].mean(), abs=1e-3)
    assert float(metadata["mean_change_others"]) == pytest.approx(change[~data.targets].mean(), abs=1e-3)


def test_the_same_seed_gives_the_same_bytes_and_another_others(tmp_path: Path) -> None:
    write_3dident(tmp_path / "set")
    for name, seed in (("one", 0), ("again", 0), ("other", 1)):
        import_causal3dident(tmp_path / "set", tmp_path / name, SIDE, seed=seed)
    assert content(tmp_path / "one") == content(tmp_path / "again") != content(tmp_path / "other")


def test_folders_may_be_named_train_and_test(tmp_path: Path) -> None:
    write_3dident(tmp_path / "set", 4, split="train")
    assert list(loaded(tmp_path / "set", tmp_path / "out")) == ["train"]


def latents_of(change: Callable[[Any], Any]) -> Callable[[Path], Any]:
    return lambda split: np.save(split / "raw_latents_0.npy", change(np.load(split / "raw_latents_0.npy")))


def with_nan(latents: Any) -> Any:
    latents[3, 1] = np.nan
    return latents


BAD: dict[str, tuple[Callable[[Path], Any], str]] = {
    "eleven latents": (
        latents_of(lambda v: np.hstack([v, v[:, :1]])),
        r"raw_latents_0\.npy: Expected shape \(N, 10\), N at least 2; got \(12, 11\)$",
    ),
    "one row": (latents_of(lambda v: v[:1]), r"Expected shape \(N, 10\), N at least 2; got \(1, 10\)$"),
    "integers": (latents_of(lambda v: v.astype(int)), r"Expected real numbers; got dtype int64$"),
    "NaN": (latents_of(with_nan), r"raw_latents_0\.npy: Expected finite numbers; got others, first in row 3$"),
    "angles": (latents_of(lambda v: 3 * v), r"Expected entries in \[-1, 1\]; got entries from -2\.\d+ to 2\.\d+$"),
    "half a file": (
        lambda split: (split / "raw_latents_0.npy").write_bytes((split / "raw_latents_0.npy").read_bytes()[:400]),
        r"raw_latents_0\.npy: Expected a whole \.npy array; got ",
    ),
    "an archive": (
        lambda split: (split / "raw_latents_0.npy").write_bytes(b"PK" + bytes(200)),
        r"raw_latents_0\.npy: Expected a whole \.npy array; got ",
    ),
    "objects": (
        latents_of(lambda v: v.astype(object)),
        r"raw_latents_0\.npy: Expected a whole \.npy array; got pickled objects",
    ),
    "an image is missing": (
        lambda split: (split / "images_0" / "07.png").unlink(),
        r"images_0: Expected an image for each of 12 rows of latents; got no 07\.png$",
    ),
    "an image too many": (
        lambda split: (split / "images_0" / "12.png").write_bytes(b""),
        r"images_0: Expected an image for each of 12 rows of latents; got 13 images$",
    ),
    "no images": (
        lambda split: (split / "images_0").rename(split / "images"),
        r"images_0: Expected an image for each of 12 rows of latents; got no 00\.png$",
    ),
    "a corrupt image": (
        lambda split: (split / "images_0" / "07.png").write_bytes(b"\x89PNG"),
        r"trainset: row \d+: (before|after): .*images_0/07\.png: Expected a whole image; got a corrupt or trunc",
    ),
}


@pytest.mark.parametrize(("spoil", "message"), BAD.values(), ids=BAD.keys())
def test_what_does_not_fit_is_named(spoil: Callable[[Path], Any], message: str, tmp_path: Path) -> None:
    write_3dident(tmp_path / "set")
    spoil(tmp_path / "set" / "trainset")
    with pytest.raises(ValueError, match=message):
        import_causal3dident(tmp_path / "set", tmp_path / "out", 16)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(("folder", "got"), [("empty", "none"), ("missing", "no such folder")])
def test_where_to_download_is_said(folder: str, got: str, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    message = (
        rf"{folder}: Expected trainset or testset with raw_latents_4\.npy of Causal3DIdent; got {got}\. "
        r"Download it from https://zenodo\.org/record/4784282 \(licence: CC BY 4\.0\)$"
    )
    with pytest.raises(ValueError, match=message):
        import_causal3dident(tmp_path / folder, tmp_path / "out", object_class=4)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"object_class": 7}, r"^object: Expected a class from 0 to 6; got 7\.$"),
        ({"object_class": -1}, r"^object: Expected a class from 0 to 6; got -1\.$"),
        ({"seed": -1}, r"^seed: Expected seed >= 0; got -1\.$"),
        ({"size": 20}, r"^size: Expected a multiple of 16 from 16 to 512; got 20\.$"),
    ],
)
def test_bad_options_are_refused(options: dict[str, int], message: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=message):
        import_causal3dident(tmp_path, tmp_path / "out", **options)
