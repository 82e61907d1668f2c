"""toy2d: two variables, a nonlinear mechanism z_0 → z_1, seen through a random nonlinear map.

The nature is that of paper_configs/toy2d.yaml. By default one data set is fitted with five model seeds.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from experiments._experiment import Plan, Size, draw_fit, experiment_parser, run_cells, seeded_cells
from experiments._experiment_data import draw_data

CONFIG = Path(__file__).resolve().parent.parent / "paper_configs" / "toy2d.yaml"
FULL = Size(model_seeds=5, data_seeds=1, pairs=100_000)
QUICK = Size(model_seeds=1, data_seeds=1, pairs=20_000)


def main(argv: Sequence[str]) -> None:
    """Run the experiment; `--help` lists the options."""
    parser = experiment_parser("toy2d", "Two variables, z_0 -> z_1, seen through a random nonlinear map.")
    plan = Plan.chosen(parser.parse_args(argv), FULL, QUICK)
    data = [draw_data(CONFIG, f"seed{s}", s, plan.size.pairs, plan.out) for s in range(plan.size.data_seeds)]
    cells = seeded_cells(data, plan)
    records = run_cells("toy2d: z_0 → z_1, nonlinear, through a random flow", cells, {"n": "n"}, plan)
    draw_fit(cells[0], plan.out, records[0])


if __name__ == "__main__":
    main(sys.argv[1:])
