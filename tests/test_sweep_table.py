"""The table of a sweep: written, read, pivoted, drawn."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from command_line import called, refused

from lcm.app.sweep import table
from lcm.app.sweep.sweep import write_results
from lcm.app.sweep.table import draw_lines, pivot, read_results
from lcm.base.files import read_json

COLUMNS = ["cell", "status", "data", "data.n", "model", "seed", "n_variables", "mcc", "shd", "graph_isomorphic"]
COLUMNS += ["permutation", "fit_seconds", "error"]


def row(model: str, n: int, seed: int, mcc: float | None, **more: Any) -> dict[str, Any]:
    """A finished cell."""
    made = {"cell": f"{model}{n}{seed}", "status": "finished", "data": f"d{n}", "data.n": n, "model": model}
    scores = {"n_variables": n, "mcc": mcc, "shd": seed, "graph_isomorphic": seed == 0, "fit_seconds": 2.0 * n}
    return {**made, "seed": seed, **scores, **more}


ROWS = [
    *(row("flow", n, seed, 0.99 - n / 100 + seed / 1000) for n in (2, 4, 8) for seed in (0, 1, 2)),
    *(row("dvae", n, seed, 0.5) for n in (2, 4) for seed in (0, 1)),
    row("dvae", 8, 0, None),
    row("dvae", 8, 1, None, status="failed", error="ValueError: no, never"),
]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_results(tmp_path / "results.csv", COLUMNS, ROWS)
    return tmp_path


def test_what_is_written_is_read(folder: Path) -> None:
    results = read_results(folder)
    assert results.columns == tuple(COLUMNS) and results.settings == ("data", "data.n", "model", "seed")
    assert [{k: v for k, v in row.items() if v is not None} for row in results.rows] == [
        {k: v for k, v in row.items() if v is not None} for row in ROWS
    ]
    assert len(results.finished) == len(ROWS) - 1
    assert read_results(folder / "results.csv") == results
    assert results.varied() == ["data.n", "model"]


def test_lists_and_words_are_written_so_that_they_are_read(tmp_path: Path) -> None:
    values = [[0, 1], "1", "a, b", 'say "no"', True, 0.1 + 0.2, 1e-300, "two\nlines", None]
    rows = [{"cell": str(number), "status": value, "n_variables": value} for number, value in enumerate(values)]
    write_results(tmp_path / "results.csv", ["cell", "status", "n_variables"], rows)
    found = [row["n_variables"] for row in read_results(tmp_path).rows]
    assert found == [value if value != "1" else 1 for value in values]


def test_a_pivot_is_median_and_range_over_what_is_left_open() -> None:
    found = pivot([row for row in ROWS if row["status"] == "finished"], ["model"], "data.n", ["mcc"])
    assert found.cells() == [
        ["model", "cells", "data.n=2", "data.n=4", "data.n=8"],
        ["flow", "9", "0.9710 (0.9700–0.9720)", "0.9510 (0.9500–0.9520)", "0.9110 (0.9100–0.9120)"],
        ["dvae", "5", "0.5000", "0.5000", "–"],
    ]
    first = found.body[0]["data.n=2"]
    assert [first[key] for key in ("median", "min", "max")] == pytest.approx([0.971, 0.97, 0.972])


def test_without_columns_every_score_is_one() -> None:
    flow = [row for row in ROWS if row["model"] == "flow"]
    found = pivot(flow, ["data.n"], None, ["shd", "graph_isomorphic", "fit_seconds"])
    assert found.cells()[:2] == [
        ["data.n", "cells", "shd", "graph_isomorphic", "fit_seconds"],
        ["2", "3", "1 (0–2)", "1 of 3", "4.0"],
    ]


def test_the_command_prints_draws_and_writes(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    figure, numbers = folder / "sub" / "mcc.png", folder / "numbers.json"
    argv = ["table", folder, "--rows", "model", "--columns", "data.n", "--value", "mcc"]
    said = called(capsys, *argv, "--plot", figure, "--json", numbers).splitlines()
    assert said[0].split() == ["model", "cells", "data.n=2", "data.n=4", "data.n=8"]
    assert said[-2:] == ["1 of 15 cells are not finished and are left out", f"figure: {figure}"]
    assert figure.read_bytes().startswith(b"\x89PNG")
    content = read_json(numbers)
    assert content["rows"] == ["model"] and content["summary"][1]["data.n=8"] is None
    assert called(capsys, *argv, "--markdown").startswith("| model | cells | data.n=2 |")
    assert called(capsys, *argv, "--quiet") == ""


def test_the_table_has_a_page(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    page, plot = tmp_path / "new" / "table.html", tmp_path / "new" / "table.png"
    argv = ["table", folder, "--rows", "model", "--columns", "data.n", "--value", "mcc"]
    said = called(capsys, *argv, "--plot", plot, "--html", page)
    html = page.read_text(encoding="utf-8")
    assert f"page: {page}" in said and "<td>flow</td>" in html and 'src="data:image/webp' in html


def test_the_command_chooses_rows_and_cells(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    said = called(capsys, "table", folder / "results.csv").splitlines()
    assert said[0].split() == ["data.n", "model", "cells", "mcc", "shd", "fit_seconds"]
    assert len(said) == 1 + 6 + 1
    said = called(capsys, "table", folder, "--where", "model=flow", "data.n=4", "--rows", "data").splitlines()
    assert said[1].split()[:2] == ["d4", "3"]


REFUSED = {
    "rows": (["--rows", "modle"], "--rows: Expected one of cell, status, data, "),
    "columns": (["--columns", "n"], "--columns: Expected one of cell, "),
    "value": (["--value", "auc"], "--value: Expected one of cell, "),
    "where": (["--where", "x=1"], "--where: Expected one of cell, "),
    "condition": (["--where", "model"], "--where: Expected KEY=VALUE; got 'model'"),
    "nothing": (["--where", "model=none"], "--where: Expected model to be one of flow, dvae; got none"),
    "several": (["--columns", "model", "--value", "mcc", "shd"], "--value: Expected one score with --columns; got 2"),
    "words": (["--value", "status"], "--value: Expected a score that is a number; got status, such as 'finished'"),
    "plot": (["--plot", "f.png"], "--plot: Expected --columns with it, the setting on the horizontal axis; got none"),
    "no png": (["--plot", "f.pdf", "--columns", "model"], "f.pdf: Expected a .png file to write to"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_bad_options(case: str, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    argv, message = REFUSED[case]
    assert message in refused(capsys, "table", folder, *argv)


def test_what_is_no_table_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "results.csv: Expected a file; got no such file" in refused(capsys, "table", tmp_path)
    write_results(tmp_path / "results.csv", ["cell", "status"], [])
    said = refused(capsys, "table", tmp_path)
    assert "results.csv: Expected the table of a sweep; got one without the column n_variables" in said


@pytest.mark.parametrize(("lines", "against", "joined"), [("data.n", "model", False), ("model", "data.n", True)])
def test_lines_join_numbers_alone(
    lines: str, against: str, joined: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn: list[Any] = []
    monkeypatch.setattr(table, "save_figure", lambda figure, _: drawn.append(figure.axes[0]))
    draw_lines(tmp_path / "f.png", [row for row in ROWS if row["data.n"] < 8], [lines], against, "mcc")
    medians = drawn[0].get_lines()
    assert len(medians) == 2
    assert [line.get_linestyle() for line in medians] == ["-" if joined else "None"] * 2
    first, second = (line.get_xdata() for line in medians)
    assert np.array_equal(first, second) == joined
    if not joined:
        assert np.abs(first - np.round(first)).max() < 0.5 and (first < second).all()


def test_nothing_to_draw_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"Expected cells with mcc and model to draw; got none"):
        draw_lines(tmp_path / "f.png", [row("flow", 8, 0, None)], [], "model", "mcc")


def test_parquet_has_the_same_table(tmp_path: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    from lcm.app.sweep.sweep import write_parquet

    write_parquet(tmp_path / "results.parquet", COLUMNS, [*ROWS, {**ROWS[0], "mcc": 1, "model": 3, "permutation": [0]}])
    found = parquet.read_table(tmp_path / "results.parquet").to_pydict()
    assert list(found) == COLUMNS
    assert found["mcc"][0] == ROWS[0]["mcc"] and found["mcc"][-1] == 1.0 and found["mcc"][-2] is None
    assert found["model"][-1] == "3" and found["permutation"][-1] == "[0]"


def test_a_sweep_without_finished_cells_has_no_table() -> None:
    with pytest.raises(ValueError, match="Expected finished cells to show; got none"):
        pivot([], ["model"], None, ["mcc"])
