"""A sweep in its folder: run the cells that are not finished, record each, and write the table of all.

cells/NAME/        the run of a cell, as `lcm fit` writes it
cells/NAME.json    its record: settings, state, scores or error
batches/, data/    unfinished ensembles; data sets that were generated
results.csv        a row for each cell of the sweep; results.parquet too where pyarrow is installed
"""

from __future__ import annotations

import csv
import json
import secrets
import shutil
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import closing
from importlib.util import find_spec
from pathlib import Path
from typing import Any, final

from tqdm import tqdm

from lcm.app.sweep.cells import KEY_DIGITS, Cell, draw, require_pairs, sweep_cells, with_names
from lcm.app.sweep.config import SweepConfig, load_sweep
from lcm.app.sweep.executors import Executor
from lcm.app.sweep.work import CELL_FAILED, CELL_FINISHED, CELL_WAITING, CellOutcome, finished_config, make_tasks
from lcm.base.atomic import atomic_write, leftovers
from lcm.base.config import config_hash
from lcm.base.files import read_json, write_json
from lcm.base.lock import locked_folder
from lcm.base.requirement import to_dict
from lcm.metric.scores import KEYS

RESULTS = "results.csv"
_SCHEMA = 1
_LISTS = ("permutation", "r2_per_variable")
_FIRST, _LAST = ("cell", "status"), ("n_pairs", "batch", "error", "key", "lcm")


@final
class Records:
    """The records of a sweep in its folder; the table is written again when one of them changes."""

    def __init__(self, out: Path, cells: Sequence[Cell]) -> None:
        """Read the records in the folder; ValueError for a record or a run of other data or settings."""
        self.out, self.cells = out, list(cells)
        self.found: dict[str, dict[str, Any]] = {}
        for cell in self.cells:
            path = _record_file(out, cell)
            if path.exists():
                self.found[cell.key] = _read_record(path, cell)
            elif (found := finished_config(run_folder(out, cell))) is not None and found != config_hash(cell.config):
                raise _not_own(run_folder(out, cell), cell)

    @property
    def table(self) -> Path:
        """The file of the table."""
        return self.out / RESULTS

    def status(self, cell: Cell) -> str:
        """CELL_FINISHED, CELL_FAILED or CELL_WAITING."""
        return str(self.found.get(cell.key, {}).get("status", CELL_WAITING))

    def add(self, cell: Cell, outcome: Mapping[str, Any]) -> None:
        """Write the outcome of a cell, and the table."""
        path = _record_file(self.out, cell)
        path.parent.mkdir(parents=True, exist_ok=True)
        settings = {"data": {"name": cell.data.name, "key": cell.data.key}, "config": to_dict(cell.config)}
        write_json(path, {"schema": _SCHEMA, "cell": cell.name, "key": cell.key, **outcome, **settings})
        self.found[cell.key] = read_json(path)
        self.write_table()

    def write_table(self) -> None:
        """Write results.csv, and results.parquet if pyarrow is installed."""
        self.out.mkdir(parents=True, exist_ok=True)
        rows = [self._row(cell) for cell in self.cells]
        settings = dict.fromkeys(key for cell in self.cells for key in cell.values)
        columns = [*_FIRST, *settings, *(key for key in KEYS if key not in _LISTS), *_LAST]
        write_results(self.table, columns, rows)
        if find_spec("pyarrow") is not None:
            write_parquet(self.table.with_suffix(".parquet"), columns, rows)

    def _row(self, cell: Cell) -> dict[str, Any]:
        record = self.found.get(cell.key, {})
        scores = record.get("scores") or {}
        return {**record, **scores, "cell": cell.name, "key": cell.key, "status": self.status(cell), **cell.values}


def _record_file(out: Path, cell: Cell) -> Path:
    """The file of a cell's record."""
    return out / "cells" / f"{cell.name}.json"


