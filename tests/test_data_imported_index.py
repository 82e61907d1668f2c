"""A JSON index of image pairs becomes the data set of a CSV; whatever is wrong with it is named by its entry."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from imported_images import SIDE, write_folder, write_index

from lcm.data.imported.folder import import_folder
from lcm.data.pair_files import load_pairs
from lcm.data.pairs import PairData

A, B = "images/0_before.png", "images/0_after.png"


def loaded(source: Path, out: Path, **options: Any) -> PairData:
    (path,) = import_folder(source, out, SIDE, **options)
    return load_pairs(path)


@pytest.mark.parametrize("name", ["", "pairs.json"], ids=["folder", "file"])
@pytest.mark.parametrize("under_a_key", [False, True])
def test_an_index_gives_the_data_of_a_csv(name: str, under_a_key: bool, tmp_path: Path) -> None:
    data = loaded(write_folder(tmp_path / "csv", targets=["0", "2", "", "1", "2"]), tmp_path / "a")
    folder = write_index(tmp_path / "json", targets=[0, 2, None, 1, 2])
    if under_a_key:
        entries = json.loads((folder / "pairs.json").read_text())
        (folder / "pairs.json").write_text(json.dumps({"pairs": entries}))
    other = loaded(folder / name, tmp_path / "b")
    assert set(other.tensors()) == {"x", "x_tilde", "targets"}
    for key, tensor in data.tensors().items():
        np.testing.assert_array_equal(other.tensors()[key], tensor)
    assert "json_sha256" in other.metadata and "csv_sha256" in data.metadata


def test_entries_without_targets_give_none(tmp_path: Path) -> None:
    assert set(loaded(write_index(tmp_path / "set"), tmp_path / "out").tensors()) == {"x", "x_tilde"}


def test_n_and_null_targets_make_masks(tmp_path: Path) -> None:
    data = loaded(write_index(tmp_path / "set", 2, [None, 1]), tmp_path / "out", n=3)
    assert data.targets is not None and data.targets.tolist() == [[False] * 3, [False, True, False]]


def entry(**changes: Any) -> Callable[[Path], Any]:
    """The second entry of an index of two, changed; a value of ... leaves the key out."""
    changed = {key: value for key, value in ({"before": A, "after": B} | changes).items() if value is not ...}
    return listing([{"before": A, "after": B}, changed])


def listing(value: Any) -> Callable[[Path], Any]:
    text = value if isinstance(value, str) else json.dumps(value)
    return lambda folder: (folder / "pairs.json").write_text(text)


KEYS = "Expected the keys before, after and maybe target"
NUMBER = "Expected a whole number from 0 to 999, or null"
BAD: dict[str, tuple[Callable[[Path], Any], str]] = {
    "no JSON": (listing("[{"), r"pairs\.json: Expected JSON; got at line 1"),
    "too deep": (listing("[" * 99 + "]" * 99), r"pairs\.json: Expected JSON nested at most 60 deep; got more$"),
    "not finite": (listing(f'[{{"before": "{A}", "after": "{B}", "target": NaN}}]'), r"Expected JSON; got NaN"),
    "a string": (listing('"a.png"'), r"pairs\.json: Expected a list of pairs; got 'a\.png'$"),
    "no list under the key": (listing({"pairs": 3}), r"pairs\.json: Expected a list of pairs; got 3$"),
    "another key": (
        listing({"pairs": [], "n": 2}),
        r"pairs\.json: Expected a list of pairs, or the key pairs alone; got 'pairs', 'n'$",
    ),
    "no pairs": (listing([]), r"pairs\.json: Expected at least one pair; got an empty list$"),
    "no mapping": (listing([[A, B]]), r"entry 0: Expected a mapping with before and after; got \['images"),
    "no after": (entry(after=...), rf"pairs\.json: entry 1: {KEYS}; got 'before'$"),
    "an unknown key": (entry(targets=1), rf"entry 1: {KEYS}; got 'before', 'after', 'targets'$"),
    "a number for a path": (entry(before=3), r"entry 1: before: Expected the path of an image; got 3$"),
    "an empty path": (entry(after=" "), r"entry 1: after: Expected the path of an image; got ' '$"),
    "a zero in a path": (entry(after="a\0"), r"entry 1: after: Expected the path of an image; got"),
    "half a pair of surrogates": (entry(after="a\ud800"), r"entry 1: after: Expected the path of an image; got"),
    "a missing image": (
        entry(after="no.png"),
        r"pairs\.json: entry 1: after: Expected an image; got no such file: .*no\.png$",
    ),
    "an image outside": (
        entry(before="../a.png"),
        r"entry 1: before: Expected a file inside .*set; got .*\(--allow-outside takes files from anywhere\)$",
    ),
    "targets for some": (
        listing([{"before": A, "after": B, "target": None}, {"before": A, "after": B}]),
        r"entry 1: target: Expected a number or null, as other entries have; got none$",
    ),
    "null targets alone": (
        listing([{"before": A, "after": B, "target": None}]),
        r"pairs\.json: target: Expected n, the number of variables, as no entry has a target; got none$",
    ),
    **{
        f"target {target!r}": (
            listing([{"before": A, "after": B, "target": target}]),
            rf"entry 0: target: {NUMBER}; got ",
        )
        for target in (True, "1", 1.0, -1, 1000, [0])
    },
    "two lists": (
        lambda folder: (folder / "pairs.csv").write_text(f"before,after\n{A},{B}\n"),
        r"set: Expected one list of pairs; got pairs\.csv and pairs\.json$",
    ),
    "an image that is none": (
        lambda folder: (folder / "images" / "1_after.png").write_bytes(b"no"),
        r"pairs\.json: row 1: after: .*1_after\.png: Expected a whole image; got a corrupt or truncated one",
    ),
}


@pytest.mark.parametrize(("spoil", "message"), BAD.values(), ids=BAD.keys())
def test_what_is_wrong_is_named(spoil: Callable[[Path], Any], message: str, tmp_path: Path) -> None:
    spoil(write_index(tmp_path / "set"))
    with pytest.raises(ValueError, match=message):
        import_folder(tmp_path / "set", tmp_path / "out", SIDE)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["set"]


def test_a_target_that_is_not_below_n_is_refused(tmp_path: Path) -> None:
    write_index(tmp_path / "set", 3, [0, 2, None])
    with pytest.raises(ValueError, match=r"entry 1: target: Expected a number below n = 2; got 2$"):
        import_folder(tmp_path / "set", tmp_path / "out", SIDE, n=2)


def test_images_outside_the_folder_are_taken_on_request(tmp_path: Path) -> None:
    write_index(tmp_path / "set")
    (tmp_path / "list").mkdir()
    index = tmp_path / "list" / "any-name.json"
    index.write_text(json.dumps([{"before": f"../set/{A}", "after": str(tmp_path / "set" / B)}]))
    data = loaded(index, tmp_path / "out", allow_outside=True)
    np.testing.assert_array_equal(data.x[0], loaded(tmp_path / "set", tmp_path / "other").x[0])
