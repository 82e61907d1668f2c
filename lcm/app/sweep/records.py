"""The folder of a sweep: what each cell has come to, and the table of all.

cells/NAME/        the run of a cell, as `lcm fit` writes it
cells/NAME.json    its record: settings, state, scores or error
batches/, data/    unfinished ensembles; data sets that were generated
results.csv        a row for each cell of the sweep; results.parquet too where pyarrow is installed
"""

from __future__ import annotations

import csv
import json
import sys
import time
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any, final

from tqdm import tqdm

from lcm.app.sweep.cells import KEY_DIGITS, Cell
from lcm.app.sweep.work import Outcome
from lcm.base.config import to_dict
from lcm.base.files import atomic_write, read_json, write_json
from lcm.metric.scores import KEYS

WAITING = "waiting"
RESULTS = "results.csv"
_SCHEMA = 1
_LISTS = ("permutation", "r2_per_variable")
_FIRST, _LAST = ("cell", "status"), ("n_pairs", "batch", "error", "key", "lcm")


@final
class Records:
    """The records of a sweep in its folder; the table is written again whenever one of them changes."""

    def __init__(self, out: Path, cells: Sequence[Cell]) -> None:
        """Reads what is there; ValueError for a record that is none, or of another cell."""
        self.out, self.cells = out, list(cells)
        self.found: dict[str, dict[str, Any]] = {}
        for cell in self.cells:
            path = record_file(out, cell)
            if path.exists():
                self.found[cell.key] = _read_record(path, cell)

    @property
    def table(self) -> Path:
        """The file of the table."""
        return self.out / RESULTS

    def status(self, cell: Cell) -> str:
        """FINISHED, FAILED or WAITING."""
        return str(self.found.get(cell.key, {}).get("status", WAITING))

    def add(self, cell: Cell, outcome: Mapping[str, Any]) -> None:
        """Write what a cell has come to, and the table."""
        path = record_file(self.out, cell)
        path.parent.mkdir(parents=True, exist_ok=True)
        settings = {"data": {"name": cell.data.name, "key": cell.data.key}, "config": to_dict(cell.config)}
        write_json(path, {"schema": _SCHEMA, "cell": cell.name, "key": cell.key, **outcome, **settings})
        self.found[cell.key] = read_json(path)
        self.write_table()

    def write_table(self) -> None:
        """Write results.csv, and results.parquet where that is possible."""
        self.out.mkdir(parents=True, exist_ok=True)
        rows = [self._row(cell) for cell in self.cells]
        settings = dict.fromkeys(key for cell in self.cells for key in cell.values)
        columns = [*_FIRST, *settings, *(key for key in KEYS if key not in _LISTS), *_LAST]
        write_table(self.table, columns, rows)
        if find_spec("pyarrow") is not None:
            write_parquet(self.table.with_suffix(".parquet"), columns, rows)

    def _row(self, cell: Cell) -> dict[str, Any]:
        record = self.found.get(cell.key, {})
        scores = record.get("scores") or {}
        return {**record, **scores, "cell": cell.name, "key": cell.key, "status": self.status(cell), **cell.values}


def record_file(out: Path, cell: Cell) -> Path:
    """Where the record of a cell is kept."""
    return out / "cells" / f"{cell.name}.json"


def run_folder(out: Path, cell: Cell) -> Path:
    """Where the run of a cell is kept."""
    return out / "cells" / cell.name


def known_names(out: Path) -> dict[str, str]:
    """The names of cells that the folder of a sweep knows, by the first digits of their keys."""
    paths = sorted((out / "cells").glob("*")) if (out / "cells").is_dir() else []
    names = [path.stem if path.suffix == ".json" else path.name for path in paths if not path.name.startswith(".")]
    return {name[-KEY_DIGITS:]: name for name in names}


