"""The page of a run, report.html: what was found, how sure it is, and how to repeat it."""

from __future__ import annotations

from lcm.run.page.of_run import write_fit_page

__all__ = ["write_fit_page"]
