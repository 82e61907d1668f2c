"""What a fit found: one type for every model, of vectors and of images."""

from __future__ import annotations

from functools import cached_property
from typing import final

from lcm.run.doubts import find_doubts
from lcm.run.outcome import Outcome
from lcm.run.report import fit_report, fit_text


@final
class FitResult(Outcome):
    """A fitted model, its graph with p-values, and the doubts about it; it prints itself on a page."""

    @cached_property
    def doubts(self) -> tuple[str, ...]:
        """One sentence for each sign that an assumption is broken or that the fit fell short."""
        return tuple(find_doubts(self))

    def report(self) -> str:
        """The fit in Markdown, as `lcm fit` writes it to report.md."""
        return fit_report(self)

    def __str__(self) -> str:
        return fit_text(self)
