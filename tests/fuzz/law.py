"""The law: a command on a spoiled file succeeds, or ends in one line and exit code 2, and leaves nothing behind."""

from __future__ import annotations

import contextlib
import functools
import io
import re
import resource
import signal
import time
import traceback
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from unittest.mock import patch

from lcm.app import cli

SECONDS = 10
MEGABYTES = 1024
LONGEST_LINE = 2000
_CONTROL = re.compile(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u2028\u2029]")

Call = Callable[[Path, Path], int]
"""(folder of inputs, folder for outputs) → exit code; errors are one line on stderr."""


_parsers = functools.cache(cli._parsers)
"""Built once, since they take longer than most calls."""


class Hang(BaseException):
    """A call that took too long."""


def command(*parts: str) -> Call:
    """A call of `lcm`; {in} and {out} stand for the two folders."""

    def call(inputs: Path, out: Path) -> int:
        with patch.object(cli, "_parsers", _parsers):
            return cli.main([part.replace("{in}", str(inputs)).replace("{out}", str(out)) for part in parts])

    return call


def python(function: Callable[[Path], Any]) -> Call:
    """A call from Python on the folder of inputs, which may raise what `lcm` would report."""

    def call(inputs: Path, out: Path) -> int:
        try:
            function(inputs)
        except (ValueError, OSError, NotImplementedError, FloatingPointError) as error:
            print(f"error: {error}", file=_stderr())
            return 2
        return 0

    return call


def broken(call: Call, inputs: Path, out: Path) -> tuple[int | None, str]:
    """The exit code of a call, and which part of the law it breaks; an empty text if none."""
    before, out_text, err_text = _tree(inputs), io.StringIO(), io.StringIO()
    started = time.perf_counter()
    code: int | None = None
    try:
        with (
            _memory_limit() as grown,
            _time_limit(),
            warnings.catch_warnings(),
            contextlib.redirect_stdout(out_text),
            contextlib.redirect_stderr(err_text),
        ):
            warnings.simplefilter("always")
            code = call(inputs, out)
    except Hang:
        return code, f"took more than {SECONDS} s"
    except BaseException as error:
        if isinstance(error, KeyboardInterrupt):
            raise
        where = traceback.extract_tb(error.__traceback__)[-1]
        return code, f"traceback: {type(error).__name__}: {str(error)[:300]} ({where.filename}:{where.lineno})"
    seconds = time.perf_counter() - started
    if seconds > SECONDS:
        return code, f"took {seconds:.1f} s"
    if grown() > MEGABYTES:
        return code, f"took {grown():.0f} MB"
    return code, _wrong_end(code, err_text.getvalue()) or _left(code, before, inputs, out)


def _wrong_end(code: int, text: str) -> str:
    if code not in (0, 2):
        return f"exit code {code}: {text[:300]}"
    if code == 0:
        return f"success with a line on stderr: {text[:300]}" if text else ""
    if text.count("\n") != 1 or "error: " not in text:
        return f"not one line on stderr: {text[:600]}"
    if _CONTROL.search(text):
        return f"control characters on stderr: {text[:300]!r}"
    return f"a line of {len(text)} characters: {text[:200]}" if len(text) > LONGEST_LINE else ""


def _left(code: int, before: set[str], inputs: Path, out: Path) -> str:
    if found := _tree(inputs) ^ before:
        return f"other files beside the inputs: {sorted(found)[:5]}"
    hidden = [name for name in _tree(out) if "/." in f"/{name}"]
    left = sorted(hidden if code == 0 else _tree(out))
    return f"left behind: {left[:5]}" if left else ""


def _tree(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*")}


@contextlib.contextmanager
def _time_limit() -> Iterator[None]:
    def stop(*_: object) -> None:
        raise Hang

    before = signal.signal(signal.SIGALRM, stop)
    # again every second, in case something catches the first
    signal.setitimer(signal.ITIMER_REAL, SECONDS, 1)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


@contextlib.contextmanager
def _memory_limit() -> Iterator[Callable[[], float]]:
    """Refuse memory far beyond the law inside the block; yields how many megabytes the process has grown by at most."""
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")
    start, limits = _memory("VmRSS"), resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (int((_memory("VmSize") + 2 * MEGABYTES) * 2**20), limits[1]))
    try:
        yield lambda: _memory("VmHWM") - start
    finally:
        resource.setrlimit(resource.RLIMIT_AS, limits)


def _memory(key: str) -> float:
    found = re.search(rf"{key}:\s+(\d+) kB", Path("/proc/self/status").read_text())
    return int(found[1]) / 1024 if found else 0.0


def _stderr() -> Any:
    import sys

    return sys.stderr
