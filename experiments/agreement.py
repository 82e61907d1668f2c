"""agreement: independent fits of the same pairs, compared up to isomorphism without the truth, as in `lcm compare`.

Every data set is fitted with several model seeds. Every fit is compared with the first one on test pairs.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from experiments._cells import run_once
from experiments._experiment import Plan, Size, add_data_options, experiment_parser, run_cells, seeded_cells
from experiments._experiment_data import draw_sizes, given_data
from experiments._report import write_report
from lcm.app.sweep.cells import Cell
from lcm.report.tables import Column

CONFIG = Path(__file__).resolve().parent.parent / "paper_configs" / "scaling.yaml"
FULL = Size(model_seeds=3, data_seeds=3, pairs=100_000)
QUICK = Size(model_seeds=2, data_seeds=1, pairs=20_000)
FULL_N, QUICK_N = (4, 8), (4,)
COLUMNS = (
    Column("isomorphic", "isomorphic"),
    Column("least_r2", "least R² of h"),
    Column("greatest_leakage", "greatest leakage"),
    Column("least_noise_r2", "least R² of noise"),
    Column("graphs_equal", "graphs equal"),
    Column("distance", "distance"),
    Column("likelihood_difference", "likelihoods differ by (nats a pair)"),
    Column("seconds", "time to compare (s)", 1),
)


def main(argv: Sequence[str]) -> None:
    """Run the experiment; `--help` lists the options."""
    parser = experiment_parser("agreement", "Independent fits of the same pairs, compared up to isomorphism.")
    add_data_options(parser)
    options = parser.parse_args(argv)
    plan = Plan.chosen(options, FULL, QUICK)
    if plan.size.model_seeds < 2:
        parser.error("--model-seeds: Expected at least 2, to compare; got 1")
    sizes = options.n or (QUICK_N if options.quick else FULL_N)
    data = [given_data(*files) for files in options.data or ()] or draw_sizes(CONFIG, sizes, plan)
    cells = seeded_cells(data, plan)
    run_cells("agreement: the fits", cells, {"n": "n"}, plan)
    pairs = [(first, cell) for cell in cells for first in cells if first.data == cell.data and first.config.seed == 0]
    records = [_compared(first, other, plan.out) for first, other in pairs if first != other]
    settings = {"fits": "the runs in cells/", "data": ", ".join(part.name for part in data)}
    table = write_report(plan.out, "agreement of independent fits", records, {"n": "n"}, COLUMNS, settings)
    if not plan.quiet:
        print(f"\nagreement of independent fits; median (range)\n\n{table}\nResults: {plan.out}")


def _compared(first: Cell, other: Cell, out: Path) -> dict[str, Any]:
    """Compare the fit of a model seed with that of seed 0."""
    seed = other.config.seed
    path = out / "comparisons" / f"{first.data.name}-model0-model{seed}.json"
    settings = {"data": first.data.name, "model_seeds": [0, seed]}
    return run_once(path, settings, lambda: _compare(first, other, out))


def _compare(first_cell: Cell, other_cell: Cell, out: Path) -> dict[str, Any]:
    from lcm.app.sweep.sweep import run_folder
    from lcm.data.pair_files import load_pairs
    from lcm.isomorphism import find_isomorphism
    from lcm.run.runs import load_run

    first, second = (load_run(run_folder(out, cell)).model for cell in (first_cell, other_cell))
    test = load_pairs(first_cell.data.test)
    started = time.perf_counter()
    found = find_isomorphism(first, second, test)
    seconds = time.perf_counter() - started
    return {
        **found.numbers(),
        "n": first.n,
        "least_r2": float(found.r2.min()),
        "greatest_leakage": float(found.leakage.max()),
        "least_noise_r2": min(found.numbers()["noise_r2"]),
        "likelihood_difference": found.log_likelihood_difference and abs(found.log_likelihood_difference[0]),
        "seconds": seconds,
    }


if __name__ == "__main__":
    main(sys.argv[1:])
