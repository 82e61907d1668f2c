"""Calling `lcm` in the process of the tests."""

from __future__ import annotations

from typing import Any

import pytest

from lcm.app.cli import main

GENERATE_YAML = "nature: {n: 2}\npairs: {train: 200, val: 30, test: 60}\nseed: 3\n"


def called(capsys: pytest.CaptureFixture[str], *argv: Any) -> str:
    """What a command that succeeds prints."""
    code = main([str(part) for part in argv])
    captured = capsys.readouterr()
    assert (code, captured.err) == (0, "")
    return captured.out


def refused(capsys: pytest.CaptureFixture[str], *argv: Any) -> str:
    """The one line of a command that fails with exit code 2."""
    code = main([str(part) for part in argv])
    captured = capsys.readouterr()
    assert code == 2 and captured.out == ""
    lines = captured.err.splitlines()
    assert len(lines) == 1 and ": error: " in lines[0]
    return lines[0]
