"""Arrays of numpy's files: what is read is what was written, and what lies about its size or kind is refused."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lcm.base import npy as npy_module
from lcm.base.npy import read_npy, read_npz

ARRAYS: dict[str, np.ndarray[Any, Any]] = {
    "matrix": np.arange(6.0).reshape(2, 3),
    "fortran": np.asfortranarray(np.arange(6, dtype=np.float32).reshape(2, 3)),
    "big-endian": np.arange(4, dtype=">i4"),
    "mask": np.array([[True, False]]),
    "empty": np.zeros((0, 3)),
    "scalar": np.array(2.5),
    "bytes": np.array([b"a", b"bcd"]),
}


@pytest.mark.parametrize("name", ARRAYS)
@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_arrays_come_back_as_they_were_written(name: str, save: Any, tmp_path: Path) -> None:
    save(tmp_path / "a.npz", **{name: ARRAYS[name]})
    np.save(tmp_path / "a.npy", ARRAYS[name])
    for found in (read_npz(tmp_path / "a.npz")[name], read_npy(tmp_path / "a.npy")):
        assert found.dtype == ARRAYS[name].dtype
        np.testing.assert_array_equal(found, ARRAYS[name])


def header(text: str) -> bytes:
    padded = text.encode().ljust(117) + b"\n"
    return b"\x93NUMPY\x01\x00" + len(padded).to_bytes(2, "little") + padded


def npy(array: Any) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array)
    return buffer.getvalue()


BAD: dict[str, tuple[bytes, str]] = {
    "terabytes": (
        header("{'descr': '<f8', 'fortran_order': False, 'shape': (1000000000000,)}"),
        "claims 8,",
    ),
    "overflow": (
        header("{'descr': '<f8', 'fortran_order': False, 'shape': (9223372036854775807, 16)}"),
        "claims 1,1",
    ),
    "negative": (header("{'descr': '<f8', 'fortran_order': False, 'shape': (-1,)}"), "shape"),
    "unclosed": (header("{'descr': '<f8', 'fortran_order': False, 'shape': (1,"), ""),
    "nested": (header("(" * 100), ""),
    "not an array": (b"hello, this is no array at all", "magic"),
    "nothing": (b"", ""),
    "objects": (header("{'descr': '|O', 'fortran_order': False, 'shape': (1,)}") + b"\x80\x04N.", "pickled objects"),
    "half": (npy(np.arange(100.0))[:-8], "a header that claims 800 bytes, where there are at most 792"),
}


@pytest.mark.parametrize("case", BAD)
@pytest.mark.parametrize("compression", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_LZMA])
def test_bad_members_are_named_in_one_line(case: str, compression: int, tmp_path: Path) -> None:
    content, got = BAD[case]
    with zipfile.ZipFile(tmp_path / "a.npz", "w", compression) as archive:
        archive.writestr("x.npy", content)
    (tmp_path / "a.npy").write_bytes(content)
    for read, where in (
        (read_npz, r"a\.npz: x: Expected a plain array"),
        (read_npy, r"a\.npy: Expected a whole \.npy array"),
    ):
        path = tmp_path / ("a.npz" if read is read_npz else "a.npy")
        with pytest.raises(ValueError, match=f"{where}; got .*{got}") as caught:
            read(path)
        assert "\n" not in str(caught.value)


def test_an_encrypted_member_is_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", x=np.arange(3))
    content = bytearray((tmp_path / "a.npz").read_bytes())
    for start, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        content[content.index(start) + offset] |= 1
    (tmp_path / "a.npz").write_bytes(content)
    with pytest.raises(ValueError, match=r"x: Expected a plain array; got an encrypted one"):
        read_npz(tmp_path / "a.npz")


def test_members_that_are_not_asked_for_are_not_read(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        archive.writestr("x.npy", npy(np.arange(3)))
        archive.writestr("unused.npy", b"no array")
        archive.writestr("readme.txt", b"text")
    assert list(read_npz(tmp_path / "a.npz", ("x", "y"))) == ["x"]
    with pytest.raises(ValueError, match="unused"):
        read_npz(tmp_path / "a.npz")


def test_what_is_no_archive_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.npz").write_bytes(b"PK\x03\x04 and no more")
    with pytest.raises(ValueError, match=r"a\.npz: Expected a whole \.npz archive; got a truncated or unreadable one"):
        read_npz(tmp_path / "a.npz")


def test_a_header_of_python_2_is_read_in_silence(tmp_path: Path) -> None:
    content = header("{'descr': '<f8', 'fortran_order': False, 'shape': (2L, 1L)}") + np.arange(2.0).tobytes()
    (tmp_path / "a.npy").write_bytes(content)
    assert read_npy(tmp_path / "a.npy").tolist() == [[0.0], [1.0]]


def test_a_bomb_is_refused_before_it_is_unpacked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(npy_module, "_UNSUSPICIOUS", 1 << 16)
    np.savez_compressed(tmp_path / "a.npz", x=np.zeros(100_000))
    with pytest.raises(ValueError, match="x: Expected a plain array; got a header that claims 800,000 bytes"):
        read_npz(tmp_path / "a.npz")
    np.savez_compressed(tmp_path / "b.npz", x=np.arange(100_000))
    assert read_npz(tmp_path / "b.npz")["x"].shape == (100_000,)
