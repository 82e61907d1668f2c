"""Files of counterfactuals with their intervals."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from lcm.data.pair_files import write_arrays
from lcm.data.pairs import PairData
from lcm.data.table import pair_columns
from lcm.model.do import Do
from lcm.run.refits import Refits, refit_interval


def write_answers(path: str | Path, pairs: PairData, refits: Refits, do: Do, level: float) -> None:
    """Write counterfactual pairs with an interval of x̃, whole or not at all.

    Beside the tensors of the pairs, the file holds x_tilde_low, x_tilde_high and x_tilde_error, as x_tilde is;
    a table has columns of these names with the number or the name of the column of x.

    Raises:
        ValueError: another suffix, a stochastic intervention, or a level that is not strictly between 0 and 1.
    """
    estimate = pairs.x_tilde.astype(np.float64)
    ends = refit_interval(estimate, refits.counterfactuals(pairs.x, do), level)
    kind = np.float32 if pairs.is_images else pairs.x_tilde.dtype
    found = {f"x_tilde_{name}": part.astype(kind) for name, part in zip(("low", "high", "error"), ends, strict=True)}
    named = {"columns": json.dumps(pairs.columns)} if pairs.columns else {}
    metadata = {**pairs.metadata, "interval": str(level), **named}
    names = pairs.columns or tuple(f"x{i}" for i in range(pairs.n_dimensions))
    table = None
    if not pairs.is_images:
        table = pair_columns(pairs.tensors(), pairs.columns)
        table |= {
            f"{name}{key.removeprefix('x')}": part[:, i] for key, part in found.items() for i, name in enumerate(names)
        }
    write_arrays(path, {**pairs.tensors(), **found}, metadata, pairs.columns, table)
