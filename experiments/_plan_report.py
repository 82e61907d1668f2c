"""The tables and the figure of the plan experiment, from the records of its natures."""

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
from lcm.report.tables import RESULTS_JSON, RESULTS_MARKDOWN, to_markdown, to_text

_RESAMPLES = 4_000
_CLOSE = 0.6
Record = Mapping[str, Any]


def write(out: Path, records: Sequence[Record], at_once: Sequence[Record]) -> str:
    """Write results.json, results.md and plan.png into `out`; returns the tables as plain text."""
    from experiments._plot_plan import draw_savings

    rows = [row(record) for record in records]
    groups = grouped(rows)
    promised = [promise(at_once, arm) for arm in at_once[0]["arms"]]
    tables = {
        "Further pairs, plan over equal shares": _group_table(groups),
        "Measured once, as the first plan says": _promise_table(promised),
        "Natures": _nature_table(rows),
    }
    settings = _settings(records)
    content = {"title": "plan", "settings": settings, "groups": groups, "at_once": promised, "natures": rows}
    cells = {"cells": [dict(record) for record in records], "cells_at_once": [dict(record) for record in at_once]}
    write_json(out / RESULTS_JSON, content | cells)
    listed = "".join(f"- {key}: {value}\n" for key, value in settings.items())
    body = "".join(f"## {title}\n\n{to_markdown(table)}\n" for title, table in tables.items())
    write_text(out / RESULTS_MARKDOWN, f"# plan\n\n![plan](plan.png)\n\n{body}\n{listed}")
    draw_savings(out / "plan.png", rows, groups)
    return "\n".join(f"{title}\n{to_text(table)}" for title, table in tables.items())


def row(record: Record) -> dict[str, Any]:
    """One nature: further pairs of every arm until all is decided and true; `most` where that was not reached."""
    found = {key: record[key] for key in ("seed", "pilot", "edges", "n", "true_edges", "weakest", "rarest")}
    found["predicted"] = record["arms"]["plan"][0]["ratio"]
    for arm, rounds in record["arms"].items():
        last = rounds[-1]
        reached = last["undecided"] == 0 and last["shd"] == 0
        found[arm] = last["further"] if reached else record["most"]
        found[f"{arm} reached"] = reached
        true = [each["further"] for each in rounds if each["shd"] == 0]
        found[f"{arm} true"] = true[0] if true else record["most"]
        decided = [each["shd"] == 0 for each in rounds if each["undecided"] == 0]
        found[f"{arm} right"] = decided[0] if decided else None
    return found


def grouped(rows: Sequence[Record]) -> list[dict[str, Any]]:
    """Ratios over all natures, and over those of each pilot, kind of edges and predicted ratio."""
    kinds = {
        "all": list(rows),
        **{f"pilot {kind}": [r for r in rows if r["pilot"] == kind] for kind in ("even", "uneven", "rare")},
        **{f"{kind} edges": [r for r in rows if r["edges"] == kind] for kind in ("weak", "strong")},
        f"predicted below {_CLOSE}": [r for r in rows if r["predicted"] < _CLOSE],
        f"predicted from {_CLOSE}": [r for r in rows if r["predicted"] >= _CLOSE],
    }
    return [{"natures of": name, **ratios(members)} for name, members in kinds.items() if members]


def ratios(rows: Sequence[Record]) -> dict[str, Any]:
    """The geometric mean over natures of plan over uniform, and of plan over seldom first, with bootstrap intervals.

    Natures that the pilot alone decides are counted, and left out of the ratios: no arm measures anything.
    """
    open_rows = [r for r in rows if r["uniform"] > 0]
    found: dict[str, Any] = {"natures": len(rows), "by the pilot": len(rows) - len(open_rows)}
    for other in ("uniform", "seldom first"):
        pairs = np.array([[r["plan"], r[other]] for r in open_rows], dtype=np.float64).reshape(-1, 2)
        found[f"over {other}"], found[f"over {other} interval"] = _interval(pairs, _geometric)
    pairs = np.array([[r["plan"], r["uniform"]] for r in open_rows], dtype=np.float64).reshape(-1, 2)
    found["of sums"], found["of sums interval"] = _interval(
        pairs, lambda part: part[..., 0].sum(-1) / part[..., 1].sum(-1)
    )
    found["fewer"] = sum(r["plan"] < r["uniform"] for r in open_rows)
    found["more"] = sum(r["plan"] > r["uniform"] for r in open_rows)
    found["not reached"] = sum(not r["plan reached"] for r in rows), sum(not r["uniform reached"] for r in rows)
    return found


def _of_sums(pairs: NDArray[np.float64]) -> NDArray[np.float64]:
    found: NDArray[np.float64] = pairs[..., 0].sum(-1) / pairs[..., 1].sum(-1)
    return found


def _geometric(pairs: NDArray[np.float64]) -> NDArray[np.float64]:
    found: NDArray[np.float64] = np.exp((np.log(np.maximum(pairs[..., 0], 1.0)) - np.log(pairs[..., 1])).mean(-1))
    return found