def run_folder(out: Path, cell: Cell) -> Path:
    """The folder of a cell's run."""
    return out / "cells" / cell.name


def known_names(out: Path) -> dict[str, str]:
    """The names of the cells in the folder of a sweep, by the first digits of their keys."""
    paths = sorted((out / "cells").glob("*")) if (out / "cells").is_dir() else []
    names = [path.stem if path.suffix == ".json" else path.name for path in paths if not path.name.startswith(".")]
    return {name[-KEY_DIGITS:]: name for name in names}


def write_results(path: Path, columns: Sequence[str], rows: Sequence[Mapping[str, Any]]) -> None:
    """Write a CSV file atomically: a missing value is empty, booleans are true and false, lists are JSON."""
    with atomic_write(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(columns)
        writer.writerows([_written(row.get(column)) for column in columns] for row in rows)


def _written(value: Any) -> str:
    if value is None:
        return ""
    return value if isinstance(value, str) else json.dumps(value)


def write_parquet(path: Path, columns: Sequence[str], rows: Sequence[Mapping[str, Any]]) -> None:
    """Write the table as Parquet, atomically; needs pyarrow."""
    import pyarrow
    import pyarrow.parquet

    table = {column: _of_one_type([row.get(column) for row in rows]) for column in columns}
    with atomic_write(path) as temporary:
        pyarrow.parquet.write_table(pyarrow.table(table), temporary)


def _of_one_type(values: list[Any]) -> list[Any]:
    """A column of one type, as Parquet needs it: numbers, booleans or text; mixed values become text."""
    kinds = {type(value) for value in values if value is not None}
    if kinds <= {int, float} or (len(kinds) == 1 and kinds <= {bool, str}):
        return [float(value) if value is not None and float in kinds else value for value in values]
    return [None if value is None else _written(value) for value in values]


def _read_record(path: Path, cell: Cell) -> dict[str, Any]:
    record = read_json(path)
    if not isinstance(record, dict) or record.get("schema") != _SCHEMA or record.get("key") != cell.key:
        raise _not_own(path, cell)
    return record


def _not_own(path: Path, cell: Cell) -> ValueError:
    return ValueError(
        f"{path}: Expected the data and settings of the cell {cell.name}; got others. "
        "Choose another --out, or delete it."
    )


@final
class Progress:
    """A progress bar on stderr if it is a terminal, else a line for every cell; nothing when quiet."""

    def __init__(self, waiting: int, whole: int, quiet: bool) -> None:
        """`waiting` of the `whole` number of cells are to be done; the others were finished before."""
        self.waiting, self.before, self.whole, self.quiet = waiting, whole - waiting, whole, quiet
        self.done = self.failed = 0
        self._running = 0
        self._started = time.perf_counter()
        bar = not quiet and sys.stderr.isatty()
        self._bar: tqdm[Any] | None = None
        if bar:
            self._bar = tqdm(total=whole, initial=self.before, desc="cells", file=sys.stderr, unit="cell")

    def running(self, cells: int) -> None:
        """Show how many cells are running."""
        self._running = cells
        if self._bar is not None:
            self._bar.set_postfix_str(f"{cells} running, {self.failed} failed")

    def ended(self, cell: Cell, outcome: CellOutcome) -> None:
        """Show that a cell has finished or failed."""
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
            return f"{self.failed} failed, 0 left"
        # running cells count as half done; the cells of an ensemble end together
        under_way = min(self._running, left) / 2
        seconds = (time.perf_counter() - self._started) / (self.done + under_way) * (left - under_way)
        return f"{self._running} running, {self.failed} failed, about {in_words(seconds)} left"


def in_words(seconds: float) -> str:
    """A time in words: 40 s, 12 min, 3.5 h."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"


def _described(cell: Cell, outcome: CellOutcome) -> str:
    if outcome.failed:
        return f"{cell.name}: failed: {outcome.record['error']}"
    scores = outcome.record["scores"]
    mcc = "" if scores["mcc"] is None else f"MCC {scores['mcc']:.4f}, "
    return f"{cell.name}: {mcc}{scores['fit_seconds']:.1f} s"


def open_sweep(file: str | Path, out: str | Path) -> tuple[SweepConfig, Records]:
    """Read the file of a sweep, and the records that its folder already holds; nothing is written.

    Raises:
        ValueError: a file that is not a sweep, a bad value of a fit or a data set, a missing file of pairs, one without
            x_tilde or without the columns of the other, or a record of something else.
    """
    path, folder = Path(file), Path(out)
    if folder.exists() and not folder.is_dir():
        raise ValueError(f"{folder}: Expected a folder to write to; got a file")
    sweep = load_sweep(path)
    cells = with_names(sweep_cells(sweep, path, folder), known_names(folder))
    for data in {cell.data.key: cell.data for cell in cells}.values():
        require_pairs(data)
    return sweep, Records(folder, cells)


def run_sweep(records: Records, executor: Executor, batch: int, quiet: bool = True) -> list[Cell]:
    """Run the cells that are not finished, also those that failed before; return the cells that failed now.

    The record of a cell and the table are written as soon as the cell ends. After an interruption, the same call does
    the rest.

    Args:
        records: the records of the cells, from `open_sweep`.
        executor: runs the tasks.
        batch: the most cells that are trained at once; 1 trains each alone.
        quiet: whether to show no progress on stderr.

    Raises:
        ValueError: another process is writing to the folder, or a data set cannot be generated.
    """
    out, cells = records.out, {cell.key: cell for cell in records.cells}
    out.mkdir(parents=True, exist_ok=True)
    with locked_folder(out):
        _tidy(out)
        waiting, failed = (
            [cell for cell in records.cells if records.status(cell) == status] for status in (CELL_WAITING, CELL_FAILED)
        )
        left = [*waiting, *failed]
        for data in {cell.data.key: cell.data for cell in left}.values():
            draw(data)
        records.write_table()
        tasks = make_tasks(waiting, failed, out, batch, executor.jobs)
        progress = Progress(len(left), len(cells), quiet)
        try:
            with closing(executor.run(tasks)) as updates:
                for update in updates:
                    progress.running(update.running)
                    for outcome in update.outcomes:
                        cell = cells[outcome.key]
                        _unpack(run_folder(out, cell), outcome.files)
                        records.add(cell, outcome.record)
                        progress.ended(cell, outcome)
        finally:
            progress.close()
    return [cell for cell in records.cells if records.status(cell) != CELL_FINISHED]


def _tidy(out: Path) -> None:
    """Clear what killed sweeps left. Raises ValueError for a part that is a link out of the folder."""
    for part in ("cells", "data", "batches"):
        if not (out / part).resolve().is_relative_to(out.resolve()):
            raise ValueError(
                f"{out / part}: Expected a part of the sweep itself; got a link to {(out / part).resolve()}"
            )
    for path in leftovers(out / "cells", "*", folders=True):
        shutil.rmtree(path)
    table = (RESULTS, Path(RESULTS).with_suffix(".parquet").name)
    for path in (*leftovers(out, *table), *leftovers(out / "cells", "*.json")):
        path.unlink()


def _unpack(folder: Path, files: Mapping[str, bytes]) -> None:
    """Write a run that was made elsewhere, whole or not at all."""
    if not files:
        return
    partial = folder.parent / f".{folder.name}.{secrets.token_hex(6)}"
    try:
        for name, content in files.items():
            path = partial / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        shutil.rmtree(folder, ignore_errors=True)
        partial.rename(folder)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise


def cells_that_failed(records: Records) -> list[tuple[str, str]]:
    """Names and errors of the failed cells."""
    failed = [cell for cell in records.cells if records.status(cell) == CELL_FAILED]
    return [(cell.name, str(records.found[cell.key]["error"])) for cell in failed]
