"""The program as a process: closed streams, full outputs, and interruptions at any moment."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest


@pytest.mark.parametrize(("closing", "code"), [(">&-", 0), (">&- 2>&-", 0), ("0>&- >&- 2>&-", 0), (">/dev/full", 2)])
def test_a_closed_or_full_output_is_no_traceback(closing: str, code: int, data_file: Path) -> None:
    ended = subprocess.run(
        f"'{sys.executable}' -m lcm check '{data_file}' {closing}", shell=True, stderr=subprocess.PIPE
    )
    assert ended.returncode == code
    lines = ended.stderr.decode().splitlines()
    assert lines == (["lcm check: error: No space left on device"] if code else [])


@pytest.mark.parametrize("seconds", [0.03, 0.1, 0.4])
def test_an_interruption_is_one_line_and_130(seconds: float, data_file: Path, tmp_path: Path) -> None:
    argv = [sys.executable, "-c", _READY, "fit", str(data_file), "--out", str(tmp_path / "run"), "--quiet"]
    # a shell starts background jobs, such as one of these tests, with interruptions ignored
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    process = subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=os.environ)
    signal.signal(signal.SIGINT, before)
    assert process.stdout is not None and process.stdout.readline() == "ready\n"
    time.sleep(seconds)
    process.send_signal(signal.SIGINT)
    errors = process.communicate()[1]
    assert process.returncode == 130 and len(errors.splitlines()) == 1 and "interrupted" in errors


# says so where the program begins to look after itself: on a busy machine, some time passes before a call is made
_READY = """
import sys
import lcm.__main__ as program
opened = program._open_standard_streams
def ready():
    opened()
    print("ready", flush=True)
program._open_standard_streams = ready
sys.exit(program.program())
"""


_SHRINKS = """
import os, sys, numpy, lcm.app.cli
from lcm.__main__ import program
from lcm.base.rows import MappedFile
def run():
    mapped = MappedFile.of(sys.argv[1])
    os.truncate(sys.argv[1], 0)
    return int(numpy.frombuffer(mapped, numpy.uint8).sum())
lcm.app.cli.main = run
program()
"""


def test_a_mapped_file_that_becomes_shorter_while_it_is_read_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(bytes(1 << 20))
    ended = subprocess.run([sys.executable, "-c", _SHRINKS, tmp_path / "file"], capture_output=True, text=True)
    assert ended.returncode == 2 and len(ended.stderr.splitlines()) == 1
    assert "Expected files that stay as they are while they are used; got one that is shorter" in ended.stderr
