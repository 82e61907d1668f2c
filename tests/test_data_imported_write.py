"""What is imported appears whole or not at all, and goes on where it was interrupted, to the same bytes."""

from __future__ import annotations

import errno
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from imported_images import as_objects, circuit_arrays, encoded, pixels, write_3dident, write_circuit, write_folder
from small import content

from lcm.data.image_files import PairWriter
from lcm.data.imported import source as write
from lcm.data.imported.folder import import_folder
from lcm.data.imported.published import import_causal3dident, import_causal_circuit
from lcm.data.pair_files import load_pairs


def circuit_of_objects(folder: Path) -> Path:
    folder.mkdir(parents=True)
    for name, count in (("train-0", 5), ("train-1", 6), ("test", 3)):
        arrays = circuit_arrays(count)
        np.savez_compressed(folder / f"{name}.npz", **arrays | {"imgs": as_objects(arrays["imgs"])})
    return folder


KINDS: dict[str, tuple[Callable[[Path], Path], Callable[..., Any]]] = {
    "causalcircuit": (lambda folder: write_circuit(folder, train_0=5, train_1=6, test=3), import_causal_circuit),
    "causalcircuit, objects": (circuit_of_objects, import_causal_circuit),
    "causal3dident": (lambda folder: write_3dident(folder, 9), import_causal3dident),
    "folder": (lambda folder: write_folder(folder, 9, list("012012012")), import_folder),
}

every_kind = pytest.mark.parametrize(("make", "importer"), KINDS.values(), ids=KINDS.keys())


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(write, "_BLOCK", 2)


def fail_after(monkeypatch: pytest.MonkeyPatch, blocks: int, error: BaseException) -> None:
    """Let the writing fail after so many blocks."""
    whole, written = PairWriter._write, []

    def writes(self: PairWriter, *arguments: Any) -> None:
        if len(written) == blocks:
            raise error
        written.append(1)
        whole(self, *arguments)

    monkeypatch.setattr(PairWriter, "_write", writes)


