"""kl_weight: the effect of weighing the entropy of the posterior over targets twice, as published code does (ilcm-vae).

The natures are those of the scaling family with normalised weights and n = 4. Every data and model seed is fitted with
`implicit_vae.divergence` correct and published, all else equal. The bound and the entropy are measured on test pairs,
the bound with the correct divergence in both cases.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from experiments._experiment import Plan, Size, experiment_parser, fit_config, make_cell, run_cells
from experiments._experiment_data import draw_config
from experiments._report import write_report
from lcm.app.sweep.cells import Cell, DataSet
from lcm.report.tables import RESULTS_JSON, Column

if TYPE_CHECKING:
    from lcm.run.config import FitConfig

CONFIG = Path(__file__).resolve().parent.parent / "paper_configs" / "scaling.yaml"
FULL = Size(model_seeds=2, data_seeds=2, pairs=20_000)
QUICK = Size(model_seeds=1, data_seeds=1, pairs=5_000)
STEPS = 3_000
DIVERGENCES: tuple[Literal["correct", "published"], ...] = ("correct", "published")
COLUMNS = (
    Column("dci_disentanglement", "DCI-D"),
    Column("intervention_accuracy", "intervention accuracy"),
    Column("bound", "bound (nats a test pair)", 3),
    Column("entropy", "entropy of q(I) (nats)"),
    Column("fit_seconds", "fit time (s)", 1),
)


def main(argv: Sequence[str]) -> None:
    """Run the experiment; `--help` lists the options."""
    parser = experiment_parser("kl_weight", "ilcm-vae with the correct and the published divergence of q(I).")
    plan = Plan.chosen(parser.parse_args(argv), FULL, QUICK)
    steps = STEPS if plan.steps is None else plan.steps
    cells = list(_cells(plan, steps))
    title, by = "kl_weight: the divergence of the posterior over targets, ilcm-vae", {"divergence": "divergence"}
    records = run_cells(title, cells, by, plan)
    records = [record | _measured(cell, record, plan.out) for cell, record in zip(cells, records, strict=True)]
    table = write_report(plan.out, title, records, by, COLUMNS, _settings(plan.out) | {"steps": str(steps)})
    if not plan.quiet:
        print(f"\n{table}")


def _cells(plan: Plan, steps: int) -> Iterator[Cell]:
    """Both divergences with every data and model seed."""
    config = fit_config(plan.steps, plan.config)
    for data in (_data(plan, seed) for seed in range(plan.size.data_seeds)):
        for seed in range(plan.size.model_seeds):
            for divergence in DIVERGENCES:
                own = _with(config, divergence, steps)
                yield make_cell(data, seed, own, divergence, divergence=divergence)


def _with(config: FitConfig, divergence: Literal["correct", "published"], steps: int) -> FitConfig:
    own = replace(config.peers["implicit_vae"], divergence=divergence, steps=steps)
    return replace(config, model="ilcm-vae", peers={**config.peers, "implicit_vae": own})


def _data(plan: Plan, seed: int) -> DataSet:
    from lcm.base.config import load_config
    from lcm.data.data_set import GenerateConfig

    config, pairs = load_config(CONFIG, GenerateConfig), plan.size.pairs
    nature = replace(config.nature, mechanism=replace(config.nature.mechanism, normalise=True))
    splits = replace(config.pairs, train=pairs, val=1, test=min(config.pairs.test, pairs))
    return draw_config(replace(config, nature=nature, pairs=splits, seed=seed), f"seed{seed}", plan.out)


def _measured(cell: Cell, record: Mapping[str, Any], out: Path) -> dict[str, float]:
    """Mean bound and mean entropy of q(I | x, x̃) over the test pairs, in nats, of a finished cell."""
    from experiments._cells import run_once

    same = {key: record[key] for key in ("data_sha256", "config_sha256")}
    found = run_once(out / "posteriors" / f"{cell.name}.json", same, lambda: _measure(cell, out))
    return {key: found[key] for key in ("bound", "entropy")}


def _measure(cell: Cell, out: Path) -> dict[str, float]:
    import torch

    from lcm.app.sweep.sweep import run_folder
    from lcm.data.encode import encode_pairs
    from lcm.data.pair_files import load_pairs
    from lcm.run.runs import load_run

    encoded = encode_pairs(load_run(run_folder(out, cell)).model, load_pairs(cell.data.test))
    entropy = torch.special.entr(encoded.posterior.double()).sum(1)
    return {"bound": float(encoded.log_density.double().mean()), "entropy": float(entropy.mean())}


def _settings(out: Path) -> dict[str, str]:
    """The settings in the table of all scores."""
    from lcm.base.files import read_json

    return dict(read_json(out / RESULTS_JSON)["settings"])


if __name__ == "__main__":
    main(sys.argv[1:])
