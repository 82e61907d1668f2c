"""Tables of several scores at once and of graph searches, for the pages of comparisons.

    joined FILE ROWS COLUMN SCORES [KEY=VALUE ...]   scores with " · " between them, for each value of the keys
    searches [FILE]                                  wrong edges of every data seed, by method and variables searched
    compute                                          fits of each part of the published comparison, and their hours

FILE is a folder of results/. ROWS and SCORES are separated by commas, as in evidence/summaries.py.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from evidence.summaries import heading, median_text, summary_rows
from lcm.base.files import read_json
from lcm.report.tables import RESULTS_JSON, to_markdown

_SEARCHED = {"truth": "true variables", "flow": "`flow`", "ilcm-vae": "`ilcm-vae`", "dvae": "`dvae`"}


def joined(root: Path, options: Sequence[str]) -> str:
    """Several scores in each entry, a row for each value of some keys and a column for each value of another."""
    file, down, across, scores, *wanted = options
    rows, names = summary_rows(root, file, wanted), down.split(",")
    chosen = [(key, int(digits or 0)) for key, _, digits in (text.partition(":") for text in scores.split(","))]
    columns = list(dict.fromkeys(row[across] for row in rows))
    body: dict[tuple[str, ...], dict[Any, str]] = {}
    for row in rows:
        entry = " · ".join(median_text(row.get(key), digits) for key, digits in chosen)
        body.setdefault(tuple(str(row[name]) for name in names), {})[row[across]] = entry
    told = [[*key, *(entries.get(column, "–") for column in columns)] for key, entries in body.items()]
    return to_markdown([[heading(name) for name in (*names, *map(str, columns))], *told])


def compute(root: Path, _: Sequence[str]) -> str:
    """Fits of each part of the published comparison, their hours in sum, and the minutes of the longest."""
    body = []
    for path in sorted((root / "results" / "paper").glob(f"*/{RESULTS_JSON}")):
        seconds = [cell["fit_seconds"] for cell in read_json(path)["cells"]]
        body.append([path.parent.name, str(len(seconds)), f"{sum(seconds) / 3_600:.1f}", f"{max(seconds) / 60:.1f}"])
    return to_markdown([["part", "fits", "hours of fits", "longest fit (min)"], *body])


def searches(root: Path, options: Sequence[str]) -> str:
    """Wrong edges of a graph search for each data seed, a row for each n and method."""
    (file,) = options or ("discovery",)
    content = read_json(root / "results" / file / RESULTS_JSON)
    body = []
    for row in content["summary"]:
        cells = [cell for cell in content["cells"] if (cell["n"], cell["method"]) == (row["n"], row["method"])]
        wrong = [", ".join(_wrong(cell, name) for cell in cells) for name in _SEARCHED]
        body.append([str(row["n"]), f"`{row['method']}`", *wrong, median_text(row["seconds_truth"], 1)])
    return to_markdown([["n", "method", *_SEARCHED.values(), "seconds"], *body])


def _wrong(cell: Mapping[str, Any], searched: str) -> str:
    """Missing, extra and reversed edges among these variables; – where the search gave none."""
    value = cell.get(f"shd_{searched}")
    return "–" if value is None else str(value)
