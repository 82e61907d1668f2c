"""The page of a run that is finished: written again, for other pairs or for a run of an earlier version."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from lcm.data.named_columns import in_fitted_order
from lcm.data.pairs import PairData
from lcm.run.page import write_fit_page
from lcm.run.run_folder import claimed_figures
from lcm.run.runs import load_run


def rewrite_page(folder: str | Path, pairs: PairData | None = None) -> Path:
    """Write report.html of a finished run; returns its path.

    Args:
        folder: of the run.
        pairs: to show, with a truth or without; None for pairs that the model draws.

    Raises:
        ValueError: no finished run, another process that writes to it, or observations of another shape.
    """
    run = load_run(folder)
    result = run.result()
    if pairs is not None:
        pairs = in_fitted_order(pairs, run.columns)
        result = replace(result, stored_certificate=result.certify(pairs), stored_doubts=None)
    with claimed_figures(run.folder):
        return write_fit_page(run.folder, result, run.info, pairs)
