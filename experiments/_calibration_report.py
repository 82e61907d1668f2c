"""The tables and the figure of the calibration experiment, from the records of its fits."""

from __future__ import annotations

import platform
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from lcm.base import __version__
from lcm.base.files import write_json, write_text
from lcm.data.nature.build import numpy_generator
from lcm.metric.intervention import Reliability
from lcm.report.tables import RESULTS_JSON, RESULTS_MARKDOWN, to_markdown, to_text

_RESAMPLES = 2_000
_EXACT = 0.01
Record = Mapping[str, Any]


def write(out: Path, records: Sequence[Record]) -> str:
    """Write results.json, results.md and calibration.png into `out`; returns the tables as plain text."""
    from experiments._plot_calibration import draw_calibration

    mixings = list(dict.fromkeys(str(record["mixing"]) for record in records))
    groups = {name: [record for record in records if record["mixing"] == name] for name in mixings}
    rows = [
        {"mixing": name, "relation": what, **row}
        for name, members in groups.items()
        for what in ("edges", "ancestors")
        for row in error_rates(members, what)
    ]
    curves = {name: _curve(members, "reliability") for name, members in groups.items()}
    probabilities = [_probabilities(name, members, curves[name]) for name, members in groups.items()]
    strengths = [
        {"mixing": name, "encoder": kind, **coverage(part)}
        for name, members in groups.items()
        for kind, part in _by_encoder(members).items()
    ]
    settings = _settings(groups)
    content = {
        "title": "calibration",
        "settings": settings,
        "error_rates": rows,
        "interventions": probabilities,
        "strengths": strengths,
        "cells": [dict(record) for record in records],
    }
    write_json(out / RESULTS_JSON, content)
    tables = {"False discoveries": _rate_table(rows), "Probabilities of interventions": _dict_table(probabilities)}
    tables["95 % intervals of edge strengths"] = _dict_table(strengths)
    listed = "".join(f"- {key}: {value}\n" for key, value in settings.items())
    body = "".join(f"## {title}\n\n{to_markdown(table)}\n" for title, table in tables.items())
    write_text(out / RESULTS_MARKDOWN, f"# calibration\n\n![calibration](calibration.png)\n\n{body}\n{listed}")
    draw_calibration(out / "calibration.png", rows, curves)
    return "\n".join(f"{title}\n{to_text(table)}" for title, table in tables.items())


def error_rates(records: Sequence[Record], what: str) -> list[dict[str, Any]]:
    """The false discovery rate and the power at every level, each with a 95 % interval.

    `fdr` is the mean over natures of the share of false relations among the declared ones (0 if none is declared); the
    level bounds it. `pooled` is the share over all natures together. The intervals are by a bootstrap over natures.
    """
    levels = [row["level"] for row in records[0][what]]
    table = np.array([[[row[k] for k in ("declared", "false", "true", "shd")] for row in r[what]] for r in records])
    draw = numpy_generator(0, "bootstrap").integers(len(records), size=(_RESAMPLES, len(records)))
    found = []
    for number, level in enumerate(levels):
        declared, false, true, shd = table[:, number].T.astype(np.float64)
        share = false / np.maximum(declared, 1.0)
        pooled = false[draw].sum(1) / np.maximum(declared[draw].sum(1), 1.0)
        power = (declared - false)[draw].sum(1) / np.maximum(true[draw].sum(1), 1.0)
        found.append(
            {
                "level": level,
                "natures": len(records),
                "declared": int(declared.sum()),
                "false": int(false.sum()),
                "fdr": float(share.mean()),
                "fdr_interval": _interval(share[draw].mean(1)),
                "pooled": float(false.sum() / max(1.0, declared.sum())),
                "pooled_interval": _interval(pooled),
                "power": float((declared - false).sum() / max(1.0, true.sum())),
                "power_interval": _interval(power),
                "mean_shd": float(shd.mean()),
            }
        )
    return found


