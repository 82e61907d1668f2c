"""Run a sweep: the cells that are not finished, their records, and the table."""

from __future__ import annotations

import secrets
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from pathlib import Path

from lcm.app.sweep.cells import Cell, DataSet, sweep_cells, with_names
from lcm.app.sweep.config import SweepConfig, load_sweep
from lcm.app.sweep.on_local import Executor
from lcm.app.sweep.records import WAITING, Progress, Records, known_names, run_folder
from lcm.app.sweep.work import FAILED, FINISHED, make_tasks
from lcm.base.config import to_yaml

_LOCK = ".lock"


def open_sweep(file: str | Path, out: str | Path) -> tuple[SweepConfig, Records]:
    """Read the file of a sweep, and what its folder holds of its cells already; nothing is written.

    Raises:
        ValueError: a file that is no sweep, a bad value of a fit or of a data set, a missing file of pairs, a record of
            something else.
    """
    path, folder = Path(file), Path(out)
    if folder.exists() and not folder.is_dir():
        raise ValueError(f"{folder}: Expected a folder to write to; got a file")
    sweep = load_sweep(path)
    cells = with_names(sweep_cells(sweep, path, folder), known_names(folder))
    return sweep, Records(folder, cells)


def run_sweep(records: Records, executor: Executor, batch: int, quiet: bool = True) -> list[Cell]:
    """Do the cells that are not finished, those that failed before again; returns those that have failed now.

    The record of a cell and the table are written as soon as it ends. After an interruption whatever was finished
    stays, and the same call does the rest.

    Args:
        records: of the cells, as `open_sweep` finds them.
        executor: what does the work.
        batch: most cells that are trained at once; 1 for none.
        quiet: whether to show no progress on stderr.

    Raises:
        ValueError: another sweep is writing to the folder, or a data set that cannot be generated.
    """
    out, cells = records.out, {cell.key: cell for cell in records.cells}
    out.mkdir(parents=True, exist_ok=True)
    with _locked(out):
        parts = {
            status: [cell for cell in records.cells if records.status(cell) == status] for status in (WAITING, FAILED)
        }
        left = [*parts[WAITING], *parts[FAILED]]
        _draw_data(left)
        records.write_table()
        tasks = make_tasks(parts[WAITING], parts[FAILED], out, batch, executor.jobs)
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
    return [cell for cell in records.cells if records.status(cell) != FINISHED]


def _draw_data(cells: Sequence[Cell]) -> None:
    """Generate the data sets that cells need and that are not there yet."""
    wanted: Mapping[str, DataSet] = {cell.data.key: cell.data for cell in cells}
    for data in wanted.values():
        if data.made_by is None:
            continue
        from lcm.data.data_set import generate

        folder = data.train.parent
        if not folder.exists():
            generate(data.made_by, folder)
        elif (folder / "config.yaml").read_text(encoding="utf-8") != to_yaml(data.made_by):
            raise ValueError(f"{folder}: Expected the data of these settings; got others. Choose another --out.")


def _unpack(folder: Path, files: Mapping[str, bytes]) -> None:
    """Write a run that came from elsewhere, whole or not at all."""
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


@contextmanager
def _locked(out: Path) -> Iterator[None]:
    """Keep other sweeps from the folder for the length of the block; the lock goes with the process at the latest."""
    import fcntl

    with (out / _LOCK).open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise ValueError(f"{out}: Expected a folder that no other sweep is writing to; got one in use") from error
        yield


def cells_that_failed(records: Records) -> list[tuple[str, str]]:
    """Names and errors of the cells that have failed."""
    failed = [cell for cell in records.cells if records.status(cell) == FAILED]
    return [(cell.name, str(records.found[cell.key]["error"])) for cell in failed]
