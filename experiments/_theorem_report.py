"""theorem: the tables, figures and conclusions."""

from __future__ import annotations

import platform
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any

import torch

from experiments._plot_theorem import draw_equal_densities, draw_likelihood_against_distance, draw_power
from experiments._theorem_images import HISTOGRAM, LEVEL
from experiments._theorem_power import ONE_EDGE
from lcm.base import __version__
from lcm.base.files import write_json, write_text
from lcm.report.tables import RESULTS_JSON, RESULTS_MARKDOWN, Column, summarise, table_cells, to_markdown, to_text

Record = Mapping[str, Any]
Table = list[list[str]]

NEAR = 0.05
"""A fit within this many nats a pair of the nature's likelihood counts as near."""

LEAST_STRENGTH = 0.2

FIT_COLUMNS = (
    Column("gap", "below nature (nats a pair)"),
    Column("gap_standard_error", "standard error"),
    Column("distance", "distance from isomorphism"),
    Column("isomorphic", "isomorphic"),
    Column("graphs_equal", "graphs equal"),
    Column("fit_seconds", "fit time (s)", 1),
)


def write(out: Path, parts: Mapping[str, Sequence[Record]]) -> str:
    """Write results.json, results.md and figures/ from the records of all parts; returns the tables as plain text."""
    images, neighbours, fits = parts["images"], parts["neighbours"], parts["fits"]
    summary = {"images": image_summary(images), "one_edge": one_edge_summary(neighbours), "fits": fit_summary(fits)}
    settings = {
        "level": LEVEL,
        "threads": torch.get_num_threads(),
        "versions": f"lcm {__version__}, torch {torch.__version__}, Python {platform.python_version()}",
    }
    content = {"title": "theorem", "settings": settings, "summary": summary}
    write_json(out / RESULTS_JSON, {**content, **{name: [dict(r) for r in records] for name, records in parts.items()}})
    tables = {
        "Isomorphic images: nothing differs": _image_table(summary["images"]),
        "Neighbours: the share that is rejected": _power_table(neighbours),
        "Fits: likelihood and distance from isomorphism": _fit_table(fits),
    }
    said = _sentences(summary)
    listed = "".join(f"- {key}: {value}\n" for key, value in settings.items())
    body = "".join(f"## {title}\n\n{to_markdown(table)}\n" for title, table in tables.items())
    sentences = "".join(f"- {text}\n" for text in said)
    write_text(out / RESULTS_MARKDOWN, f"# Theorem 1, both ways\n\n{sentences}\n{body}{listed}")
    figures = out / "figures"
    figures.mkdir(exist_ok=True)
    p_values = [record["mmd_p_value"] for record in images]
    draw_equal_densities(figures / "densities.png", [r["histogram"] for r in images], HISTOGRAM, p_values)
    draw_power(figures / "power.png", neighbours)
    draw_likelihood_against_distance(figures / "likelihood.png", fits)
    text = "".join(f"{title}\n\n{to_text(table)}\n" for title, table in tables.items())
    return text + "".join(f"{line}\n" for line in said)


def image_summary(records: Sequence[Record]) -> dict[str, Any]:
    """Summary over all images."""
    return {
        "models": len(records),
        "largest_difference": max(record["largest_difference"] for record in records),
        "median_difference": median(record["median_difference"] for record in records),
        "mmd_rejections": sum(record["mmd_rejects"] for record in records),
        "likelihood_ratio_rejections": sum(record["likelihood_ratio_rejects"] for record in records),
    }


def one_edge_summary(records: Sequence[Record]) -> dict[str, Any]:
    """Rejections of neighbours by one edge of at least the least strength, at the largest number of pairs."""
    cells = [r for r in records if r["kind"] in ONE_EDGE and r["strength"] >= LEAST_STRENGTH]
    tested = [(round(r["power"][-1] * r["natures"]), r["natures"]) for r in cells]
    compared = [(round(r["mmd_power"][-1] * r["mmd_natures"]), r["mmd_natures"]) for r in cells if r["mmd_power"]]
    return {
        "pairs": cells[0]["sizes"][-1],
        "likelihood_ratio_rejections": sum(part[0] for part in tested),
        "neighbours": sum(part[1] for part in tested),
        "least_power": min(r["power"][-1] for r in cells),
        "mmd_rejections": sum(part[0] for part in compared),
        "mmd_neighbours": sum(part[1] for part in compared),
    }


def fit_summary(records: Sequence[Record]) -> dict[str, Any]:
    """Runs within `NEAR` nats a pair of nature's likelihood, and the others."""
    near = [record for record in records if record["gap"] <= NEAR]
    far = [record for record in records if record["gap"] > NEAR]
    return {
        "near": len(near),
        "near_isomorphic": sum(record["isomorphic"] for record in near),
        "near_largest_distance": max((record["distance"] for record in near), default=None),
        "far": len(far),
        "far_isomorphic": sum(record["isomorphic"] for record in far),
        "far_largest_distance": max((record["distance"] for record in far), default=None),
    }


def _sentences(summary: Mapping[str, Mapping[str, Any]]) -> list[str]:
    images, edges, fits = summary["images"], summary["one_edge"], summary["fits"]
    share = edges["likelihood_ratio_rejections"] / edges["neighbours"]
    said = [
        f"{images['models']} models and their images: log p differs by at most {images['largest_difference']:.1e} nats "
        f"a pair; the two-sample test rejects {images['mmd_rejections']} of them at level {LEVEL}, the likelihood "
        f"ratio {images['likelihood_ratio_rejections']}.",
        f"Neighbours by one edge of strength {LEAST_STRENGTH} or more, {edges['pairs']} pairs: the likelihood ratio "
        f"rejects {edges['likelihood_ratio_rejections']} of {edges['neighbours']} ({share:.1%}; "
        f"{edges['least_power']:.0%} in the worst cell), the two-sample test {edges['mmd_rejections']} of "
        f"{edges['mmd_neighbours']}.",
    ]
    for name, words in (("near", f"at most {NEAR}"), ("far", f"more than {NEAR}")):
        if fits[name]:
            said.append(
                f"Fits {words} nats a pair below nature: {fits[f'{name}_isomorphic']} of {fits[name]} isomorphic, "
                f"largest distance {fits[f'{name}_largest_distance']:.4f}."
            )
    return said


def _image_table(summary: Mapping[str, Any]) -> Table:
    head = ["models", "largest difference of log p", "median", "MMD rejects", "likelihood ratio rejects"]
    values = [f"{summary[key]:.1e}" for key in ("largest_difference", "median_difference")]
    rejected = [str(summary[key]) for key in ("mmd_rejections", "likelihood_ratio_rejections")]
    return [head, [str(summary["models"]), *values, *rejected]]


def _power_table(records: Sequence[Record]) -> Table:
    sizes = records[0]["sizes"]
    largest = f"{sizes[-1]:,}"
    head = ["kind", "size", "nats a pair", *(f"LR at {size:,}" for size in sizes), f"MMD at {largest}"]
    body = [
        [
            record["kind"],
            f"{record['strength']:g}",
            f"{median(record['nats_a_pair']):.4f}",
            *(f"{power:.0%}" for power in record["power"]),
            f"{record['mmd_power'][-1]:.0%}" if record["mmd_power"] else "–",
        ]
        for record in records
    ]
    return [head, *body]


def _fit_table(records: Sequence[Record]) -> Table:
    by = {"nature": "nature", "budget": "budget"}
    rows = summarise(records, list(by), [column.key for column in FIT_COLUMNS])
    return table_cells(rows, by, FIT_COLUMNS)
