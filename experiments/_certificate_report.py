"""The tables of the experiment `certificate`, from the records of all its cells."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import binomtest

from experiments._violations import VIOLATIONS, Violation
from lcm.base.files import read_json, write_json, write_text
from lcm.report.tables import to_markdown

Record = Mapping[str, Any]


def write(out: Path) -> str:
    """Write results.json and results.md from the cells in `out`, and return the tables."""
    records = [read_json(path) for path in sorted((out / "cells").glob("*.json"))]
    parts = {
        part: [record for record in records if record["part"] == part] for part in ("sound", "violations", "power")
    }
    text = "\n".join(
        [
            "# certificate: what it accepts and what it finds\n",
            *([_sound(parts["sound"])] if parts["sound"] else []),
            *([_violations(parts["violations"])] if parts["violations"] else []),
            *([_power(parts["power"])] if parts["power"] else []),
        ]
    )
    write_json(out / "results.json", {"records": [_short(record) for record in records]})
    write_text(out / "results.md", text)
    return text


def _short(record: Record) -> dict[str, Any]:
    """A record with the verdicts of its rows, without their numbers and sentences."""
    return {**record, "rows": {key: row["verdict"] for key, row in record["rows"].items()}}


def share(hits: int, trials: int) -> str:
    """A share with its 95 % interval (Clopper and Pearson 1934)."""
    interval = binomtest(hits, trials).proportion_ci(0.95)
    return f"{hits} of {trials}: {hits / trials:.2f} ({interval.low:.2f}–{interval.high:.2f})"


def _sound(records: list[Record]) -> str:
    keys = list(records[0]["rows"])
    table = [["row", "called broken", "cannot be known"]]
    for key in keys:
        verdicts = [record["rows"][key]["verdict"] for record in records]
        table.append([key, share(verdicts.count("broken"), len(records)), str(verdicts.count("cannot be known"))])
    table.append(["any of them", share(sum(bool(record["broken"]) for record in records), len(records)), ""])
    return f"## Sound natures: {len(records)}\n\n{to_markdown(table)}\n"


def _violations(records: list[Record]) -> str:
    table = [["violation", "unit", "strength", "a row that names it", "any row", "which"]]
    for name, violation in VIOLATIONS.items():
        for strength in violation.strengths:
            chosen = [r for r in records if r["violation"] == name and r["strength"] == strength]
            if not chosen:
                continue
            named = share(_named(chosen, violation), len(chosen)) if violation.rows else "no data can show it"
            seen = share(sum(bool(record["broken"]) for record in chosen), len(chosen))
            table.append([violation.title, violation.unit, f"{strength:g}", named, seen, _which(chosen)])
    return f"## Violations: n = 4, 10,000 pairs\n\n{to_markdown(table)}\n"


def _named(records: Iterable[Record], violation: Violation) -> int:
    return sum(any(key in record["broken"] for key in violation.rows) for record in records)


def _which(records: Iterable[Record]) -> str:
    counts: dict[str, int] = defaultdict(int)
    for record in records:
        for key in record["broken"]:
            counts[key] += 1
    return ", ".join(f"{key} {count}" for key, count in sorted(counts.items(), key=lambda item: -item[1]))


def _power(records: list[Record]) -> str:
    table = [["violation", "row", "stated, median (range)", "found at the stated strength"]]
    for name, violation in VIOLATIONS.items():
        chosen = [r for r in records if r["violation"] == name and r["stated"] is not None]
        if not chosen:
            continue
        stated = [record["stated"] for record in chosen]
        spread = f"{np.median(stated):.3g} ({min(stated):.3g}–{max(stated):.3g})"
        found = sum(violation.rows[0] in record["broken"] for record in chosen)
        table.append([violation.title, violation.rows[0], spread, share(found, len(chosen))])
    return f"## Stated power: at the smallest violation that is found nine times in ten\n\n{to_markdown(table)}\n"
