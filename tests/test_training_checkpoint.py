"""Checkpoints come back as they were written; any other file is refused in one line that says how to go on."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from lcm.learn.training.checkpoint import read_checkpoint, write_checkpoint

STATE = {"state.weight": torch.arange(6.0).view(2, 3), "step": torch.tensor(3), "empty": torch.zeros(0, 2)}


def _other_numbers(path: Path) -> None:
    save_file({**load_file(path), "state.weight": torch.full((2, 3), torch.nan)}, path, {"identity": "a", "stage": "b"})


BAD: dict[str, tuple[Callable[[Path], object], str]] = {
    "empty": (lambda path: path.write_bytes(b""), "a whole checkpoint; got one that cannot be read"),
    "truncated": (lambda path: path.write_bytes(path.read_bytes()[:-1]), "a whole checkpoint; got one"),
    "no tensors": (lambda path: path.write_bytes(b"hello, this is text"), "a whole checkpoint; got one"),
    "foreign": (lambda path: save_file(STATE, path), r"a checkpoint of this fit \(its data, .*; got one of another"),
    "other fit": (lambda path: write_checkpoint(path, STATE, "other", "b"), "a checkpoint of this fit"),
    "other stage": (lambda path: write_checkpoint(path, STATE, "a", "other"), "a checkpoint of this fit"),
    "not finite": (_other_numbers, "a checkpoint as the fit wrote it; got one with other numbers"),
    "one byte": (lambda path: path.write_bytes(path.read_bytes()[:-1] + b"\x7f"), "a checkpoint as the fit wrote it"),
}


def test_a_checkpoint_comes_back(tmp_path: Path) -> None:
    path = tmp_path / "checkpoint" / "file.safetensors"
    write_checkpoint(path, STATE, "a", "b")
    found = read_checkpoint(path, "a", "b")
    assert found.keys() == STATE.keys() and all(torch.equal(found[name], STATE[name]) for name in STATE)


@pytest.mark.parametrize("case", BAD)
def test_another_file_is_refused_with_the_way_out(case: str, tmp_path: Path) -> None:
    path = tmp_path / "checkpoint" / "file.safetensors"
    write_checkpoint(path, STATE, "a", "b")
    spoil, message = BAD[case]
    spoil(path)
    with pytest.raises(ValueError, match=rf"file\.safetensors: Expected {message}") as caught:
        read_checkpoint(path, "a", "b")
    assert str(caught.value).endswith(f"Delete {path.parent} to start its stages again.")
