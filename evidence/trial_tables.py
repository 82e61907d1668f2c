"""Tables of one-off trials of the noise encoder, from results/noise-encoder/."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from lcm.base.files import read_json
from lcm.report.tables import to_markdown

Record = Mapping[str, Any]
FOLDER = "results/noise-encoder"

BLOCK_NATURES = {"strong4": "strong, n = 4", "flow4": "couplings, n = 4", "mild5": "mild, n = 5"}
BLOCK_SIZES = ((8, 64), (16, 32), (12, 64), (16, 64), (24, 32), (32, 24), (24, 64))
"""Blocks and their width, in the order of the table."""

TRIAL_NATURES = {
    "flow4": "couplings, n = 4",
    "strong3": "strong, n = 3",
    "mild5": "mild, n = 5",
    "strong4": "strong, n = 4",
}
_SOAP = {"opt": "soap"}
_GROWING = {**_SOAP, "growth": 1.0, "since": 0.4, "schedule": "linear"}
_FAST = {**_GROWING, "lr": 2.0, "optk": {"every": 25}}
_HALVES = {**_FAST, "schedule": "rounds", "first": 0.5, "again": 0.5}
_LAST = {**_FAST, "schedule": "geo", "ends": [2000, 3000, 4500], "first": 0.44444, "again": 0.5, "steps": 4500}
TRIALS: Mapping[str, Record] = {
    "Adam at 0.02, cosine in the second half (before)": {},
    "the same, linear from the start": {"schedule": "linear"},
    "SOAP, cosine in the second half": _SOAP,
    "and a thickness that grows, from the start": {**_SOAP, "growth": 1.0},
    "growth after the annealing, linear": _GROWING,
    "and squared linear": {**_GROWING, "schedule": "power"},
    "and averaged weights (linear)": {**_GROWING, "ema": 0.01},
    "and 0.04 (linear)": {**_GROWING, "lr": 2.0},
    "0.04, bases every 25 steps instead of every 10": _FAST,
    "0.04, cosine from the start": {**_FAST, "schedule": "cosine"},
    "0.04, rounds of 2,000 and 2,000 steps, the second from 0.02": {**_HALVES, "steps": 4000},
    "0.04, linear, 8,000 steps": {**_FAST, "steps": 8000},
    "0.04, rounds of 4,000 and 4,000 steps": {**_HALVES, "steps": 8000},
    "0.04, rounds of 2,000, 1,000 and 1,500 steps (kept)": _LAST,
}
"""What each row of the table changes, and the options of its trials."""


def blocks(root: Path, _: Sequence[str]) -> str:
    """Numbers and widths of residual blocks: what one round of steps reaches, and in how many seconds."""
    records = [record for record in read_json(root / FOLDER / "blocks.json") if _is_plain(record)]
    rows = []
    for count, width in BLOCK_SIZES:
        for stretches, layer in ((False, False), (True, False), (True, True)):
            wanted = {
                "blocks": count,
                "width": width,
                "monotone": stretches,
                "linear_layer_after_the_blocks": layer,
            }
            found = _of_natures(records, wanted, BLOCK_NATURES, _block_text)
            if any(found):
                kind = ", a linear layer after them" if layer else "" if stretches else ", without D"
                rows.append([f"{count} × {width}{kind}", *found])
    return to_markdown([["blocks × width", *BLOCK_NATURES.values()], *rows])


def _is_plain(record: Record) -> bool:
    return record["round"] == 1 and record["lipschitz"] == 0.9 and record["root_gain_at_start"] in (None, 0.1)


def _block_text(record: Record) -> str:
    score = f"{record['log_likelihood']:.2f} ({record['recognised']:.4f})"
    return f"{score}, {record['seconds']:.0f} s"


def trials(root: Path, _: Sequence[str]) -> str:
    """Optimisers, schedules and growth of the thickness: what the last step of each trial reached."""
    records = [record for record in read_json(root / FOLDER / "trials.json")["trials"] if record["seed"] == 0]
    rows = [[name, *_of_natures(records, {"o": o}, TRIAL_NATURES, _trial_text)] for name, o in TRIALS.items()]
    return to_markdown([["", *TRIAL_NATURES.values()], *rows])


def _trial_text(record: Record) -> str:
    _, score, recognised = record["curve"][-1]
    return f"{score:.2f} ({recognised:.3f})"


def _of_natures(
    records: Iterable[Record], wanted: Record, natures: Iterable[str], text: Callable[[Record], str]
) -> list[str]:
    """The text of the record that has the wanted values, for each nature; empty where none has."""
    found = {
        record["nature"]: text(record)
        for record in records
        if all(record[key] == value for key, value in wanted.items())
    }
    return [found.get(nature, "") for nature in natures]


TRIAL_TABLES: Mapping[str, Callable[[Path, Sequence[str]], str]] = {"blocks": blocks, "trials": trials}
"""The tables by the name in their marker."""
