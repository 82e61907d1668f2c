"""The JSON files of a run, the records of a fit, the table of a sweep: what is wrong with them is one line."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

import lcm
from lcm.app.sweep.table import read_results
from lcm.learn.training.tracker import read_metrics

MISTAKES: dict[str, tuple[str, tuple[Any, ...], Any, str]] = {
    "state": ("run.json", ("state",), None, "state: Expected unfinished or finished; got None"),
    "hash": ("run.json", ("data_sha256",), 3, "data_sha256: Expected a text; got 3"),
    "schema": ("run.json", ("schema",), [1], r"schema: Expected version 2; got \[1\]"),
    "seconds": ("fit.json", ("fit_seconds",), "1", "fit_seconds: Expected a number of at least 0; got '1'"),
    "n": ("fit.json", ("n",), 3, "n: Expected 2, as in the model; got 3"),
    "restarts": ("fit.json", ("other_restarts",), [{}], r"other_restarts\[0\]: Expected the key restart; got none"),
    "doubts": ("fit.json", ("doubts",), [1], r"doubts: Expected a list of texts; got \[1\]"),
    "certificate": (
        "fit.json",
        ("certificate", "rows", 0, "verdict"),
        "fine",
        "certificate: Expected rows and notes of",
    ),
    "certificate of texts": ("fit.json", ("certificate",), ["holds"], "certificate: Expected rows and notes of"),
    "limit": ("fit.json", ("cut_short_at",), "no", "cut_short_at: Expected a number or null; got 'no'"),
    "support": ("fit.json", ("support",), [[0, "1"]], "support: Expected rows of two numbers, or null"),
    "supports": ("fit.json", ("support",), [[0, 1]], "support: Expected 2 rows, one for each variable; got 1"),
    "order": ("graph.json", ("order",), [0, 0], r"order: Expected the variables 0 to 1, each once; got \[0, 0\]"),
    "strength": ("graph.json", ("edge_strength",), [[1]], "edge_strength: Expected 2 rows of 2 numbers of at least 0"),
    "p-value": ("graph.json", ("edge_p_value", 0), [0, 2], "edge_p_value: Expected 2 rows of 2 numbers from 0 to 1"),
    "no mapping": ("graph.json", (), [], "graph.json: Expected a JSON object; got list"),
}


@pytest.mark.parametrize(("name", "keys", "value", "message"), MISTAKES.values(), ids=MISTAKES)
def test_a_mistake_in_a_run_is_named(
    name: str, keys: tuple[Any, ...], value: Any, message: str, finished: dict[str, Path], tmp_path: Path
) -> None:
    run = Path(shutil.copytree(finished["linear"], tmp_path / "run"))
    content = [json.loads((run / name).read_text())]
    place, path = content, (0, *keys)
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    (run / name).write_text(json.dumps(content[0]))
    with pytest.raises(ValueError, match=message) as caught:
        lcm.load(run)
    assert str(run / name) in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "line", ["3", "[]", '{"restart": {}, "stage": "a", "step": 0, "seconds": 1}', '{"restart": 0}']
)
def test_a_foreign_line_of_the_records_is_named(line: str, tmp_path: Path) -> None:
    good = '{"restart": 0, "stage": "a", "step": 0, "seconds": 0.5, "log_likelihood": NaN}\n'
    path = tmp_path / "metrics.jsonl"
    path.write_text(good + line + "\n" + good)
    with pytest.raises(ValueError, match=r"line 2: Expected a record with restart, stage, step and seconds; got"):
        read_metrics(path)
    path.write_text(good + "x\n" + good)
    with pytest.raises(ValueError, match="line 2: Expected JSON; got"):
        read_metrics(path)
    path.write_text(good + good[:20])
    assert len(read_metrics(path)) == 1


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("cell,status\n", "Expected the table of a sweep; got one without the column n_variables"),
        ("cell,status,cell,n_variables\n", "Expected each column once; got 'cell' again"),
        ("cell,status,n_variables\na,finished\n", "row 1: Expected 3 cells, as in the heading; got 2"),
        ('cell,status,n_variables\n"a"b,finished,2\n', "Expected CSV; got a table that cannot be read"),
        ("", "got one without the column cell"),
    ],
)
def test_a_table_that_is_none_is_refused(text: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "results.csv").write_text(text)
    with pytest.raises(ValueError, match=message):
        read_results(tmp_path)
