"""Images in files: written block by block, in one file or several, resumed after an interruption, read as one."""

from __future__ import annotations

import errno
import shutil
from collections import namedtuple
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from small_images import image_pairs

from lcm.base.rows import map_tensors, row_blocks, take_rows
from lcm.data.image_files import PairWriter, ShardedImages, found_shards, shard_files, writer_is_at_work
from lcm.data.pair_files import load_pairs, save_pairs
from lcm.data.pairs import PairData, data_hash

DATA = image_pairs(23)
SHAPE = (16, 16, 3)
THIRD = 2 * 16 * 16 * 3 * 8


def truth() -> dict[str, Any]:
    return {key: value for key, value in DATA.tensors().items() if key not in ("x", "x_tilde")}


def writer(path: Path, shard_bytes: int = 10**9) -> PairWriter:
    return PairWriter(path, len(DATA), SHAPE, truth(), {"made_by": "a test"}, shard_bytes)


def write(path: Path, shard_bytes: int = 10**9, block: int = 5, order: int = 1) -> list[Path]:
    found = writer(path, shard_bytes)
    for start, stop in found.missing(block)[::order]:
        found.write(start, DATA.x[start:stop], DATA.x_tilde[start:stop])
    return found.finish()


def same(first: PairData, second: PairData) -> bool:
    pairs = zip(first.tensors().items(), second.tensors().items(), strict=True)
    return all(a == b and np.array_equal(x[:], y[:]) for (a, x), (b, y) in pairs)


@pytest.mark.parametrize("order", [1, -1])
def test_a_file_is_read_back_in_whatever_order_it_was_written(tmp_path: Path, order: int) -> None:
    path = tmp_path / "train.safetensors"
    assert write(path, order=order) == [path]
    loaded = load_pairs(path)
    assert same(loaded, DATA) and loaded.metadata == {"made_by": "a test"}
    assert sorted(tmp_path.iterdir()) == [path]


def test_its_bytes_do_not_depend_on_the_blocks(tmp_path: Path) -> None:
    for name, block in (("a", 3), ("b", 23)):
        write(tmp_path / f"{name}.safetensors", block=block)
    assert (tmp_path / "a.safetensors").read_bytes() == (tmp_path / "b.safetensors").read_bytes()


def test_other_readers_of_the_format_can_read_it(tmp_path: Path) -> None:
    from safetensors.numpy import load_file

    write(tmp_path / "train.safetensors")
    found = load_file(tmp_path / "train.safetensors")
    assert np.array_equal(found["x_tilde"], DATA.x_tilde) and np.array_equal(found["targets"], DATA.targets)


@pytest.mark.parametrize("block", [1, 5, 23])
def test_several_parts_are_read_as_one(tmp_path: Path, block: int) -> None:
    path = tmp_path / "train.safetensors"
    files = write(path, THIRD, block)
    assert [file.name for file in files] == [f"train-0000{index}-of-00003.safetensors" for index in (1, 2, 3)]
    loaded = load_pairs(path)
    assert isinstance(loaded.x, ShardedImages) and same(loaded, DATA) and loaded.source == str(path)
    assert loaded.metadata == {"made_by": "a test"}
    assert load_pairs(files[1]).metadata["part"] == "2 of 3" and len(load_pairs(files[1])) in (7, 8)
    assert data_hash(loaded) == data_hash(DATA)
    assert same(loaded.first(9), DATA.first(9))


@pytest.mark.parametrize("shard_bytes", [10**9, THIRD])
def test_an_interrupted_writer_is_gone_on_with(tmp_path: Path, shard_bytes: int) -> None:
    path, whole = tmp_path / "train.safetensors", tmp_path / "whole" / "train.safetensors"
    whole.parent.mkdir()
    first = writer(path, shard_bytes)
    for start, stop in first.missing(5)[1:3]:
        first.write(start, DATA.x[start:stop], DATA.x_tilde[start:stop])
    assert writer_is_at_work(path)
    again = writer(path, shard_bytes)
    assert [start for start, _ in again.missing(5)] == [0, 15, 20]
    for start, stop in again.missing(5):
        again.write(start, DATA.x[start:stop], DATA.x_tilde[start:stop])
    expected = write(whole, shard_bytes)
    assert [file.read_bytes() for file in again.finish()] == [file.read_bytes() for file in expected]
    assert not writer_is_at_work(path)


def test_a_writer_that_wrote_nothing_begins_anew(tmp_path: Path) -> None:
    path = tmp_path / "train.safetensors"
    writer(path)
    path.write_bytes(b"half a header")
    write(path)
    assert same(load_pairs(path), DATA)


