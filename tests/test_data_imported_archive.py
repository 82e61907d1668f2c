"""Byte strings come out of archives in order, in both forms, and no pickle is ever carried out."""

from __future__ import annotations

import io
import os
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from imported_images import as_objects

from lcm.data.imported.archive import members, read_array, read_bytes, read_bytes_header

Array = np.ndarray[Any, Any]


def strings(count: int = 20) -> Array:
    """Byte strings (count, 2) of many lengths, none of which ends in a zero."""
    generator = np.random.default_rng(0)
    lengths = [1, 255, 256, 70_000, *generator.integers(1, 400, size=2 * count - 4)]
    return np.array([generator.bytes(int(length) - 1) + b"\xff" for length in lengths]).reshape(count, 2)


SAVES: dict[str, Callable[..., None]] = {"stored": np.savez, "compressed": np.savez_compressed}
FORMS: dict[str, Callable[[Array], Array]] = {"fixed width": lambda array: array, "objects": as_objects}


@pytest.mark.parametrize("first", [0, 1, 39, 40])
@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS.keys())
@pytest.mark.parametrize("save", SAVES.values(), ids=SAVES.keys())
def test_byte_strings_are_read_in_order(
    save: Callable[..., None], form: Callable[[Array], Array], first: int, tmp_path: Path
) -> None:
    save(tmp_path / "a.npz", imgs=form(strings()), other=np.arange(3))
    assert list(read_bytes(tmp_path / "a.npz", "imgs", first)) == strings().ravel().tolist()[first:]
    assert read_bytes_header(tmp_path / "a.npz", "imgs").shape == (20, 2)
    assert members(tmp_path / "a.npz") == {"imgs", "other"}
    np.testing.assert_array_equal(read_array(tmp_path / "a.npz", "other"), np.arange(3))


@pytest.mark.parametrize("count", [1, 2, 999, 1000, 1001, 2003])
def test_any_number_of_objects_is_read(count: int, tmp_path: Path) -> None:
    """The pickle appends them by the thousand, and a single one in another way."""
    array = np.empty((count, 1), object)
    array[:, 0] = [b"%d" % row for row in range(count)]
    np.savez(tmp_path / "a.npz", imgs=array)
    assert list(read_bytes(tmp_path / "a.npz", "imgs")) == array.ravel().tolist()


def test_an_object_that_comes_again_is_read_again(tmp_path: Path) -> None:
    array = as_objects(strings())
    array[7, 1], array[9, 0], array[12, 1] = array[1, 1], array[1, 1], array[0, 1]
    np.savez_compressed(tmp_path / "a.npz", imgs=array)
    assert list(read_bytes(tmp_path / "a.npz", "imgs")) == array.ravel().tolist()


@pytest.mark.parametrize("protocol", [3, 4, 5])
@pytest.mark.parametrize("pickler", [pickle.dumps, pickle._dumps], ids=["C", "Python"])  # type: ignore[attr-defined]
def test_every_protocol_with_byte_strings_is_read(pickler: Any, protocol: int, tmp_path: Path) -> None:
    array = as_objects(strings())
    array[3, 0] = array[2, 0]
    write_pickle(tmp_path / "a.npz", pickler(array, protocol=protocol))
    assert list(read_bytes(tmp_path / "a.npz", "imgs")) == array.ravel().tolist()


