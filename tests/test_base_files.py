"""Files appear whole or not at all, and come back as they were written."""

from __future__ import annotations

import json
import resource
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lcm.base.atomic import NoRoomError, atomic_write, leftovers
from lcm.base.files import (
    existing_file,
    read_json,
    read_tensors,
    write_json,
    write_tensors,
    write_text,
)
from lcm.base.npy import read_npz

TENSORS: dict[str, Any] = {
    "a": np.arange(6, dtype=np.float32).reshape(2, 3),
    "strided": np.arange(12, dtype=np.float64).reshape(3, 4)[:, ::2].T,
    "bytes": np.arange(4, dtype=np.uint8),
    "mask": np.array([[True, False]]),
    "empty": np.zeros((0, 3), np.float32),
}

WRITERS: dict[str, Callable[[Path], None]] = {
    "text": lambda path: write_text(path, "new"),
    "json": lambda path: write_json(path, {"a": 1}),
    "tensors": lambda path: write_tensors(path, TENSORS),
}


@pytest.mark.parametrize("write", WRITERS.values(), ids=WRITERS.keys())
def test_a_writer_replaces_the_file_and_leaves_nothing_beside_it(write: Callable[[Path], None], tmp_path: Path) -> None:
    path = tmp_path / "file.json"
    path.write_text("old")
    write(path)
    assert path.read_bytes() != b"old"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt, SystemExit])
def test_an_interrupted_write_leaves_the_old_file_and_nothing_else(error: type[BaseException], tmp_path: Path) -> None:
    path = tmp_path / "file.txt"
    path.write_text("old")
    with pytest.raises(error), atomic_write(path) as temporary:
        temporary.write_text("half")
        raise error
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_the_temporary_file_is_in_the_same_folder_and_keeps_the_suffix(tmp_path: Path) -> None:
    with atomic_write(tmp_path / "figure.png") as temporary:
        temporary.write_bytes(b"")
        assert temporary.parent == tmp_path
        assert temporary.suffix == ".png"
        assert not (tmp_path / "figure.png").exists()


def test_a_failed_serialisation_leaves_no_file(tmp_path: Path) -> None:
    with pytest.raises(ValueError):
        write_json(tmp_path / "file.json", {"a": object()})
    assert list(tmp_path.iterdir()) == []


def test_json_takes_numpy_and_paths(tmp_path: Path) -> None:
    value = {
        "f": np.float32(0.5),
        "i": np.int64(3),
        "b": np.bool_(True),
        "a": np.eye(2),
        "p": Path("x"),
        "t": (1,),
    }
    write_json(tmp_path / "file.json", value)
    expected = {"f": 0.5, "i": 3, "b": True, "a": [[1.0, 0.0], [0.0, 1.0]], "p": "x", "t": [1]}
    assert read_json(tmp_path / "file.json") == expected


@pytest.mark.parametrize("value", [float("nan"), float("inf"), np.float32("nan"), np.array([1.0, np.nan])])
def test_json_refuses_numbers_that_it_does_not_have(value: Any, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"scores\.json: Expected finite numbers"):
        write_json(tmp_path / "scores.json", {"a": value})


def test_json_refuses_other_types_by_name(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"scores\.json: Expected .* plain types for JSON; got: complex"):
        write_json(tmp_path / "scores.json", {"a": 1j})


def test_read_json_names_the_line(tmp_path: Path) -> None:
    (tmp_path / "file.json").write_text('{"a": 1,\n')
    with pytest.raises(ValueError, match=r"file\.json: Expected JSON; got at line 2"):
        read_json(tmp_path / "file.json")


def test_read_json_refuses_bytes(tmp_path: Path) -> None:
    (tmp_path / "file.json").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ValueError, match=r"file\.json: Expected JSON; got bytes that are not UTF-8"):
        read_json(tmp_path / "file.json")


def test_tensors_come_back_as_they_were_written(tmp_path: Path) -> None:
    metadata = {"seed": "0", "made by": 'a "test" of ü\n\\'}
    write_tensors(tmp_path / "file.safetensors", TENSORS, metadata)
    tensors, read_metadata = read_tensors(tmp_path / "file.safetensors")
    assert read_metadata == metadata
    assert tensors.keys() == TENSORS.keys()
    for name, tensor in TENSORS.items():
        assert tensors[name].dtype == tensor.dtype
        np.testing.assert_array_equal(tensors[name], tensor)


def test_equal_content_gives_equal_bytes(tmp_path: Path) -> None:
    keys = [f"key {number}" for number in range(12)]
    contents = set()
    for attempt in range(4):
        path = tmp_path / f"{attempt}.safetensors"
        write_tensors(path, TENSORS, dict.fromkeys(keys[attempt:] + keys[:attempt], "value"))
        contents.add(path.read_bytes())
    assert len(contents) == 1


