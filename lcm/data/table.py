"""Pairs of vectors in tables: CSV and Parquet files, and DataFrames, with the names of their columns.

Pairs are in two tables, or in one. Two tables hold x and x̃, with equal rows and columns. In one table, the name of each
column of x̃ is the name of its column of x with a mark before or after it, such as `speed` and `speed_tilde`.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

import numpy as np
from numpy.typing import NDArray

from lcm.base.atomic import atomic_write
from lcm.base.files import existing_file
from lcm.data.parquet import parquet_columns, read_parquet, require_parquet

TABLE_SUFFIXES = (".csv", ".parquet")
MARKS = ("_tilde", "_after", "after_")
"""Default marks of the columns of x̃ in a table that holds both. They are tried in this order."""

_TRUTH = re.compile(r"(z|noise)(\d+)(_tilde)?|target_z(\d+)")
_NUMBERED = re.compile(r"x\d+(_tilde)?")
_DELIMITERS = ",;\t"
_COMMA = re.compile(r"[+-]?\d*,\d+([eE][+-]?\d+)?")
_POINT = " (decimals need a point, not a comma)"


@final
@dataclass(frozen=True, eq=False)
class Table:
    """Numbers in named columns.

    Attributes:
        values: float64 (N, columns).
        names: names of the columns.
        labels: labels of the rows; None if the table has no labels.
        source: the file or the argument, which errors name.
    """

    values: NDArray[np.float64]
    names: tuple[str, ...]
    labels: Any = None
    source: str = ""


def read_table(path: str | Path) -> Table:
    """Read a CSV or a Parquet file of numbers.

    The cells of a CSV file are separated by commas, semicolons or tabs. The first row names the columns, unless all its
    cells are numbers; 0, 1, 2, …, as pandas writes for a plain array, are names. A first column without a name holds
    the labels of the rows, and so does the index of a DataFrame in a Parquet file.

    Raises:
        ValueError: a file that is missing or of another type, or a cell that is not a number. The message gives the row
            and the column.
        ImportError: a Parquet file without the extra `parquet`.
    """
    if Path(path).suffix == ".parquet":
        names, values, labels = read_parquet(path)
        return _checked(values, names, labels, str(path))
    try:
        text = existing_file(path).read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}: Expected a CSV file; got bytes that are not UTF-8") from error
    return _parse_csv(text, str(path))


def read_heading(path: str | Path) -> Table:
    """The columns of a CSV or a Parquet file, without its rows; errors as of `read_table`."""
    if Path(path).suffix == ".parquet":
        names = parquet_columns(path)
    else:
        try:
            with existing_file(path).open(encoding="utf-8-sig") as file:
                first = next((line for line in file if line.strip()), "")
        except UnicodeDecodeError as error:
            raise ValueError(f"{path}: Expected a CSV file; got bytes that are not UTF-8") from error
        names, _, _ = _csv_parts(first, str(path))
    return Table(np.empty((0, len(names))), tuple(names), source=str(path))


def _parse_csv(text: str, source: str) -> Table:
    header, body, labels = _csv_parts(text, source)
    try:
        values = np.array(body, dtype=np.float64).reshape(len(body), len(header))
    except ValueError:
        _refuse_bad_cell(body, header, source)
        raise
    return _checked(values, header, labels, source)


def _csv_parts(text: str, source: str) -> tuple[list[str], list[list[str]], list[str] | None]:
    """The names of the columns, the cells of the rows, and the labels of the rows where there are any."""
    first = text.partition("\n")[0]
    delimiter = max(_DELIMITERS, key=first.count)
    try:
        rows = [row for row in csv.reader(text.splitlines(), delimiter=delimiter) if row]
    except csv.Error as error:
        raise ValueError(f"{source}: Expected a CSV file; got {error}") from error
    if not rows:
        raise ValueError(f"{source}: Expected rows of numbers; got an empty file")
    numbered = len(rows[0]) > 1 and [cell.strip() for cell in rows[0]] == [str(k) for k in range(len(rows[0]))]
    named = numbered or not all(_number(cell) is not None for cell in rows[0])
    header = [cell.strip() for cell in rows[0]] if named else [f"x{column}" for column in range(len(rows[0]))]
    body = rows[1:] if named else rows
    for index, row in enumerate(body):
        if len(row) != len(header):
            # 1,5 is then two cells
            hint = _POINT if delimiter == "," and len(row) == 2 * len(header) else ""
            raise ValueError(
                f"{source}: row {index}: Expected {len(header)} cells, as in the first; got {len(row)}{hint}"
            )
    labels = None
    if named and header[0] == "" and len(header) > 1:
        labels, header, body = [row[0] for row in body], header[1:], [row[1:] for row in body]
    return header, body, labels


def _number(cell: str) -> float | None:
    # to Python, 1_1 is eleven
    if "_" in cell:
        return None
    try:
        return float(cell)
    except ValueError:
        return None


def _refuse_bad_cell(rows: Sequence[Sequence[str]], names: Sequence[str], source: str) -> None:
    for index, row in enumerate(rows):
        for name, cell in zip(names, row, strict=True):
            if _number(cell) is None:
                got = repr(cell) + _POINT * bool(_COMMA.fullmatch(cell.strip())) if cell.strip() else "an empty cell"
                raise ValueError(f"{source}: row {index}, column {name!r}: Expected a number; got {got}")


def _checked(values: NDArray[np.float64], names: Sequence[str], labels: Any, source: str) -> Table:
    twice = [name for name in dict.fromkeys(names) if list(names).count(name) > 1]
    if twice:
        raise ValueError(f"{source}: Expected columns of different names; got {twice[0]!r} twice")
    if not len(values) or not len(names):
        raise ValueError(f"{source}: Expected at least one row and one column; got shape {values.shape}")
    return Table(values, tuple(names), labels, source)


def is_frame(value: Any) -> bool:
    """Whether a value is a pandas DataFrame, without importing pandas."""
    return all(hasattr(value, part) for part in ("columns", "index", "to_numpy"))


def frame_table(frame: Any, source: str) -> Table:
    """The table of a pandas DataFrame. Raises ValueError for a column that does not hold numbers."""
    names = [str(name) for name in frame.columns]
    columns = []
    for position, name in enumerate(names):
        try:
            columns.append(np.asarray(frame.iloc[:, position].to_numpy(), dtype=np.float64))
        except (TypeError, ValueError) as error:
            raise ValueError(
                f"{source}: column {name!r}: Expected numbers; got {frame.dtypes.iloc[position]}"
            ) from error
    return _checked(np.stack(columns, 1) if columns else np.empty((0, 0)), names, frame.index, source)


def joined(before: Table, after: Table) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The values (N, d) of two tables of the same pairs, with the columns and rows in the order of the first.

    Raises:
        ValueError: tables with different columns, numbers of rows or row labels. The message names the table that lacks
            something.
    """
    for lacking, whole in ((after, before), (before, after)):
        missing = [name for name in whole.names if name not in lacking.names]
        if missing:
            further = [name for name in lacking.names if name not in whole.names]
            but = f", but {', '.join(map(repr, further[:5]))}" if further else ""
            raise ValueError(
                f"{lacking.source}: Expected the columns of {whole.source}; got none named"
                f" {', '.join(map(repr, missing[:5]))}{but}"
            )
        if len(lacking.values) < len(whole.values):
            raise ValueError(
                f"{lacking.source}: Expected {len(whole.values)} rows, as {whole.source} has; got {len(lacking.values)}"
            )
    moved = after.values[:, [after.names.index(name) for name in before.names]]
    return before.values, moved[_aligned_rows(before, after)]


