"""Commands are killed at each rename and at random moments; the same command again ends in the same bytes."""

from __future__ import annotations

import os
import random
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from soak.commands import COMMANDS, copy_of, die, in_process, prepare_all, state


def run_kills(count: int, seed: int, folder: Path, names: Sequence[str] = tuple(COMMANDS)) -> list[str]:
    """Kill commands `count` times in turn; return a line for each time that the law did not hold.

    Half of the kills are before or after a rename, from the first to the last; half are at random moments.
    """
    generator, broken = random.Random(seed), []
    prepare_all(folder / "base")
    whole = {name: _whole(folder, name) for name in names}
    for number, name in zip(range(count), _in_turn(names), strict=False):
        renames, seconds, expected = whole[name]
        if number // len(names) % 2 == 0:
            at, after = generator.randrange(max(1, renames)), generator.random() < 0.5
            moment, end = f"{'after' if after else 'before'} rename {at} of {renames}", _at_rename(at, after)
        else:
            later = generator.uniform(0.01, seconds)
            moment, end = f"after {later:.3f} of {seconds:.3f} s", _at_moment(later)
        place = copy_of(folder / "base", folder / "killed")
        killed = in_process(COMMANDS[name], place, end)
        # a command that was faster than the kill is over: to repeat it may be an error
        again = in_process(COMMANDS[name], place) if killed else 0
        found = state(place)
        # a kill after the lock is given up cannot be told from an end: all is there, and to repeat may be an error
        allowed = (0, 2) if moment.endswith(" s") else (0,)
        if again not in allowed or found != expected:
            differing = sorted(key for key in found.keys() | expected.keys() if found.get(key) != expected.get(key))
            broken.append(f"{name}: killed {moment} ({killed}), then exit {again}: {', '.join(differing)}")
    return broken


def _in_turn(names: Sequence[str]) -> Iterator[str]:
    while True:
        yield from names


def _whole(folder: Path, name: str) -> tuple[int, float, dict[str, bytes]]:
    """The renames, seconds and files of a command that nothing interrupts."""
    place, counted = copy_of(folder / "base", folder / "whole"), folder / "renames"
    counted.write_bytes(b"")
    started = time.perf_counter()
    code = in_process(COMMANDS[name], place, lambda: _patch_renames(lambda _: _append(counted), lambda _: None))
    assert code == 0, (name, code)
    return counted.stat().st_size, time.perf_counter() - started, state(place)


def _append(path: Path) -> None:
    with path.open("ab") as file:
        file.write(b".")


def _at_rename(number: int, after: bool) -> Callable[[], None]:
    def kill(count: int) -> None:
        if count == number:
            die()

    def nothing(_: int) -> None:
        pass

    return lambda: _patch_renames(*((nothing, kill) if after else (kill, nothing)))


def _at_moment(seconds: float) -> Callable[[], None]:
    def arm() -> None:
        # its default action ends the process at once, without a line of Python
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.setitimer(signal.ITIMER_REAL, seconds)

    return arm


def _patch_renames(before: Callable[[int], None], after: Callable[[int], None]) -> None:
    """Call functions with the number of each rename of this process."""
    count = 0

    def patched(rename: Callable[..., Any]) -> Callable[..., Any]:
        def renamed(*arguments: Any, **options: Any) -> Any:
            nonlocal count
            number, count = count, count + 1
            before(number)
            result = rename(*arguments, **options)
            after(number)
            return result

        return renamed

    os.replace, os.rename = patched(os.replace), patched(os.rename)