def test_tensors_of_objects_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="names: Expected numbers or booleans; got dtype <U1"):
        write_tensors(tmp_path / "file.safetensors", {"names": np.array(["a"])})
    assert list(tmp_path.iterdir()) == []


def test_no_tensors_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"file\.safetensors: Expected at least one tensor to write; got none"):
        write_tensors(tmp_path / "file.safetensors", {}, {"seed": "0"})


@pytest.mark.parametrize("keep", [0, 4, 40, -1])
def test_a_truncated_safetensors_file_is_refused(keep: int, tmp_path: Path) -> None:
    path = tmp_path / "file.safetensors"
    write_tensors(path, TENSORS)
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(ValueError, match=r"file\.safetensors: Expected a whole safetensors file; got a truncated"):
        read_tensors(path)


@pytest.mark.parametrize("keep", [0, 40, -30])
def test_a_truncated_archive_is_refused(keep: int, tmp_path: Path) -> None:
    path = tmp_path / "file.npz"
    np.savez(path, a=np.zeros(100))
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(ValueError, match=r"file\.npz: Expected a whole \.npz archive; got a truncated"):
        read_npz(path)


def test_a_corrupt_archive_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "file.npz"
    np.savez_compressed(path, a=np.random.default_rng(0).normal(size=1000))
    content = bytearray(path.read_bytes())
    content[len(content) // 2 : len(content) // 2 + 100] = bytes(100)
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"file\.npz: .*Expected a .*; got"):
        read_npz(path)


def test_nothing_is_unpickled(tmp_path: Path) -> None:
    path = tmp_path / "file.npz"
    np.savez(path, a=np.array([{}], dtype=object))
    with pytest.raises(
        ValueError, match=r"file\.npz: .*Expected a plain array; got pickled objects, which are not read"
    ):
        read_npz(path)


def test_an_archive_comes_back(tmp_path: Path) -> None:
    np.savez(tmp_path / "file.npz", **TENSORS)
    arrays = read_npz(tmp_path / "file.npz")
    assert arrays.keys() == TENSORS.keys()
    np.testing.assert_array_equal(arrays["strided"], TENSORS["strided"])


READERS: dict[str, Callable[[Path], Any]] = {
    "json": read_json,
    "tensors": read_tensors,
    "npz": read_npz,
    "any": existing_file,
}


@pytest.mark.parametrize("read", READERS.values(), ids=READERS.keys())
def test_a_missing_file_or_a_folder_is_refused(read: Callable[[Path], Any], tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"none\.npz: Expected a file; got no such file"):
        read(tmp_path / "none.npz")
    with pytest.raises(ValueError, match="Expected a file; got a folder"):
        read(tmp_path)


def test_json_files_are_for_people_too(tmp_path: Path) -> None:
    write_json(tmp_path / "file.json", {"ε": [1]})
    text = (tmp_path / "file.json").read_text(encoding="utf-8")
    assert "ε" in text
    assert text.endswith("}\n")
    assert json.loads(text) == {"ε": [1]}


def test_files_are_readable_as_the_umask_allows(tmp_path: Path) -> None:
    write_text(tmp_path / "a.txt", "a")
    write_tensors(tmp_path / "a.safetensors", {"x": np.zeros(2)}, {})
    plain = tmp_path / "plain"
    plain.touch()
    modes = {path.stat().st_mode & 0o777 for path in tmp_path.iterdir()}
    assert modes == {plain.stat().st_mode & 0o777}


def test_leftovers_are_the_temporary_files_of_the_named_ones_alone(tmp_path: Path) -> None:
    for name in ("mine", ".mine", ".a.json", ".a.0123456789ab.json", ".a.0123456789AB.json", ".b.0123456789ab.json"):
        (tmp_path / name).write_text("")
    (tmp_path / ".a.0123456789cd.json").mkdir()
    assert [path.name for path in leftovers(tmp_path, "a.json")] == [".a.0123456789ab.json"]
    assert {path.name for path in leftovers(tmp_path, "*")} == {".a.0123456789ab.json", ".b.0123456789ab.json"}
    assert [path.name for path in leftovers(tmp_path, "*", folders=True)] == [".a.0123456789cd.json"]
    assert leftovers(tmp_path / "nothing", "*") == []


@pytest.mark.parametrize("write", WRITERS.values(), ids=WRITERS.keys())
def test_a_file_without_room_is_named_with_its_size_and_leaves_nothing(
    write: Callable[[Path], None], tmp_path: Path
) -> None:
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2, limits[1]))
    try:
        with pytest.raises(NoRoomError, match=r"file\.json: Expected room .*; got: File too large, .* bytes free$"):
            write(tmp_path / "file.json")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert list(tmp_path.iterdir()) == []
