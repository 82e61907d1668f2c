"""The charts of a page, as Vega-Lite specifications with their data and a sentence for those who cannot see them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lcm.report.page.document import Chart, TextTable
from lcm.report.style import BLUE, ORANGE
from lcm.report.training import shown_range, stage_runs

_SCHEMA = "https://vega.github.io/schema/vega-lite/v6.json"
_BINS = 80
_QUARTILES_APART = 1.349
_POINTS = 400
_HEIGHT = 150
Floats = NDArray[np.float64]
Specification = dict[str, Any]


def _chart(rows: Sequence[dict[str, Any]], height: int, **parts: Any) -> Specification:
    size = {"width": "container", "height": height, "autosize": {"type": "fit", "contains": "padding"}}
    return {"$schema": _SCHEMA, "data": {"values": list(rows)}, **size, **parts}


def _axis(field: str, title: str, kind: str = "quantitative", **more: Any) -> dict[str, Any]:
    return {"field": field, "type": kind, "title": title, **more}


def _rounded(value: float) -> float:
    """Four digits, which no eye tells from more, to keep pages small."""
    return float(f"{value:.4g}")


def _colours(values: Sequence[str]) -> dict[str, Any]:
    scale = {"domain": list(values), "range": [BLUE, ORANGE][: len(values)]}
    return {"field": "state", "type": "nominal", "title": None, "scale": scale, "legend": {"orient": "top"}}


def _two_kinds(first: str, second: str) -> dict[str, Any]:
    """Full and dashed lines, so that no reader needs the colours."""
    return {
        "field": "state",
        "type": "nominal",
        "title": None,
        "scale": {"domain": [first, second], "range": [[1, 0], [5, 3]]},
        "legend": {"orient": "top"},
    }


def distribution_chart(name: str, before: Floats, after: Floats) -> Chart:
    """The distributions of one variable without and under an intervention on it.

    Args:
        name: of the variable.
        before: (N,) values without an intervention.
        after: (M,) values under one; M may be 0.
    """
    states = ["observed", "under intervention"]
    low, high = np.quantile(np.concatenate([before, after]), [0.001, 0.999])
    edges = np.linspace(low, max(high, low + 1e-9), _BINS + 1)
    rows = [
        {"z": _rounded(z), "density": _rounded(density), "state": state}
        for state, values in zip(states, (before, after), strict=True)
        if len(values)
        for z, density in zip(0.5 * (edges[1:] + edges[:-1]), _density(values, edges), strict=True)
    ]
    encoding = {
        "x": _axis("z", name),
        "y": _axis("density", "density", stack=None),
        "color": _colours(states),
        "strokeDash": _two_kinds(*states),
        "tooltip": [_axis("state", "values", "nominal"), _axis("z", name), _axis("density", "density")],
    }
    mark = {"type": "line", "interpolate": "monotone", "strokeWidth": 2}
    text = f"Distribution of {name}: mean {before.mean():.2f}, standard deviation {before.std():.2f} as observed"
    if len(after):
        text += f"; mean {after.mean():.2f}, standard deviation {after.std():.2f} in {len(after):,} interventions on it"
    return Chart(_chart(rows, _HEIGHT, mark=mark, encoding=encoding), text + ".")


def _density(values: Floats, edges: Floats) -> Floats:
    """A kernel estimate between edges of equal width, at the bandwidth of Silverman (1986, equation 3.31)."""
    counts, width = np.histogram(values, edges)[0], float(edges[1] - edges[0])
    quartiles = np.quantile(values, [0.25, 0.75])
    spread = min(values.std(), (quartiles[1] - quartiles[0]) / _QUARTILES_APART) or values.std()
    bandwidth = max(0.9 * float(spread) * len(values) ** -0.2, 0.5 * width)
    apart = np.arange(len(counts))[:, None] - np.arange(len(counts))
    kernel = np.exp(-0.5 * np.square(apart * width / bandwidth))
    density: Floats = (kernel / kernel.sum(0)) @ counts / (len(values) * width)
    return density


def share_chart(names: Sequence[str], of_model: Floats, of_pairs: Floats | None) -> Chart:
    """The share of each target set, by the model and by the posterior of the pairs.

    Args:
        names: of the K sets.
        of_model: (K,) probabilities of the model.
        of_pairs: (K,) mean posterior of pairs; None without pairs.
    """
    kinds = {"model": of_model} if of_pairs is None else {"model": of_model, "mean posterior of the pairs": of_pairs}
    rows = [
        {"target": name, "share": _rounded(share), "state": kind}
        for kind, shares in kinds.items()
        for name, share in zip(names, shares, strict=True)
    ]
    encoding = {
        "y": _axis("target", "target", "nominal", sort=None),
        "yOffset": {"field": "state", "sort": None},
        "x": _axis("share", "share of pairs", axis={"format": "%"}),
        "color": _colours(list(kinds)),
        "tooltip": [_axis("target", "target", "nominal"), _axis("state", "by", "nominal"), _axis("share", "share")],
    }
    head = ["target", *kinds]
    body = [[name, *(f"{values[k]:.1%}" for values in kinds.values())] for k, name in enumerate(names)]
    likeliest = int(np.argmax(of_model))
    text = f"Share of pairs by target. The most frequent is {names[likeliest]} with {of_model[likeliest]:.1%}."
    height = 60 + 26 * len(names) * len(kinds) // 2
    return Chart(
        _chart(rows, height, mark="bar", encoding=encoding), text, TextTable(head, body, "Shares", folded=True)
    )


def certainty_chart(likeliest: Floats) -> Chart:
    """How sure the model is of the target of each pair.

    Args:
        likeliest: (N,) posterior of the likeliest target set of every pair, in [0, 1].
    """
    edges = np.linspace(0.0, 1.0, 21)
    shares = np.histogram(likeliest, edges)[0] / len(likeliest)
    rows = [
        {"from": _rounded(low), "to": _rounded(high), "share": _rounded(share)}
        for low, high, share in zip(edges[:-1], edges[1:], shares, strict=True)
    ]
    encoding = {
        "x": _axis(
            "from",
            "posterior of the likeliest target",
            bin={"binned": True, "step": 0.05},
            axis={"values": [0.0, 0.2, 0.4, 0.6, 0.8, 1.0]},
        ),
        "x2": {"field": "to"},
        "y": _axis("share", "share of pairs", axis={"format": "%"}),
        "tooltip": [_axis("from", "from"), _axis("to", "to"), _axis("share", "share", format=".1%")],
    }
    sure = float((likeliest > 0.9).mean())
    text = f"Posterior of the likeliest target of each pair: above 0.9 in {sure:.1%} of {len(likeliest):,} pairs."
    mark = {"type": "bar", "color": BLUE}
    return Chart(_chart(rows, _HEIGHT, mark=mark, encoding=encoding), text)


def course_chart(records: Sequence[Any], stage: str) -> Chart | None:
    """The likelihood of a stage of a fit against time; None without records. The axes move and zoom.

    Args:
        records: lines of metrics.jsonl, as for `lcm.report.draw_training`.
        stage: whose course is shown.
    """
    kinds = {"validation": "validation_log_likelihood", "training": "log_likelihood"}
    rows: list[dict[str, Any]] = []
    for run in (run for run in stage_runs(records) if run.stage == stage):
        for kind, key in kinds.items():
            for time, value in zip(run.time, run.series(key), strict=True):
                if np.isfinite(value):
                    row = {"time": _rounded(time), "value": float(f"{value:.7g}"), "state": kind}
                    rows.append(row | {"restart": str(run.restart)})
    if not rows:
        return None
    # with the digits of the values, since four would cut off the ends of a flat course
    low, high = (float(f"{end:.7g}") for end in shown_range(np.array([row["value"] for row in rows])))
    below = sum(row["value"] < low for row in rows)
    zoom = {"name": "view", "select": {"type": "interval", "zoom": "wheel![event.shiftKey]"}, "bind": "scales"}
    encoding = {
        "x": _axis("time", "seconds in the stage", scale={"zero": False}),
        "y": _axis("value", "log-likelihood (nats per pair)", scale={"zero": False, "domain": [low, high]}),
        "color": _colours(list(kinds)),
        "strokeDash": _two_kinds(*kinds),
        "detail": {"field": "restart"},
        "tooltip": [_axis("state", "of", "nominal"), _axis("restart", "restart", "nominal"), *_time_and_value()],
    }
    mark = {"type": "line", "clip": True, "point": {"size": 12}}
    validation = [row for row in rows if row["state"] == "validation"] or rows
    text = (
        f"Course of {stage}: the log-likelihood goes from {validation[0]['value']:.3f} to {validation[-1]['value']:.3f}"
        " nats per pair. Drag to move, turn the wheel with the Shift key to zoom, double-click to go back."
    )
    if below:
        text += f" {below} of the first points {'lies' if below == 1 else 'lie'} below the axis."
    body = [[row["restart"], f"{row['time']:.1f}", f"{row['value']:.4f}"] for row in validation]
    table = TextTable(["restart", "seconds", "log-likelihood"], body, f"Numbers of {stage}", folded=True)
    return Chart(_chart(rows, 240, params=[zoom], mark=mark, encoding=encoding), text, table)


def _time_and_value() -> list[dict[str, Any]]:
    return [_axis("time", "seconds"), _axis("value", "nats per pair", format=".4f")]


def match_chart(true_name: str, learned_name: str, true: Floats, learned: Floats, correlation: float) -> Chart:
    """A learned variable (N,) against the true one (N,) that it matches, with their |Spearman|."""
    rows = [
        {"true": _rounded(a), "learned": _rounded(b)} for a, b in zip(true[:_POINTS], learned[:_POINTS], strict=True)
    ]
    encoding = {
        "x": _axis("true", f"true {true_name}", scale={"zero": False}),
        "y": _axis("learned", f"learned {learned_name}", scale={"zero": False}),
    }
    mark = {"type": "point", "filled": True, "size": 14, "opacity": 0.5, "color": BLUE}
    text = f"Learned {learned_name} against true {true_name}: |Spearman| {correlation:.4f}."
    return Chart(_chart(rows, _HEIGHT + 30, mark=mark, encoding=encoding), text)