def write_pickle(path: Path, stream: bytes, shape: tuple[int, ...] = (20, 2)) -> None:
    """An archive whose imgs are an array of objects with this pickle."""
    body = io.BytesIO()
    header = {"descr": "|O", "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(body, header)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("imgs.npy", body.getvalue() + stream)


class Evil:
    """Leaves a file behind when it is unpickled."""

    def __init__(self, path: str) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return os.mkdir, (self.path,)


@pytest.mark.parametrize("protocol", [0, 1, 2, 3, 4, 5])
@pytest.mark.parametrize("place", ["alone", "in the list"])
def test_a_malicious_pickle_is_refused_without_running(place: str, protocol: int, tmp_path: Path) -> None:
    trap = tmp_path / "trap"
    array = as_objects(strings(2))
    array[1, 0] = Evil(str(trap))
    write_pickle(tmp_path / "a.npz", pickle.dumps(Evil(str(trap)) if place == "alone" else array, protocol=protocol))
    with pytest.raises(ValueError, match=r"a\.npz: imgs: Expected an array of byte strings; got "):
        list(read_bytes(tmp_path / "a.npz", "imgs"))
    assert not trap.exists()
    # it would have run
    pickle.loads(pickle.dumps(Evil(str(trap)), protocol=protocol))
    assert trap.is_dir()


def test_the_call_that_a_pickle_would_make_is_named(tmp_path: Path) -> None:
    write_pickle(tmp_path / "a.npz", pickle.dumps(Evil("x")))
    with pytest.raises(ValueError, match=r"got a pickle that would call (posix|nt) mkdir$"):
        list(read_bytes(tmp_path / "a.npz", "imgs"))


def reference_to_another() -> bytes:
    """A pickle whose list refers back to the name of a module."""
    stream = pickle.dumps(as_objects(strings()), protocol=4)
    start = stream.index(b"]\x94(") + 3
    return stream[:start] + b"h\x00" + stream[start:]


OBJECTS: dict[str, tuple[Any, str]] = {
    "text": ("text", r"got other objects \(pickled by SHORT_BINUNICODE\)$"),
    "None": (None, r"got other objects \(pickled by NONE\)$"),
    "a number": (3, r"got other objects \(pickled by BININT1\)$"),
    "a list": ([b"1"], r"got other objects \(pickled by EMPTY_LIST\)$"),
    "an array": (np.arange(2), r"got a reference to another object$"),
    "a numpy string": (np.bytes_(b"1"), r"got (other objects|a reference to another object)"),
    "a call": (complex(1, 2), r"got (other objects|a reference to another object)"),
}


@pytest.mark.parametrize(("item", "message"), OBJECTS.values(), ids=OBJECTS.keys())
def test_other_objects_are_refused(item: Any, message: str, tmp_path: Path) -> None:
    array = as_objects(strings(4))
    array[2, 1] = item
    np.savez(tmp_path / "a.npz", imgs=array)
    with pytest.raises(ValueError, match=r"a\.npz: imgs: Expected an array of byte strings; " + message):
        list(read_bytes(tmp_path / "a.npz", "imgs"))


def test_a_pickle_of_something_else_is_refused(tmp_path: Path) -> None:
    write_pickle(tmp_path / "a.npz", pickle.dumps({"a": 1}))
    with pytest.raises(ValueError, match=r"got other objects \(pickled by EMPTY_DICT\)$"):
        list(read_bytes(tmp_path / "a.npz", "imgs"))
    write_pickle(tmp_path / "a.npz", reference_to_another())
    with pytest.raises(ValueError, match=r"Expected an array of byte strings; got a reference to another object$"):
        list(read_bytes(tmp_path / "a.npz", "imgs"))


@pytest.mark.parametrize("count", [19, 21])
def test_another_number_of_objects_is_refused(count: int, tmp_path: Path) -> None:
    write_pickle(tmp_path / "a.npz", pickle.dumps(as_objects(strings()), protocol=4), (count, 2))
    with pytest.raises(ValueError, match=rf"imgs: Expected {2 * count} byte strings; got 4[01]$|got 39$"):
        list(read_bytes(tmp_path / "a.npz", "imgs"))


def test_a_truncated_pickle_is_refused(tmp_path: Path) -> None:
    stream = pickle.dumps(as_objects(strings()), protocol=4)
    for length in (0, 10, len(stream) // 2, len(stream) - 1):
        write_pickle(tmp_path / "a.npz", stream[:length])
        with pytest.raises(ValueError, match=r"a\.npz: imgs: "):
            list(read_bytes(tmp_path / "a.npz", "imgs"))


def raw(body: bytes) -> Callable[[Path], None]:
    def write(path: Path) -> None:
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("imgs.npy", body)

    return write


def npy(array: Array, version: tuple[int, int] | None = None) -> bytes:
    buffer = io.BytesIO()
    np.lib.format.write_array(buffer, array, version=version)
    return buffer.getvalue()


BAD: dict[str, tuple[Callable[[Path], Any], str]] = {
    "no archive": (lambda path: path.write_bytes(b"PK"), r"Expected a whole \.npz archive; got a truncated or unread"),
    "half an archive": (
        lambda path: (np.savez(path, imgs=strings()), path.write_bytes(path.read_bytes()[:9000])),
        r"Expected a whole \.npz archive; got a truncated or unreadable one$",
    ),
    "no file": (lambda path: None, r"Expected a file; got no such file$"),
    "numbers": (raw(npy(np.arange(4))), r"imgs: Expected byte strings; got dtype int64$"),
    "empty strings": (raw(npy(np.zeros((2, 2), "S0"))[:0] + npy(np.zeros((2, 2), "U3"))), r"got dtype <U3$"),
    "Fortran order": (raw(npy(np.asfortranarray(strings()))), r"imgs: Expected byte strings in C order; got Fortran"),
    "a later version": (
        raw(npy(strings(), (3, 0))),
        r"imgs: Expected an array of byte strings; got version 3 of the \.npy format$",
    ),
    "half an array": (raw(npy(strings())[:100_000]), r"imgs: Expected 40 byte strings; got 1$"),
    "half a header": (raw(npy(strings())[:40]), r"a\.npz: imgs: "),
}


@pytest.mark.parametrize(("write", "message"), BAD.values(), ids=BAD.keys())
def test_a_bad_archive_is_named(write: Callable[[Path], Any], message: str, tmp_path: Path) -> None:
    write(tmp_path / "a.npz")
    with pytest.raises(ValueError, match=r"a\.npz: .*" + message.removeprefix(r"a\.npz: ")):
        list(read_bytes(tmp_path / "a.npz", "imgs"))


def test_a_changed_byte_is_found(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", imgs=strings())
    content = bytearray((tmp_path / "a.npz").read_bytes())
    content[5000] ^= 1
    (tmp_path / "a.npz").write_bytes(content)
    with pytest.raises(ValueError, match=r"a\.npz: imgs: Expected an array of byte strings; got Bad CRC-32"):
        list(read_bytes(tmp_path / "a.npz", "imgs"))


def test_a_plain_array_is_never_unpickled(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", labels=np.array([{}]))
    with pytest.raises(ValueError, match=r"a\.npz: labels: Expected a plain array; got pickled objects"):
        read_array(tmp_path / "a.npz", "labels")