def _interval(pairs: NDArray[np.float64], statistic: Any) -> tuple[float | None, list[float] | None]:
    """A statistic of pairs (N, 2), and its 95 % interval by a bootstrap over natures; None without any."""
    if len(pairs) == 0:
        return None, None
    draw = numpy_generator(0, "bootstrap").integers(len(pairs), size=(_RESAMPLES, len(pairs)))
    low, high = np.quantile(statistic(pairs[draw]), [0.025, 0.975])
    return float(statistic(pairs)), [float(low), float(high)]


def promise(records: Sequence[Record], arm: str) -> dict[str, Any]:
    """What one round of further pairs decided: graphs as a whole, and edges that were undecided after the pilot.

    Args:
        records: of natures that were measured once.
        arm: how the further pairs were divided.
    """
    parts = [record["arms"][arm] for record in records]
    counts = [
        [len(part["of"]), sum(e["decided"] and e["found"] == e["true"] for e in part["of"])]
        for part in parts
        if part["of"]
    ]
    whole = np.array([[part["whole"], 1] for part in parts], dtype=np.float64)
    pairs = np.array(
        [[part["further"], record["arms"]["plan"]["further"]] for part, record in zip(parts, records, strict=True)]
    )
    edges = np.array(counts, dtype=np.float64).reshape(-1, 2)
    found: dict[str, Any] = {"further pairs": arm, "natures": len(records), "undecided": int(edges[:, 0].sum())}
    found["edges"], found["edges interval"] = _interval(edges[:, ::-1], _of_sums)
    found["graphs"], found["graphs interval"] = _interval(whole, _of_sums)
    found["pairs"], found["pairs interval"] = _interval(pairs[pairs[:, 1] > 0][:, ::-1].astype(np.float64), _geometric)
    return found


def _promise_table(rows: Sequence[Record]) -> list[list[str]]:
    head = ["further pairs", "natures", "undecided edges", "of them decided rightly", "whole graph decided rightly"]
    shown = [[_shown(each, key) for key in ("edges", "graphs", "pairs")] for each in rows]
    counts = [[str(each[key]) for key in ("further pairs", "natures", "undecided")] for each in rows]
    return [[*head, "pairs of the plan over these"], *(first + last for first, last in zip(counts, shown, strict=True))]


def _group_table(groups: Sequence[Record]) -> list[list[str]]:
    head = ["natures of", "natures", "decided by the pilot", "ratio", "ratio of sums", "fewer pairs", "more pairs"]
    head += ["over seldom first"]
    return [head, *([*_cells(group)] for group in groups)]


def _cells(group: Record) -> list[str]:
    counts = [str(group[key]) for key in ("natures", "by the pilot")]
    ends = [str(group["fewer"]), str(group["more"])]
    shown = [_shown(group, key) for key in ("over uniform", "of sums", "over seldom first")]
    return [group["natures of"], *counts, *shown[:2], *ends, shown[2]]


def _shown(group: Record, key: str) -> str:
    if group[key] is None:
        return "–"
    low, high = group[f"{key} interval"]
    return f"{group[key]:.2f} ({low:.2f}–{high:.2f})"


def _nature_table(rows: Sequence[Record]) -> list[list[str]]:
    keys = ("seed", "pilot", "edges", "n", "true_edges", "weakest", "rarest", "predicted", "plan", "uniform")
    head = [*(key.replace("_", " ") for key in keys), "seldom first"]
    return [head, *([_text(r[key]) for key in (*keys, "seldom first")] for r in rows)]


def _text(value: Any) -> str:
    return f"{value:.2f}" if isinstance(value, float) else f"{value:,}" if isinstance(value, int) else str(value)


def _settings(records: Sequence[Record]) -> dict[str, str]:
    first = records[0]
    true, right = (
        ", ".join(f"{arm} {text(arm)}" for arm in first["arms"])
        for text in (lambda arm: f"{_sum(records, arm):,}", lambda arm: _right(records, arm))
    )
    return {
        "natures": f"seeds {first['seed']} to {records[-1]['seed']}; linear mechanisms and mixing, n 3 to 5, half of"
        " all edges, none weaker than 0.12; normal, Laplace and skewed noise",
        "pilot": f"{first['pilot_pairs']:,} pairs; rare: one target, or two of five, with 2 to 5 % of the pairs",
        "rounds": f"each {first['growth']:.0%} of the pairs so far, at most {first['most']:,} further pairs",
        "end": f"every edge decided at a false discovery rate of 5 % (strengths of {first['least']:g} and more), and"
        " the graph true; natures that did not get there count with the most",
        "ratio": "geometric mean over natures, 95 % interval by a bootstrap over natures",
        "graph right when every edge was first decided": right,
        "sum of further pairs until the graph was first true": true,
        "versions": f"lcm {__version__}, torch {torch.__version__}, Python {platform.python_version()}",
    }


def _sum(records: Sequence[Record], arm: str) -> int:
    return sum(int(row(record)[f"{arm} true"]) for record in records)


def _right(records: Sequence[Record], arm: str) -> str:
    known = [value for value in (row(record)[f"{arm} right"] for record in records) if value is not None]
    return f"{sum(known)} of {len(known)}"
