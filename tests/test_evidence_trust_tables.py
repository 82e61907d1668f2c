"""Tables of lists in results/: rows, groups and crossings, and how often the certificate objects."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from evidence.trust_tables import TRUST_TABLES, told

ROOT = Path(__file__).parent.parent
CELLS = [
    {"kind": "b c", "n": 10, "mcc": 0.5, "right": True, "in": {"q 0.1": 0.25}, "from": [0.1, 0.2], "one": 1.0},
    {"kind": "b c", "n": 2, "mcc": 0.75, "right": False, "in": {"q 0.1": 0.5}, "from": [0.2, 0.3], "one": 0.0},
    {"kind": "a", "n": 2, "mcc": 0.25, "right": True, "in": {}, "from": None, "one": 1.0},
    {"kind": "b c", "n": 2, "mcc": 0.25, "right": True, "in": {"q 0.1": 0.5}, "from": [0.2, 0.3], "one": 1.0},
]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "results" / "x").mkdir(parents=True)
    (tmp_path / "results" / "x" / "results.json").write_text(json.dumps({"parts": {"cells": CELLS}}))
    return tmp_path


def table(root: Path, name: str, *options: str) -> list[str]:
    """The rows of a table, without the line below its heading."""
    head, _, *rows = TRUST_TABLES[name](root, ["x", "parts.cells", *options]).splitlines()
    return [head, *rows]


def test_rows_have_values_by_path_with_intervals(root: Path) -> None:
    told_rows = table(root, "rows", "kind@the_kind", "in/q_0.1:%", "mcc:2~from", "from.0:1", "kind=b_c", "n=10|3")
    assert told_rows == ["| the kind | in/q 0.1 | MCC | from.0 |", "| b c | 25 % | 0.50 (0.10–0.20) | 0.1 |"]
    assert table(root, "rows", "in/q_0.1:1~from@q", "kind=a|b_c", "n=2")[2] == "| – |"


def test_groups_have_medians_shares_and_means_in_the_order_of_numbers(root: Path) -> None:
    told_groups = table(root, "grouped", "kind,n", "count", "mcc:2", "right", "one:s", "mcc:m1@mean")
    assert told_groups == [
        "| kind | n | count | MCC | right | one | mean |",
        "| b c | 2 | 2 | 0.50 (0.25–0.75) | 1 of 2 | 1 of 2 | 0.5 (-2.7–3.7) |",
        "| b c | 10 | 1 | 0.50 | 1 of 1 | 1 of 1 | 0.5 (nan–nan) |",
        "| a | 2 | 1 | 0.25 | 1 of 1 | 1 of 1 | 0.2 (nan–nan) |",
    ]


def test_a_crossing_has_a_column_for_each_value(root: Path) -> None:
    assert table(root, "crossed", "kind", "n", "mcc:2") == [
        "| kind | 10 | 2 |",
        "| b c | 0.50 | 0.25 |",
        "| a | – | 0.25 |",
    ]


@pytest.mark.parametrize("options", [["kind=z", "mcc"], ["mc:2"]])
def test_what_is_not_there_is_an_error(options: list[str], root: Path) -> None:
    with pytest.raises(ValueError, match="Expected entries "):
        table(root, "rows", *options)


def test_values_are_told_by_their_format() -> None:
    assert [told(2500, ","), told(0.0, "g"), told(True, "2"), told(0.125, "%1")] == ["2,500", "0", "yes", "12.5 %"]


@pytest.mark.parametrize(
    ("part", "row"), [("sound", "`perfect`"), ("violations", "two targets"), ("power", "two targets")]
)
def test_the_certificate_has_a_table_for_each_part(part: str, row: str) -> None:
    (found,) = (line for line in TRUST_TABLES["certificate"](ROOT, [part]).splitlines() if f"| {row} |" in line)
    assert " of " in found