@pytest.mark.parametrize("blocks", [0, 1, 3, 4])
@every_kind
def test_an_interrupted_import_goes_on_to_the_same_bytes(
    make: Callable[[Path], Path], importer: Any, blocks: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = make(tmp_path / "set")
    importer(source, tmp_path / "whole", 16)
    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        fail_after(patched, blocks, KeyboardInterrupt())
        importer(source, tmp_path / "out", 16)
    assert not (tmp_path / "out").exists() and (tmp_path / ".out.partial").is_dir()
    starts: list[int] = []
    written = PairWriter.write
    monkeypatch.setattr(
        PairWriter, "write", lambda self, start, *rest: (starts.append(start), written(self, start, *rest))
    )
    importer(source, tmp_path / "out", 16)
    assert content(tmp_path / "out") == content(tmp_path / "whole")
    assert starts[0] == 2 * blocks and not (tmp_path / ".out.partial").exists()


def test_files_that_are_finished_are_not_written_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_circuit(tmp_path / "set", train=4, val=4)
    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        fail_after(patched, 3, KeyboardInterrupt())
        import_causal_circuit(tmp_path / "set", tmp_path / "out", 16)
    fail_after(monkeypatch, 1, AssertionError("more than the last block"))
    import_causal_circuit(tmp_path / "set", tmp_path / "out", 16)
    assert len(load_pairs(tmp_path / "out" / "val.safetensors")) == 4


def test_a_full_disk_is_said_and_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_folder(tmp_path / "set", 9)
    with monkeypatch.context() as patched:
        fail_after(patched, 2, OSError(errno.ENOSPC, "No space left on device"))
        message = r"Expected free disk space; got a full disk after 2 blocks\. The same command resumes from there$"
        with pytest.raises(ValueError, match=message):
            import_folder(tmp_path / "set", tmp_path / "out", 16)
    assert not (tmp_path / "out").exists()
    import_folder(tmp_path / "set", tmp_path / "out", 16)
    assert len(load_pairs(tmp_path / "out" / "data.safetensors")) == 9


@every_kind
def test_sets_of_several_files_are_read_as_one(
    make: Callable[[Path], Path], importer: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = make(tmp_path / "set")
    (whole, *_) = importer(source, tmp_path / "whole", 16)
    small = lambda *arguments: PairWriter(*arguments, shard_bytes=4 * 16 * 16 * 3)  # noqa: E731
    with monkeypatch.context() as patched:
        patched.setattr(write, "PairWriter", small)
        with pytest.raises(KeyboardInterrupt), monkeypatch.context() as failing:
            fail_after(failing, 2, KeyboardInterrupt())
            importer(source, tmp_path / "out", 16)
        (sharded, *_) = importer(source, tmp_path / "out", 16)
    one, many = load_pairs(whole), load_pairs(sharded)
    assert not sharded.exists() and len(list((tmp_path / "out").glob(f"{sharded.stem}-*"))) > 4
    np.testing.assert_array_equal(many.x_tilde[:], one.x_tilde)
    np.testing.assert_array_equal(many.targets, one.targets)


def test_another_size_begins_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_folder(tmp_path / "set", 9)
    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        fail_after(patched, 2, KeyboardInterrupt())
        import_folder(tmp_path / "set", tmp_path / "out", 16)
    import_folder(tmp_path / "set", tmp_path / "out", 32)
    assert load_pairs(tmp_path / "out" / "data.safetensors").x.shape == (9, 32, 32, 3)


@every_kind
def test_a_source_that_changed_begins_anew(
    make: Callable[[Path], Path], importer: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = make(tmp_path / "set")
    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        fail_after(patched, 2, KeyboardInterrupt())
        importer(source, tmp_path / "out", 16)
    changed = sorted(path for path in source.rglob("*") if path.suffix in (".npz", ".npy", ".csv"))[0]
    changed.rename(changed.with_suffix(".old"))
    changed.write_bytes(changed.with_suffix(".old").read_bytes() + (b"" if changed.suffix != ".csv" else b"\n"))
    starts: list[int] = []
    written = PairWriter.write
    monkeypatch.setattr(
        PairWriter, "write", lambda self, start, *rest: (starts.append(start), written(self, start, *rest))
    )
    importer(source, tmp_path / "out", 16)
    assert starts[0] == 0


def test_images_after_an_interruption_are_compared_with_the_very_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All images from the first block to come on have another size than those that are written."""
    source = write_folder(tmp_path / "set", 8)
    other = (write_folder(tmp_path / "other", 8) / "images" / "0_after.png").read_bytes()
    (source / "images" / "4_before.png").write_bytes(other[:10])
    message = r"row 4: before: .*corrupt"
    for _ in range(2):
        with pytest.raises(ValueError, match=message):
            import_folder(source, tmp_path / "out", 16)
    for row in range(4, 8):
        for key in ("before", "after"):
            picture = pixels(np.random.default_rng(row), 64)
            (source / "images" / f"{row}_{key}.png").write_bytes(encoded(picture, "PNG"))
    with monkeypatch.context() as patched:
        patched.setattr("lcm.data.imported.folder.identity_of_files", lambda files: "the same")
        for _ in range(2):
            with pytest.raises(
                ValueError, match=r"row 4: before: .*Expected images of one size, 32 x 32 pixels as .*row 0"
            ):
                import_folder(source, tmp_path / "out", 16)
    assert not (tmp_path / "out").exists()


def test_a_number_of_threads_changes_nothing(tmp_path: Path) -> None:
    write_folder(tmp_path / "set", 9)
    for threads in (1, 5):
        import_folder(tmp_path / "set", tmp_path / str(threads), 16, threads=threads)
    assert content(tmp_path / "1") == content(tmp_path / "5")


def test_progress_is_shown_where_it_is_asked_for(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_folder(tmp_path / "set", 3)
    import_folder(tmp_path / "set", tmp_path / "out", 16, progress=False)
    captured = capsys.readouterr()
    assert (captured.out, captured.err) == ("", "")
