"""Peak resident memory of a fit, above that of a process that only ran a backward pass, in multiples of the data."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from functools import partial

from benchmarks.children import run_child
from benchmarks.row import Label, Plan, Row

SUITE = "memory"
_TIMEOUT = 900.0
# of each stage: the peak does not depend on how many
_STEPS = 50


def cases(plan: Plan) -> dict[str, Callable[[], list[Row]]]:
    """Fits to a million pairs (quick: 50,000) of ten variables."""
    pairs = 50_000 if plan.quick else 1_000_000
    natures = ("linear",) if plan.quick else ("linear", "curved")
    return {f"{nature}, n = 10": partial(_case, nature, 10, pairs, plan) for nature in natures}


def _case(nature: str, n: int, pairs: int, plan: Plan) -> list[Row]:
    label = Label(SUITE, f"{nature}, n = {n}, {pairs:,} pairs, {_STEPS} steps")
    sources = ("arrays", "file") if nature == "linear" else ("arrays",)
    # peaks hardly vary: one process each
    with tempfile.TemporaryDirectory() as folder:
        idle = run_child("idle", plan.threads, _TIMEOUT)["peak_bytes"]
        made = {"nature": nature, "n": n, "pairs": pairs, "seed": plan.seed, "out": folder}
        data = run_child("pairs", plan.threads, _TIMEOUT, **made)["data_bytes"]
        rows = [
            label.row("torch and one backward pass", "MB", [idle / 1e6]),
            label.row("x and x_tilde", "MB", [data / 1e6]),
        ]
        for source in sources:
            found = run_child("fit", plan.threads, _TIMEOUT, source=source, steps=_STEPS, out=folder)
            rows += memory_rows(label, f"fit from {source}", found, idle, data)
    return rows


def memory_rows(label: Label, name: str, found: dict[str, float], idle: int, data: int) -> list[Row]:
    """The peak of a fit, and how many times the data lie between it and an idle process."""
    multiple = (found["peak_bytes"] - idle) / data
    loaded = (found["loaded_bytes"] - idle) / data
    return [
        label.row(f"{name}: peak", "MB", [found["peak_bytes"] / 1e6]),
        label.row(f"{name}: above idle", "× the data", [multiple], f"{loaded:.2f} before the fit, imports included"),
        label.row(f"{name}: fit_seconds", "s", [found["seconds"]]),
    ]
