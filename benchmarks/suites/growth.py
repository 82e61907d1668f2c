"""Growth of the time to quality of the default model with variables, pairs and columns, behind a curved mixing."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial

from benchmarks.problems import curved, draw
from benchmarks.row import Label, Plan, Row
from benchmarks.suites.quality import BUDGETS, time_to_quality
from lcm.data.nature.config import NatureConfig
from lcm.model.decoder import MixingDecoderConfig

SUITE = "growth"
_N, _PAIRS = 3, 100_000
_VARIABLES, _NUMBERS, _COLUMNS = (2, 3, 4, 6), (10_000, 30_000, 100_000), (3, 6, 15)


def cases(plan: Plan) -> dict[str, Callable[[], list[Row]]]:
    """One case for each number of variables, of pairs, and of columns of x; quick: few pairs alone."""
    numbers = (4_000, 8_000, 16_000) if plan.quick else _NUMBERS
    n, pairs = f"n = {_N}", f"{_PAIRS:,} pairs"
    found: dict[str, Callable[[], list[Row]]] = {
        f"{at:,} pairs": partial(_case, n, "pairs", at, curved(_N), at, plan) for at in numbers
    }
    if not plan.quick:
        found |= {f"n = {at}": partial(_case, pairs, "n", at, curved(at), _PAIRS, plan) for at in _VARIABLES}
        found |= {
            f"{at} columns": partial(_case, f"{n}, {pairs}", "columns", at, _in_columns(at), _PAIRS, plan)
            for at in _COLUMNS
        }
    return found


def _in_columns(d: int) -> NatureConfig:
    config = curved(_N)
    assert isinstance(config.decoder, MixingDecoderConfig)
    return replace(config, decoder=replace(config.decoder, dim_x=d))


def _case(fixed: str, axis: str, at: int, config: NatureConfig, pairs: int, plan: Plan) -> list[Row]:
    label = Label(SUITE, f"mixing 0.25, {fixed}, seed {plan.seed}", axis, at)
    budgets = BUDGETS[2:4] if plan.quick else BUDGETS
    return time_to_quality(draw(config, pairs, plan.seed), label, plan.seed, budgets, plan)
