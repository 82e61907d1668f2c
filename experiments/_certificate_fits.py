"""The fits of the experiment `certificate`: a nature, its pairs, sound or broken, and the certificate of a fit."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from experiments._experiment import fit_config
from experiments._violations import VIOLATIONS, sound
from lcm.base.config import structure_config
from lcm.data.nature.build import build_nature, numpy_generator, torch_generator
from lcm.data.nature.config import NatureConfig
from lcm.data.pairs import PairData
from lcm.learn.training.tracker import Recorder
from lcm.model.latent_causal_model import LatentCausalModel
from lcm.run.assumption import Certificate
from lcm.run.fitting import fit_pairs

SOUND_PAIRS = (2_000, 10_000, 30_000)
PAIRS = 10_000


def examine(cell: Mapping[str, Any]) -> dict[str, Any]:
    """The record of a cell of `certificate`, apart from its settings."""
    started = time.perf_counter()
    if cell["part"] == "sound":
        record = _sound(cell)
    elif cell["part"] == "violations":
        record = _violated(cell, cell["strength"])
    else:
        record = _powered(cell)
    return {**record, "seconds": time.perf_counter() - started}


def sound_nature(seed: int) -> tuple[LatentCausalModel, int]:
    """A random nature that satisfies everything, and a number of pairs: equal for equal seeds.

    n is 2 to 5. Eight in ten have linear mechanisms, and eight in ten square linear mixing; the others a mild curved
    one or twice as many columns.
    """
    draw = numpy_generator(seed, "certificate")
    n = int(draw.integers(2, 6))
    kind = draw.choice(["square", "wide", "curved"], p=[0.8, 0.1, 0.1])
    mechanism = draw.choice(["linear", "additive", "location-scale"], p=[0.8, 0.1, 0.1])
    noise = str(draw.choice(["normal", "laplace", "skewed"]))
    pairs = int(draw.choice(SOUND_PAIRS))
    decoder: dict[str, Any] = {"kind": "mixing", "layers": 2} if kind == "curved" else {"kind": "rotation"}
    if kind == "wide":
        decoder["dim_x"] = 2 * n
    return _nature(n, str(mechanism), noise, decoder, seed), pairs


def plain_nature(seed: int, columns: int) -> LatentCausalModel:
    """A random linear nature of four variables, in so many columns for each variable."""
    decoder: dict[str, Any] = {"kind": "rotation"} if columns == 1 else {"kind": "rotation", "dim_x": 4 * columns}
    return _nature(4, "linear", "normal", decoder, seed)


def _nature(n: int, mechanism: str, noise: str, decoder: Mapping[str, Any], seed: int) -> LatentCausalModel:
    settings = {
        "n": n,
        "graph": {"expected_degree": min(1.5, n - 1.0)},
        "mechanism": {"kind": mechanism},
        "noise": {"kind": noise},
        "decoder": dict(decoder),
    }
    return build_nature(structure_config(settings, NatureConfig, "certificate"), seed)


def _sound(cell: Mapping[str, Any]) -> dict[str, Any]:
    nature, pairs = sound_nature(cell["seed"])
    data = sound(nature, cell["pairs"] or pairs, torch_generator(cell["seed"], "sound"))
    found = _certificate(data, nature.n, cell)
    return {"n": nature.n, "n_pairs": len(data), **_rows(found)}


def _violated(cell: Mapping[str, Any], strength: float, label: str = "broken") -> dict[str, Any]:
    violation, seed = VIOLATIONS[cell["violation"]], cell["seed"]
    nature = plain_nature(seed, violation.columns)
    data = violation.draw(nature, strength, cell["pairs"] or PAIRS, torch_generator(seed, label))
    return _rows(_certificate(data, nature.n + violation.n_off(strength), cell))


def _powered(cell: Mapping[str, Any]) -> dict[str, Any]:
    violation, seed = VIOLATIONS[cell["violation"]], cell["seed"]
    nature = plain_nature(seed, violation.columns)
    data = sound(nature, cell["pairs"] or PAIRS, torch_generator(seed, "before"))
    smallest = _certificate(data, nature.n, cell).row(violation.rows[0]).smallest
    if smallest is None:
        return {"stated": None, "broken": [], "rows": {}}
    return {"stated": smallest, **_violated(cell, smallest, "at the stated power")}


def _certificate(data: PairData, n: int, cell: Mapping[str, Any]) -> Certificate:
    config = replace(fit_config(cell["steps"]), n=n, seed=cell["seed"], model=cell["model"])
    return fit_pairs(data, config, recorder=Recorder(progress=False)).certificate


def _rows(found: Certificate) -> dict[str, Any]:
    rows = {
        row.key: {
            "verdict": row.verdict,
            "statistic": None if row.statistic is None or not np.isfinite(row.statistic) else row.statistic,
            "p_value": row.p_value,
            "smallest": row.smallest,
            "findings": list(row.findings),
        }
        for row in found.rows
    }
    return {"broken": list(found.broken), "rows": rows}
