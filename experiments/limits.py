"""limits: what a fit gives when an assumption of the theorem fails (docs/theory.md section 4).

Each assumption has a row, over seeds of the nature: the prediction, the measurement, whether the fit's doubts name the
assumption, and whether the measurement is as predicted, by a criterion in _limits_rows.py.
"""

from __future__ import annotations

import os
import platform
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from string import ascii_lowercase
from typing import TYPE_CHECKING, Any

from experiments._cells import run_once
from experiments._experiment import at_least_one, base_parser
from lcm.base import __version__
from lcm.base.files import write_json, write_text
from lcm.report.tables import RESULTS_JSON, RESULTS_MARKDOWN, summarise, table_cells, to_markdown

if TYPE_CHECKING:
    from experiments._limits_fits import Budget
    from experiments._limits_rows import Row

FULL_SEEDS = 5
TITLE = "limits: identifiability where an assumption fails"
HEADINGS = ("panel", "what is broken", "prediction", "measured", "detected", "as predicted")
_MODELS = """\
models/ has the models of the row on observations, for `lcm compare MODEL_A MODEL_B DATA`: in observations-seedS,
vaeI.safetensors and lcmI.safetensors, and the data test.safetensors. Autoencoders are
of the model beta-vae.
"""
Records = list[dict[str, Any]]


def main(argv: Sequence[str]) -> None:
    """Run the experiment; `--help` lists the options."""
    parser = base_parser("limits", "Identifiability where an assumption of the theorem fails.")
    parser.add_argument("--seeds", type=at_least_one, metavar="K", help="natures with the seeds 0 to K-1")
    parser.add_argument("--rows", nargs="+", metavar="ROW", help="run only these rows")
    parser.add_argument("--quiet", action="store_true", help="print nothing")
    options = parser.parse_args(argv)

    import torch

    from experiments._limits_figure import draw_limits
    from experiments._limits_fits import FULL, QUICK
    from experiments._limits_rows import ROWS

    known = [row.name for row in ROWS]
    for name in options.rows or ():
        if name not in known:
            parser.error(f"--rows: Expected some of {', '.join(known)}; got {name}")
    if options.threads is not None or "OMP_NUM_THREADS" not in os.environ:
        torch.set_num_threads(options.threads or 1)
    budget = (QUICK if options.quick else FULL).limited(options.pairs, options.steps)
    seeds = range(options.seeds or (1 if options.quick else FULL_SEEDS))
    rows = [row for row in ROWS if row.name in (options.rows or known)]
    if options.quick and not options.quiet:
        print("limits: with so few pairs and steps, some rows miss their criteria, most often the first", flush=True)
    records = {row.name: [_cell(row, seed, budget, options.out, options.quiet) for seed in seeds] for row in rows}
    table = _write(options.out, rows, records, budget)
    (options.out / "figures").mkdir(exist_ok=True)
    draw_limits(options.out / "figures" / "limits.png", records, options.out / "models")
    if not options.quiet:
        print(f"\n{TITLE}; median (range)\n\n{table}\nResults: {options.out}")


def _cell(row: Row, seed: int, budget: Budget, out: Path, quiet: bool) -> dict[str, Any]:
    def measured() -> dict[str, Any]:
        started = time.perf_counter()
        found = row.measure(seed, budget, out / "models")
        return {**found, "seconds": time.perf_counter() - started}

    settings = {"row": row.name, "seed": seed, **asdict(budget)}
    record = row.judged(run_once(out / "cells" / f"{row.name}-seed{seed}.json", settings, measured))
    if not quiet:
        verdict = "as predicted" if record["as_predicted"] else "NOT as predicted"
        print(f"{row.name}, seed {seed}: {verdict}, {record['seconds']:.0f} s", flush=True)
    return record


def _write(out: Path, rows: Sequence[Row], records: Mapping[str, Records], budget: Budget) -> str:
    """Write results.json and results.md; returns the table."""
    import torch

    settings = {
        **asdict(budget),
        "seeds": len(next(iter(records.values()))),
        "threads": f"{torch.get_num_threads()}, on {os.cpu_count()} cores",
        "versions": f"lcm {__version__}, torch {torch.__version__}, Python {platform.python_version()}",
    }
    summary = [
        {
            "row": row.name,
            "title": row.title,
            "prediction": row.prediction,
            "criterion": row.criterion,
            "undetectable": row.undetectable,
            **_summary(row, records[row.name]),
        }
        for row in rows
    ]
    cells = [record for row in rows for record in records[row.name]]
    write_json(out / RESULTS_JSON, {"title": TITLE, "settings": settings, "summary": summary, "cells": cells})
    body = [[letter, *_texts(row, records[row.name])] for letter, row in zip(ascii_lowercase, rows, strict=False)]
    table = to_markdown([list(HEADINGS), *body])
    criteria = "".join(f"- {row.title}: {row.criterion}\n" for row in rows)
    reasons = "".join(f"- {row.title}: {row.undetectable}\n" for row in rows if row.undetectable)
    heard = "".join(f"- {row.title}: {text}\n" for row in rows for text in _doubts(records[row.name]))
    listed = "".join(f"- {key}: {value}\n" for key, value in settings.items())
    parts = {
        "As predicted": criteria,
        "Undetectable": reasons or "- none\n",
        "Doubts of the fits": heard or "- none\n",
        "Settings": listed,
        "Models": _MODELS,
    }
    sections = "\n".join(f"## {heading}\n\n{text}" for heading, text in parts.items())
    note = "Median over the seeds, range (min–max) in brackets."
    write_text(out / RESULTS_MARKDOWN, f"# {TITLE}\n\n{note}\n\n{table}\n{sections}")
    return table


def _summary(row: Row, records: Records) -> dict[str, Any]:
    keys = [*(column.key for column in row.columns), "detected", "as_predicted"]
    (summary,) = summarise(records, ["row"], keys)
    return {key: summary[key] for key in ["cells", *keys]}


def _texts(row: Row, records: Records) -> list[str]:
    """The table cells of a row; one of them holds its numbers, each with a name."""
    shown = table_cells(summarise(records, ["row"], [column.key for column in row.columns]), {"row": ""}, row.columns)
    measured = "; ".join(f"{column.heading} {text}" for column, text in zip(row.columns, shown[1][2:], strict=True))
    right = sum(record["as_predicted"] for record in records)
    return [row.title, row.prediction, measured, _detected(row, records), f"{right} of {len(records)}"]


def _detected(row: Row, records: Records) -> str:
    """How often a doubt named the broken assumption, or why no doubt can."""
    count = len(records)
    doubted = f"; doubts in {sum(bool(record.get('doubts')) for record in records)} of {count}"
    if row.undetectable:
        return "undetectable" + (doubted if "doubts" in records[0] else "")
    if records[0]["detected"] is None:
        return "nothing to detect" + doubted
    return f"{sum(record['detected'] for record in records)} of {count}"


def _doubts(records: Records) -> list[str]:
    """One example of each kind of doubt; kinds differ in their first words."""
    first: dict[str, str] = {}
    for record in records:
        for doubt in record.get("doubts", []):
            first.setdefault(doubt.split(":")[0], doubt)
    return list(first.values())


if __name__ == "__main__":
    main(sys.argv[1:])
