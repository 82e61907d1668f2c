"""Killed and racing commands, a few of each here; `soak` runs as many as wanted."""

from __future__ import annotations

from pathlib import Path

import pytest
from soak.kill import run_kills
from soak.race import run_races


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("soak")


def test_a_killed_command_ends_in_the_same_bytes_when_it_is_repeated(folder: Path) -> None:
    assert run_kills(4, 0, folder, ("generate", "overwrite")) == []


def test_of_two_commands_on_one_folder_one_wins_whole(folder: Path) -> None:
    assert run_races(1, 0, folder, ("two seeds",)) == []
