"""`torch.compile` on and off: the loss of a training step and its gradients."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import asdict
from functools import partial
from statistics import median

from benchmarks.children import run_child
from benchmarks.row import Label, Plan, Row

SUITE = "compile"
_TIMEOUT = 600.0
_COMPILERS = ("c++", "g++", "clang++", "cl")


def cases(plan: Plan) -> dict[str, Callable[[], list[Row]]]:
    """The stages whose step may pay for compilation."""
    return {f"{name}, n = 4": partial(_case, name, 4, plan) for name in ("flow", "mechanisms")}


def _case(name: str, n: int, plan: Plan) -> list[Row]:
    label = Label(SUITE, f"{name}, n = {n}")
    if plan.quick:
        return [label.missing("compiled", "s", "left out of the quick sizes: it takes a minute")]
    if not any(shutil.which(compiler) for compiler in _COMPILERS):
        return [label.missing("compiled", "s", "no C++ compiler on this machine")]
    try:
        found = run_child("compiled", plan.threads, _TIMEOUT, stage=name, n=n, plan=asdict(plan))
    except RuntimeError as error:
        return [label.missing("compiled", "s", f"torch.compile failed: {error}")]
    return compiled_rows(label, found["eager"], found["compiled"], found["compilation"])


def compiled_rows(label: Label, eager: list[float], compiled: list[float], compilation: float) -> list[Row]:
    """Loss and gradients both ways, their ratio, and after how many steps compilation has paid for itself."""
    gain = median(eager) - median(compiled)
    rows = [
        label.row("loss and gradients, eager", "s", eager),
        label.row("loss and gradients, compiled", "s", compiled),
        label.row("compilation", "s", [compilation], "once, in a fresh process without caches"),
        label.row("compiled", "× eager", [value / median(eager) for value in compiled]),
    ]
    if gain > 0:
        return [*rows, label.row("steps until compilation has paid", "steps", [compilation / gain])]
    return [*rows, label.missing("steps until compilation has paid", "steps", "never: compiled is not faster")]