def coverage(records: Sequence[Record]) -> dict[str, Any]:
    """How often the interval of a declared true edge holds its true strength; bootstrap over natures."""
    held = [[row["low"] <= row["truth"] <= row["high"] for row in record["strengths"]] for record in records]
    count = np.array([len(row) for row in held], dtype=np.float64)
    right = np.array([sum(row) for row in held], dtype=np.float64)
    draw = numpy_generator(0, "bootstrap").integers(len(records), size=(_RESAMPLES, len(records)))
    shares = right[draw].sum(1) / np.maximum(count[draw].sum(1), 1.0)
    widths = [row["high"] - row["low"] for record in records for row in record["strengths"]]
    return {
        "edges": int(count.sum()),
        "coverage": float(right.sum() / max(1.0, count.sum())),
        "coverage_interval": _interval(shares),
        "median_width": float(np.median(widths)) if widths else None,
    }


def _by_encoder(records: Sequence[Record]) -> dict[str, list[Record]]:
    """The natures whose σ came near its floor, and the others, without empty groups."""
    exact = [record for record in records if record["thickness"] < _EXACT]
    rest = [record for record in records if record["thickness"] >= _EXACT]
    named = {f"exact, σ below {_EXACT:g}": exact, "not exact": rest}
    return {name: part for name, part in named.items() if part}


def _interval(values: NDArray[np.float64]) -> list[float]:
    return [float(value) for value in np.quantile(values, [0.025, 0.975])]


def _curve(records: Sequence[Record], key: str) -> Reliability:
    sums = {name: np.sum([record[key][name] for record in records], axis=0) for name in Reliability._fields}
    return Reliability(**sums)


def _probabilities(name: str, records: Sequence[Record], curve: Reliability) -> dict[str, Any]:
    best = _curve(records, "confidence")
    return {
        "mixing": name,
        "predictions": int(curve.number.sum()),
        "calibration_error": curve.error(),
        "confidence": float(best.predicted.sum() / best.number.sum()),
        "accuracy": float(best.observed.sum() / best.number.sum()),
        "confidence_error": best.error(),
        "median_thickness": float(np.median([record["thickness"] for record in records])),
    }


def _rate_table(rows: Sequence[Record]) -> list[list[str]]:
    heading = ["mixing", "relation", "q", "natures", "declared", "false", "FDR", "false, pooled", "power", "mean SHD"]
    lines = [
        [
            row["mixing"],
            row["relation"],
            f"{row['level']:g}",
            str(row["natures"]),
            str(row["declared"]),
            str(row["false"]),
            _with_interval(row, "fdr"),
            _with_interval(row, "pooled"),
            _with_interval(row, "power"),
            f"{row['mean_shd']:.2f}",
        ]
        for row in rows
    ]
    return [heading, *lines]


def _with_interval(row: Record, key: str) -> str:
    low, high = row[f"{key}_interval"]
    return f"{row[key]:.4f} ({low:.4f}–{high:.4f})"


def _dict_table(rows: Sequence[Record]) -> list[list[str]]:
    return [[key.replace("_", " ") for key in rows[0]], *([_shown(value) for value in row.values()] for row in rows)]


def _shown(value: Any) -> str:
    if isinstance(value, list):
        return "–".join(f"{part:.4f}" for part in value)
    return f"{value:.4f}" if isinstance(value, float) else str(value)


def _settings(groups: Mapping[str, Sequence[Record]]) -> dict[str, str]:
    steps = {name: members[0]["steps"] for name, members in groups.items()}
    return {
        "natures": ", ".join(f"{len(members)} of {name} mixing" for name, members in groups.items()),
        "drawn from": "n 3 and 4 (nonlinear mixing: 3), half of all edges, strengths from nearly 0 on; linear, additive"
        " and location-scale mechanisms; normal, Laplace and skewed noise",
        "pairs": "2,000, 5,000 or 10,000 to fit (nonlinear mixing: 10,000); 4,000 to test",
        "steps": ", ".join(f"{name}: {value or 'the defaults'}" for name, value in steps.items())
        + "; not the defaults of a fit where a number is given",
        "FDR": "mean over natures of the false share of declared relations; pooled: the share over all natures",
        "intervals": "95 %, bootstrap over natures",
        "versions": f"lcm {__version__}, torch {torch.__version__}, Python {platform.python_version()}",
    }
