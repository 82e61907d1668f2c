"""Tables of the documents, each made from results/ alone."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from evidence.paper_tables import compute, joined, searches
from evidence.parts import FAMILY_HOURS, PARTS
from evidence.runner import Place
from evidence.status import hours_of
from evidence.summaries import heading, median_text, pivot, summary, summary_rows
from evidence.trial_tables import TRIAL_TABLES
from evidence.trust_tables import TRUST_TABLES
from lcm.base.files import read_json
from lcm.report.tables import to_markdown

NATURES = {
    "linear-10": "linear, rotation, n = 10",
    "linear-10-dense": "n = 10, dense",
    "linear-20": "n = 20, degree 2",
    "linear-20-dense": "n = 20, dense",
    "linear-30": "n = 30, degree 2",
    "linear-30-dense": "n = 30, dense",
    "location-scale-mild-5": "location-scale, mildly curved mixing, n = 5",
    "location-scale-strong-4": "strongly curved, n = 4",
    "location-scale-strong-10": "strongly curved, n = 10",
    "tanh-laplace-10": "additive tanh, Laplace noise, curved, n = 10",
    "skewed-strong-3": "skewed noise, strongly curved, n = 3",
    "spline-couplings-5": "spline couplings, n = 5",
    "uneven-linear-10": "linear, n = 10, rare targets and p(∅) = ½",
    "uneven-mild-5": "mildly curved, n = 5, rare targets",
    "few-pairs-linear-4": "linear, n = 4, 5,000 pairs",
    "few-pairs-mild-4": "mildly curved, n = 4, 5,000 pairs",
    "fewest-pairs-mild-4": "mildly curved, n = 4, 2,000 pairs",
    "noisy-8-linear-4": "linear, n = 4 in 8 dimensions, 1 % noise",
    "noisy-8-mild-4": "mildly curved, n = 4 in 8 dimensions, 1 % noise",
    "noisy-20-linear-4": "linear, n = 4 in 20 dimensions, 1 % noise",
    "noisy-20-mild-4": "mildly curved, n = 4 in 20 dimensions, 1 % noise",
    "noisiest-8-linear-4": "linear, n = 4 in 8 dimensions, 5 % noise",
    "noisiest-20-linear-4": "linear, n = 4 in 20 dimensions, 5 % noise",
    "noisiest-8-mild-4": "mildly curved, n = 4 in 8 dimensions, 5 % noise",
    "noisiest-20-mild-4": "mildly curved, n = 4 in 20 dimensions, 5 % noise",
}
"""What each family is, in the words of the README."""

_SCORES = ("MCC", "DCI-D", "intervention accuracy", "SHD", "fit time (s)")


def families(root: Path, names: Sequence[str]) -> str:
    """Medians and ranges of the families that results/ has; of these names, where there are any."""
    rows = []
    for name in names or FAMILY_HOURS:
        row = _bars(root, name)
        if row is not None:
            scores = (re.sub(r" [≥≤] .*$", "", row[key]) for key in _SCORES)
            rows.append(
                [
                    f"`{name}`",
                    NATURES[name],
                    str(row["fits"]),
                    *(_whole(key, text) for key, text in zip(_SCORES, scores, strict=True)),
                ]
            )
    head = ["family", "nature", "fits", "MCC", "disentanglement", "intervention accuracy", "SHD", "fit time (s)"]
    return to_markdown([head, *rows])


def _whole(key: str, text: str) -> str:
    """SHD without decimals where all of its numbers are whole."""
    return text.replace(".0", "") if key == "SHD" else text


def bars(root: Path, names: Sequence[str]) -> str:
    """Every score beside its bar, and the bars that are missed."""
    head = ["family", "fits", *_SCORES, "n found", "missed"]
    rows = [row for name in names or FAMILY_HOURS if (row := _bars(root, name)) is not None]
    return to_markdown([head, *([str(row[key]) for key in head] for row in rows)])


def _bars(root: Path, name: str) -> dict[str, Any] | None:
    path = root / "results" / "families" / name / "bars.json"
    return read_json(path)[0] if path.is_file() else None


def parts(root: Path, _: Sequence[str]) -> str:
    """How each folder was made: command, commit, day, CPU hours and load; those that the pipeline made."""
    head = ["folder", "command", "commit", "day", "CPU hours", "wall hours", "load"]
    rows = []
    for part in PARTS:
        record = Place(root, part).record()
        if record is not None:
            sessions = record["sessions"]
            load = max(max(each["load_before"], each["load_after"]) for each in sessions)
            commit, hours = str(record["commit"]), [record[key] / 3_600 for key in ("cpu_seconds", "wall_seconds")]
            told = [f"`{part.name}/`", f"`{record['command']}`", commit[:7] + commit[40:], sessions[-1]["started"][:10]]
            rows.append([*told, *(f"{each:.2f}" for each in hours), f"{load:.1f}"])
    return to_markdown([head, *rows])


def budget(root: Path, _: Sequence[str]) -> str:
    """Hours of CPU for each group of parts: measured where the pipeline made the results, otherwise guessed."""
    groups: dict[str, list[tuple[float, bool]]] = {}
    for part in PARTS:
        place = Place(root, part)
        groups.setdefault(part.name.partition("/")[0], []).append((hours_of(place), place.record() is not None))
    rows = [
        [
            f"`{name}`",
            str(len(found)),
            f"{sum(hours for hours, _ in found):.2f}",
            f"{sum(made for _, made in found)} of {len(found)}",
        ]
        for name, found in groups.items()
    ]
    total = sum(hours for found in groups.values() for hours, _ in found)
    done = sum(made for found in groups.values() for _, made in found)
    rows.append(["all", str(len(PARTS)), f"{total:.2f}", f"{done} of {len(PARTS)}"])
    return to_markdown([["results", "parts", "CPU hours", "measured"], *rows])


def peers(root: Path, _: Sequence[str]) -> str:
    """Disentanglement of every model: on the published pairs, and with a curved mixing."""
    found = {
        name: {row["model"]: row["dci_disentanglement"] for row in summary_rows(root, f"paper/{folder}")}
        for name, folder in (("published", "reference"), ("toy2d", "toy2d"))
    }
    models = list(found["published"])
    body = [[name, *(median_text(scores[model], 2) for model in models)] for name, scores in found.items()]
    return to_markdown([["pairs", *map(heading, models)], *body])


TABLES: Mapping[str, Callable[[Path, Sequence[str]], str]] = {
    "families": families,
    "bars": bars,
    "parts": parts,
    "budget": budget,
    "summary": summary,
    "pivot": pivot,
    "peers": peers,
    "compute": compute,
    "joined": joined,
    "searches": searches,
    **TRIAL_TABLES,
    **TRUST_TABLES,
}
"""The tables by the name in their marker; each gets the folder of the project and what follows the name."""
