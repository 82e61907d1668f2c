"""Rows of an array in a file are those of numpy, wherever they are; headers that lie are refused before their use."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lcm.base import npy_rows
from lcm.base.npy_rows import StoredArray, stored_array
from lcm.base.rows import mapped_file

ARRAY = np.arange(7 * 2 * 3, dtype=np.uint8).reshape(7, 2, 3)


def npy(array: Any = ARRAY) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array)
    return buffer.getvalue()


def write_plain(path: Path) -> StoredArray:
    np.save(path / "a.npy", ARRAY)
    return stored_array(path / "a.npy", "images")


def write_archive(compression: int, extra: bool = False) -> Callable[[Path], StoredArray]:
    def write(path: Path) -> StoredArray:
        with zipfile.ZipFile(path / "a.npz", "w", compression) as archive:
            archive.writestr("other.npy", npy(np.zeros(999)))
            info = zipfile.ZipInfo("images.npy")
            info.compress_type = compression
            # an extra field, as for large files, stands between the name and the bytes
            info.extra = b"\x99\x99\x04\x00abcd" if extra else b""
            archive.writestr(info, npy())
        return stored_array(path / "a.npz", "images")

    return write


KINDS: dict[str, Callable[[Path], StoredArray]] = {
    "npy": write_plain,
    "npz": write_archive(zipfile.ZIP_STORED),
    "npz with an extra field": write_archive(zipfile.ZIP_STORED, extra=True),
    "compressed": write_archive(zipfile.ZIP_DEFLATED),
    "compressed otherwise": write_archive(zipfile.ZIP_LZMA),
}
every_kind = pytest.mark.parametrize("make", KINDS.values(), ids=KINDS.keys())


@every_kind
@pytest.mark.parametrize("rows", [[], [0], [6], [1, 2, 5], list(range(7))])
@pytest.mark.parametrize("at_once", [1, 13, 1 << 22])
def test_rows_are_those_of_numpy(
    make: Callable[[Path], StoredArray], rows: list[int], at_once: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(npy_rows, "_AT_ONCE", at_once)
    stored = make(tmp_path)
    assert (stored.shape, stored.dtype, stored.row_bytes) == (ARRAY.shape, np.dtype(np.uint8), 6)
    np.testing.assert_array_equal(stored.gathered(np.array(rows, np.int64)), ARRAY[rows])


@pytest.mark.parametrize("name", [name for name in KINDS if "compressed" not in name])
def test_what_is_not_compressed_is_mapped(name: str, tmp_path: Path) -> None:
    mapped = KINDS[name](tmp_path).mapped()
    assert mapped_file(mapped) is not None and not mapped.flags.writeable
    np.testing.assert_array_equal(mapped, ARRAY)


def test_rows_that_do_not_fit_into_memory_are_not_gathered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stored = KINDS["compressed"](tmp_path)
    monkeypatch.setattr("lcm.base.memory.available_bytes", lambda: 20)
    with pytest.raises(ValueError, match=r"Expected 2 rows of .*a\.npz: images to fit into half of the memory"):
        stored.gathered(np.array([0, 1]))


def plain(data: bytes) -> Callable[[Path], Path]:
    def write(folder: Path) -> Path:
        (folder / "a.npy").write_bytes(data)
        return folder / "a.npy"

    return write


def packed(data: bytes, compression: int = zipfile.ZIP_STORED, name: str = "images.npy") -> Callable[[Path], Path]:
    def write(folder: Path) -> Path:
        with zipfile.ZipFile(folder / "a.npz", "w", compression) as archive:
            archive.writestr(name, data)
        return folder / "a.npz"

    return write


def encrypted(folder: Path) -> Path:
    path = packed(npy())(folder)
    data = bytearray(path.read_bytes())
    data[6] |= 1
    data[data.index(b"PK\x01\x02") + 8] |= 1
    path.write_bytes(data)
    return path


OBJECTS = npy(np.array([{}, 1], object))
FORTRAN = npy(np.asfortranarray(np.zeros((3, 2))))
BAD: dict[str, tuple[Callable[[Path], Path], str]] = {
    "no file": (lambda folder: folder / "a.npy", r"a\.npy: Expected a file; got no such file$"),
    "another suffix": (
        lambda folder: plain(npy())(folder).rename(folder / "a.png"),
        r"a\.png: Expected an \.npy or \.npz file; got the suffix '\.png'$",
    ),
    "no array": (plain(b"PK"), r"a\.npy: Expected a whole \.npy array; got "),
    "no archive": (
        lambda folder: plain(npy())(folder).rename(folder / "a.npz"),
        r"a\.npz: Expected a whole \.npz archive; got",
    ),
    "another name": (packed(npy(), name="x.npy"), r"a\.npz: images: Expected an array of this name; got none$"),
    "objects": (plain(OBJECTS), r"a\.npy: Expected a whole \.npy array; got pickled objects, which are not read$"),
    "Fortran order": (packed(FORTRAN), r"a\.npz: images: Expected a plain array; got an array in Fortran order$"),
    "a number": (plain(npy(3)), r"Expected a whole \.npy array; got an array without rows, of shape \(\)$"),
    "no rows": (plain(npy(np.zeros((0, 3)))), r"got an array without rows, of shape \(0, 3\)$"),
    "truncated": (
        plain(npy()[:-1]),
        r"got a header that claims 42 bytes, where there are at most 41$",
    ),
    "a truncated member": (packed(npy()[:-1]), r"a\.npz: images: Expected a plain array; got a header that claims 42"),
    "a truncated compressed member": (
        packed(npy()[:-1], zipfile.ZIP_DEFLATED),
        r"a\.npz: images: Expected a plain array; got a header that claims 42 bytes",
    ),
    "encrypted": (encrypted, r"a\.npz: images: Expected a plain array; got an encrypted one$"),
}


@pytest.mark.parametrize(("make", "message"), BAD.values(), ids=BAD.keys())
def test_what_is_no_array_is_named(make: Callable[[Path], Path], message: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=message):
        stored_array(make(tmp_path), "images")


def test_a_compressed_array_whose_bytes_are_corrupt_is_refused_when_it_is_read(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    noise = np.random.default_rng(0).integers(0, 255, (99, 50)).astype(np.uint8)
    np.savez_compressed(path, images=noise)
    stored, data = stored_array(path, "images"), bytearray(path.read_bytes())
    data[3000] ^= 0xFF
    path.write_bytes(data)
    with pytest.raises(ValueError, match=r"a\.npz: images: Expected a plain array; got (Bad CRC|Error -3)"):
        stored.gathered(np.array([0]))


def lying(folder: Path, compression: int, rows: int) -> Path:
    """An archive whose array has 7 rows, while its header and the directory of the archive claim more."""
    text = f"{{'descr': '|u1', 'fortran_order': False, 'shape': ({rows}, 2, 3), }}".encode().ljust(117) + b"\n"
    data = b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text + ARRAY.tobytes()
    path = packed(data, compression)(folder)
    content = bytearray(path.read_bytes())
    entry = content.index(b"PK\x01\x02")
    claimed = (128 + rows * 6).to_bytes(4, "little")
    content[entry + 24 : entry + 28] = claimed
    if compression == zipfile.ZIP_STORED:
        content[entry + 20 : entry + 24] = claimed
    path.write_bytes(content)
    return path


def test_an_array_that_claims_more_than_its_archive_holds_is_not_mapped(tmp_path: Path) -> None:
    # newer versions of zipfile notice first that it would overlap the directory
    with pytest.raises(
        ValueError, match=r"a\.npz: images: Expected a plain array; got (a header that claims 6,000 |Overl)"
    ):
        stored_array(lying(tmp_path, zipfile.ZIP_STORED, 1000), "images")


def test_a_compressed_array_that_ends_early_is_refused_when_it_is_read(tmp_path: Path) -> None:
    stored = stored_array(lying(tmp_path, zipfile.ZIP_DEFLATED, 9), "images")
    with pytest.raises(ValueError, match=r"a\.npz: images: Expected a plain array; got 7 of 9 rows$"):
        stored.gathered(np.array([0]))


def test_what_is_compressed_cannot_be_mapped(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"a\.npz: images: Expected an array that is not compressed; got one that is"):
        KINDS["compressed"](tmp_path).mapped()
