"""Commands that write, each in a folder of its own, and processes of their own that run them."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

from lcm.app.cli import main

GENERATE = "nature: {n: 2}\npairs: {train: 200, val: 30, test: 60}\nseed: 3\n"
SWEEP = """\
data: [{generate: c.yaml}]
base: {model: linear}
grid: {seed: [0, 1]}
"""
TIMED = ("fit.json", "metrics.jsonl", "report.md", "report.html", "training.png", "results.csv", "results.parquet")
"""Files that hold times, and so differ between equal fits."""


def prepare_all(base: Path) -> None:
    """Fill a folder with all that the commands read, unless it is there."""
    if base.exists():
        return
    base.mkdir(parents=True)
    (base / "c.yaml").write_text(GENERATE)
    (base / "s.yaml").write_text(SWEEP)
    for argv in (
        ("generate", "c.yaml", "--out", "d"),
        ("fit", "d/train.safetensors", "--out", "run", "--model", "linear"),
        ("fit", "d/train.safetensors", "--out", "other", "--model", "linear", "--seed", "5"),
    ):
        ended = in_process(argv, base)
        assert ended == 0, (argv, ended)
    (base / "images").mkdir()
    rows = ["before,after,target"]
    for number, pixels in enumerate(np.random.default_rng(0).integers(0, 255, (6, 16, 16, 3), np.uint8)):
        Image.fromarray(pixels).save(base / "images" / f"{number}.png")
        rows.append(f"{number}.png,{(number + 1) % 6}.png,{number % 2}")
    (base / "images" / "pairs.csv").write_text("\n".join(rows) + "\n")
    (base / "measured.csv").write_text("red,vis_1\n1,2.5\n3,2\n3,4\n3,1\n")


_DATA, _TEST = "d/train.safetensors", "d/test.safetensors"
COMMANDS: dict[str, tuple[str, ...]] = {
    "generate": ("generate", "c.yaml", "--out", "out"),
    "import": ("import", "folder", "images", "--out", "out", "--size", "16"),
    "chamber": ("import", "chamber", "measured.csv", "--out", "out", "--actuators", "red", "--sensors", "vis_1"),
    "protocol": ("protocol", "run", "--pairs", "20", "--out", "out/protocol.txt"),
    "fit": ("fit", _DATA, "--out", "out", "--model", "linear"),
    "overwrite": ("fit", _DATA, "--out", "other", "--model", "linear", "--seed", "1", "--overwrite"),
    "encode": ("encode", "run", _TEST, "--out", "out/encoded.safetensors"),
    "sample": ("sample", "run", "--n", "20", "--out", "out/pairs.npz"),
    "evaluate": ("evaluate", "run", _TEST, "--json", "out/scores.json"),
    "graph": ("graph", "run", "--json", "out/graph.json", "--figure", "out/graph.png"),
    "compare": ("compare", "run", "other", _DATA, "--json", "out/compared.json"),
    "sweep": ("sweep", "s.yaml", "--out", "out", "--jobs", "1"),
}
"""What writes, in a copy of the folder of `prepare_all`."""


def in_process(argv: tuple[str, ...], folder: Path | None = None, before: Callable[[], None] | None = None) -> int:
    """Run a command in a forked process; return its exit code, or minus the signal that killed it.

    before: called in the process, to set its end.
    """
    return wait(start(argv, folder, before))


def start(argv: tuple[str, ...], folder: Path | None = None, before: Callable[[], None] | None = None) -> int:
    """Start a command in a forked process; return its number."""
    process = os.fork()
    if process:
        return process
    code = 99
    try:
        if folder is not None:
            os.chdir(folder)
        for number, flags in ((1, os.O_WRONLY), (2, os.O_WRONLY)):
            os.dup2(os.open(os.devnull, flags), number)
        if before is not None:
            before()
        code = main([*argv, "--quiet", "--threads", "1"])
    finally:
        os._exit(code)


def wait(process: int) -> int:
    """The exit code of a process; minus the signal that killed it."""
    return os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])


def copy_of(base: Path, folder: Path) -> Path:
    """A fresh copy of the folder of `prepare_all`."""
    shutil.rmtree(folder, ignore_errors=True)
    return Path(shutil.copytree(base, folder))


def state(folder: Path) -> dict[str, bytes]:
    """Every file below a folder by its path, without events; the content of those with times is left out."""
    found = {}
    for path in sorted(folder.rglob("*")):
        if path.is_file() and "tfevents" not in path.name:
            timed = path.name in TIMED or path.parent.name == "cells"
            found[str(path.relative_to(folder))] = b"" if timed else path.read_bytes()
    return found


def die() -> None:
    """Kill this process, as the system would."""
    os.kill(os.getpid(), signal.SIGKILL)
