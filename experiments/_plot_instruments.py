"""A figure of instruments: what each sensor reads along each setting, and how far the sheet of readings bends."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes

from experiments._instruments import INSTRUMENTS, Values
from lcm.report.style import BLUE, GREY, LINES, PALE, clean, new_figure, save_figure

_STEPS, _CLOUD, _SHOWN = 101, 1_500, 0.99
_LOW, _HIGH = 0.02, 0.98


def draw_instruments(path: str | Path, names: Sequence[str]) -> None:
    """Write a figure with a row for each instrument, and in it a panel for each setting and one for the sheet.

    A panel of a setting has a line for each sensor, in standard deviations over random settings, while the other
    settings stay at 0.5. The panel of the sheet shows random readings along the first principal axis and along that
    beyond as many as there are settings: a flat sheet would be a line.

    Raises:
        ValueError: no names, or a simulator that is missing.
    """
    if not names:
        raise ValueError("Expected one or more instruments; got none.")
    width = 1 + max(INSTRUMENTS[name].n for name in names)
    figure = new_figure(1.75 * width, 1.75 * len(names) + 0.2)
    axes = figure.subplots(len(names), width, squeeze=False)
    for row, name in zip(axes, names, strict=True):
        _draw_row(row, name)
    save_figure(figure, path)


def _draw_row(row: Sequence[Axes], name: str) -> None:
    instrument, generator = INSTRUMENTS[name], np.random.default_rng(0)
    cloud = generator.uniform(_LOW, _HIGH, (_CLOUD, instrument.n))
    readings = instrument.read(cloud)
    mean, spread = readings.mean(0), readings.std(0)
    along = np.linspace(_LOW, _HIGH, _STEPS)
    for index, setting in enumerate(instrument.settings):
        settings = np.full((_STEPS, instrument.n), 0.5)
        settings[:, index] = along
        _draw_setting(row[index], along, (instrument.read(settings) - mean) / spread, setting)
    row[0].set_ylabel(name.replace("_", " "), fontsize=9)
    for ax in row[instrument.n : -1]:
        ax.set_axis_off()
    _draw_sheet(row[-1], (readings - mean) / spread, instrument.n)


def _draw_setting(ax: Axes, along: Values, sensors: Values, setting: str) -> None:
    for index, sensor in enumerate(sensors.T):
        clean(ax).plot(along, sensor, color=LINES[index % len(LINES)], linewidth=0.9)
    ax.set_title(setting, fontsize=8)
    ax.set(xlim=(0.0, 1.0), ylim=(-3.2, 3.2), xticks=[0.0, 0.5, 1.0], yticks=[-2, 0, 2])
    ax.axhline(0.0, color=PALE, linewidth=0.6, zorder=0)


def _draw_sheet(ax: Axes, readings: Values, n: int) -> None:
    scores = np.linalg.svd(readings, full_matrices=False)
    places = scores.U * scores.S
    clean(ax).scatter(places[:, 0], places[:, n], s=1.5, color=BLUE, alpha=0.35, linewidths=0, rasterized=True)
    ax.set_title(f"sheet: axes 1 and {n + 1}", fontsize=8, color=GREY)
    # a few readings far off would leave no room for the others
    low, high = np.quantile(places[:, n], [(1.0 - _SHOWN) / 2.0, (1.0 + _SHOWN) / 2.0])
    ax.set(xticks=[], yticks=[], ylim=(low - 0.1 * (high - low), high + 0.1 * (high - low)))
