"""Two commands on one folder, started together: one wins whole, the other one wins too or says why not."""

from __future__ import annotations

import itertools
import random
import time
from collections.abc import Sequence
from pathlib import Path

from soak.commands import COMMANDS, copy_of, prepare_all, start, state, wait

_DATA = "d/train.safetensors"
RACES: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "two seeds": (
        ("fit", _DATA, "--out", "other", "--model", "linear", "--seed", "1", "--overwrite"),
        ("fit", _DATA, "--out", "other", "--model", "linear", "--seed", "2", "--overwrite"),
    ),
    "new run": (
        ("fit", _DATA, "--out", "out", "--model", "linear", "--seed", "1"),
        ("fit", _DATA, "--out", "out", "--model", "linear", "--seed", "2"),
    ),
    "generate": (COMMANDS["generate"], (*COMMANDS["generate"], "--seed", "4")),
    "import": (COMMANDS["import"], (*COMMANDS["import"], "--n", "3")),
    "figures": (COMMANDS["evaluate"], ("compare", "run", "other", _DATA)),
    "encode": (COMMANDS["encode"], COMMANDS["encode"]),
}
"""Pairs of commands that write to one place."""


def run_races(count: int, seed: int, folder: Path, names: Sequence[str] = tuple(RACES)) -> list[str]:
    """Race pairs of commands `count` times in turn; return a line for each time that the law did not hold.

    The result must be that of the first command alone, of the second alone, or of one after the other; at least one
    exits with 0, and the other one with 0 or 2.
    """
    generator, broken = random.Random(seed), []
    prepare_all(folder / "base")
    allowed = {name: _outcomes(folder, name) for name in names}
    for _, name in zip(range(count), itertools.cycle(names), strict=False):
        place = copy_of(folder / "base", folder / "raced")
        first, second = generator.sample(RACES[name], 2)
        one = start(first, place)
        time.sleep(generator.choice([0.0, generator.uniform(0.0, 0.3)]))
        other = start(second, place)
        codes = {wait(one), wait(other)}
        if not ({0} <= codes <= {0, 2}) or state(place) not in allowed[name]:
            broken.append(f"{name}: exits {sorted(codes)}, files {sorted(state(place))}")
    return broken


def _outcomes(folder: Path, name: str) -> list[dict[str, bytes]]:
    found = []
    for order in (RACES[name][:1], RACES[name][1:], RACES[name], RACES[name][::-1]):
        place = copy_of(folder / "base", folder / "alone")
        for argv in order:
            wait(start(argv, place))
        found.append(state(place))
    return found
