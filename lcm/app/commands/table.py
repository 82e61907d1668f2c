"""`lcm table`: pivot the results of a sweep, as text, Markdown, JSON and a figure."""

from __future__ import annotations

import argparse
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from lcm.app.commands.common import check_output

if TYPE_CHECKING:
    from pathlib import Path

    from lcm.app.sweep.table import Pivot, Results

_MOST_SHOWN = 12

HELP = "pivot and plot the results of a sweep"
DESCRIPTION = """\
Summarise the results of a sweep. Each entry is the median and the range (min-max) over the cells that share its row and
column, such as cells with different seeds.

By default, the rows are all combinations of the settings that differ between cells, and the columns are scores. With
--columns KEY, the table shows one score, and its columns are the values of the setting KEY. The figure plots this score
against KEY, with one line for each row.
"""
EPILOG = """\
examples:
  lcm table runs/example
  lcm table runs/example --rows model --columns data.nature.n --value mcc --plot mcc.png
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    parser.add_argument("results", metavar="DIR", help="folder of lcm sweep, or a results.csv")
    parser.add_argument("--rows", metavar="KEY", nargs="+", help="settings whose combinations are the rows")
    parser.add_argument("--columns", metavar="KEY", help="setting whose values are the columns")
    parser.add_argument("--value", metavar="SCORE", nargs="+", help="scores; with --columns only one, default: mcc")
    parser.add_argument("--where", metavar="KEY=VALUE", nargs="+", default=[], help="use only cells with these values")
    parser.add_argument("--markdown", action="store_true", help="print the table in Markdown")
    parser.add_argument("--json", metavar="FILE", help=".json file to write the numbers to")
    parser.add_argument("--html", metavar="FILE", help=".html file to write a page to, with the plot if there is one")
    parser.add_argument("--plot", metavar="FILE", help=".png file to draw; needs --columns")


def run(arguments: argparse.Namespace) -> None:
    """Run the command."""
    out = check_output(arguments.json, ".json", arguments.results) if arguments.json else None
    figure = check_output(arguments.plot, ".png", arguments.results) if arguments.plot else None
    page = check_output(arguments.html, ".html", arguments.results) if arguments.html else None
    if figure and arguments.columns is None:
        raise ValueError("--plot: Expected --columns with it, the setting on the horizontal axis; got none")

    from lcm.app.sweep.table import DEFAULT_SCORES, pivot, read_results
    from lcm.base.files import write_json
    from lcm.report.tables import to_markdown, to_text

    results = read_results(arguments.results)
    values = arguments.value or (
        ["mcc"] if arguments.columns else [key for key in DEFAULT_SCORES if key in results.columns]
    )
    rows = arguments.rows or [key for key in results.varied() if key != arguments.columns]
    for option, keys in (("--rows", rows), ("--columns", [arguments.columns or rows[0]]), ("--value", values)):
        results.require(option, keys)
    records = _selected(results, arguments.where)
    table = pivot(records, rows, arguments.columns, values)
    for file in (out, figure, page):
        if file:
            file.parent.mkdir(parents=True, exist_ok=True)
    if out:
        columns = [asdict(column) for column in table.columns]
        write_json(out, {"rows": rows, "columns": columns, "summary": table.body})
    if figure:
        from lcm.app.sweep.table import draw_lines

        draw_lines(figure, records, rows, arguments.columns, values[0])
    if page:
        _write_page(page, arguments, table, figure, _unfinished(results))
    if not arguments.quiet:
        text = (to_markdown if arguments.markdown else to_text)(table.cells()).rstrip()
        print(text + _unfinished(results))
        if figure:
            print(f"figure: {figure}")
        if page:
            print(f"page: {page}")


def _write_page(page: Path, arguments: argparse.Namespace, table: Pivot, figure: Path | None, missing: str) -> None:
    from lcm.report.page import Page, Picture, Section, TextTable, write_page

    head, *body = table.cells()
    pictures = [Picture.read(figure, f"{table.columns[0].heading} against {arguments.columns}")] if figure else []
    lead = ["Median over the cells, range (min–max) in brackets.", *([missing.strip()] if missing else [])]
    write_page(
        page, Page(f"Results of {arguments.results}", lead, [Section("Table", [TextTable(head, body), *pictures])])
    )


def _selected(results: Results, conditions: list[str]) -> list[dict[str, Any]]:
    """The finished cells that meet all conditions."""
    from lcm.app.sweep.table import text_of

    records = results.finished
    for condition in conditions:
        key, equals, value = condition.partition("=")
        if not equals:
            raise ValueError(f"--where: Expected KEY=VALUE; got {condition!r}")
        results.require("--where", [key])
        there = list(dict.fromkeys(text_of(record[key]) for record in records))
        records = [record for record in records if text_of(record[key]) == value]
        if there and not records:
            raise ValueError(f"--where: Expected {key} to be one of {', '.join(there[:_MOST_SHOWN])}; got {value}")
    return records


def _unfinished(results: Results) -> str:
    missing = len(results.rows) - len(results.finished)
    return f"\n{missing} of {len(results.rows)} cells are not finished and are left out" if missing else ""
