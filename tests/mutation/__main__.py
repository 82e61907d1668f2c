"""Draw mutants, run the tests of their package on each in a copy of the checkout, and write which survived.

    python -m tests.mutation --count 50 --seed 0 --out mutations.json

The record is read again by a second call, which goes on with what is missing. A mutant that was looked at and found to
behave as the original does is listed in equivalent.json beside this file, by its difference, with the reason.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from lcm.base.files import read_json, write_json
from tests.mutation.mutants import PACKAGES, ROOT, Mutant, sample

TESTS = {
    "model": (
        *("circle", "circle_model", "decoder", "elementwise", "graph", "intervention", "isomorphism", "likelihood"),
        *("mechanism", "mechanism_circuit", "model", "model_image", "noise", "sample", "scm", "spline", "storage"),
        *("isomorphism_find", "learn_mechanisms", "models"),
    ),
    "readout": (
        *("readout_evidence", "learn_dependence", "learn_parents", "learn_readout", "discovery"),
        *("certificate", "certificate_of_fits"),
    ),
    "isomorphism": ("isomorphism", "isomorphism_random", "isomorphism_verdict", "isomorphism_find", "metric_matching"),
    "metric": ("metric_intervention", "metric_graph", "metric_disentanglement", "metric_matching", "evaluate"),
}
EQUIVALENT = Path(__file__).with_name("equivalent.json")
_COPIED = ("lcm", "tests", "experiments", "benchmarks", "data", "paper_configs", "docs", "pyproject.toml", "README.md")
_SECONDS = 900


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.mutation", description=__doc__)
    parser.add_argument("--packages", nargs="+", default=PACKAGES, choices=PACKAGES)
    parser.add_argument("--count", type=int, default=50, help="mutants of each package")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("mutations.json"))
    options = parser.parse_args()
    record: dict[str, Any] = read_json(options.out) if options.out.exists() else {"seed": options.seed, "mutants": []}
    done = {(each["path"], each["difference"]) for each in record["mutants"]}
    with tempfile.TemporaryDirectory() as folder:
        copy = _copied(Path(folder))
        for package in options.packages:
            for mutant in sample(package, options.count, options.seed):
                if (mutant.path, mutant.difference()) in done:
                    continue
                outcome = _outcome(mutant, TESTS[package], copy)
                found = {"package": package, "path": mutant.path, "operator": mutant.operator, "outcome": outcome}
                record["mutants"].append({**found, "difference": mutant.difference()})
                write_json(options.out, record)
                print(f"{outcome:9} {mutant.path}\n{mutant.difference()}", flush=True)
    print(summary(record["mutants"]))


def _copied(folder: Path) -> Path:
    for name in _COPIED:
        source = ROOT / name
        copy = shutil.copytree if source.is_dir() else shutil.copy
        copy(source, folder / name)
    return folder


def _outcome(mutant: Mutant, tests: tuple[str, ...], copy: Path) -> str:
    """Whether the tests notice: "killed", "timeout", which counts as killed, or "survived"."""
    target, original = copy / mutant.path, (ROOT / mutant.path).read_text()
    # the tests of the file itself come first, since they are likeliest to notice
    ordered = sorted(tests, key=lambda name: target.stem not in name)
    command = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", "-n", "0"]
    command += [f"tests/test_{name}.py" for name in ordered]
    environment = {**os.environ, "PYTHONPATH": str(copy), "PYTHONDONTWRITEBYTECODE": "1"}
    target.write_text(mutant.text)
    try:
        run = subprocess.run(command, cwd=copy, env=environment, capture_output=True, timeout=_SECONDS, check=False)
    except subprocess.TimeoutExpired:
        return "timeout"
    finally:
        target.write_text(original)
    return "survived" if run.returncode == 0 else "killed"


def summary(mutants: list[dict[str, Any]]) -> str:
    """How many mutants of each package were noticed; those listed as equivalent do not count."""
    same = {(each["path"], each["difference"]) for each in json.loads(EQUIVALENT.read_text())}
    lines = []
    for package in PACKAGES:
        counted = [m for m in mutants if m["package"] == package and (m["path"], m["difference"]) not in same]
        equivalent = sum(m["package"] == package for m in mutants) - len(counted)
        killed = sum(m["outcome"] != "survived" for m in counted)
        lines.append(f"{package}: {killed} of {len(counted)} noticed, {equivalent} equivalent")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