def test_a_disk_with_too_little_room_is_refused_before_anything_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = namedtuple("usage", "total used free")(10**9, 10**9 - 1000, 1000)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    with pytest.raises(ValueError, match=r"Expected 0.00 GB of free disk for train.safetensors; got 0.00 GB"):
        writer(tmp_path / "train.safetensors")
    assert not list(tmp_path.iterdir())


def test_a_disk_that_fills_up_says_that_the_same_command_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = writer(tmp_path / "train.safetensors")
    found.write(0, DATA.x[:5], DATA.x_tilde[:5])

    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(found, "_write", full)
    with pytest.raises(ValueError, match=r"got a full disk after 1 blocks. The same command resumes from there"):
        found.write(5, DATA.x[5:10], DATA.x_tilde[5:10])
    monkeypatch.undo()
    assert [start for start, _ in writer(tmp_path / "train.safetensors").missing(5)] == [5, 10, 15, 20]


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (np.zeros((2, 8, 16, 3), np.uint8), r"x: Expected uint8 images \(16, 16, 3\); got uint8 \(8, 16, 3\)"),
        (np.zeros((2, 16, 16, 3), np.float32), r"x: Expected uint8 images \(16, 16, 3\); got float32"),
    ],
)
def test_images_of_another_size_or_type_are_refused(tmp_path: Path, images: np.ndarray, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        writer(tmp_path / "train.safetensors").write(0, images, images)


def test_rows_of_several_arrays_are_those_of_one() -> None:
    x = DATA.x
    joined = ShardedImages([x[:4], x[4:5], x[5:]])
    assert (joined.shape, joined.dtype, joined.ndim, len(joined)) == (x.shape, x.dtype, 4, len(x))
    assert joined.size == x.size and joined.nbytes == x.nbytes
    for rows in (slice(None), slice(3, 6), slice(0, 0), slice(20, 99), slice(1, 20, 4), np.array([22, 0, 4, 4, 5])):
        assert np.array_equal(joined[rows], x[rows])
    assert np.array_equal(take_rows(joined, np.array([7, 3])), x[[7, 3]])
    assert np.array_equal(np.concatenate([block for (block,) in row_blocks(joined)]), x)


def test_parts_may_be_mapped(tmp_path: Path) -> None:
    save_pairs(tmp_path / "a.safetensors", DATA)
    mapped = map_tensors(tmp_path / "a.safetensors")["x"]
    joined = ShardedImages([mapped, mapped])
    assert np.array_equal(joined[20:26], np.concatenate([DATA.x[20:], DATA.x[:3]]))
    assert np.array_equal(take_rows(joined, np.array([30, 1])), DATA.x[[7, 1]])


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ([], r"Expected at least one array of images; got none"),
        ([DATA.x, DATA.x[:, :8]], r"Expected images of one size and type, uint8 \(16, 16, 3\); got uint8 \(8, 16, 3\)"),
    ],
)
def test_parts_that_do_not_fit_together_are_refused(parts: list[np.ndarray], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ShardedImages(parts)


def test_missing_and_mixed_parts_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "train.safetensors"
    files = write(path, THIRD)
    files[1].rename(tmp_path / "kept")
    with pytest.raises(ValueError, match=r"Expected 3 parts; got 2, without train-00002-of-00003.safetensors"):
        load_pairs(path)
    (tmp_path / "kept").rename(tmp_path / "train-00001-of-00002.safetensors")
    with pytest.raises(ValueError, match=r"Expected one set of parts; got parts of sets of \[2, 3\]"):
        load_pairs(path)


def test_parts_of_another_size_or_truth_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "train.safetensors"
    files = write(path, THIRD)
    small = PairData.from_arrays(DATA.x[:8, :8], DATA.x_tilde[:8, :8])
    save_pairs(files[1], small)
    with pytest.raises(ValueError, match=r"00002-of-00003.safetensors: Expected images with the tensors of the first"):
        load_pairs(path)
    other = {key: value[:8] for key, value in truth().items() if key != "adjacency"}
    save_pairs(files[1], PairData.from_arrays(small.x, small.x_tilde, **other, adjacency=DATA.adjacency))
    with pytest.raises(ValueError, match=r"train.safetensors: Expected images of one size"):
        load_pairs(path)
    save_pairs(files[1], PairData.from_arrays(DATA.x[:8], DATA.x_tilde[:8], **other, adjacency=DATA.adjacency.T))
    with pytest.raises(ValueError, match=r"adjacency: Expected that of the first part; got another"):
        load_pairs(path)


def test_a_file_is_preferred_to_parts(tmp_path: Path) -> None:
    path = tmp_path / "train.safetensors"
    write(path, THIRD)
    assert len(found_shards(path)) == 3 and shard_files(path, 1) == [path]
    save_pairs(path, DATA.first(5))
    assert found_shards(path) == [] and len(load_pairs(path)) == 5
