"""The one JSON file of a run: machine, versions, seeds, settings and rows; written whole after every case."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, final

from benchmarks.machine import commit, machine, versions
from benchmarks.row import Label, Plan, Row
from lcm.base.files import read_json, write_json

SCHEMA = 2
_FAILED = "everything"
_SAME_TO_RESUME = ("machine", "versions", "commit", "seeds", "settings")


@final
@dataclass
class Record:
    """A run, finished or not.

    Attributes:
        header: schema, date, machine, load, versions, commit, seeds, settings.
        rows: in the order of measurement.
        seconds, cpu_seconds: wall-clock time of each finished case, and processor time with that of its children, by
            "suite: case".
    """

    header: dict[str, Any]
    rows: list[Row] = field(default_factory=list)
    seconds: dict[str, float] = field(default_factory=dict)
    cpu_seconds: dict[str, float] = field(default_factory=dict)

    def add(self, case: str, rows: Sequence[Row], seconds: float, cpu_seconds: float) -> None:
        """Append the rows of a finished case; those from before, also of its failure, are replaced."""
        keys = {row.key for row in rows}
        self.rows = [row for row in self.rows if row.key not in keys and not _says_failed(row, case)] + list(rows)
        self.seconds[case], self.cpu_seconds[case] = seconds, cpu_seconds

    def fail(self, suite: str, name: str, reason: str) -> Row:
        """Append a row that says that a case failed, which is run again when the run is resumed."""
        row = Label(suite, name).missing(_FAILED, "", f"failed: {reason}")
        self.rows = [each for each in self.rows if each.key != row.key] + [row]
        return row

    def write(self, path: Path) -> None:
        """Write everything to `path`, whole."""
        path.parent.mkdir(parents=True, exist_ok=True)
        rows = [row.to_json() for row in self.rows]
        seconds = {"case_seconds": self.seconds, "case_cpu_seconds": self.cpu_seconds}
        write_json(path, {**self.header, **seconds, "rows": rows})


def _says_failed(row: Row, case: str) -> bool:
    return row.quantity == _FAILED and f"{row.suite}: {row.case}" == case


def new_record(plan: Plan) -> Record:
    """An empty record of this machine, now."""
    settings = {key: value for key, value in asdict(plan).items() if key not in ("seed", "threads")}
    return Record(
        {
            "schema": SCHEMA,
            "date": datetime.now(UTC).isoformat(timespec="seconds"),
            "machine": {**machine(), "threads": plan.threads},
            "load": round(os.getloadavg()[0], 2),
            "versions": versions(),
            "commit": commit(Path(__file__).parent),
            "seeds": {"nature": plan.seed, "pairs": plan.seed, "fit": plan.seed},
            "settings": settings,
        }
    )


def read_record(path: Path) -> Record:
    """The record in `path`.

    Raises:
        ValueError: no such file, or not one that a run has written.
    """
    content = read_json(path)
    if not isinstance(content, dict) or content.get("schema") != SCHEMA:
        got = content.get("schema") if isinstance(content, dict) else type(content).__name__
        raise ValueError(f"{path}: Expected a run of the benchmarks of schema {SCHEMA}; got {got}.")
    try:
        rows = [Row.from_json(row) for row in content.pop("rows")]
        seconds = content.pop("case_seconds")
        # runs before 2026-11-28 lack it
        cpu_seconds = content.pop("case_cpu_seconds", {})
    except (KeyError, ValueError) as error:
        raise ValueError(f"{path}: Expected the rows of a run of the benchmarks; got: {error}") from error
    return Record(content, rows, seconds, cpu_seconds)


def resumed(path: Path, plan: Plan) -> Record:
    """The record in `path`, to be continued under the same circumstances.

    Raises:
        ValueError: another machine, version, commit, seed or setting than now.
    """
    record, now = read_record(path), new_record(plan)
    for key in _SAME_TO_RESUME:
        then, here = record.header.get(key), now.header[key]
        if then != here:
            raise ValueError(f"{path}: {key}: Expected {here} to resume; got {then}. Choose another --out.")
    return record
