"""`lcm sweep`: fit and score a grid of settings, seeds and data."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from lcm.app.commands.common import check_writable, find_config

if TYPE_CHECKING:
    from lcm.app.sweep.executors import Executor
    from lcm.app.sweep.sweep import Records

HELP = "fit and score a grid of settings, seeds and data"
DESCRIPTION = """\
Fit and score every cell of a sweep. A cell is one data set with one combination of settings.

DIR/results.csv has one row for each cell. DIR/cells/NAME is the run folder of a cell, as lcm fit writes it, and
DIR/cells/NAME.json has its scores or its error. If a cell fails, the other cells still run. If you run the same command
again, it runs the cells that are unfinished or failed. Data and settings identify a cell: if you change SWEEP, the
finished cells that it still contains are kept.

A sweep from a stranger is safe to run: where a data config has scene: {kind: FILE.py:CLASS}, code runs only with
--allow-code.

The exit code is 0 if every cell is finished, and 1 if some cells failed. Each failed cell prints one line on stderr.
"""
EPILOG = """\
examples:
  lcm sweep paper_configs/sweep-example.yaml --out runs/example --dry-run
  lcm sweep paper_configs/sweep-example.yaml --out runs/example
  lcm table runs/example --rows seed --columns data --value mcc

SWEEP is a YAML file. Its paths are relative to its folder:
  data:                                            # files, or a config for lcm generate
    - {name: mine, train: a.safetensors, test: b.safetensors}
    - {generate: toy2d.yaml, base: {pairs.train: 2000}, grid: {seed: [0, 1]}}
  base: {noise_encoder: {steps: 500}}              # settings of all fits, nested or dotted: see lcm fit --help
  grid: {seed: [0, 1, 2], mechanisms.steps: [100, 200]}
  list: [{noise_encoder.flow: residual}, {noise_encoder.flow: spline, noise_encoder.bins: 6}]
  batch: 8                                         # cells that are trained as one batch, at most
  device: auto
  ray: {cpus: 1, gpus: 0, retries: 3}              # for each task on Ray
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    parser.add_argument("sweep", metavar="SWEEP", help="YAML file")
    parser.add_argument("--out", metavar="DIR", required=True, help="folder of the sweep, new or existing")
    parser.add_argument("--on", choices=("local", "ray"), default="local", help="where the cells run; default: local")
    parser.add_argument("--address", metavar="A", help="Ray cluster, host:port or auto; default: a new local one")
    parser.add_argument("--jobs", metavar="J", type=int, help="number of processes; default: cores divided by threads")
    parser.add_argument("--no-ensembles", action="store_true", help="fit each cell separately, without batches")
    parser.add_argument("--allow-code", action="store_true", help="run the Python files that scene.kind names")
    parser.add_argument("--dry-run", action="store_true", help="list the cells and their states without running them")
    parser.set_defaults(resumes=lambda arguments: f"the same command resumes the sweep in {arguments.out}")


def run(arguments: argparse.Namespace) -> int:
    """Run the command."""
    _check(arguments)
    check_writable(Path(arguments.out))

    from lcm.app.sweep.sweep import cells_that_failed, open_sweep, run_sweep

    sweep, records = open_sweep(find_config(arguments.sweep), arguments.out)
    for cell in records.cells:
        if cell.data.made_by is not None and cell.data.made_by.scene is not None:
            from lcm.data.scene.scene import require_allowed

            require_allowed(cell.data.made_by.scene, arguments.sweep, arguments.allow_code)
    if arguments.dry_run:
        if not arguments.quiet:
            print(_listed(records))
        return 0
    executor = _executor(arguments, sweep.device, sweep.ray)
    try:
        run_sweep(records, executor, 1 if arguments.no_ensembles else sweep.batch, arguments.quiet)
    finally:
        executor.close()
    failed = cells_that_failed(records)
    for name, error in failed:
        print(f"lcm sweep: failed: {name}: {error}", file=sys.stderr)
    if not arguments.quiet:
        print(f"{len(records.cells) - len(failed)} of {len(records.cells)} cells are finished: {records.table}")
    return 1 if failed else 0


def _check(arguments: argparse.Namespace) -> None:
    if arguments.jobs is not None and arguments.jobs < 1:
        raise ValueError(f"--jobs: Expected at least 1; got {arguments.jobs}")
    if arguments.address is not None and arguments.on != "ray":
        raise ValueError("--address: Expected --on ray with it; got none")
    if arguments.jobs is not None and arguments.on == "ray":
        raise ValueError("--jobs: Expected no --jobs on Ray, where each task declares its CPUs; got one")


def _executor(arguments: argparse.Namespace, device: str, ray: object) -> Executor:
    if arguments.on == "ray":
        from lcm.app.sweep.executors import RayExecutor

        return RayExecutor(ray, device, arguments.address)  # type: ignore[arg-type]
    from lcm.app.sweep.executors import LocalExecutor

    # the threads of the command itself: --threads, else OMP_NUM_THREADS, else one
    threads = arguments.threads or int(os.environ.get("OMP_NUM_THREADS", "1"))
    return LocalExecutor(device, arguments.jobs, threads)


def _listed(records: Records) -> str:
    states = [(cell.name, records.status(cell)) for cell in records.cells]
    width = max(len(name) for name, _ in states)
    counts = {state: sum(other == state for _, other in states) for state in dict.fromkeys(s for _, s in states)}
    summary = ", ".join(f"{count} {state}" for state, count in counts.items())
    return "\n".join([*(f"{name:<{width}}  {state}" for name, state in states), f"{len(states)} cells: {summary}"])
