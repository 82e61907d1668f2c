"""The tables and the figure of the experiment on false discoveries, from the records of its fits."""

from __future__ import annotations

import platform
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from experiments._calibration_report import error_rates
from lcm.base import __version__
from lcm.base.files import write_json, write_text
from lcm.report.tables import RESULTS_JSON, RESULTS_MARKDOWN, to_markdown, to_text

_AT_MOST = (0.01, 0.05, 0.1)
Record = Mapping[str, Any]


def write(out: Path, records: Sequence[Record], steps: int) -> str:
    """Write results.json, results.md and false_discoveries.png into `out`; returns the tables as plain text."""
    from experiments._plot_false_discoveries import draw_false_discoveries

    rows, nulls = rate_rows(records), null_rows(records)
    settings = {
        "natures": ", ".join(f"{len(_of(records, kind=kind))} {kind}" for kind in _values(records, "kind")),
        "drawn from": "no, 25, 50 or 80 % of all edges, strengths from nearly 0 on; normal, Laplace and skewed noise;"
        " linear mixing; linear: n 2 to 8; curved: n 2 to 5, additive and location-scale mechanisms",
        "fits": f"linear: in closed form; curved: the default model, {steps} steps a stage",
        "rules": "graph: that of a fit; one stage: Benjamini and Hochberg over all possible edges, from its p-values;"
        " nothing negligible: the graph of a fit whose tests count effects of 0 alone as none",
        "FDR": "mean over natures of the false share of declared edges; over q: that divided by the stated rate",
        "intervals": "95 %, bootstrap over natures",
        "versions": f"lcm {__version__}, torch {torch.__version__}, Python {platform.python_version()}",
    }
    cells = [_short(record) for record in records]
    content = {"title": "false_discoveries", "settings": settings, "rates": rows, "null": nulls, "cells": cells}
    write_json(out / RESULTS_JSON, content)
    tables = {"False discoveries": _rate_table(rows), "P-values where there is no edge": _null_table(nulls)}
    listed = "".join(f"- {key}: {value}\n" for key, value in settings.items())
    body = "".join(f"## {title}\n\n{to_markdown(table)}\n" for title, table in tables.items())
    figure = "![false discoveries](false_discoveries.png)"
    write_text(out / RESULTS_MARKDOWN, f"# false_discoveries\n\n{figure}\n\n{body}\n{listed}")
    draw_false_discoveries(out / "false_discoveries.png", rows, nulls)
    return "\n".join(f"{title}\n{to_text(table)}" for title, table in tables.items())


def _short(record: Record) -> dict[str, Any]:
    """A record with the numbers of declared and of false edges at the least rate, and without p-values."""
    own = {key: value for key, value in record.items() if key not in ("rules", "null")}
    first = {rule: rows[0] for rule, rows in record["rules"].items()}
    numbers = {rule: f"{row['declared']} declared, {row['false']} false" for rule, row in first.items()}
    return {**own, "true": first["graph"]["true"], "rules": numbers}


def rate_rows(records: Sequence[Record]) -> list[dict[str, Any]]:
    """The false discovery rate and the power of each rule at every level: over all natures, by pairs and by density."""
    found = []
    for kind in _values(records, "kind"):
        own = _of(records, kind=kind)
        groups = {("all", ""): own}
        groups |= {
            (key, value): _of(own, **{key: value}) for key in ("pairs", "density") for value in _values(own, key)
        }
        for (by, value), members in groups.items():
            for rule in members[0]["rules"]:
                for row in error_rates([{"edges": _with_errors(each, rule)} for each in members], "edges"):
                    found.append({"kind": kind, "by": by, "value": value, "rule": rule, **row})
    return found


def null_rows(records: Sequence[Record]) -> list[dict[str, Any]]:
    """How often p-values of edges that do not exist are at most t, over t: 1 where the null hypothesis is exact."""
    found = []
    for kind in _values(records, "kind"):
        for pairs in ("all", *_values(_of(records, kind=kind), "pairs")):
            members = _of(records, kind=kind) if pairs == "all" else _of(records, kind=kind, pairs=pairs)
            for rule, relations in members[0]["null"].items():
                for relation in relations:
                    values = np.concatenate([np.asarray(each["null"][rule][relation]) for each in members])
                    shares = {f"{t:g}": float((values <= t).mean() / t) if len(values) else None for t in _AT_MOST}
                    row = {"kind": kind, "pairs": pairs, "rule": rule, "relation": relation, "number": len(values)}
                    found.append({**row, **shares})
    return found


def _with_errors(record: Record, rule: str) -> list[dict[str, Any]]:
    """The rows of a rule, with the number of edges that are false or missed."""
    return [{**row, "shd": row["true"] - row["declared"] + 2 * row["false"]} for row in record["rules"][rule]]


def _of(records: Sequence[Record], **wanted: Any) -> list[Record]:
    return [record for record in records if all(record[key] == value for key, value in wanted.items())]


def _values(records: Sequence[Record], key: str) -> list[Any]:
    found = dict.fromkeys(record[key] for record in records)
    return list(found) if key == "kind" else sorted(found)


def _rate_table(rows: Sequence[Record]) -> list[list[str]]:
    heading = ["kind", "natures with", "rule", "q", "natures", "declared", "false", "FDR", "over q", "power"]
    return [
        heading,
        *(
            [
                row["kind"],
                "any" if row["by"] == "all" else f"{row['by']} {row['value']:,}",
                row["rule"],
                f"{row['level']:g}",
                str(row["natures"]),
                str(row["declared"]),
                str(row["false"]),
                "{:.4f} ({:.4f}–{:.4f})".format(row["fdr"], *row["fdr_interval"]),
                f"{row['fdr'] / row['level']:.2f}",
                "{:.3f} ({:.3f}–{:.3f})".format(row["power"], *row["power_interval"]),
            ]
            for row in rows
        ),
    ]


def _null_table(rows: Sequence[Record]) -> list[list[str]]:
    heading = ["kind", "pairs", "rule", "relation", "number", *(f"p ≤ {t:g}, over {t:g}" for t in _AT_MOST)]
    return [
        heading,
        *(
            [
                row["kind"],
                row["pairs"] if row["pairs"] == "all" else f"{row['pairs']:,}",
                row["rule"],
                row["relation"],
                str(row["number"]),
                *("" if row[f"{t:g}"] is None else f"{row[f'{t:g}']:.2f}" for t in _AT_MOST),
            ]
            for row in rows
        ),
    ]
