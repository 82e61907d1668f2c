"""Make the evidence of the project again: what is missing, or was made by code that has changed since.

    python -m evidence [NAME ...] [--hours H]   run, the most valuable first, until H hours have passed
    python -m evidence [NAME ...] --quick       a small version of each experiment, as a check; results/ stays
    python -m evidence [NAME ...] --status      what is fresh or stale, and what it costs
    python -m evidence [NAME ...] --confirm     make a sample of each stale part again; equal cells confirm the part
    python -m evidence --fill                   write the numbers of results/ into README.md and docs/

NAME is a folder of results/, such as families or families/linear-10. A part that is stopped is resumed by the same
command.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

from evidence.confirm import confirm
from evidence.fill import fill
from evidence.parts import named, one_of_each
from evidence.runner import Place, run
from evidence.status import status_text

ROOT = Path(__file__).resolve().parent.parent


def main() -> None:
    """Run what is to be run; exit code 1 if a part fails or a name is wrong, 2 for bad usage."""
    parser = argparse.ArgumentParser(prog="python -m evidence", description="Make the evidence of the project again.")
    parser.add_argument("names", nargs="*", metavar="NAME", help="a folder of results/; default: all")
    parser.add_argument("--hours", type=float, default=float("inf"), metavar="H", help="start no part after H hours")
    parser.add_argument("--quick", action="store_true", help="a small version of each experiment; results/ stays")
    parser.add_argument("--status", action="store_true", help="say what is fresh or stale, and run nothing")
    parser.add_argument("--confirm", action="store_true", help="make a sample of each stale part again and compare it")
    parser.add_argument("--fill", action="store_true", help="write the numbers of results/ into the documents")
    options = parser.parse_args()
    try:
        parts = named(options.names)
    except ValueError as error:
        sys.exit(f"evidence: error: {error}")
    places = [Place(ROOT, part, options.quick) for part in (one_of_each(parts) if options.quick else parts)]
    if options.status:
        print(status_text(places))
    elif options.fill:
        print("\n".join(fill(ROOT)) or "Nothing has changed.")
    elif options.confirm:
        sys.exit(_confirm_all([place for place in places if place.state() == "stale"]))
    else:
        sys.exit(_run_all(places, time.monotonic() + 3_600 * options.hours))


def _confirm_all(stale: list[Place]) -> int:
    failed = 0
    for k, place in enumerate(stale):
        print(f"[{k + 1}/{len(stale)}] {place.part.name} ...", flush=True)
        why_not = confirm(place)
        failed += why_not is not None
        print(f"    {'confirmed' if why_not is None else f'stays stale: {why_not}'}", flush=True)
    return int(failed > 0)


def _run_all(places: list[Place], end: float) -> int:
    failed = 0
    waiting = [place for place in places if place.quick or not place.is_current]
    for k, place in enumerate(waiting):
        if time.monotonic() > end:
            print(f"{len(waiting) - k} parts are left; the same command goes on.")
            break
        print(f"[{k + 1}/{len(waiting)}] {place.part.name} ...", flush=True)
        start = time.monotonic()
        done = run(place)
        failed += not done
        said = "done" if done else f"FAILED, see {place.work / 'log.txt'}"
        print(f"    {said} after {time.monotonic() - start:.0f} s", flush=True)
    return int(failed > 0)


if __name__ == "__main__":
    main()
