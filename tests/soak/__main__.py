"""`make soak`: mutations, kills and races for a stated time; the counts are printed and, with OUT, written as JSON.

    make soak MINUTES=30 OUT=results/reliability/soak.json

A second run with the same OUT goes on with other seeds and adds to its counts.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from fuzz.kinds import KINDS
from fuzz.run import run_mutations

from soak.kill import run_kills
from soak.race import run_races

_MUTATIONS, _KILLS, _RACES = 500, 60, 6
_EMPTY: dict[str, Any] = {
    "rounds": 0,
    "seconds": 0.0,
    "mutations": {},
    "kills": 0,
    "races": 0,
    "broken": [],
}


def main(minutes: float, out: Path | None) -> int:
    """Run rounds until the time is over, print the counts, and return 1 if something broke its law."""
    found = json.loads(out.read_text()) if out is not None and out.exists() else json.loads(json.dumps(_EMPTY))
    end = time.monotonic() + 60.0 * minutes
    with tempfile.TemporaryDirectory() as folder:
        while time.monotonic() < end:
            _round(found, Path(folder), end)
            if out is not None:
                out.parent.mkdir(parents=True, exist_ok=True)
                out.write_text(json.dumps(found, indent=2) + "\n")
    print(text(found))
    return min(1, len(found["broken"]))


def _round(found: dict[str, Any], folder: Path, end: float) -> None:
    """Some mutations of each kind, some kills and some races, with seeds of their own."""
    started, seed = time.monotonic(), int(found["rounds"])
    for name, kind in KINDS.items():
        if time.monotonic() > end:
            break
        report = run_mutations(_MUTATIONS, seed, {name: kind}, Path(".fuzz"))
        counts = found["mutations"].setdefault(name, {"taken": 0, "refused": 0, "broken": 0})
        counts["taken"] += report.taken[name]
        counts["refused"] += report.refused[name]
        counts["broken"] += len(report.failures)
        found["broken"] += [f"{each.kind} {each.number}, seed {seed}: {each.what}" for each in report.failures]
    if time.monotonic() < end:
        found["broken"] += run_kills(_KILLS, seed, folder / "kills")
        found["kills"] += _KILLS
    if time.monotonic() < end:
        found["broken"] += run_races(_RACES, seed, folder / "races")
        found["races"] += _RACES
    found["rounds"] += 1
    found["seconds"] = round(found["seconds"] + time.monotonic() - started, 1)


def text(found: dict[str, Any]) -> str:
    """The counts, and what broke its law."""
    total = sum(sum(counts.values()) for counts in found["mutations"].values())
    lines = [
        f"{name:26} {counts['taken']:7} taken {counts['refused']:7} refused {counts['broken']:4} broke the law"
        for name, counts in found["mutations"].items()
    ]
    lines.append(f"{total:,} mutations, {found['kills']} kills, {found['races']} races in {found['seconds']:.0f} s")
    return "\n".join([*lines, *found["broken"]])


if __name__ == "__main__":
    options = dict(part.split("=", 1) for part in sys.argv[1:] if "=" in part)
    wanted = options.get("OUT")
    sys.exit(main(float(options.get("MINUTES") or 10.0), Path(wanted) if wanted else None))
