"""A run of the suites: every case once, its rows printed and written as soon as it is done."""

from __future__ import annotations

import resource
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from benchmarks.exponents import with_exponents
from benchmarks.machine import cores
from benchmarks.record import Record, new_record, resumed
from benchmarks.row import Plan
from benchmarks.suites import MODULES, Case, cases_of
from benchmarks.table import markdown, table_text
from lcm.base.files import write_text

_REPEATS = 3


def default_file() -> Path:
    """A file named after date and time."""
    return Path("runs/benchmarks") / f"{datetime.now(UTC):%Y%m%d-%H%M%S}.json"


def plan_of(quick: bool, threads: int, repeats: int | None, seed: int) -> Plan:
    """The plan of the options; without a number of repeats, 3, or 1 of the quick sizes.

    Raises:
        ValueError: no threads, more than there are cores, no repeats, or a negative seed.
    """
    if not 1 <= threads <= cores():
        raise ValueError(f"--threads: Expected 1 to {cores()}, the cores of this machine; got {threads}.")
    if repeats is not None and repeats < 1:
        raise ValueError(f"--repeats: Expected at least 1; got {repeats}.")
    if seed < 0:
        raise ValueError(f"--seed: Expected at least 0; got {seed}.")
    return Plan(quick, threads, repeats or (1 if quick else _REPEATS), seed=seed)


def run_suites(suites: Sequence[str], plan: Plan, out: Path, resume: bool = False) -> int:
    """Run every case of some suites and write `out`, its Markdown table and its figures; returns how many failed.

    A case that fails leaves a row that says so, and the others go on.

    Raises:
        ValueError: a suite that does not exist, an `out` that is there already, or one that cannot be resumed.
    """
    record = _begun(suites, plan, out, resume)
    import torch

    torch.set_num_threads(plan.threads)
    failed = 0
    for suite in suites:
        for name, case in cases_of(suite, plan).items():
            if f"{suite}: {name}" in record.seconds:
                continue
            failed += not _measured(suite, name, case, record)
            record.write(out)
    _finish(record, out)
    return failed


def _begun(suites: Sequence[str], plan: Plan, out: Path, resume: bool) -> Record:
    unknown = [suite for suite in suites if suite not in MODULES]
    if unknown:
        raise ValueError(f"SUITE: Expected some of {', '.join(MODULES)}; got {unknown[0]!r}.")
    if out.suffix != ".json":
        raise ValueError(f"{out}: Expected a file that ends in .json; got the suffix {out.suffix!r}.")
    if resume:
        return resumed(out, plan)
    if out.exists():
        raise ValueError(f"{out}: Expected a new file; got one that exists. --resume continues it.")
    return new_record(plan)


def _measured(suite: str, name: str, case: Case, record: Record) -> bool:
    """Run one case into the record and print it; returns whether it succeeded."""
    started, used = time.perf_counter(), _processor_seconds()
    try:
        rows = case()
    # whatever went wrong in one case must not lose the minutes of the others
    except Exception as error:
        rows = [record.fail(suite, name, " ".join(str(error).split()) or type(error).__name__)]
        succeeded = False
    else:
        record.add(f"{suite}: {name}", rows, time.perf_counter() - started, _processor_seconds() - used)
        succeeded = True
    print(f"{suite}: {name} ({time.perf_counter() - started:.0f} s)\n{table_text(rows)}", flush=True)
    return succeeded


def _processor_seconds() -> float:
    """Processor time of this process and its finished children: what stands in for energy."""
    parts = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(part.ru_utime + part.ru_stime for part in parts)


def _finish(record: Record, out: Path) -> None:
    from benchmarks.figure import draw_scalings

    files = [out, out.with_suffix(".md")]
    record.rows = with_exponents(record.rows)
    record.write(out)
    write_text(files[1], markdown(record))
    files += draw_scalings(record, out.parent, out.stem)
    print("written: " + ", ".join(map(str, files)))
