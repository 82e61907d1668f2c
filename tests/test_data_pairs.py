"""Pairs come back from their files as they were, and a bad tensor is refused in one line that names it."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from lcm.base.files import write_tensors
from lcm.data.pair_files import load_pairs, save_pairs, write_arrays
from lcm.data.pairs import PairData, data_hash
from lcm.run.fittable import require_enough_dimensions, require_enough_pairs

N_PAIRS, N_VARIABLES, N_COLUMNS = 6, 3, 4


def vectors() -> dict[str, Any]:
    """The tensors of a small data set with the whole truth."""
    generator = np.random.default_rng(0)
    observations = {key: generator.normal(size=(N_PAIRS, N_COLUMNS)) for key in ("x", "x_tilde")}
    variables = ("z", "z_tilde", "noise", "noise_tilde")
    return {
        **{key: value.astype(np.float32) for key, value in observations.items()},
        **{key: generator.normal(size=(N_PAIRS, N_VARIABLES)).astype(np.float32) for key in variables},
        "targets": np.eye(N_PAIRS, N_VARIABLES, dtype=bool),
        "adjacency": np.triu(np.ones((N_VARIABLES, N_VARIABLES), np.uint8), 1),
    }


def images() -> dict[str, Any]:
    """Pairs of images with a corner that is always black."""
    generator = np.random.default_rng(0)
    arrays = {key: generator.integers(256, size=(N_PAIRS, 5, 4, 3), dtype=np.uint8) for key in ("x", "x_tilde")}
    arrays["x"][:, 0, 0] = 0
    return arrays


def write_npz(path: Path, arrays: dict[str, Any]) -> None:
    np.savez(path, **arrays)


DATA = {
    "vectors": vectors,
    "images": images,
    "no truth": lambda: {key: vectors()[key] for key in ("x", "x_tilde")},
    "one pair": lambda: {key: vectors()[key][:1] for key in ("x", "x_tilde")},
}
FORMATS: dict[str, Callable[[Path, dict[str, Any]], None]] = {
    ".safetensors": write_tensors,
    ".npz": write_npz,
}


def assert_equal(data: PairData, arrays: dict[str, Any]) -> None:
    assert data.tensors().keys() == arrays.keys()
    for key, array in arrays.items():
        assert data.tensors()[key].dtype == array.dtype
        np.testing.assert_array_equal(data.tensors()[key], array)


@pytest.mark.parametrize("make", DATA.values(), ids=DATA.keys())
def test_pairs_are_saved_and_loaded(make: Callable[[], dict[str, Any]], tmp_path: Path) -> None:
    data = PairData.from_arrays(**make(), metadata={"seed": "0"})
    path = tmp_path / "pairs.safetensors"
    save_pairs(path, data)
    loaded = load_pairs(path)
    assert_equal(loaded, make())
    assert loaded.metadata == {"seed": "0"}
    assert loaded.source == str(path)
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("make", DATA.values(), ids=DATA.keys())
def test_an_archive_is_read_too(make: Callable[[], dict[str, Any]], tmp_path: Path) -> None:
    write_npz(tmp_path / "pairs.npz", make() | {"other": np.zeros(2)})
    assert_equal(load_pairs(tmp_path / "pairs.npz"), make())


def test_sizes() -> None:
    data = PairData.from_arrays(**vectors())
    assert (len(data), data.n_dimensions, data.is_images) == (N_PAIRS, N_COLUMNS, False)
    pictures = PairData.from_arrays(**images())
    assert (len(pictures), pictures.n_dimensions, pictures.is_images) == (N_PAIRS, 60, True)


@pytest.mark.parametrize("dtype", [np.float16, np.float64, np.int64, np.uint8, ">f4"])
def test_other_real_types_become_float32(dtype: Any) -> None:
    x = np.arange(12).reshape(4, 3).astype(dtype)
    data = PairData.from_arrays(x, x + np.ones((), dtype), z=x)
    assert data.x.dtype == data.x_tilde.dtype == np.float32
    assert data.z is not None and data.z.dtype == np.float32
    np.testing.assert_array_equal(data.x, np.arange(12).reshape(4, 3))


def test_binary_tensors_may_be_integers_or_booleans() -> None:
    arrays = vectors()
    arrays["targets"], arrays["adjacency"] = arrays["targets"].astype(int), arrays["adjacency"].astype(bool)
    assert_equal(PairData.from_arrays(**arrays), vectors())


def test_strided_arrays_are_taken_as_they_read(tmp_path: Path) -> None:
    arrays = vectors()
    arrays["x"] = np.asfortranarray(arrays["x"])
    save_pairs(tmp_path / "pairs.safetensors", PairData.from_arrays(**arrays))
    np.testing.assert_array_equal(load_pairs(tmp_path / "pairs.safetensors").x, vectors()["x"])


def test_torch_tensors_are_taken() -> None:
    torch = pytest.importorskip("torch")
    tensors: dict[str, Any] = {key: torch.from_numpy(array) for key, array in vectors().items()}
    tensors["x"].requires_grad_()
    assert_equal(PairData.from_arrays(**tensors), vectors())
    with pytest.raises(ValueError, match=r"^x: Expected an array of numbers; got Tensor"):
        PairData.from_arrays(**(tensors | {"x": tensors["x"].bfloat16()}))


def with_entry(key: str, index: Any, value: Any) -> Callable[[dict[str, Any]], dict[str, Any]]:
    def change(arrays: dict[str, Any]) -> dict[str, Any]:
        array = arrays[key].astype(type(value)) if isinstance(value, complex) else arrays[key].copy()
        array[index] = value
        return arrays | {key: array}

    return change


def with_array(key: str, value: Any) -> Callable[[dict[str, Any]], dict[str, Any]]:
    return lambda arrays: arrays | {key: value}


def without(key: str) -> Callable[[dict[str, Any]], dict[str, Any]]:
    return lambda arrays: {name: array for name, array in arrays.items() if name != key}


CYCLE = np.array([[0, 1, 0], [0, 0, 1], [1, 0, 0]], np.uint8)

MISTAKES: dict[str, tuple[Callable[[dict[str, Any]], dict[str, Any]], str]] = {
    "one NaN": (
        with_entry("x", (4, 1), np.nan),
        r"x: Expected finite numbers; got 1 NaN and 0 infinite entries, first in row 4 \(columns: 1\)$",
    ),
    "infinite": (
        with_entry("x_tilde", ([2, 3], [0, 1]), np.inf),
        r"x_tilde: Expected finite numbers; got 0 NaN and 2 infinite entries, first in row 2 \(columns: 0, 1\)$",
    ),
    "beyond float32": (
        with_array("x", vectors()["x"].astype(float) * 1e40),
        "x: Expected finite .* 24 infinite",
    ),
    "NaN in the truth": (with_entry("noise", (0, 0), np.nan), "noise: Expected finite numbers; got 1 NaN"),
    "rows": (
        with_array("x_tilde", vectors()["x_tilde"][:-1]),
        r"x_tilde: Expected the shape of x, \(6, 4\); got \(5, 4\)",
    ),
    "columns": (
        with_array("x_tilde", vectors()["x_tilde"][:, 1:]),
        r"x_tilde: Expected the shape of x, \(6, 4\); got \(6, 3\)",
    ),
    "images and vectors": (
        with_array("x", images()["x"]),
        r"x_tilde: Expected the shape of x, \(6, 5, 4, 3\); got",
    ),
    "constant columns": (
        with_entry("x", (slice(None), [0, 2]), 1.5),
        r"x: Expected columns that vary; got 2 constant \(0-based index\): 0, 2$",
    ),
    "vector": (
        with_array("x", np.zeros(6, np.float32)),
        r"x: Expected shape \(N, d\), or uint8 \(N, H, W, C\) for images; got float32 \(6,\)",
    ),
    "images of floats": (
        with_array("x", images()["x"].astype(float)),
        r"x: Expected .* for images; got float64 \(6, 5",
    ),
    "images without channels": (
        with_array("x", images()["x"][..., 0]),
        r"x: Expected .* for images; got uint8 \(6, 5, 4",
    ),
    "no rows": (
        with_array("x", np.zeros((0, 4), np.float32)),
        r"x: Expected at least one row and one column; got shape \(0, 4\)",
    ),
    "no columns": (
        with_array("x", np.zeros((6, 0), np.float32)),
        "x: Expected at least one row and one column",
    ),
    "booleans": (with_array("x", vectors()["targets"]), "x: Expected real numbers; got dtype bool"),
    "rows of the truth": (with_array("z", vectors()["z"][:-1]), "z: Expected 6 rows, as x has; got 5"),
    "shape of the truth": (
        with_array("noise", np.zeros(6)),
        r"noise: Expected shape \(N, n\); got float64 \(6,\)",
    ),
    "n of the truth": (
        with_array("noise_tilde", np.zeros((6, 2))),
        "noise_tilde: Expected n = 3 variables, as z has; got 2",
    ),
    "rows of the targets": (
        with_array("targets", np.zeros((5, 3), bool)),
        "targets: Expected 6 rows, as x has; got 5",
    ),
    "n of the targets": (
        with_array("targets", np.zeros((6, 4), bool)),
        "targets: Expected n = 3 variables, as z has; got 4",
    ),
    "vector of targets": (
        with_array("targets", np.zeros(6, int)),
        r"targets: Expected shape \(N, n\); got \(6,\)",
    ),
    "targets as indices": (
        with_array("targets", np.full((6, 3), 2)),
        "targets: Expected entries 0 and 1; got entries from 2 to 2",
    ),
    "targets as floats": (
        with_array("targets", np.zeros((6, 3))),
        "targets: Expected booleans, or integers 0 and 1; got dtype float64",
    ),
    "cycle": (with_array("adjacency", CYCLE), r"adjacency: Expected an acyclic .* cycle 0 -> 1 -> 2 -> 0"),
    "not square": (with_array("adjacency", CYCLE[:2]), r"adjacency: Expected a square .* \(2, 3\)"),
    "weighted": (with_array("adjacency", 2 * CYCLE), "adjacency: Expected adjacency entries 0 or 1; got 2"),
    "graph of floats": (
        with_array("adjacency", np.full((3, 3), 0.5)),
        r"adjacency: Expected adjacency entries 0 or 1; got 0\.5",
    ),
    "n of the graph": (
        with_array("adjacency", np.zeros((2, 2), np.uint8)),
        "adjacency: Expected n = 3 variables, as z has; got 2",
    ),
}

# What safetensors does not hold, or `from_arrays` does not leave out.
ARCHIVE_MISTAKES: dict[str, tuple[Callable[[dict[str, Any]], dict[str, Any]], str]] = {
    "strings": (with_array("x", np.full((6, 4), "a")), "x: Expected real numbers; got dtype <U1"),
    "complex": (with_entry("x", (0, 0), 1j), "x: Expected real numbers; got dtype complex128"),
}
FILE_MISTAKES: dict[str, tuple[Callable[[dict[str, Any]], dict[str, Any]], str]] = {
    "no x": (without("x"), "x: Expected the tensors x and x_tilde; got adjacency, noise, .*, z_tilde$"),
    "no x_tilde": (
        without("x_tilde"),
        "x_tilde: Expected the tensors x and x_tilde; got adjacency, .*, z_tilde$",
    ),
}


def cases(mistakes: dict[str, Any]) -> Any:
    return pytest.mark.parametrize(("change", "message"), mistakes.values(), ids=mistakes.keys())


@cases(MISTAKES | ARCHIVE_MISTAKES)
def test_a_bad_argument_is_named(change: Callable[..., dict[str, Any]], message: str) -> None:
    with pytest.raises(ValueError, match=f"^{message}") as raised:
        PairData.from_arrays(**change(vectors()))
    assert "\n" not in str(raised.value)


@cases(MISTAKES | FILE_MISTAKES)
def test_a_bad_tensor_of_a_file_is_named(change: Callable[..., dict[str, Any]], message: str, tmp_path: Path) -> None:
    path = tmp_path / "pairs.safetensors"
    write_tensors(path, change(vectors()))
    with pytest.raises(ValueError, match=rf"^{path}: {message}"):
        load_pairs(path)


@cases(MISTAKES | FILE_MISTAKES | ARCHIVE_MISTAKES)
def test_a_bad_array_of_an_archive_is_named(
    change: Callable[..., dict[str, Any]], message: str, tmp_path: Path
) -> None:
    path = tmp_path / "pairs.npz"
    write_npz(path, change(vectors()))
    with pytest.raises(ValueError, match=rf"^{path}: {message}"):
        load_pairs(path)


def test_long_lists_of_columns_are_cut() -> None:
    x = np.zeros((5, 40), np.float32)
    with pytest.raises(ValueError, match=r"got 40 constant \(0-based index\): 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, …$"):
        PairData.from_arrays(x, x)


def test_an_empty_archive_is_refused(tmp_path: Path) -> None:
    write_npz(tmp_path / "pairs.npz", {})
    with pytest.raises(ValueError, match=r"pairs\.npz: x: Expected the tensors x and x_tilde; got none"):
        load_pairs(tmp_path / "pairs.npz")


@pytest.mark.parametrize("suffix", FORMATS.keys())
def test_missing_and_truncated_files_are_named(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"pairs{suffix}"
    with pytest.raises(ValueError, match=rf"^{path}: Expected a file; got no such file"):
        load_pairs(path)
    FORMATS[suffix](path, vectors())
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(ValueError, match=rf"^{path}: Expected a whole .* got a truncated") as raised:
        load_pairs(path)
    assert "\n" not in str(raised.value)


def test_other_formats_are_refused(tmp_path: Path) -> None:
    formats = r"\.safetensors, \.npz, \.csv or \.parquet"
    with pytest.raises(ValueError, match=rf"pairs\.txt: Expected a {formats} file; got the suffix '\.txt'"):
        load_pairs(tmp_path / "pairs.txt")
    with pytest.raises(ValueError, match=r"pairs\.txt: Expected a file to write to with one of .*; got '\.txt'"):
        save_pairs(tmp_path / "pairs.txt", PairData.from_arrays(**vectors()))


def test_a_list_of_uneven_rows_is_refused() -> None:
    with pytest.raises(ValueError, match=r"^x: Expected an array of numbers; got list"):
        PairData.from_arrays([[1.0], [1.0, 2.0]], [[1.0], [2.0]])


def test_too_few_pairs_to_fit_are_refused() -> None:
    x = np.random.default_rng(0).normal(size=(249, 4))
    data = PairData.from_arrays(x, x)
    require_enough_pairs(data, 3)
    with pytest.raises(ValueError, match=r"^x: Expected at least 250 pairs, 50 \(n \+ 1\) for n = 4; got 249"):
        require_enough_pairs(data, 4)
    with pytest.raises(ValueError, match=r"^a\.npz: x: Expected at least 250 pairs"):
        require_enough_pairs(replace(data, source="a.npz"), 4)


def test_fewer_dimensions_than_variables_are_refused() -> None:
    data = PairData.from_arrays(**vectors())
    require_enough_dimensions(data, 4)
    with pytest.raises(ValueError, match=r"^x: Expected at least n = 5 dimensions; got 4"):
        require_enough_dimensions(data, 5)
    require_enough_dimensions(PairData.from_arrays(**images()), 60)


def test_the_hash_depends_on_what_a_fit_sees_and_on_nothing_else() -> None:
    arrays = vectors()
    data = PairData.from_arrays(**arrays)
    alike = [
        replace(data, z=None, metadata={"a": "b"}, source="file"),
        replace(data, x=np.asfortranarray(data.x)),
    ]
    assert {data_hash(other) for other in alike} == {data_hash(data)}
    changed = data.x.copy()
    changed[0, 0] += 1
    others = [
        replace(data, x=changed),
        replace(data, x_tilde=changed),
        replace(data, x=data.x_tilde, x_tilde=data.x),
        replace(data, x=data.x.reshape(4, 6), x_tilde=data.x_tilde.reshape(4, 6)),
    ]
    assert len({data_hash(other) for other in [data, *others]}) == 5
    assert len(data_hash(data)) == 64


def test_validation_is_quick() -> None:
    x = np.random.default_rng(0).normal(size=(100_000, 30)).astype(np.float32)
    started = time.process_time()
    PairData.from_arrays(x, x, z=x, targets=x > 0)
    assert time.process_time() - started < 0.5  # 0.02 s on an idle core; a loop over rows takes longer


def test_masked_entries_are_refused_as_missing_ones_are() -> None:
    x = np.random.default_rng(0).standard_normal((20, 3))
    masked = np.ma.masked_where(x > 1.5, x)
    first = int(np.flatnonzero((x > 1.5).any(1))[0])
    count = int((x > 1.5).sum())
    with pytest.raises(
        ValueError, match=f"x: Expected values without a mask; got {count} masked entries, first in row {first}"
    ):
        PairData.from_arrays(masked, x)
    assert np.array_equal(PairData.from_arrays(np.ma.masked_where(x > 99.0, x), x + 1.0).x, x.astype(np.float32))


def test_frames_are_aligned_by_their_labels_beside_a_truth_too() -> None:
    import pandas as pd

    x = np.random.default_rng(0).standard_normal((20, 3))
    frames = [pd.DataFrame(part, columns=list("abc")) for part in (x, x + 1.0)]
    moved = frames[1][["c", "a", "b"]].sample(frac=1.0, random_state=0)
    found = PairData.from_arrays(frames[0], moved, z=x)
    np.testing.assert_allclose(found.x_tilde, (x + 1.0).astype(np.float32))
    with pytest.raises(ValueError, match="x_tilde: Expected the columns of x; got none named 'a', but 'z'"):
        PairData.from_arrays(frames[0], frames[1].rename(columns={"a": "z"}))


NAMED_MISTAKES: dict[str, tuple[float, str]] = {
    "NaN": (np.nan, r"x: Expected finite numbers; got 6 NaN and 0 infinite entries, first in row 0 \(columns: 'b'\)$"),
    "constant": (1.5, "x: Expected columns that vary; got 1 constant: 'b'$"),
}


@pytest.mark.parametrize("way", ["arrays", "frames", "two frames", "tensors", "table with truth"])
@pytest.mark.parametrize(("value", "message"), NAMED_MISTAKES.values(), ids=NAMED_MISTAKES)
def test_a_bad_column_is_named_where_names_are_known(way: str, value: float, message: str, tmp_path: Path) -> None:
    whole = vectors()
    names, x, x_tilde = ["a", "b", "c", "d"], whole["x"].copy(), whole["x_tilde"]
    x[:, 1] = value
    frames = [pd.DataFrame(part, columns=names) for part in (x, x_tilde)]
    file = tmp_path / ("pairs.csv" if "table" in way else "pairs.safetensors")
    write_arrays(file, whole | {"x": x}, {"columns": json.dumps(names)}, names)
    ways: dict[str, Callable[[], PairData]] = {
        "arrays": lambda: PairData.from_arrays(x, x_tilde, columns=names),
        "frames": lambda: PairData.from_arrays(*frames),
        "two frames": lambda: load_pairs(*frames),
        "tensors": lambda: load_pairs(file),
        "table with truth": lambda: load_pairs(file),
    }
    if way == "table with truth" and np.isnan(value):
        # as tables have missing numbers
        message = r"pairs\.csv: row 0, column 'b': Expected a number; got an empty cell$"
    with pytest.raises(ValueError, match=message):
        ways[way]()


def test_pairs_are_not_none() -> None:
    with pytest.raises(ValueError, match=r"^x: Expected pairs; got None$"):
        load_pairs(None)


SUMMARIES = {
    "vectors": "<PairData: 6 pairs of 4 columns, float32; truth: z, noise, targets, adjacency>",
    "images": "<PairData: 6 pairs of images of 5 x 4 x 3>",
    "no truth": "<PairData: 6 pairs of 4 columns, float32>",
    "one pair": "<PairData: 1 pair of 4 columns, float32>",
}


@pytest.mark.parametrize("kind", DATA)
def test_printed_pairs_are_one_line(kind: str, tmp_path: Path) -> None:
    pairs = PairData.from_arrays(**DATA[kind]())
    assert repr(pairs) == str(pairs) == SUMMARIES[kind]
    save_pairs(tmp_path / "d.npz", pairs)
    assert repr(load_pairs(tmp_path / "d.npz")) == f"{SUMMARIES[kind][:-1]}; from {tmp_path / 'd.npz'}>"


def test_printed_pairs_name_the_first_columns() -> None:
    x = np.random.default_rng(0).normal(size=(5, 8))
    pairs = PairData.from_arrays(x, x + 1, columns=tuple("abcdefgh"))
    assert repr(pairs) == "<PairData: 5 pairs of 8 columns (a, b, c, d, e, f, …), float32>"
    assert repr(PairData.from_arrays(x[:, :6], x[:, :6] + 1, columns=tuple("abcdef"))).count("…") == 0


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        (("a",), "x: Expected 2 names of columns; got 1"),
        (("a", "b", "c"), "x: Expected 2 names of columns; got 3"),
        (("a", "a"), "x: Expected names of columns that differ; got 'a' twice"),
    ],
)
def test_names_of_columns_are_one_for_each(columns: tuple[str, ...], message: str) -> None:
    x = np.random.default_rng(0).standard_normal((20, 2))
    with pytest.raises(ValueError, match=message):
        PairData.from_arrays(x, x + 1.0, columns=columns)


@pytest.mark.parametrize("noted", ["no JSON", "3", "[1, 2]"])
def test_a_file_that_notes_no_names_of_columns_is_refused(noted: str, tmp_path: Path) -> None:
    x = np.random.default_rng(0).standard_normal((20, 2)).astype(np.float32)
    write_tensors(tmp_path / "a.safetensors", {"x": x, "x_tilde": x + 1.0}, {"columns": noted})
    with pytest.raises(ValueError, match=r"a\.safetensors: columns: Expected a JSON list of names; got "):
        load_pairs(tmp_path / "a.safetensors")