def write_table(path: Path, columns: Sequence[str], rows: Sequence[Mapping[str, Any]]) -> None:
    """Write a CSV file, whole or not at all: no value is empty, booleans are true and false, lists are JSON."""
    with atomic_write(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(columns)
        writer.writerows([_written(row.get(column)) for column in columns] for row in rows)


def _written(value: Any) -> str:
    if value is None:
        return ""
    return value if isinstance(value, str) else json.dumps(value)


def write_parquet(path: Path, columns: Sequence[str], rows: Sequence[Mapping[str, Any]]) -> None:
    """Write the table as Parquet, whole or not at all; needs pyarrow."""
    import pyarrow
    import pyarrow.parquet

    table = {column: _of_one_type([row.get(column) for row in rows]) for column in columns}
    with atomic_write(path) as temporary:
        pyarrow.parquet.write_table(pyarrow.table(table), temporary)


def _of_one_type(values: list[Any]) -> list[Any]:
    """A column as Parquet needs it: numbers, booleans or text, and text where they are mixed."""
    kinds = {type(value) for value in values if value is not None}
    if kinds <= {int, float} or (len(kinds) == 1 and kinds <= {bool, str}):
        return [float(value) if value is not None and float in kinds else value for value in values]
    return [None if value is None else _written(value) for value in values]


def _read_record(path: Path, cell: Cell) -> dict[str, Any]:
    record = read_json(path)
    if not isinstance(record, dict) or record.get("schema") != _SCHEMA or record.get("key") != cell.key:
        raise ValueError(f"{path}: Expected the record of the cell {cell.name}; got another file. Delete it.")
    return record


@final
class Progress:
    """A bar on stderr where that is a terminal, else a line for every cell; nothing when quiet."""

    def __init__(self, waiting: int, whole: int, quiet: bool) -> None:
        """`waiting` of all the cells are to be done; those that were finished before count as done."""
        self.waiting, self.before, self.whole, self.quiet = waiting, whole - waiting, whole, quiet
        self.done = self.failed = 0
        self._running = 0
        self._started = time.perf_counter()
        bar = not quiet and sys.stderr.isatty()
        self._bar: tqdm[Any] | None = None
        if bar:
            self._bar = tqdm(total=whole, initial=self.before, desc="cells", file=sys.stderr, unit="cell")

    def running(self, cells: int) -> None:
        """So many cells are being done now."""
        self._running = cells
        if self._bar is not None:
            self._bar.set_postfix_str(f"{cells} running, {self.failed} failed")

    def ended(self, cell: Cell, outcome: Outcome) -> None:
        """One more cell is finished or has failed."""
        self.done += 1
        self.failed += outcome.failed
        text = _described(cell, outcome)
        if self._bar is not None:
            self._bar.update()
            self._bar.set_postfix_str(f"{self._running} running, {self.failed} failed")
            if outcome.failed:
                self._bar.write(text, file=sys.stderr)
        elif not self.quiet:
            print(f"[{self.before + self.done}/{self.whole}] {text}; {self._outlook()}", file=sys.stderr, flush=True)

    def close(self) -> None:
        """Leave the bar as it is."""
        if self._bar is not None:
            self._bar.close()

    def _outlook(self) -> str:
        left = self.waiting - self.done
        if not left:
            return f"{self.failed} failed, none left"
        # what runs now is about half done; the cells of an ensemble end together
        under_way = min(self._running, left) / 2
        seconds = (time.perf_counter() - self._started) / (self.done + under_way) * (left - under_way)
        return f"{self._running} running, {self.failed} failed, about {in_words(seconds)} left"


def in_words(seconds: float) -> str:
    """A time as one would say it: 40 s, 12 min, 3.5 h."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"


def _described(cell: Cell, outcome: Outcome) -> str:
    if outcome.failed:
        return f"{cell.name}: failed: {outcome.record['error']}"
    scores = outcome.record["scores"]
    mcc = "" if scores["mcc"] is None else f"MCC {scores['mcc']:.4f}, "
    return f"{cell.name}: {mcc}{scores['fit_seconds']:.1f} s"