def _aligned_rows(before: Table, after: Table) -> Any:
    """The positions of the rows of the first table in the second table, by label."""
    if before.labels is None or after.labels is None or len(before.values) != len(after.values):
        return slice(None)
    first, second = list(before.labels), list(after.labels)
    if first == second:
        return slice(None)
    where = {label: row for row, label in enumerate(second)}
    if set(first) != set(second) or len(where) != len(second) or len(set(first)) != len(first):
        raise ValueError(f"{after.source}: Expected rows with the labels of {before.source}, each once; got others")
    return np.array([where[label] for label in first])


def split(table: Table, mark: str | None = None) -> tuple[Table, Table]:
    """Split a table that holds both observations into x and x̃.

    Args:
        mark: prefix or suffix of the columns of x̃; default: the first of `MARKS` that occurs. The name of the column of
            x is the same without the mark or, if the mark contains "after", with "before" instead.

    Raises:
        ValueError: no column with a mark, or a column without its counterpart.
    """
    for each in MARKS if mark is None else (mark,):
        pairs = _counterparts(table.names, each)
        if pairs:
            break
    else:
        tried = " or ".join(MARKS) if mark is None else mark
        raise ValueError(
            f"{table.source}: Expected a column of x_tilde for each column of x, named with {tried}; "
            f"got {', '.join(table.names[:8])}"
        )
    alone = set(table.names) - {name for pair in pairs for name in pair}
    if alone:
        raise ValueError(
            f"{table.source}: column {min(alone)!r}: Expected its counterpart with the mark {each}; got none"
        )
    return tuple(  # type: ignore[return-value]
        Table(table.values[:, [table.names.index(name) for name in names]], tuple(bases), table.labels, table.source)
        for bases, names in ((next(zip(*pairs, strict=True)), side) for side in zip(*pairs, strict=True))
    )


