"""`make fuzz N=…`: as many mutations of each kind as wanted; those that break the law are kept in .fuzz/."""

from __future__ import annotations

import sys
import time
from pathlib import Path

from .kinds import KINDS
from .run import named, run_mutations


def main(count: int, seed: int, *names: str) -> int:
    """Run them, print the counts, and return 1 if one broke the law."""
    started, failed = time.perf_counter(), 0
    for name, kind in named(KINDS, names).items():
        report = run_mutations(count, seed, {name: kind}, Path(".fuzz"))
        print(f"{report}\n{time.perf_counter() - started:.0f} s", flush=True)
        failed += len(report.failures)
    return min(failed, 1)


if __name__ == "__main__":
    options = dict(part.split("=", 1) for part in sys.argv[1:] if "=" in part)
    sys.exit(main(int(options.get("N") or 300), int(options.get("SEED") or 0), *options.get("KINDS", "").split()))
