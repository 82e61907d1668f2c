"""One figure of a benchmark, and how it is taken: the median of repeats after one that is not counted."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any, Literal, final

Direction = Literal["higher", "lower", ""]

_LOWER_IS_BETTER = ("s", "MB", "× the data", "× one model", "× eager")


@final
@dataclass(frozen=True)
class Plan:
    """How much is timed, and how often.

    Attributes:
        quick: small sizes.
        threads: of torch and of whatever else computes, at least 1.
        repeats: K, counted repeats of each figure, at least 1.
        row_seconds: no further repeat of a figure is begun after this many seconds of counted ones.
        seed: of the natures, their pairs and the fits.
    """

    quick: bool = False
    threads: int = 1
    repeats: int = 3
    row_seconds: float = 10.0
    seed: int = 0


@final
@dataclass(frozen=True)
class Row:
    """One figure: what was measured, its median and range over repeats; of an exponent, its estimate and interval.

    Attributes:
        suite, case, quantity, unit: name it; together with `at` they are unique in a run.
        median, min, max: None where it could not be measured, and `note` says why; of an exponent, the slope and the
            ends of its 95 % interval.
        repeats: counted ones, 0 where it could not be measured; of an exponent, the points of its line.
        axis, at: of a scaling, what is varied and its value; None elsewhere.
        note: what a reader has to know besides.
    """

    suite: str
    case: str
    quantity: str
    unit: str
    median: float | None
    min: float | None
    max: float | None
    repeats: int
    axis: str | None = None
    at: float | None = None
    note: str = ""

    @property
    def key(self) -> tuple[str, str, str, str, float | None]:
        """What a row is found by in another run."""
        return self.suite, self.case, self.quantity, self.unit, self.at

    @property
    def better(self) -> Direction:
        """Whether a higher or a lower figure is the better one; "" where neither is."""
        if self.unit.endswith("/s"):
            return "higher"
        return "lower" if self.unit in _LOWER_IS_BETTER else ""

    def to_json(self) -> dict[str, Any]:
        """The fields, as JSON holds them."""
        return asdict(self)

    @staticmethod
    def from_json(value: Any) -> Row:
        """The row of `to_json`; ValueError for anything else."""
        names = [field.name for field in fields(Row)]
        if not isinstance(value, dict) or set(value) != set(names):
            raise ValueError(f"Expected a row with the keys {', '.join(names)}; got {_keys(value)}.")
        return Row(**value)


def _keys(value: Any) -> str:
    return ", ".join(map(str, value)) if isinstance(value, dict) else repr(value)


@final
@dataclass(frozen=True)
class Label:
    """What the rows of one case have in common."""

    suite: str
    case: str
    axis: str | None = None
    at: float | None = None

    def row(self, quantity: str, unit: str, values: Sequence[float], note: str = "") -> Row:
        """A row of the median and range of one or more counted values."""
        low, high, middle = min(values), max(values), statistics.median(values)
        return Row(self.suite, self.case, quantity, unit, middle, low, high, len(values), self.axis, self.at, note)

    def missing(self, quantity: str, unit: str, reason: str) -> Row:
        """A row of a figure that could not be measured."""
        return Row(self.suite, self.case, quantity, unit, None, None, None, 0, self.axis, self.at, reason)


def repeated(measure: Callable[[], float], plan: Plan) -> list[float]:
    """Counted values of `measure`, in seconds or whatever it returns, after one that is not counted."""
    measure()
    return counted(measure, plan)


def counted(measure: Callable[[], float], plan: Plan) -> list[float]:
    """Values of `measure`, the plan's number of them or as many as its time for a row allows."""
    started = time.perf_counter()
    values = [measure()]
    while len(values) < plan.repeats and time.perf_counter() - started < plan.row_seconds:
        values.append(measure())
    return values


def timed(run: Callable[[], object], plan: Plan) -> list[float]:
    """Seconds of each counted run."""

    def seconds() -> float:
        started = time.perf_counter()
        run()
        return time.perf_counter() - started

    return repeated(seconds, plan)
