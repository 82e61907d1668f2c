"""Times the package's main jobs on fixed seeds and writes one JSON file a run.

    python -m benchmarks [--out FILE] [--repeats K] [--threads T] [--quick]

Every figure is the median of K repeats in one process, after one that is not counted, beside its minimum and maximum.
"""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any


def main(argv: list[str] | None = None) -> None:
    """Run all benchmarks, print a table and write the JSON file."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("runs/benchmarks.json"))
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--quick", action="store_true", help="10,000 pairs instead of 100,000, one repeat")
    options = parser.parse_args(argv)
    import torch

    torch.set_num_threads(options.threads)
    pairs, repeats = (10_000, 1) if options.quick else (100_000, options.repeats)
    rows = [row for case in CASES for row in _time_case(case, CASES[case], pairs, repeats)]
    _write(options.out, rows, options.threads, pairs)


CASES: dict[str, dict[str, Any]] = {
    "scaling n=4": {"n": 4},
    "scaling n=10": {"n": 10},
    "toy2d": {
        "n": 2,
        "graph": {"kind": "chain"},
        "mechanism": {"kind": "location-scale"},
        "decoder": {"kind": "flow"},
    },
}


def _time_case(name: str, settings: dict[str, Any], pairs: int, repeats: int) -> list[dict[str, Any]]:
    from lcm.config import structure_config
    from lcm.data.generate import sample_data
    from lcm.data.nature import NatureConfig, build_nature, torch_generator
    from lcm.encode import encode_data
    from lcm.isomorphism import find_isomorphism
    from lcm.learn.config import FitConfig
    from lcm.learn.fit import fit_pairs
    from lcm.metric.evaluate import evaluate

    nature = build_nature(structure_config(settings, NatureConfig, name), seed=0)
    train = sample_data(nature, pairs, torch_generator(0, "train"))
    test = sample_data(nature, pairs // 10, torch_generator(0, "test"))
    model = fit_pairs(train, FitConfig()).model
    jobs: dict[str, Callable[[], object]] = {
        "generate": lambda: sample_data(nature, pairs, torch_generator(0, "train")),
        "fit": lambda: fit_pairs(train, FitConfig()),
        "encode": lambda: encode_data(model, train),
        "evaluate": lambda: evaluate(model, test),
        "compare": lambda: find_isomorphism(model, model, test),
    }
    return [{"case": name, "job": job, "pairs": pairs, **_timed(run, repeats)} for job, run in jobs.items()]


def _timed(run: Callable[[], object], repeats: int) -> dict[str, float]:
    seconds = []
    for _ in range(repeats + 1):
        started = time.perf_counter()
        run()
        seconds.append(time.perf_counter() - started)
    counted = seconds[1:]
    return {"median": statistics.median(counted), "min": min(counted), "max": max(counted), "repeats": repeats}


def _write(path: Path, rows: list[dict[str, Any]], threads: int, pairs: int) -> None:
    import torch

    from lcm import __version__
    from lcm.files import write_json

    for row in rows:
        spread = f"{row['min']:.2f}-{row['max']:.2f}"
        print(f"{row['case']:<14}{row['job']:<10}{row['median']:>8.2f} s  ({spread} s, {row['repeats']} repeats)")
    machine = {"processor": platform.processor() or platform.machine(), "cores": os.cpu_count(), "threads": threads}
    versions = {"lcm": __version__, "torch": torch.__version__, "python": platform.python_version()}
    path.parent.mkdir(parents=True, exist_ok=True)
    write_json(path, {"machine": machine, "versions": versions, "pairs": pairs, "rows": rows})
    print(f"written to {path}")


if __name__ == "__main__":
    main(sys.argv[1:])
