"""A folder appears whole or not at all; what was interrupted is there again, and only for the same work."""

from __future__ import annotations

from pathlib import Path

import pytest

from lcm.data.image_files import FinishedBefore, partial_folder, require_new

SETTINGS = {"source": "here", "size": "64"}


def interrupt(out: Path, error: BaseException) -> None:
    with pytest.raises(type(error)), partial_folder(out, SETTINGS) as folder:
        (folder / "half").write_text("half")
        raise error


def test_the_folder_is_not_there_before_it_is_whole(tmp_path: Path) -> None:
    out = tmp_path / "new" / "data"
    with partial_folder(out, SETTINGS) as folder:
        (folder / "file").write_text("content")
        assert folder.name == ".data.partial" and not out.exists()
    assert [path.name for path in out.iterdir()] == ["file"]
    assert list(out.parent.iterdir()) == [out]


@pytest.mark.parametrize("error", [ValueError("full"), KeyboardInterrupt()], ids=["error", "interrupt"])
def test_what_was_interrupted_goes_on(error: BaseException, tmp_path: Path) -> None:
    interrupt(tmp_path / "data", error)
    assert [path.name for path in tmp_path.iterdir()] == [".data.partial"]
    with partial_folder(tmp_path / "data", SETTINGS) as folder:
        assert (folder / "half").read_text() == "half"
    assert [path.name for path in (tmp_path / "data").iterdir()] == ["half"]


@pytest.mark.parametrize("identity", [{"source": "here", "size": "128"}, {"source": "here"}], ids=["other", "fewer"])
def test_other_settings_begin_anew(identity: dict[str, str], tmp_path: Path) -> None:
    interrupt(tmp_path / "data", ValueError("full"))
    with partial_folder(tmp_path / "data", identity) as folder:
        assert not (folder / "half").exists()


def test_a_partial_folder_that_says_nothing_is_begun_anew(tmp_path: Path) -> None:
    interrupt(tmp_path / "data", ValueError("full"))
    (tmp_path / ".data.partial" / "identity.json").write_text("{")
    with partial_folder(tmp_path / "data", SETTINGS) as folder:
        assert not (folder / "half").exists()


def test_an_empty_folder_and_the_current_one_are_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, out in {"one": tmp_path / "one", "two": Path()}.items():
        (tmp_path / name).mkdir()
        monkeypatch.chdir(tmp_path / name)
        with partial_folder(out, SETTINGS) as folder:
            (folder / "file").write_text(name)
        assert (tmp_path / name / "file").read_text() == name


def test_a_file_and_a_folder_with_files_are_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ValueError, match=r"file: Expected a folder to write to; got a file\.$"):
        require_new(tmp_path / "file")
    with (
        pytest.raises(ValueError, match=r"new or empty folder to write to; got a folder that holds files\.$"),
        partial_folder(tmp_path, SETTINGS),
    ):
        pass
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_what_is_put_in_its_place_meanwhile_is_kept_and_the_work_too(tmp_path: Path) -> None:
    out = tmp_path / "data"
    with pytest.raises(ValueError, match=r"got a file\.$"), partial_folder(out, SETTINGS) as folder:
        (folder / "half").write_text("half")
        out.write_text("mine")
    assert out.read_text() == "mine"
    out.unlink()
    with partial_folder(out, SETTINGS) as folder:
        assert (folder / "half").exists()


def test_a_folder_that_was_finished_by_a_killed_process_is_finished(tmp_path: Path) -> None:
    out, lock = tmp_path / "data", tmp_path / ".data.lcm-lock"
    with partial_folder(out, SETTINGS) as folder:
        (folder / "file").write_text("content")
        left = lock.read_bytes()
    lock.write_bytes(left)
    (out / "identity.json").write_text("left")
    require_new(out)
    with pytest.raises(FinishedBefore), partial_folder(out, SETTINGS):
        pass
    assert [path.name for path in out.iterdir()] == ["file"] and list(tmp_path.iterdir()) == [out]
    lock.write_bytes(left)
    with pytest.raises(ValueError, match="got a folder that holds files"), partial_folder(out, {"size": "1"}):
        pass


def test_temporary_files_of_a_killed_process_do_not_come_into_the_folder(tmp_path: Path) -> None:
    interrupt(tmp_path / "data", KeyboardInterrupt())
    (tmp_path / ".data.partial" / ".train.0123456789ab.safetensors").write_text("half")
    (tmp_path / ".data.0123456789ab").mkdir()
    with partial_folder(tmp_path / "data", SETTINGS):
        pass
    assert [path.name for path in (tmp_path / "data").iterdir()] == ["half"]
    assert [path.name for path in tmp_path.iterdir()] == ["data"]


def test_two_processes_do_not_write_to_one_folder(tmp_path: Path) -> None:
    out = tmp_path / "data"
    with (
        partial_folder(out, SETTINGS),
        pytest.raises(ValueError, match="no other process is writing to; got one that process"),
        partial_folder(out, SETTINGS),
    ):
        pass
    assert [path.name for path in tmp_path.iterdir()] == ["data"]


def test_nothing_is_written_through_a_link_to_nothing_or_in_the_place_of_the_partial_folder(tmp_path: Path) -> None:
    (tmp_path / "data").symlink_to(tmp_path / "nothing")
    with pytest.raises(ValueError, match=r"data: Expected a folder to write to; got a link to nothing\.$"):
        require_new(tmp_path / "data")
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / ".other.partial").symlink_to(tmp_path / "elsewhere")
    with partial_folder(tmp_path / "other", SETTINGS) as folder:
        (folder / "file").write_text("content")
    assert not list((tmp_path / "elsewhere").iterdir())
