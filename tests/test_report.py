"""Tables say the median and the range of what is there, and are written whole or not at all."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import hypothesis.strategies as st
import pytest
from hypothesis import given

from experiments._report import write_report
from lcm.report.tables import Column, summarise, table_cells, to_markdown, to_text

RECORDS: list[dict[str, Any]] = [
    {"n": 4, "mcc": 0.9, "shd": 1, "graph_isomorphic": False, "dci": None},
    {"n": 8, "mcc": 0.5, "shd": 3, "graph_isomorphic": True, "dci": None},
    {"n": 4, "mcc": 1.0, "shd": 0, "graph_isomorphic": True, "dci": 0.25},
]
COLUMNS = [
    Column("mcc", "MCC", 2),
    Column("shd", "SHD", 0),
    Column("graph_isomorphic", "isomorphic"),
    Column("dci", "DCI"),
]
TABLE = [
    ["n", "cells", "MCC", "SHD", "isomorphic", "DCI"],
    ["4", "2", "0.95 (0.90–1.00)", "0.5 (0–1)", "1 of 2", "0.2500"],
    ["8", "1", "0.50", "3", "1 of 1", "–"],
]


def test_rows_hold_median_and_range_of_each_group() -> None:
    rows = summarise(RECORDS, ["n"], ["mcc", "shd", "graph_isomorphic", "dci"])
    assert [(row["n"], row["cells"]) for row in rows] == [(4, 2), (8, 1)]
    assert rows[0]["mcc"] == {"median": 0.95, "min": 0.9, "max": 1.0}
    assert rows[0]["graph_isomorphic"] == {"true": 1, "of": 2}
    assert rows[0]["dci"] == {"median": 0.25, "min": 0.25, "max": 0.25}
    assert rows[1]["dci"] is None


@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=9))
def test_the_median_lies_within_the_range_and_order_does_not_matter(values: list[float]) -> None:
    records = [{"group": 0, "value": value} for value in values]
    (row,) = summarise(records, ["group"], ["value"])
    assert row["value"]["min"] <= row["value"]["median"] <= row["value"]["max"]
    assert summarise(records[::-1], ["group"], ["value"]) == [row]


def test_a_record_without_a_group_is_refused() -> None:
    with pytest.raises(ValueError, match=r"Expected records with the keys n, data; got one without data\."):
        summarise(RECORDS, ["n", "data"], ["mcc"])


def test_the_text_of_a_table() -> None:
    assert table_cells(summarise(RECORDS, ["n"], [c.key for c in COLUMNS]), {"n": "n"}, COLUMNS) == TABLE


def test_markdown_has_a_rule_below_the_headings() -> None:
    lines = to_markdown(TABLE).splitlines()
    assert lines[0] == "| n | cells | MCC | SHD | isomorphic | DCI |"
    assert lines[1] == "| ---: | ---: | ---: | ---: | ---: | ---: |"
    assert len(lines) == 4


def test_plain_text_is_aligned() -> None:
    lines = to_text(TABLE).splitlines()
    ends = [line.rindex(text) + len(text) for line, text in zip(lines, ("DCI", "0.2500", "–"), strict=True)]
    assert len(set(ends)) == 1


def test_a_report_is_two_files_and_a_text(tmp_path: Path) -> None:
    text = write_report(tmp_path, "scaling", RECORDS, {"n": "n"}, COLUMNS, {"threads": 1})
    assert text == to_text(TABLE)
    assert {path.name for path in tmp_path.iterdir()} == {"results.json", "results.md"}
    written = json.loads((tmp_path / "results.json").read_text(encoding="utf-8"))
    assert written["cells"] == RECORDS
    assert written["settings"] == {"threads": 1}
    assert written["summary"][0]["mcc"]["median"] == 0.95
    markdown = (tmp_path / "results.md").read_text(encoding="utf-8")
    assert markdown.startswith("# scaling\n")
    assert to_markdown(TABLE) in markdown
    assert "- threads: 1\n" in markdown


def test_a_report_that_cannot_be_written_leaves_the_old_one(tmp_path: Path) -> None:
    write_report(tmp_path, "scaling", RECORDS, {"n": "n"}, COLUMNS, {})
    before = (tmp_path / "results.json").read_bytes()
    with pytest.raises(ValueError, match=r"Expected finite numbers and plain types for JSON"):
        write_report(tmp_path, "scaling", [{"n": 1, "mcc": float("nan")}], {"n": "n"}, COLUMNS[:1], {})
    assert (tmp_path / "results.json").read_bytes() == before
