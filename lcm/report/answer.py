"""What an intervention does to variables and to x, and its table; its figure is in `effects`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, final

import numpy as np
from numpy.typing import NDArray

from lcm.model.graph import Graph

Array = NDArray[Any]
BEYOND = 0.45
"""How far a picture of a column goes beyond its usual range, on each side, in widths of that range."""
_NARROWEST = 1e-9


@final
@dataclass(frozen=True, eq=False)
class Answer:
    """Variables and x before and after do(z_i = value): of one observation, or of many draws.

    Attributes:
        title: the question in words.
        graph: over the variables, before the intervention.
        names: of the n variables.
        done: the variables that are set.
        z, z_after: (n,), of the observation; of many draws, their means.
        columns: names of the columns of x; empty for images.
        x, x_after: (d,), or images (R, H, W, C).
        low, high: (d,), the interval of `x_after`, or the range of nine in ten draws; None where there is none.
        usual: (2, d), the range of nine in ten rows of the data; None where it is not known.
        whiskers: what `low` and `high` are, in words; "" for none.
    """

    title: str
    graph: Graph
    names: Sequence[str]
    done: Sequence[int]
    z: Array
    z_after: Array
    columns: Sequence[str]
    x: Array
    x_after: Array
    low: Array | None = None
    high: Array | None = None
    usual: Array | None = None
    whiskers: str = ""

    @property
    def is_image(self) -> bool:
        """Whether x are images."""
        return self.x.ndim > 1

    @property
    def changed(self) -> tuple[int, ...]:
        """The variables that differ after the intervention, those that are set included."""
        scale = np.maximum(np.abs(self.z), 1.0)
        found = np.flatnonzero(np.abs(self.z_after - self.z) > 1e-5 * scale)
        return tuple(sorted({*self.done, *map(int, found)}))

    @property
    def usual_range(self) -> Array:
        """(2, d), `usual`, or where it is not known, one unit around `x`; every column is at least a little wide."""
        low, high = (self.x - 1.0, self.x + 1.0) if self.usual is None else self.usual
        return np.stack([low, np.maximum(high, low + _NARROWEST)]).astype(np.float64)

    def positions(self, values: Array) -> Array:
        """Where values (d,) of the columns lie in their usual ranges, 0 to 1; at most `BEYOND` outside."""
        low, high = self.usual_range
        return np.clip((values - low) / (high - low), -BEYOND, 1.0 + BEYOND)

    def off_scale(self, values: Array) -> NDArray[np.int8]:
        """On which side values (d,) of the columns lie beyond what a picture reaches: -1, 0 or 1."""
        low, high = self.usual_range
        places = (values - low) / (high - low)
        return ((places > 1.0 + BEYOND).astype(np.int8) - (places < -BEYOND)).astype(np.int8)


def answer_table(answer: Answer) -> dict[str, Array]:
    """The columns of a table with one row for each variable and each column of x: before, after, low, high, is_set.

    low and high are NaN, an empty cell of a CSV file, where there is no interval. Images have no rows of x.
    """
    rows = [] if answer.is_image else list(answer.columns)
    n, d = len(answer.names), len(rows)
    nothing = np.full(d, np.nan)
    done = np.isin(np.arange(n), list(answer.done))

    def joined(z: Array, x: Array) -> Array:
        return np.concatenate([np.asarray(z, dtype=np.float64), np.asarray(x[:d], dtype=np.float64)])

    return {
        "kind": np.array(["variable"] * n + ["column"] * d),
        "name": np.array([*answer.names, *rows]),
        "before": joined(answer.z, nothing if answer.is_image else answer.x),
        "after": joined(answer.z_after, nothing if answer.is_image else answer.x_after),
        "low": joined(np.full(n, np.nan), nothing if answer.low is None else answer.low),
        "high": joined(np.full(n, np.nan), nothing if answer.high is None else answer.high),
        "is_set": np.concatenate([done, np.zeros(d, dtype=np.bool_)]).astype(np.uint8),
    }
