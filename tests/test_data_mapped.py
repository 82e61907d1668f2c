"""Large files are mapped: the same values, in bounded memory, and one line where they cannot be read."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from small import SHORT, equal_weights, small_data

from lcm.base.files import read_tensors, write_tensors
from lcm.base.rows import MappedFile, map_tensors, mapped_file, release, row_blocks, take_rows, writable
from lcm.data import pair_files
from lcm.data.pair_files import load_pairs, save_pairs
from lcm.data.pairs import PairData, data_hash
from lcm.run.fitting import fit_pairs
from lcm.run.runs import fit_run, load_run

TENSORS: dict[str, Any] = {
    "a": np.arange(6, dtype=np.float32).reshape(2, 3),
    "large": np.random.default_rng(0).normal(size=(20_000, 3)),
    "mask": np.array([[True, False, True]]),
    "small": np.arange(5, dtype=np.int16),
    "empty": np.zeros((0, 3), np.float32),
}


@pytest.fixture
def everything_mapped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pair_files, "MAPPED_FROM", 0)


def mapped_pairs(path: Path, data: PairData) -> PairData:
    save_pairs(path, data)
    return load_pairs(path)


def test_mapped_tensors_are_those_that_were_written(tmp_path: Path) -> None:
    write_tensors(tmp_path / "file.safetensors", TENSORS, {"seed": "0"})
    tensors, metadata = read_tensors(tmp_path / "file.safetensors", map_from=0)
    assert metadata == {"seed": "0"} and tensors.keys() == TENSORS.keys()
    for name, tensor in TENSORS.items():
        assert tensors[name].dtype == tensor.dtype
        np.testing.assert_array_equal(tensors[name], tensor)
    assert mapped_file(tensors["large"][::2]) is not None
    assert not tensors["large"].flags.writeable


def test_small_files_are_read_and_may_be_written_to(tmp_path: Path) -> None:
    path = tmp_path / "file.safetensors"
    write_tensors(path, TENSORS)
    for size, is_mapped in ((path.stat().st_size + 1, False), (path.stat().st_size, True)):
        tensors = read_tensors(path, map_from=size)[0]
        assert (mapped_file(tensors["a"]) is not None) == is_mapped
        assert tensors["a"].flags.writeable != is_mapped


@pytest.mark.parametrize("keep", [0, 4, 40, -1])
def test_a_truncated_file_is_refused_before_it_is_mapped(keep: int, tmp_path: Path) -> None:
    path = tmp_path / "file.safetensors"
    write_tensors(path, TENSORS)
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(ValueError, match=r"file\.safetensors: Expected a whole safetensors file; got a truncated"):
        read_tensors(path, map_from=0)


def with_header(path: Path, header: dict[str, Any], data: bytes) -> Path:
    text = json.dumps(header).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + data)
    return path


def test_a_type_that_numpy_lacks_is_refused(tmp_path: Path) -> None:
    header = {"half": {"dtype": "BF16", "shape": [2], "data_offsets": [0, 4]}}
    path = with_header(tmp_path / "file.safetensors", header, bytes(4))
    with pytest.raises(ValueError, match=r"file\.safetensors: half: Expected numbers or booleans; got dtype BF16"):
        read_tensors(path, map_from=0)


def test_a_header_that_points_outside_is_refused(tmp_path: Path) -> None:
    header = {"x": {"dtype": "F32", "shape": [2], "data_offsets": [4, 12]}}
    path = with_header(tmp_path / "file.safetensors", header, bytes(8))
    with pytest.raises(ValueError, match=r"file\.safetensors: Expected a whole safetensors file"):
        read_tensors(path, map_from=0)


def test_a_tensor_at_an_odd_place_is_copied(tmp_path: Path) -> None:
    values = np.arange(4, dtype=np.float32)
    header = {"x": {"dtype": "F32", "shape": [4], "data_offsets": [0, 16]}}
    for pad in range(4):
        padded = header | {"__metadata__": {"pad": "." * pad}}
        path = with_header(tmp_path / f"{pad}.safetensors", padded, values.tobytes())
        found = map_tensors(path)["x"]
        np.testing.assert_array_equal(found, values)
        assert found.flags.aligned


def test_a_file_that_shrinks_while_it_is_mapped_is_one_error(tmp_path: Path) -> None:
    path = tmp_path / "file.safetensors"
    write_tensors(path, TENSORS)
    size = path.stat().st_size
    large = map_tensors(path)["large"]
    with path.open("r+b") as file:
        file.truncate(1000)
    message = f"{path}: Expected a file that stays as it is while it is used; got 1000 bytes, where there were {size}"
    with pytest.raises(ValueError, match="^" + re.escape(message) + "$"):
        list(row_blocks(large))
    with pytest.raises(ValueError, match="^" + re.escape(message) + "$"):
        take_rows(large, np.arange(2))


def test_a_file_that_is_replaced_while_it_is_mapped_does_not_matter(tmp_path: Path) -> None:
    path = tmp_path / "file.safetensors"
    write_tensors(path, TENSORS)
    large = map_tensors(path)["large"]
    write_tensors(path, {"other": np.zeros(2)})
    np.testing.assert_array_equal(np.concatenate([block for (block,) in row_blocks(large)]), TENSORS["large"])


@pytest.mark.parametrize(("rows", "columns"), [(1, 1), (1000, 5), (131_072, 1), (131_073, 1), (3, 1 << 23)])
def test_blocks_are_all_rows_in_order_and_of_bounded_size(rows: int, columns: int) -> None:
    array = np.broadcast_to(np.arange(rows)[:, None], (rows, columns))
    blocks = [block for (block,) in row_blocks(array)]
    np.testing.assert_array_equal(np.concatenate([block[:, 0] for block in blocks]), array[:, 0])
    assert len(blocks) == 1 if rows <= 131_072 and rows * columns <= 1 << 22 else len(blocks) > 1
    assert all(block.size <= 1 << 22 or len(block) == 1 for block in blocks)


def resident(array: np.ndarray) -> int:
    """Bytes of the mapping of an array that are resident in this process."""
    address, inside = array.ctypes.data, False
    for line in Path("/proc/self/smaps").read_text().splitlines():
        bounds = re.match(r"([0-9a-f]+)-([0-9a-f]+) ", line)
        if bounds:
            inside = int(bounds[1], 16) <= address < int(bounds[2], 16)
        elif inside and line.startswith("Rss:"):
            return 1024 * int(line.split()[1])
    raise AssertionError("no such mapping")


@pytest.mark.skipif(not Path("/proc/self/smaps").exists(), reason="needs Linux")
def test_a_pass_over_a_mapped_tensor_leaves_none_of_it_in_memory(tmp_path: Path) -> None:
    write_tensors(tmp_path / "file.safetensors", {"x": np.ones((2_000_000, 5), np.float32)})
    x = map_tensors(tmp_path / "file.safetensors")["x"]
    most = max(resident(x) for (block,) in row_blocks(x) if block.sum())
    assert most < x.nbytes / 2
    assert resident(x) < x.nbytes / 50
    x.sum()
    assert resident(x) > 0.9 * x.nbytes
    release(x)
    assert resident(x) < x.nbytes / 10
    assert x.sum() == x.size


@pytest.mark.skipif(not Path("/proc/self/smaps").exists(), reason="needs Linux")
def test_rows_that_were_taken_leave_none_of_a_mapped_tensor_in_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_tensors(tmp_path / "file.safetensors", {"x": np.ones((2_000_000, 5), np.float32)})
    x = map_tensors(tmp_path / "file.safetensors")["x"]
    before: list[int] = []

    def measured(array: np.ndarray) -> None:
        before.append(resident(x))
        release(array)

    monkeypatch.setattr("lcm.base.rows.release", measured)
    assert (take_rows(x, np.arange(0, len(x), 20)) == 1).all()
    assert len(before) == 3 and max(before) < x.nbytes / 2
    assert resident(x) < x.nbytes / 50


ROWS = {"none": [], "one": [7], "again and again": [3, 3, 0, 999, 3], "all": list(range(1000)), "back": [999, 1, 0]}


@pytest.mark.parametrize("resident_bytes", [1 << 10, 1 << 24])
@pytest.mark.parametrize("rows", ROWS.values(), ids=ROWS)
def test_rows_are_taken_in_the_order_asked_for(
    rows: list[int], resident_bytes: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lcm.base.rows._RESIDENT_BYTES", resident_bytes)
    x = np.random.default_rng(0).normal(size=(1000, 3)).astype(np.float32)
    write_tensors(tmp_path / "x.safetensors", {"x": x})
    index = np.array(rows, np.int64)
    for array in (x, map_tensors(tmp_path / "x.safetensors")["x"]):
        taken = take_rows(array, index)
        np.testing.assert_array_equal(taken, x[index])
        taken[:] = 0.0
    assert x.any()


def test_arrays_in_memory_are_not_released() -> None:
    array = np.ones((1000, 100))
    release(array)
    assert mapped_file(array) is None and array.sum() == array.size


def test_what_torch_takes_without_a_warning() -> None:
    fixed, free = np.ones(3), np.ones(3)
    fixed.flags.writeable = False
    assert torch.from_numpy(writable(fixed)).sum() == 3
    assert writable(free) is free and writable([1, 2]) == [1, 2]


def test_mapped_pairs_are_the_same_pairs(tmp_path: Path, everything_mapped: None) -> None:
    data = small_data("linear")
    mapped = mapped_pairs(tmp_path / "pairs.safetensors", data)
    assert isinstance(mapped_file(mapped.x), MappedFile)
    assert data_hash(mapped) == data_hash(data)
    for name, tensor in data.tensors().items():
        np.testing.assert_array_equal(mapped.tensors()[name], tensor)


@pytest.mark.parametrize("name", ["linear", "nonlinear"])
def test_a_fit_to_mapped_pairs_is_the_same_fit(
    name: str, finished: dict[str, Path], tmp_path: Path, everything_mapped: None
) -> None:
    mapped = mapped_pairs(tmp_path / "pairs.safetensors", small_data(name))
    assert equal_weights(fit_pairs(mapped, SHORT).model, load_run(finished[name]).model)


def test_mapped_pairs_that_shrink_during_a_fit_are_one_error(tmp_path: Path, everything_mapped: None) -> None:
    path = tmp_path / "pairs.safetensors"
    mapped = mapped_pairs(path, small_data("linear"))
    with path.open("r+b") as file:
        file.truncate(2000)
    with pytest.raises(ValueError, match=r"pairs\.safetensors: Expected a file that stays as it is"):
        fit_run(mapped, tmp_path / "run", SHORT, device="cpu", progress=False)
    assert not (tmp_path / "run").exists()
