"""Runs parts whose results are missing or stale, and keeps with each result how it was made."""

from __future__ import annotations

import os
import resource
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any, final

from benchmarks.machine import commit, machine, versions
from evidence.dependencies import digest
from evidence.parts import Part
from lcm.base.files import read_json, write_json

RECORD = "evidence.json"
"""Beside the results of a part: command, code, commit, versions, machine, and the sessions that made it."""
_SESSIONS = "sessions.json"


@final
@dataclass(frozen=True)
class Place:
    """A part in a checkout.

    Attributes:
        root: the folder of the project.
        part: what is to be there.
        quick: the small version, which stays in runs/.
    """

    root: Path
    part: Part
    quick: bool = False

    @cached_property
    def code(self) -> str:
        """The digest of what the part depends on now."""
        return digest(self.root, self.part.experiment, self.part.options)

    @property
    def results(self) -> Path:
        """Where the kept files are."""
        return self.root / "results" / self.part.name

    @property
    def work(self) -> Path:
        """Where the experiment works: another folder for other code, so that no cell of other code is taken over."""
        kind = "evidence-quick" if self.quick else "evidence"
        return self.root / "runs" / kind / f"{self.part.name.replace('/', '-')}-{self.code[:12]}"

    @property
    def command(self) -> list[str]:
        """The command, without the folder; OMP_NUM_THREADS is 1 beside it."""
        quick = ["--quick"] if self.quick else []
        return ["reproduce", self.part.experiment, "--", *self.part.options, *quick]

    def record(self) -> dict[str, Any] | None:
        """How the kept results were made; None where the pipeline did not make them."""
        path = self.results / RECORD
        found: dict[str, Any] | None = read_json(path) if path.is_file() else None
        return found

    def state(self) -> str:
        """fresh, confirmed (a sample is equal), stale (by other code), missing, or old (before the pipeline)."""
        record = self.record()
        if record is None:
            return "old" if self.results.is_dir() else "missing"
        if record["code"] == self.code:
            return "fresh"
        return "confirmed" if record.get("confirmed", {}).get("code") == self.code else "stale"

    @property
    def is_current(self) -> bool:
        """Whether the kept results are those of the code of now."""
        return self.state() in ("fresh", "confirmed")


def run(place: Place) -> bool:
    """Run a part, resuming what was done of it, and keep its results; False if it failed. Its log is in its folder."""
    place.work.mkdir(parents=True, exist_ok=True)
    session = execute(place, place.command, place.work)
    path = place.work / _SESSIONS
    sessions = [*(read_json(path) if path.is_file() else []), session]
    write_json(path, sessions)
    if session["exit"] != 0:
        return False
    if not place.quick:
        _keep(place, sessions)
    return True


def execute(place: Place, lcm_command: list[str], work: Path) -> dict[str, Any]:
    """Run a command of the package for a part, with its files and its log in `work`; what it used, and how it ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    start, load = time.monotonic(), os.getloadavg()[0]
    command = [sys.executable, "-m", "lcm", *lcm_command, "--out", str(work)]
    one_thread = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
    started = datetime.now(UTC).isoformat(timespec="seconds")
    with (work / "log.txt").open("a", encoding="utf-8") as log:
        done = subprocess.run(command, cwd=place.root, env=os.environ | one_thread, stdout=log, stderr=log, check=False)
    now = resource.getrusage(resource.RUSAGE_CHILDREN)
    return {
        "started": started,
        "wall_seconds": round(time.monotonic() - start, 1),
        "cpu_seconds": round(now.ru_utime + now.ru_stime - used.ru_utime - used.ru_stime, 1),
        "load_before": round(load, 2),
        "load_after": round(os.getloadavg()[0], 2),
        "exit": done.returncode,
    }


def _keep(place: Place, sessions: Sequence[dict[str, Any]]) -> None:
    """Replace the kept files by those of now; parts in folders below it stay."""
    place.results.mkdir(parents=True, exist_ok=True)
    for old in place.results.iterdir():
        if old.is_file():
            old.unlink()
    for pattern in (*place.part.keep, *(f"figures/{name}.png" for name in place.part.figures)):
        for found in sorted(place.work.glob(pattern)):
            shutil.copyfile(found, place.results / found.name)
    write_json(
        place.results / RECORD,
        {
            "command": " ".join(["OMP_NUM_THREADS=1 lcm", *place.command]),
            "code": place.code,
            # earlier parts of the same run have changed it
            "commit": commit(place.root, ignored="results"),
            "versions": versions(),
            "machine": machine(),
            "wall_seconds": round(sum(each["wall_seconds"] for each in sessions), 1),
            "cpu_seconds": round(sum(each["cpu_seconds"] for each in sessions), 1),
            "sessions": list(sessions),
        },
    )
