"""The suites: each module has `cases(plan)`, the cases by name, each of which measures and returns its rows."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping

from benchmarks.row import Plan, Row

Case = Callable[[], list[Row]]

MODULES = {
    "quality": "quality",
    "growth": "growth",
    "peers": "peers",
    "steps": "steps",
    "jobs": "jobs",
    "scaling-n": "scaling_n",
    "scaling-pairs": "scaling_pairs",
    "ensemble": "ensemble",
    "threads": "threads",
    "profile": "profile",
    "compile": "compiled",
    "memory": "memory",
    "reference": "reference",
    "implicit": "implicit",
}
"""The module of each suite, in the order in which they run; imported when needed, since torch comes with them."""


def cases_of(suite: str, plan: Plan) -> Mapping[str, Case]:
    """The cases of a suite of `MODULES`."""
    module = importlib.import_module(f"benchmarks.suites.{MODULES[suite]}")
    cases: Mapping[str, Case] = module.cases(plan)
    return cases
