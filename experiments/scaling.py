"""scaling: the family of Brehmer et al. 2022, section 5: random DAG, linear SCM, a rotation; scores and time against n.

The natures are those of paper_configs/scaling.yaml with other numbers of variables. `--data TRAIN TEST`, which may be
repeated, fits existing files of pairs instead.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from experiments._experiment import (
    Cell,
    Plan,
    Size,
    add_data_options,
    draw_fit,
    experiment_parser,
    run_cells,
    seeded_cells,
)
from experiments._experiment_data import draw_sizes, given_data

CONFIG = Path(__file__).resolve().parent.parent / "paper_configs" / "scaling.yaml"
FULL = Size(model_seeds=3, data_seeds=3, pairs=100_000)
QUICK = Size(model_seeds=1, data_seeds=1, pairs=20_000)
FULL_N, QUICK_N = (2, 4, 6, 8, 10), (2, 4)
PANELS = {
    "mcc": "MCC",
    "dci_disentanglement": "DCI disentanglement",
    "intervention_accuracy": "intervention accuracy",
    "shd": "SHD",
    "fit_seconds": "fit time (s)",
}


def main(argv: Sequence[str]) -> None:
    """Run the experiment; `--help` lists the options."""
    parser = experiment_parser("scaling", "Random DAG, linear SCM, rotation: scores and time against n.")
    add_data_options(parser)
    options = parser.parse_args(argv)
    plan = Plan.chosen(options, FULL, QUICK)
    if options.data:
        data, by = [given_data(*files) for files in options.data], {"n": "n", "data": "data"}
    else:
        data, by = draw_sizes(CONFIG, options.n or (QUICK_N if options.quick else FULL_N), plan), {"n": "n"}
    cells = seeded_cells(data, plan)
    records = run_cells("scaling: random DAG, linear SCM, rotation", cells, by, plan)
    _draw(cells, records, plan.out)


def _draw(cells: Sequence[Cell], records: Sequence[Mapping[str, Any]], out: Path) -> None:
    """Scores against n, and what was recovered in the first cell of each n."""
    from experiments._plot_scores import draw_scores

    drawn = set()
    for cell, record in zip(cells, records, strict=True):
        if record["n"] not in drawn:
            draw_fit(cell, out, record, prefix=f"n{record['n']}-")
            drawn.add(record["n"])
    shares = ("mcc", "dci_disentanglement", "intervention_accuracy")
    draw_scores(out / "figures" / "scaling.png", records, "n", PANELS, shares)


if __name__ == "__main__":
    main(sys.argv[1:])
