"""How a fit went: likelihood and thickness against time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from numpy.typing import NDArray

from lcm.plot.style import BLUE, GREEN, GREY, ORANGE, PALE, PURPLE, RED, clean, new_figure, save_figure

_STAGE_COLORS = (BLUE, RED, GREEN, PURPLE, ORANGE)

Record = Mapping[str, Any]
Floats = NDArray[np.float64]


def draw_training(path: str | Path, records: Sequence[Record]) -> None:
    """Write a figure of the log-likelihood and of the thickness σ of a fit against time.

    Args:
        path: file to write.
        records: lines of metrics.jsonl in the order written. Keys that are read, any of which may be missing:
            stage, restart, seconds (else step), log_likelihood and validation_log_likelihood in nats a pair,
            thickness (one number, or a list with one for each variable). Values that are null or not finite are
            left out.
    """
    figure = new_figure(7.0, 5.2)
    likelihood, thickness = figure.subplots(2, 1, sharex=True, height_ratios=(3, 2))
    clock = "seconds" if any("seconds" in record for record in records) else "step"
    stages = list(dict.fromkeys(str(record.get("stage", "fit")) for record in records))
    for (stage, _), run in _runs(records).items():
        color = _STAGE_COLORS[stages.index(stage) % len(_STAGE_COLORS)]
        _draw_run(likelihood, thickness, run, clock, color)
    _limit_to_bulk(likelihood)
    likelihood.set_ylabel("log-likelihood (nats a pair)")
    thickness.set(yscale="log", ylabel="thickness σ", xlabel="time (s)" if clock == "seconds" else "step")
    for ax in (likelihood, thickness):
        clean(ax).grid(axis="y", color=PALE, linewidth=0.6)
    figure.legend(handles=_handles(stages), loc="outside upper center", ncols=4, frameon=False, fontsize=9)
    save_figure(figure, path)


def _runs(records: Sequence[Record]) -> dict[tuple[str, Any], list[Record]]:
    """The records of each stage of each restart."""
    runs: dict[tuple[str, Any], list[Record]] = {}
    for record in records:
        runs.setdefault((str(record.get("stage", "fit")), record.get("restart")), []).append(record)
    return runs


def _draw_run(likelihood: Axes, thickness: Axes, run: Sequence[Record], clock: str, color: str) -> None:
    time = _series(run, clock)
    time = np.where(np.isnan(time), np.arange(len(run)), time)
    _draw_line(likelihood, time, _series(run, "log_likelihood"), color=color, linewidth=0.8, alpha=0.5)
    validation = _series(run, "validation_log_likelihood")
    _draw_line(likelihood, time, validation, color=color, linewidth=1.6, marker="o", markersize=2.5)
    for variable in _thickness(run).T:
        _draw_line(thickness, time, variable, color=color, linewidth=1.0, alpha=0.8)


def _thickness(run: Sequence[Record]) -> Floats:
    """The thickness of every variable (R, n), NaN in records without one."""
    values = [np.atleast_1d(np.array(record.get("thickness", np.nan), dtype=np.float64)) for record in run]
    n = max(map(len, values))
    return np.array([value if len(value) == n else np.full(n, np.nan) for value in values])


def _series(run: Sequence[Record], key: str) -> Floats:
    """The values of one key (R,), NaN where it is missing or null."""
    values = [record.get(key) for record in run]
    return np.array([np.nan if value is None else value for value in values], dtype=np.float64)


def _draw_line(ax: Axes, time: Floats, values: Floats, **style: Any) -> None:
    # Rows without the value are left out: validation is rarer than training, and its points are to be joined.
    present = np.isfinite(values)
    if present.any():
        ax.plot(time[present], values[present], **style)


def _limit_to_bulk(ax: Axes) -> None:
    """Cut off the first steps where they are so low that nothing else could be seen."""
    lines = [np.asarray(line.get_ydata(), dtype=np.float64) for line in ax.lines]
    if not lines:
        return
    values = np.concatenate(lines)
    low, high = np.quantile(values, 0.1), values.max()
    span = max(high - low, 1e-6)
    ax.set_ylim(max(values.min(), low - span) - 0.05 * span, high + 0.1 * span)


def _handles(stages: Sequence[str]) -> list[Line2D]:
    colors = [_STAGE_COLORS[index % len(_STAGE_COLORS)] for index in range(len(stages))]
    return [
        *(
            Line2D([], [], color=color, linewidth=2, label=stage)
            for color, stage in zip(colors, stages, strict=True)
        ),
        Line2D([], [], color=GREY, linewidth=0.8, label="training"),
        Line2D([], [], color=GREY, linewidth=1.6, marker="o", markersize=2.5, label="validation"),
    ]
