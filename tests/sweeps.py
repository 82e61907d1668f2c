"""Small sweeps for their tests."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from small import SHORT_YAML, small_data

from lcm.app.sweep.executors import Executor, InProcessExecutor, Update
from lcm.app.sweep.sweep import Records, open_sweep
from lcm.app.sweep.work import Task
from lcm.base.files import read_json
from lcm.base.yaml_text import dump_yaml, parse_yaml
from lcm.data.pair_files import save_pairs

SHORT = parse_yaml(SHORT_YAML, "SHORT")
SHORT["noise_encoder"] |= {"steps": 120, "marginal_steps": 120}


class InProcess(Executor):
    """Does the tasks here, one after the other, as if there were `jobs` processes, and remembers them."""

    def __init__(self, jobs: int = 1) -> None:
        self._jobs = jobs
        self.tasks: list[Task] = []

    @property
    def jobs(self) -> int:
        return self._jobs

    def run(self, tasks: Sequence[Task]) -> Generator[Update, None, None]:
        self.tasks += tasks
        yield from InProcessExecutor("cpu").run(tasks)


def sweep_file(folder: Path, data: tuple[str, ...] = ("linear",), pairs: int = 300, **keys: Any) -> Path:
    """A sweep of short fits to small data sets, with further keys, in a folder with its data."""
    folder.mkdir(parents=True, exist_ok=True)
    entries = []
    for name in data:
        path = folder / f"{name}.safetensors"
        if not path.exists():
            save_pairs(path, small_data(name, pairs))
        entries.append({"name": name, "train": path.name, "test": path.name})
    file = folder / "sweep.yaml"
    file.write_text(dump_yaml({"data": entries, "base": SHORT, **keys}))
    return file


def opened(folder: Path, **keys: Any) -> Records:
    """The records of such a sweep, in its folder OUT."""
    return open_sweep(sweep_file(folder, **keys), folder / "out")[1]


def scores(records: Records) -> list[dict[str, Any]]:
    """The scores of all cells, in order, but for times."""
    return [{k: v for k, v in each["scores"].items() if k != "fit_seconds"} for each in written(records)]


def written(records: Records) -> list[dict[str, Any]]:
    """The records of all cells, in order, as they are on disk."""
    return [read_json(records.out / "cells" / f"{cell.name}.json") for cell in records.cells]


def assert_equal_scores(first: Records, second: Records) -> None:
    """Equal up to the rounding that batches bring."""
    for one, two in zip(scores(first), scores(second), strict=True):
        assert one.keys() == two.keys()
        for key, value in one.items():
            if isinstance(value, float | list):
                assert value == pytest.approx(two[key], abs=2e-3), key
            else:
                np.testing.assert_equal(value, two[key])
