"""The CSV that a causal chamber writes: one row a measurement, with settings, sensors and times."""

from __future__ import annotations

import csv
import sys
from array import array
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

import numpy as np
from numpy.typing import NDArray

from lcm.base.files import existing_file
from lcm.base.text import shown

TIME = "timestamp"
_LARGEST = float(np.finfo(np.float32).max)


@final
@dataclass(frozen=True, eq=False)
class Measurements:
    """Columns of a CSV.

    Attributes:
        path: of the CSV.
        numbers: float64 (M,) for each column of numbers, finite.
        texts: M cells for each column that was read as text.
        lines: int64 (M,), the line of the CSV, from 1, in which each measurement ends.
    """

    path: Path
    numbers: Mapping[str, NDArray[np.float64]]
    texts: Mapping[str, Sequence[str]]
    lines: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.lines)

    def table(self, names: Sequence[str]) -> NDArray[np.float64]:
        """Columns of numbers as (M, len(names))."""
        return np.stack([self.numbers[name] for name in names], axis=1)

    def at(self, row: int) -> str:
        """A measurement as errors name it."""
        return f"{self.path}: line {self.lines[row]}"


def column_names(path: Path) -> tuple[str, ...]:
    """The names of the columns.

    Raises:
        ValueError: no such file, not UTF-8, an empty file, or a name twice.
    """
    with _opened(path) as rows:
        header = tuple(cell.strip() for cell in next(rows, []))
    if not header:
        raise ValueError(f"{path}: Expected a header of column names; got an empty file")
    twice = [name for index, name in enumerate(header) if name in header[:index]]
    if twice:
        raise ValueError(f"{path}: Expected each column once; got {shown(twice[0])} again")
    return header


def read_measurements(path: Path, numbers: Sequence[str], texts: Sequence[str] = ()) -> Measurements:
    """Read columns of a CSV, all of which its header has; `timestamp` is read and checked too, if there is one.

    Raises:
        ValueError: as `column_names`; a row of another length, a cell of `numbers` that is no finite number in float32,
            or a time before that of the row above. The message names the line and the column.
    """
    header = column_names(path)
    read = [*numbers, *([TIME] if TIME in header and TIME not in numbers else [])]
    of_number, of_text = ([header.index(name) for name in names] for names in (read, texts))
    values, lines = array("d"), array("q")
    cells: list[list[str]] = [[] for _ in texts]
    with _opened(path) as rows:
        next(rows)
        for row in rows:
            if not row:
                continue
            line = rows.line_num
            if len(row) != len(header):
                raise ValueError(
                    f"{path}: line {line}: Expected {len(header)} cells, as the header has; got {len(row)}"
                )
            values.extend(_number(row[column], f"{path}: line {line}", header[column]) for column in of_number)
            for column, found in zip(of_text, cells, strict=True):
                # settings hardly ever change
                found.append(sys.intern(row[column].strip()))
            lines.append(line)
    table = np.array(values, np.float64).reshape(len(lines), len(read))
    measured = Measurements(
        path,
        {name: table[:, column] for column, name in enumerate(read)},
        dict(zip(texts, cells, strict=True)),
        np.array(lines, np.int64),
    )
    _require_rising_times(measured)
    return measured


def _number(cell: str, where: str, column: str) -> float:
    try:
        value = float("" if "_" in cell else cell)
    except ValueError:
        value = float("nan")
    # also false for NaN
    if not abs(value) <= _LARGEST:
        got = shown(cell) if cell.strip() else "an empty cell"
        raise ValueError(f"{where}: column {shown(column)}: Expected a finite number; got {got}")
    return value


def _require_rising_times(measured: Measurements) -> None:
    times = measured.numbers.get(TIME)
    back = np.flatnonzero(np.diff(times) < 0) if times is not None else np.empty(0, np.int64)
    if times is not None and back.size:
        row = int(back[0]) + 1
        expected = f"a time from {times[row - 1]:.15g} on, as the row above has"
        raise ValueError(f"{measured.at(row)}: column '{TIME}': Expected {expected}; got {times[row]:.15g}")


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    """A reader of the rows; errors of the format name the file."""
    try:
        with existing_file(path).open(newline="", encoding="utf-8-sig") as file:
            yield csv.reader(file, strict=True)
    except (UnicodeDecodeError, csv.Error) as error:
        raise ValueError(f"{path}: Expected a CSV in UTF-8; got {error}") from error
