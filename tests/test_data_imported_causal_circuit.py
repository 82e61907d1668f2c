"""CausalCircuit comes in as it is published, in one archive or several; whatever does not fit is named."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from imported_images import SIDE, as_objects, circuit_arrays, write_circuit
from PIL import Image
from small import content

from lcm.data.imported.published import import_causal_circuit
from lcm.data.pair_files import load_pairs
from lcm.data.pairs import PairData

Arrays = dict[str, np.ndarray[Any, Any]]


def loaded(folder: Path, out: Path, size: int = 16) -> dict[str, PairData]:
    return {path.stem: load_pairs(path) for path in import_causal_circuit(folder, out, size)}


def test_the_truth_is_that_of_the_set(tmp_path: Path) -> None:
    write_circuit(tmp_path / "set", train=7, val=2, test=3)
    splits = loaded(tmp_path / "set", tmp_path / "out")
    assert {name: len(data) for name, data in splits.items()} == {"train": 7, "val": 2, "test": 3}
    data, arrays = splits["train"], circuit_arrays(7, 0)
    assert set(data.tensors()) == {"x", "x_tilde", "z", "z_tilde", "noise", "targets", "adjacency"}
    for row, key in enumerate(("z", "z_tilde")):
        np.testing.assert_allclose(getattr(data, key), arrays["original_latents"][:, row], rtol=1e-6)
    np.testing.assert_allclose(data.noise, arrays["epsilon"][:, 0], rtol=1e-6)
    np.testing.assert_array_equal(data.targets, arrays["intervention_masks"])
    assert data.adjacency is not None
    edges = {(int(i), int(j)) for i, j in np.argwhere(data.adjacency)}
    assert edges == {(3, 0), (3, 1), (3, 2), (1, 0), (2, 0)}


def test_the_images_are_those_of_the_set(tmp_path: Path) -> None:
    write_circuit(tmp_path / "set", train=3)
    data = loaded(tmp_path / "set", tmp_path / "out", SIDE)["train"]
    assert data.x.shape == (3, SIDE, SIDE, 3)
    for row, pair in enumerate(circuit_arrays(3, 0)["imgs"]):
        for found, expected in zip((data.x[row], data.x_tilde[row]), pair, strict=True):
            np.testing.assert_array_equal(found, np.asarray(Image.open(io.BytesIO(expected))))


def test_the_file_says_what_it_is(tmp_path: Path) -> None:
    write_circuit(tmp_path / "set", val=2)
    metadata = loaded(tmp_path / "set", tmp_path / "out")["val"].metadata
    assert metadata["made_by"] == "lcm import" and metadata["source"] == "causalcircuit"
    assert (metadata["split"], metadata["size"]) == ("val", "16")
    assert metadata["licence"].startswith("https://developer.qualcomm.com/software/ai-datasets/causalcircuit: ")
    assert "version" in metadata and str(tmp_path) not in str(metadata)


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed], ids=["stored", "compressed"])
def test_both_forms_of_the_images_give_the_same_bytes(save: Callable[..., None], tmp_path: Path) -> None:
    write_circuit(tmp_path / "one", train=6)
    arrays = circuit_arrays(6, 0)
    (tmp_path / "two").mkdir()
    save(tmp_path / "two" / "train.npz", **arrays | {"imgs": as_objects(arrays["imgs"])})
    for name in ("one", "two"):
        import_causal_circuit(tmp_path / name, tmp_path / f"{name}-out", 16)
    assert content(tmp_path / "one-out") == content(tmp_path / "two-out")


NUMBERINGS = {
    "from 0": [f"train-{number}" for number in range(11)],
    "from 1": [f"train_{number}" for number in range(1, 12)],
    "padded": [f"train-{number:02d}" for number in range(11)],
    "plain": [f"train{number}" for number in range(11)],
}


@pytest.mark.parametrize("names", NUMBERINGS.values(), ids=NUMBERINGS.keys())
def test_numbered_archives_are_one_set_in_the_order_of_their_numbers(names: list[str], tmp_path: Path) -> None:
    parts = [circuit_arrays(1 + seed % 2, seed) for seed in range(len(names))]
    for name, arrays in zip(names, parts, strict=True):
        np.savez(tmp_path / f"{name}.npz", **arrays)
    data = loaded(tmp_path, tmp_path / "out", SIDE)["train"]
    latents = np.concatenate([part["original_latents"] for part in parts])
    np.testing.assert_allclose(data.z, latents[:, 0], rtol=1e-6)
    strings = np.concatenate([part["imgs"].astype("S2000") for part in parts])[:, 1]
    for found, expected in zip(data.x_tilde, strings, strict=True):
        np.testing.assert_array_equal(found, np.asarray(Image.open(io.BytesIO(expected))))


FILES: dict[str, tuple[list[str], str]] = {
    "a gap": (["train-0", "train-1", "train-3"], r"Expected train files without a gap; got none of number 2$"),
    "no first": (["train-2", "train-3"], r"Expected train files without a gap; got none of number 1$"),
    "one twice": (["train-1", "train-01"], r"Expected one file of each number; got train-01\.npz, train-1\.npz$"),
    "whole and numbered": (["train", "train-0"], r"Expected train\.npz or numbered files; got it and train-0\.npz$"),
}


@pytest.mark.parametrize(("names", "message"), FILES.values(), ids=FILES.keys())
def test_files_that_do_not_go_together_are_refused(names: list[str], message: str, tmp_path: Path) -> None:
    for name in names:
        (tmp_path / f"{name}.npz").write_bytes(b"")
    with pytest.raises(ValueError, match=message):
        import_causal_circuit(tmp_path, tmp_path / "out", 16)


@pytest.mark.parametrize(("folder", "got"), [("empty", "none"), ("missing", "no such folder")])
def test_where_to_download_is_said(folder: str, got: str, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    message = (
        rf"{folder}: Expected train\.npz, or train-0\.npz and so on, val\.npz or test\.npz of CausalCircuit; got {got}"
        r"\. Download it from https://developer\.qualcomm\.com/software/ai-datasets/causalcircuit \(see the licence th"
    )
    with pytest.raises(ValueError, match=message):
        import_causal_circuit(tmp_path / folder, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def with_entry(name: str, index: Any, value: Any) -> Callable[[Arrays], Arrays]:
    def change(arrays: Arrays) -> Arrays:
        array = np.array(arrays[name], dtype=np.result_type(arrays[name], type(value)))
        array[index] = value
        return arrays | {name: array}

    return change


def with_array(name: str, change: Callable[[Any], Any]) -> Callable[[Arrays], Arrays]:
    return lambda arrays: arrays | {name: change(arrays[name])}


BAD: dict[str, tuple[Callable[[Arrays], Arrays], str]] = {
    "an array is missing": (
        lambda arrays: {key: value for key, value in arrays.items() if key != "pressed"},
        r"pressed: Expected this array of CausalCircuit; got none$",
    ),
    "no latents at all": (
        with_array("original_latents", lambda v: v[:0]),
        r"original_latents: Expected shape \(N, 2, 4\); got \(0, 2, 4\)$",
    ),
    "a scalar": (with_array("original_latents", lambda v: v[0, 0, 0]), r"Expected shape \(N, 2, 4\); got \(\)$"),
    "three variables": (
        with_array("original_latents", lambda v: v[:, :, :3]),
        r"original_latents: Expected shape \(N, 2, 4\); got \(6, 2, 3\)$",
    ),
    "fewer epsilon": (
        with_array("epsilon", lambda v: v[:5]),
        r"epsilon: Expected shape \(6, 2, 4\); got \(5, 2, 4\)$",
    ),
    "fewer labels": (with_array("intervention_labels", lambda v: v[:5]), r"labels: Expected shape \(6,\); got \(5,\)$"),
    "single images": (with_array("imgs", lambda v: v[:, 0]), r"imgs: Expected shape \(6, 2\); got \(6,\)$"),
    "images as pixels": (
        with_array("imgs", lambda v: np.zeros((6, 2, 8, 8, 3), np.uint8)),
        r"imgs: Expected byte strings; got dtype uint8$",
    ),
    "latents as integers": (
        with_array("original_latents", lambda v: v.astype(int)),
        r"original_latents: Expected real numbers; got dtype int64$",
    ),
    "labels as text": (
        with_array("intervention_labels", lambda v: v.astype(str)),
        r"intervention_labels: Expected numbers; got dtype <U21$",
    ),
    "NaN": (
        with_entry("epsilon", (4, 1, 2), np.nan),
        r"epsilon: Expected finite numbers; got others, first in row 4$",
    ),
    "an intensity of 255": (
        with_entry("original_latents", (1, 1, 0), 5.0),
        r"intensities of the lights, columns 0 to 2, in \[0, 1\]; got entries from [\d.e-]+ to 5$",
    ),
    "a negative intensity": (
        with_entry("original_latents", (1, 0, 2), -0.25),
        r"columns 0 to 2, in \[0, 1\]; got entries from -0\.25 to",
    ),
    "an arm far off": (
        with_entry("original_latents", (1, 1, 3), -90.0),
        r"original_latents: Expected entries of size at most 10; got entries from -90 to ",
    ),
    "noise far off": (with_entry("epsilon", (0, 0, 0), 1e30), r"epsilon: Expected entries of size at most 1000; got"),
    "a mask of 2": (
        with_entry("intervention_masks", (3, 1), 2),
        r"intervention_masks: Expected entries 0 and 1; got entries from 0 to 2$",
    ),
    "a label of -1": (
        with_entry("intervention_labels", 2, -1),
        r"intervention_labels: Expected whole numbers from 0 on; got entries from -1 to 4$",
    ),
    "a label of 1.5": (
        with_entry("intervention_labels", 2, 1.5),
        r"intervention_labels: Expected whole numbers from 0 on; got entries from 0 to 4$",
    ),
    "a label of another mask": (
        with_entry("intervention_labels", 2, 1),
        r"intervention_labels: Expected one row of intervention_masks for each label; got 4 labels and 5 masks in 5 ",
    ),
    "a mask of another label": (
        with_entry("intervention_masks", (0, 3), True),
        r"labels: Expected one row of intervention_masks for each label; got 5 labels and 5 masks in 6 combinations$",
    ),
}


@pytest.mark.parametrize(("change", "message"), BAD.values(), ids=BAD.keys())
def test_an_array_that_does_not_fit_is_named(change: Callable[[Arrays], Arrays], message: str, tmp_path: Path) -> None:
    np.savez(tmp_path / "val.npz", **circuit_arrays())
    np.savez(tmp_path / "test.npz", **change(circuit_arrays()))
    with pytest.raises(ValueError, match=rf"^{tmp_path}/test\.npz: .*" + message):
        import_causal_circuit(tmp_path, tmp_path / "out", 16)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["test.npz", "val.npz"]


def test_a_corrupt_image_is_named(tmp_path: Path) -> None:
    arrays = circuit_arrays()
    arrays["imgs"][4, 1] = arrays["imgs"][4, 1][:300]
    np.savez(tmp_path / "val.npz", **arrays)
    with pytest.raises(ValueError, match=r"val\.npz: imgs: row 4, after: Expected a whole image; got a corrupt or tru"):
        import_causal_circuit(tmp_path, tmp_path / "out", 16)
    assert not (tmp_path / "out").exists()


def test_a_bad_size_and_a_folder_that_is_taken_are_refused_before_anything_is_read(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"^size: Expected a multiple of 16"):
        import_causal_circuit(tmp_path / "missing", tmp_path / "out", 65)
    (tmp_path / "file").write_text("")
    with pytest.raises(ValueError, match=r"Expected a new or empty folder to write to"):
        import_causal_circuit(tmp_path / "missing", tmp_path)
