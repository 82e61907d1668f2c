"""How far a sweep is: cells done, running and failed, and the time left."""

from __future__ import annotations

import sys
import time
from typing import Any, final

from tqdm import tqdm

from lcm.sweep.cells import Cell
from lcm.sweep.work import Outcome


@final
class Progress:
    """A bar on stderr where that is a terminal, else a line for every cell; nothing when quiet."""

    def __init__(self, waiting: int, whole: int, quiet: bool) -> None:
        """`waiting` of all the cells are to be done; those that were finished before count as done."""
        self.waiting, self.before, self.whole, self.quiet = waiting, whole - waiting, whole, quiet
        self.done = self.failed = 0
        self._running = 0
        self._started = time.perf_counter()
        bar = not quiet and sys.stderr.isatty()
        self._bar: tqdm[Any] | None = None
        if bar:
            self._bar = tqdm(total=whole, initial=self.before, desc="cells", file=sys.stderr, unit="cell")

    def running(self, cells: int) -> None:
        """So many cells are being done now."""
        self._running = cells
        if self._bar is not None:
            self._bar.set_postfix_str(f"{cells} running, {self.failed} failed")

    def ended(self, cell: Cell, outcome: Outcome) -> None:
        """One more cell is finished or has failed."""
        self.done += 1
        self.failed += outcome.failed
        text = _described(cell, outcome)
        if self._bar is not None:
            self._bar.update()
            self._bar.set_postfix_str(f"{self._running} running, {self.failed} failed")
            if outcome.failed:
                self._bar.write(text, file=sys.stderr)
        elif not self.quiet:
            print(f"[{self.before + self.done}/{self.whole}] {text}; {self._outlook()}", file=sys.stderr, flush=True)

    def close(self) -> None:
        """Leave the bar as it is."""
        if self._bar is not None:
            self._bar.close()

    def _outlook(self) -> str:
        left = self.waiting - self.done
        if not left:
            return f"{self.failed} failed, none left"
        # what runs now is about half done; the cells of an ensemble end together
        under_way = min(self._running, left) / 2
        seconds = (time.perf_counter() - self._started) / (self.done + under_way) * (left - under_way)
        return f"{self._running} running, {self.failed} failed, about {in_words(seconds)} left"


def in_words(seconds: float) -> str:
    """A time as one would say it: 40 s, 12 min, 3.5 h."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"


def _described(cell: Cell, outcome: Outcome) -> str:
    if outcome.failed:
        return f"{cell.name}: failed: {outcome.record['error']}"
    scores = outcome.record["scores"]
    mcc = "" if scores["mcc"] is None else f"MCC {scores['mcc']:.4f}, "
    return f"{cell.name}: {mcc}{scores['fit_seconds']:.1f} s"
