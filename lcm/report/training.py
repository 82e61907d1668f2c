"""The course of a fit: likelihood and thickness against time, stage by stage."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.ticker import LogLocator, NullLocator
from numpy.typing import NDArray

from lcm.report.style import BLUE, GREEN, GREY, ORANGE, PALE, PURPLE, RED, SKY, clean, new_figure, save_figure
from lcm.report.tables import Record

_RESTART_COLORS = (BLUE, ORANGE, GREEN, RED, PURPLE, SKY)
_MOST_BULKS = 5.0
Floats = NDArray[np.float64]


def draw_training(path: str | Path, records: Sequence[Record]) -> None:
    """Write a figure of the log-likelihood and of the thickness σ of a fit against time, one column a stage.

    Likelihoods of different stages are not comparable, so each stage has its own axis.

    Args:
        path: file to write.
        records: lines of metrics.jsonl in the order written. Keys that are read, any of which may be missing:
            stage, restart, seconds since the start of the fit (else step), log_likelihood and
            validation_log_likelihood in nats a pair, thickness (one number, or one for each variable). Values
            that are null or not finite are left out.
    """
    runs = stage_runs(records)
    stages = list(dict.fromkeys(run.stage for run in runs))
    columns = max(1, len(stages))
    thick = any(record.get("thickness") is not None for record in records)
    figure = new_figure(max(5.0, 3.2 * columns), 5.2 if thick else 3.4)
    axes = figure.subplots(1 + thick, columns, squeeze=False, sharex="col", height_ratios=(3, 2)[: 1 + thick])
    restarts = list(dict.fromkeys(run.restart for run in runs))
    for run in runs:
        color = _RESTART_COLORS[restarts.index(run.restart) % len(_RESTART_COLORS)]
        _draw_run(list(axes[:, stages.index(run.stage)]), run, color)
    for column, stage in zip(axes.T, stages or [""], strict=True):
        _finish(column, stage)
        column[-1].set_xlabel("seconds in the stage" if any("seconds" in r for r in records) else "step")
    for ax, label in zip(axes[:, 0], ("log-likelihood (nats a pair)", "thickness σ"), strict=False):
        ax.set_ylabel(label)
    figure.legend(handles=_handles(restarts), loc="outside lower center", ncols=6, frameon=False, fontsize=9)
    save_figure(figure, path)


@final
@dataclass(frozen=True)
class StageRun:
    """One stage of one restart: its records, and the time (R,) of each since the stage began."""

    stage: str
    restart: int
    time: Floats
    records: list[Record]

    def series(self, key: str) -> Floats:
        """The values of one key (R,), NaN where it is missing or null."""
        values = [record.get(key) for record in self.records]
        return np.array([np.nan if value is None else value for value in values], dtype=np.float64)

    def thickness(self) -> Floats:
        """The thickness of every variable (R, n), NaN in records without one."""
        values = [np.atleast_1d(np.asarray(r.get("thickness", np.nan), dtype=np.float64)) for r in self.records]
        n = max(map(len, values))
        return np.array([value if len(value) == n else np.full(n, np.nan) for value in values])


def stage_runs(records: Sequence[Record]) -> list[StageRun]:
    """The records of a fit, split by stage and restart."""
    grouped: dict[tuple[str, int], list[int]] = {}
    for index, record in enumerate(records):
        key = str(record.get("stage", "fit")), int(record.get("restart") or 0)
        grouped.setdefault(key, []).append(index)
    runs = []
    for (stage, restart), rows in grouped.items():
        own = [records[row] for row in rows]
        # a stage begins when the record before its first one was written
        before = float(records[rows[0] - 1].get("seconds", 0.0)) if rows[0] else 0.0
        time = [r["seconds"] - before if "seconds" in r else r.get("step", i) for i, r in enumerate(own)]
        runs.append(StageRun(stage, restart, np.array(time, dtype=np.float64), own))
    return runs


def _draw_run(column: Sequence[Axes], run: StageRun, color: str) -> None:
    """The likelihood of a stage and, where there is a second panel, its thickness."""
    likelihood = column[0]
    _draw_line(likelihood, run.time, run.series("log_likelihood"), color=color, linewidth=0.8, alpha=0.6)
    validation = run.series("validation_log_likelihood")
    _draw_line(likelihood, run.time, validation, color=color, linewidth=1.6, marker="o", markersize=2.5)
    for variable in run.thickness().T if len(column) > 1 else ():
        _draw_line(column[1], run.time, variable, color=color, linewidth=1.0, alpha=0.8)


def _draw_line(ax: Axes, time: Floats, values: Floats, **style: Any) -> None:
    # validation is rarer than training: records without it are left out, and its points are joined
    present = np.isfinite(values)
    if present.any():
        ax.plot(time[present], values[present], **style)


def _finish(column: Sequence[Axes], stage: str) -> None:
    column[0].set_title(stage, fontsize=10)
    _limit_to_bulk(column[0])
    for ax in column:
        clean(ax).grid(axis="y", color=PALE, linewidth=0.6)
    for ax in column[1:]:
        _finish_thickness(ax)


def _finish_thickness(thickness: Axes) -> None:
    if thickness.lines:
        thickness.set_yscale("log")
        thickness.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
        thickness.yaxis.set_major_formatter("{x:g}")
        thickness.yaxis.set_minor_locator(NullLocator())
    else:
        thickness.set_yticks([])
        thickness.spines["left"].set_visible(False)
        note = "not fitted here"
        thickness.text(0.5, 0.5, note, transform=thickness.transAxes, ha="center", color=GREY, fontsize=9)


def _limit_to_bulk(ax: Axes) -> None:
    """Cut off the first steps if they are so low that they would hide the rest."""
    lines = [np.asarray(line.get_ydata(), dtype=np.float64) for line in ax.lines]
    if not lines:
        return
    ax.set_ylim(*shown_range(np.concatenate(lines)))


def shown_range(values: Floats) -> tuple[float, float]:
    """The ends of an axis for log-likelihoods (N,): of all, without the first steps where they would hide the rest."""
    lowest, low, high = values.min(), np.quantile(values, 0.1), values.max()
    # a span that the numbers can show, also where all are equal
    bulk = max(high - low, 1e-6 * max(1.0, abs(high)))
    # a reader looks for the first point: it is left out only where the rest would fill less than a fifth
    begin = lowest if high - lowest <= _MOST_BULKS * bulk else low - bulk
    margin = 0.05 * max(high - begin, bulk)
    return float(begin - margin), float(high + margin)


def _handles(restarts: Sequence[int]) -> list[Line2D]:
    several = restarts if len(restarts) > 1 else []
    colors = [_RESTART_COLORS[index % len(_RESTART_COLORS)] for index in range(len(several))]
    return [
        Line2D([], [], color=GREY, linewidth=0.8, label="training"),
        Line2D([], [], color=GREY, linewidth=1.6, marker="o", markersize=2.5, label="validation"),
        *(
            Line2D([], [], color=color, linewidth=2, label=f"restart {restart}")
            for color, restart in zip(colors, several, strict=True)
        ),
    ]
