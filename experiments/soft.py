"""soft: does a switch variable help where interventions are soft? `icrl-sm` beside models of perfect interventions.

Natures with additive mechanisms and a rotation as mixing. An intervention replaces the mechanism of one variable by
another one with the same parents. Every model knows the targets. No graph is searched.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from experiments._cells import run_once
from experiments._experiment import Plan, Size, experiment_parser, fit_config, make_cell, run_cells
from experiments._experiment_data import draw_config, load_scored
from experiments._report import write_report
from lcm.app.sweep.cells import Cell, DataSet
from lcm.report.tables import Column

if TYPE_CHECKING:
    from lcm.run.config import FitConfig

FULL = Size(model_seeds=1, data_seeds=5, pairs=20_000)
QUICK = Size(model_seeds=1, data_seeds=1, pairs=2_000)
STEPS, N = 3_000, 4
ARMS = {
    "icrl-sm": ("icrl-sm", True),
    "icrl-sm without the switch": ("icrl-sm", False),
    "ilcm-vae": ("ilcm-vae", True),
    "linear": ("linear", True),
}
BY = {"arm": "model"}
COLUMNS = (
    Column("mcc", "MCC of z", 3),
    Column("noise_mcc", "MCC of noise", 3),
    Column("dci_disentanglement", "DCI-D", 3),
    Column("fit_seconds", "fit time (s)", 1),
)


def main(argv: Sequence[str]) -> None:
    """Run the experiment; `--help` lists the options."""
    parser = experiment_parser("soft", "Soft interventions of known targets: with a switch variable and without.")
    plan = Plan.chosen(parser.parse_args(argv), FULL, QUICK)
    steps = STEPS if plan.steps is None else plan.steps
    cells = list(_cells(plan, steps))
    title = "soft: soft interventions with known targets, additive mechanisms, n = 4"
    records = run_cells(title, cells, BY, replace(plan, quiet=True))
    records = [record | _measured(cell, plan.out) for cell, record in zip(cells, records, strict=True)]
    settings = {"pairs": str(plan.size.pairs), "data seeds": f"0 to {plan.size.data_seeds - 1}", "steps": str(steps)}
    table = write_report(plan.out, title, records, BY, COLUMNS, settings)
    if not plan.quiet:
        print(f"{title}\n\n{table}\nResults: {plan.out}")


def _cells(plan: Plan, steps: int) -> Iterator[Cell]:
    """Every arm with every data and model seed."""
    for data in (_data(plan, seed) for seed in range(plan.size.data_seeds)):
        for seed in range(plan.size.model_seeds):
            for arm, (model, switch) in ARMS.items():
                config = _config(fit_config(steps, plan.config), model, switch)
                yield make_cell(data, seed, config, arm.replace(" ", "-"), arm=arm)


def _config(config: FitConfig, model: str, switch: bool) -> FitConfig:
    from lcm.learn.config import KnownConfig
    from lcm.peer.search.config import GraphSearchConfig

    own = replace(config.peers["switch_vae"], switch=switch)
    search, known = GraphSearchConfig(method="none"), KnownConfig(targets=True)
    peers = {**config.peers, "switch_vae": own}
    return replace(config, model=model, n=N, known=known, graph_search=search, peers=peers)


def _data(plan: Plan, seed: int) -> DataSet:
    from lcm.data.data_set import GenerateConfig, SplitConfig
    from lcm.data.nature.config import NatureConfig
    from lcm.model.intervention import SoftInterventionConfig
    from lcm.model.mechanism import AdditiveMechanismConfig

    nature = NatureConfig(N, mechanism=AdditiveMechanismConfig(), intervention=SoftInterventionConfig(targets="atomic"))
    splits = SplitConfig(train=plan.size.pairs, val=1, test=5_000)
    return draw_config(GenerateConfig(nature, splits, seed=seed), f"seed{seed}", plan.out)


def _measured(cell: Cell, out: Path) -> Mapping[str, Any]:
    """|Spearman| of matched noise on the test pairs of a finished cell."""
    return run_once(out / "noise" / f"{cell.name}.json", {"config": cell.key}, lambda: _noise(cell, out))


def _noise(cell: Cell, out: Path) -> dict[str, float]:
    import numpy as np

    from lcm.app.sweep.sweep import run_folder
    from lcm.data.encode import encode_data
    from lcm.isomorphism.matching import correlation_matrix, match_variables, mean_correlation
    from lcm.run.runs import load_run

    test = load_scored(cell.data.test)[0]
    noise = encode_data(load_run(run_folder(out, cell)).model, test)["noise"]
    correlation = correlation_matrix(np.asarray(test.noise), noise)
    return {"noise_mcc": mean_correlation(correlation, match_variables(correlation))}


if __name__ == "__main__":
    main(sys.argv[1:])
