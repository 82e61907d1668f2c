"""physics: instruments with more sensors than settings: fits of readings that lie on a curved sheet.

A random SCM drives the settings of each instrument of experiments/_instruments.py. Pairs share their noise but for one
variable. n is not told unless --n-told is given. Rows with sensor noise also say what a supervised network reaches,
which is told variables and targets (experiments/_ceiling.py). figures/ shows what each instrument reads.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from experiments._ceiling import CEILINGS, NETWORK, supervised_ceiling
from experiments._cells import run_once
from experiments._experiment import Plan, Size, experiment_parser, fit_cells, fit_config, make_cell, report_cells
from experiments._instruments import INSTRUMENTS
from lcm.app.sweep.cells import Cell, DataSet
from lcm.app.sweep.cells import given_data as data_in_files

if TYPE_CHECKING:
    from lcm.data.pairs import PairData

FULL, QUICK = Size(model_seeds=1, data_seeds=3, pairs=30_000), Size(model_seeds=1, data_seeds=1, pairs=5_000)
NOISE = (0.0, 0.01)
MODELS = ("flow", "linear", "ilcm-vae", "dvae")
_TEST_PAIRS = 10_000
_SLOPE = 1.5
_NATURE = {"graph": {"kind": "erdos-renyi", "expected_degree": 2.0}, "mechanism": {"kind": "location-scale"}}


def main(argv: Sequence[str]) -> None:
    """Run the experiment; `--help` lists the options."""
    options = _parser().parse_args(argv)
    plan = Plan.chosen(options, FULL, QUICK)
    installed = tuple(name for name, instrument in INSTRUMENTS.items() if instrument.is_installed)
    names = options.instrument or (("arm",) if options.quick else installed)
    _draw_figures(plan.out / "figures", names)
    cells = [
        _cell(name, noise, seed, model, model_seed, plan, options.told)
        for name in names
        for noise in options.noise
        for seed in range(plan.size.data_seeds)
        for model in options.models
        for model_seed in range(plan.size.model_seeds)
    ]
    records = fit_cells(cells, plan)
    records = [{**record, **_ceiling(cell, plan)} for cell, record in zip(cells, records, strict=True)]
    told = "told" if options.told else "not told"
    columns = {"instrument": "instrument", "noise": "sensor noise", "n": "n", "model": "model"}
    report_cells(f"physics: more sensors than settings, n {told}", cells, records, columns, plan, CEILINGS)


def _parser() -> argparse.ArgumentParser:
    parser = experiment_parser("physics", "Instruments with more sensors than settings.")
    parser.add_argument("--instrument", nargs="+", choices=INSTRUMENTS, metavar="NAME", help=f"of {list(INSTRUMENTS)}")
    parser.add_argument("--noise", nargs="+", type=float, default=NOISE, metavar="S", help="share of a column's spread")
    parser.add_argument(
        "--models", nargs="+", choices=MODELS, default=MODELS[:1], metavar="NAME", help=f"models to fit, of {MODELS}"
    )
    parser.add_argument(
        "--n-told", "--told", dest="told", action="store_true", help="tell the fits the number of variables"
    )
    return parser


def _draw_figures(folder: Path, names: Sequence[str]) -> None:
    from experiments._plot_instruments import draw_instruments

    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        draw_instruments(folder / f"{name}.png", [name])


def _cell(name: str, noise: float, seed: int, model: str, model_seed: int, plan: Plan, told: bool) -> Cell:
    config = replace(fit_config(plan.steps, plan.config), model=model, n=INSTRUMENTS[name].n if told else None)
    label = "" if model == MODELS[0] else model
    return make_cell(draw_instrument(name, noise, seed, plan), model_seed, config, label, instrument=name, noise=noise)


def _ceiling(cell: Cell, plan: Plan) -> Mapping[str, float]:
    """The scores of supervised networks on the data of a cell with sensor noise, made once; without noise none."""
    from lcm.data.pair_files import load_pairs

    if not cell.values["noise"]:
        return {}
    paths = cell.data.train, cell.data.test
    record = run_once(
        plan.out / "ceilings" / f"{cell.data.name}.json",
        {"data": cell.data.name, "pairs": plan.size.pairs, "network": NETWORK},
        lambda: supervised_ceiling(*(load_pairs(path) for path in paths)),
    )
    return {column.key: record[column.key] for column in CEILINGS}


def draw_instrument(name: str, noise: float, seed: int, plan: Plan) -> DataSet:
    """The data set of an instrument, drawn once."""
    from lcm.data.pair_files import save_pairs

    label = f"{name}-noise{noise:g}-seed{seed}"
    folder, sizes = plan.out / "data" / label, {"train": plan.size.pairs, "test": _TEST_PAIRS}
    paths = {split: folder / f"{split}.safetensors" for split in sizes}
    for split, count in sizes.items():
        if not paths[split].exists():
            folder.mkdir(parents=True, exist_ok=True)
            save_pairs(paths[split], draw_readings(name, noise, seed, split, count))
    _require_size(paths["train"], plan.size.pairs)
    return data_in_files(label, paths["train"], paths["test"], {"data.n": INSTRUMENTS[name].n, "data.seed": seed})


def _require_size(path: Path, count: int) -> None:
    from lcm.data.pair_files import load_pairs

    found = len(load_pairs(path))
    if found != count:
        raise ValueError(f"{path}: Expected {count} pairs; got {found}. Choose another --out, or delete it.")


def draw_readings(name: str, noise: float, seed: int, split: str, count: int) -> PairData:
    """Pairs of readings (N, d) with the truth: z drives the settings monotonically, around its median, in its spread.

    noise: standard deviation of the noise of each sensor and reading, as a share of the spread of its column.
    """
    from lcm.base.config import structure_config
    from lcm.data.nature.build import build_nature, numpy_generator, torch_generator
    from lcm.data.nature.config import NatureConfig
    from lcm.data.sample import sample_data

    instrument = INSTRUMENTS[name]
    nature = structure_config({"n": instrument.n, **_NATURE}, NatureConfig, f"physics: {name}")
    model = build_nature(nature, seed)
    # every split has the scales of the same draw, so that one decoder made all of them
    scales = sample_data(model, 10_000, torch_generator(seed, "scales")).z.astype(np.float64)  # type: ignore[union-attr]
    centre, spread = np.median(scales, axis=0), scales.std(0)

    def read(z: Any) -> Any:
        return instrument.read(1.0 / (1.0 + np.exp(-_SLOPE * (z.astype(np.float64) - centre) / spread)))

    data = sample_data(model, count, torch_generator(seed, split))
    generator, width = numpy_generator(seed, f"{split} noise"), noise * read(scales).std(0)
    x, x_tilde = (read(z) for z in (data.z, data.z_tilde))
    x, x_tilde = (part + width * generator.standard_normal(part.shape) for part in (x, x_tilde))
    metadata = {
        "made_by": "lcm reproduce physics",
        "instrument": name,
        "seed": str(seed),
        "settings": json.dumps(_NATURE),
    }
    single = x.astype(np.float32), x_tilde.astype(np.float32)
    return replace(data, x=single[0], x_tilde=single[1], metadata=metadata)


if __name__ == "__main__":
    main(sys.argv[1:])
