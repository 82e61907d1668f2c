"""Models whose file says something else than a model: each mistake is named in one line, before anything is built."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from small import small_nature, thick_nature

from lcm.base.files import read_tensors, write_tensors
from lcm.model.elementwise import AffineMap, ComposedMap, KnotMap, require_labels
from lcm.model.image import ImageAutoencoder
from lcm.model.storage import load_model

Change = Callable[[dict[str, Any], dict[str, Any]], object]


def _set(*path: Any) -> Change:
    """Sets the value at a path, whose last entry is the value, in the description."""
    *keys, last, value = path

    def change(description: dict[str, Any], tensors: dict[str, Any]) -> None:
        place: Any = description
        for key in keys:
            place = place[key]
        place[last] = value

    return change


_SETTINGS = ("decoder", "settings", "parts", 1, "settings")
MISTAKES: dict[str, tuple[Change, str]] = {
    "no kind": (lambda d, t: d["decoder"].pop("kind"), "Expected a decoder with the key kind; got none."),
    "unknown kind": (_set("intervention", "kind", ["x"]), r"Expected a component of kind perfect, .*; got \['x'\]"),
    "settings": (_set(*_SETTINGS, 3), "Expected settings of flow as a mapping; got 3."),
    "missing setting": (lambda d, t: d["scm"]["noise"]["settings"].pop("n"), "settings of normal with the key n"),
    "unknown setting": (_set(*_SETTINGS, "x", 1), "Expected settings of flow without the key x; got one."),
    "wrong type": (_set(*_SETTINGS, "hidden", "8"), r"flow.hidden: Expected an integer from 0 to 1,000,000; got '8'."),
    "absurd size": (_set(*_SETTINGS, "hidden", 10**9), "flow.hidden: Expected an integer from 0 to 1,000,000"),
    "too large": (_set(*_SETTINGS, "hidden", 10**6), "Expected sizes for at most .* entries, as the file holds"),
    "too many": (_set(*_SETTINGS, "layers", 10**6), "Expected sizes for at most .* entries, as the file holds"),
    "other n": (_set(*_SETTINGS, "n", 3), "Expected a decoder of 2 inputs next in the chain; got 3."),
    "targets": (_set("target_sets", [["a"]]), "Expected target sets as lists of variables; got"),
    "adjacency": (_set("scm", "adjacency", [[0, 1], [1]]), "adjacency: Expected a matrix of integers; got"),
    "no mapping": (_set("scm", 1), "Expected an SCM as a mapping; got 1."),
    "renamed tensor": (
        lambda d, t: t.update({"other\x1b[2J": t.pop("thickness")}),
        r"Expected the tensor thickness; got none.",
    ),
    "more tensors": (
        lambda d, t: t.update({"other\x1b[2J": np.zeros(2)}),
        r"Expected no tensor other\\x1b\[2J; got one.",
    ),
    "other shape": (
        lambda d, t: t.update(thickness=np.zeros(5, np.float32)),
        r"thickness: Expected a tensor of shape \[2\]; got \[5\]",
    ),
    "integers": (
        lambda d, t: t.update(thickness=np.zeros(2, np.int64)),
        "thickness: Expected a tensor of float32 or float64; got int64",
    ),
    "NaN": (
        lambda d, t: t.update(thickness=np.full(2, np.nan, np.float32)),
        "thickness: Expected finite entries; got 2 that are not.",
    ),
    "negative": (
        lambda d, t: t.update(thickness=np.full(2, -1.0, np.float32)),
        "Expected a non-negative thickness; got -1.0.",
    ),
    "probabilities": (
        lambda d, t: t.update({"target_distribution.probabilities": np.full(3, 0.5, np.float32)}),
        "Expected non-negative probabilities that sum to 1; got a sum of 1.5.",
    ),
    "indices": (
        lambda d, t: t.update({name: value + 7 for name, value in t.items() if name.endswith("transform_features")}),
        "transform_features: Expected the integers of the description; got others.",
    ),
    "other precision of integers": (
        lambda d, t: t.update({n: v.astype(np.int32) for n, v in t.items() if n.endswith("transform_features")}),
        "transform_features: Expected a tensor of int64; got int32.",
    ),
}


@pytest.mark.parametrize(("change", "message"), MISTAKES.values(), ids=MISTAKES)
def test_a_mistake_in_a_model_is_named(change: Change, message: str, tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    small_nature("nonlinear").save(path)
    tensors, header = read_tensors(path)
    description = json.loads(header["model"])
    change(description, tensors)
    write_tensors(path, tensors, {**header, "model": json.dumps(description)})
    with pytest.raises(ValueError, match=message) as caught:
        load_model(path)
    assert str(caught.value).startswith(f"{path}: ") and "\n" not in str(caught.value)


def test_a_header_without_a_model_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    write_tensors(path, {"x": np.zeros(1)}, {"schema": "1"})
    with pytest.raises(ValueError, match="Expected a description of the model in the header; got none"):
        load_model(path)


def test_what_was_saved_is_loaded(tmp_path: Path) -> None:
    for model in (small_nature("linear"), small_nature("nonlinear"), thick_nature(4)):
        model.save(tmp_path / "model.safetensors")
        loaded = load_model(tmp_path / "model.safetensors")
        assert loaded.description() == model.description()


def test_parts_refuse_tensors_of_no_use() -> None:
    import torch

    with pytest.raises(ValueError, match="Expected a permutation of 2 variables; got"):
        require_labels(torch.tensor([0, 2]), 2)
    with pytest.raises(ValueError, match="Expected a permutation of 2 variables; got"):
        ComposedMap(AffineMap(2), AffineMap(2), [1, 1])
    scale = AffineMap(2, scale=torch.zeros(2))
    with pytest.raises(ValueError, match="Expected scales that are not zero; got one that is"):
        scale.require_sound()
    knots = KnotMap(1, 3)
    knots.tables.zero_()
    with pytest.raises(ValueError, match="Expected knots that increase"):
        knots.require_sound()
    images = ImageAutoencoder((16, 16, 1), 2, (4,))
    images.scale.zero_()
    with pytest.raises(ValueError, match=r"Expected a positive scale of images; got 0\.0\."):
        images.require_sound()