def _counterparts(names: Sequence[str], mark: str) -> list[tuple[str, str]]:
    """The names of matching columns of x and x̃."""
    found = []
    for name in names:
        for other in (name + mark, mark + name):
            if other in names:
                found.append((name, other))
        if "after" in mark and mark.replace("after", "before") in name:
            other = name.replace(mark.replace("after", "before"), mark)
            if other in names:
                found.append((name, other))
    return found


def own_layout(table: Table) -> tuple[dict[str, NDArray[Any]], tuple[str, ...]] | None:
    """The tensors, by name, of a table that `pair_columns` has made, and names of columns; None for another table."""
    truth = [match for match in map(_TRUTH.fullmatch, table.names) if match]
    kinds = {(match[1] or "target") + (match[3] or "") for match in truth}
    numbers = {int(match[2]) for match in truth if match[1] == "z"}
    if not {"z", "z_tilde"} <= kinds or len(truth) == len(table.names) or numbers != set(range(len(numbers))):
        return None
    rest = [index for index, name in enumerate(table.names) if not _TRUTH.fullmatch(name)]
    if kinds == {"z", "z_tilde"} and any(not _NUMBERED.fullmatch(table.names[index]) for index in rest):
        raise ValueError(
            f"{table.source}: Expected z0, … beside noise0, … or target_z0, … (variables of the truth), or columns of x"
            f" with other names; got z0 beside {table.names[rest[0]]}"
        )
    tensors: dict[str, NDArray[Any]] = {}
    for kind in sorted(kinds):
        names = [match[0] for match in truth if (match[1] or "target") + (match[3] or "") == kind]
        names.sort(key=lambda name: int(re.findall(r"\d+", name)[0]))
        values = table.values[:, [table.names.index(name) for name in names]]
        tensors["targets" if kind == "target" else kind] = values
        if kind == "target" and np.isin(values, (0, 1)).all():
            tensors["targets"] = values.astype(np.bool_)
    observed = Table(table.values[:, rest], tuple(table.names[index] for index in rest), table.labels, table.source)
    before, after = split(observed, MARKS[0])
    numbered = before.names == tuple(f"x{i}" for i in range(len(before.names)))
    return {"x": before.values, "x_tilde": after.values, **tensors}, () if numbered else before.names


def pair_columns(tensors: Mapping[str, NDArray[Any]], columns: Sequence[str] = ()) -> dict[str, NDArray[Any]]:
    """The columns of one table for the tensors of a data set or an encoding.

    The columns of x have the names `columns`, or x0, x1, …; those of x_tilde have the same names with `_tilde`. The
    columns z0, z0_tilde, noise0, noise0_tilde, … are the variables and their noise, and target_z0, … are the targets, 0
    or 1.
    """
    found: dict[str, NDArray[Any]] = {}
    for name, tensor in tensors.items():
        if name == "adjacency":
            continue
        base, mark = (name.removesuffix("_tilde"), "_tilde") if name.endswith("_tilde") else (name, "")
        for index in range(tensor.shape[1]):
            named = columns[index] if base == "x" and columns else f"{base}{index}"
            key = f"target_z{index}" if base == "targets" else named + mark
            found[key] = tensor[:, index].astype(np.uint8) if base == "targets" else tensor[:, index]
    return found


def are_free(columns: Sequence[str], tensors: Mapping[str, NDArray[Any]]) -> bool:
    """Whether a table of pairs can call the columns of x so, beside its truth, and be read back."""
    if not columns:
        return True
    other = any(_TRUTH.fullmatch(name) for name in columns)
    return not other and len(pair_columns(tensors, columns)) == len(pair_columns(tensors))


def write_table(path: str | Path, columns: Mapping[str, NDArray[Any]]) -> None:
    """Write columns (N,) of numbers to a CSV or Parquet file, whole or not at all.

    CSV keeps float32 exactly, and NaN is an empty cell.

    Raises:
        ImportError: a Parquet file without the extra `parquet`.
    """
    if Path(path).suffix == ".parquet":
        parquet = require_parquet(path)
        import pyarrow

        with atomic_write(path) as temporary:
            parquet.write_table(
                pyarrow.table({name: np.asarray(column) for name, column in columns.items()}), temporary
            )
        return
    with atomic_write(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(columns)
        writer.writerows(zip(*(_cells(column) for column in columns.values()), strict=True))


def _cells(column: NDArray[Any]) -> list[Any]:
    """The cells of a column: numbers with the fewest digits that identify them, at most nine for a float32."""
    cells: list[Any] = (column.astype(str) if column.dtype == np.float32 else column).tolist()
    if not np.issubdtype(column.dtype, np.floating) or not np.isnan(column).any():
        return cells
    return ["" if missing else cell for cell, missing in zip(cells, np.isnan(column).tolist(), strict=True)]
