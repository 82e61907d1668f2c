"""Build the package, install it in an empty environment, try it there, and write what it takes to release.json.

    python -m release [--python PYTHON] [--out DIR]

DIR, by default runs/release, also gets the wheel, the sdist and contents.txt, a list of the files in both.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from release import steps

ROOT = Path(__file__).resolve().parent.parent


def main() -> None:
    """Run all steps; a step that fails is one line and exit code 1."""
    parser = argparse.ArgumentParser(
        prog="python -m release", description="Build the package and try it in an empty environment."
    )
    parser.add_argument("--python", default=sys.executable, help="interpreter of the environments; default: this one")
    parser.add_argument("--out", type=Path, default=ROOT / "runs" / "release", help="folder of the results")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    try:
        with tempfile.TemporaryDirectory(prefix="lcm-release-") as folder:
            record = checked(options.out.resolve(), options.python, Path(folder))
    except ValueError as error:
        sys.exit(f"release: error: {error}")
    (options.out / "release.json").write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
    print(f"The release is ready: {options.out}")


def checked(out: Path, interpreter: str, folder: Path) -> dict[str, Any]:
    """Run all steps; return what was measured: sizes in bytes and durations in seconds."""
    clock = Clock()
    tools = clock.timed("tools", lambda: steps.new_environment(folder / "tools", interpreter))
    clock.timed("tools", lambda: steps.install(tools, steps.tools(ROOT), ROOT))
    wheel, sdist = clock.timed("build", lambda: steps.build(ROOT, tools, out))
    clock.timed("archives", lambda: steps.check_archives(ROOT, tools, wheel, sdist))
    python = clock.timed("environment", lambda: steps.new_environment(folder / "empty", interpreter))
    before = steps.bytes_in(folder / "empty")
    clock.timed("install", lambda: steps.install(python, [str(wheel)], ROOT))
    installed = steps.bytes_in(folder / "empty") - before
    (site,) = (folder / "empty" / "lib").glob("python*/site-packages")
    (folder / "work").mkdir()
    clock.timed("check of the install", lambda: steps.check_install(python, folder / "work"))
    clock.timed("README", lambda: steps.check_readme(ROOT, python, folder / "work"))
    clock.timed("experiments and configs", lambda: steps.check_shipped(python, folder / "work"))
    return {
        "wheel": wheel.name,
        "wheel_bytes": wheel.stat().st_size,
        "sdist_bytes": sdist.stat().st_size,
        "installed_bytes": installed,
        "torch_bytes": steps.bytes_in(site / "torch"),
        "lcm_bytes": steps.bytes_in(site / "lcm"),
        "seconds": clock.seconds,
        "python": steps.run([python, "--version"], folder).strip(),
        "torch": steps.run([python, "-c", "import torch; print(torch.__version__)"], folder).strip(),
        "machine": f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores",
    }


class Clock:
    """Durations of named steps in seconds; each step is printed when it begins."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    def timed(self, name: str, step: Callable[[], Any]) -> Any:
        """Run a step; the durations of several steps of one name are added."""
        if name not in self.seconds:
            print(f"{name} ...", flush=True)
        started = time.perf_counter()
        result = step()
        self.seconds[name] = round(self.seconds.get(name, 0.0) + time.perf_counter() - started, 1)
        return result


if __name__ == "__main__":
    main()
