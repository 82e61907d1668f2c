"""A causal chamber that is not there: it obeys SET and MSR lines and writes the CSV of the published data sets."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from imported_images import encoded
from numpy.typing import NDArray

from lcm.data.chamber.actuator import TUNNEL_ACTUATORS
from lcm.model.chamber import SENSORS

RESTING = {"l_11": "0", "osr_c": "1", "v_c": "5"}
HEADER = (
    *("timestamp", "config", "counter", "flag", "intervention"),
    *TUNNEL_ACTUATORS,
    *RESTING,
    *SENSORS,
)


def sensed(actuators: Mapping[str, float], noise: NDArray[np.float64]) -> dict[str, float]:
    """Readings of the nine sensors, in a rough likeness of the tunnel, all of which vary."""
    light = 2.0 * actuators["red"] + 1.5 * actuators["green"] + actuators["blue"]
    turned = np.cos(np.deg2rad(actuators["pol_1"] - actuators["pol_2"])) ** 2
    values = [light / 100, actuators["pol_1"], actuators["pol_2"], *[light] * 4, light * turned, light * turned + 1]
    return dict(zip(SENSORS, (np.array(values) + noise).tolist(), strict=True))


def measured(lines: Iterable[str], more: Mapping[str, str] | None = None) -> list[dict[str, str]]:
    """The rows that a chamber writes for these instructions."""
    generator = np.random.default_rng(0)
    state = {**dict.fromkeys(TUNNEL_ACTUATORS, "0"), **RESTING, **(more or {})}
    rows: list[dict[str, str]] = []
    time, was_set = 1_700_000_000.0, False
    for line in lines:
        word, *rest = line.split(",")
        if word == "SET":
            name, value = rest
            assert name in state, f"no actuator {name}"
            state[name], was_set = value, True
        elif word == "WAIT":
            time += int(rest[0]) / 1000
        else:
            assert word == "MSR" and rest[1] == "0", line
            for _ in range(int(rest[0])):
                time += 0.1
                readings = sensed({name: float(state[name]) for name in TUNNEL_ACTUATORS}, generator.normal(size=9))
                known = {"timestamp": f"{time:.3f}", "config": "standard", "counter": str(len(rows)), "flag": "0"}
                numbers = {name: f"{value:.6g}" for name, value in readings.items()}
                rows.append(known | {"intervention": str(int(was_set))} | state | numbers)
                was_set = False
    return rows


def write_rows(path: Path, rows: Sequence[Mapping[str, Any]]) -> Path:
    """The CSV of an experiment."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return path


def walk(pairs: int = 8) -> list[str]:
    """Instructions in which each actuator in turn changes alone, from the first to the second measurement of a pair."""
    generator = np.random.default_rng(1)
    lines = []
    for pair in range(pairs):
        lines += [f"SET,{name},{generator.integers(0, 90)}" for name in TUNNEL_ACTUATORS]
        lines += ["MSR,1,0", f"SET,{TUNNEL_ACTUATORS[pair % 5]},{100 + pair}", "MSR,1,0"]
    return lines


def write_experiment(folder: Path, name: str = "walk", pairs: int = 8) -> Path:
    """The folder of a data set with one experiment of vectors."""
    write_rows(folder / f"{name}.csv", measured(walk(pairs)))
    return folder


def write_image_experiment(folder: Path, name: str = "walk", pairs: int = 5, side: int = 32) -> Path:
    """The folder of a data set with one experiment of images, whose grey is the brightness of red."""
    rows = measured(walk(pairs))
    images = folder / name / f"images_{side}"
    images.mkdir(parents=True)
    for number, row in enumerate(rows):
        row["image_file"] = f"{number:05d}.png"
        picture = np.full((side, side, 3), int(row["red"]), np.uint8)
        (images / row["image_file"]).write_bytes(encoded(picture, "PNG"))
    write_rows(folder / name / f"{name}.csv", rows)
    return folder
