"""Instruments with more sensors than settings: the default fit on readings that lie on a curved sheet.

A random SCM drives the settings of each instrument of experiments/_instruments.py. Pairs share their noise but for one
variable. n is not told unless --told is given.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from experiments._experiment import Plan, Size, experiment_parser, fit_config, make_cell, run_cells
from experiments._instruments import INSTRUMENTS
from lcm.app.sweep.cells import DataSet
from lcm.app.sweep.cells import given_data as data_in_files

if TYPE_CHECKING:
    from lcm.data.pairs import PairData

FULL, QUICK = Size(model_seeds=1, data_seeds=3, pairs=30_000), Size(model_seeds=1, data_seeds=1, pairs=5_000)
NOISE = (0.0, 0.01)
_TEST_PAIRS = 10_000
_SLOPE = 1.5
_NATURE = {"graph": {"kind": "erdos-renyi", "expected_degree": 2.0}, "mechanism": {"kind": "location-scale"}}


def main(argv: Sequence[str]) -> None:
    """Run the experiment; `--help` lists the options."""
    parser = experiment_parser("physics", "Instruments with more sensors than settings.")
    parser.add_argument("--instrument", nargs="+", choices=INSTRUMENTS, metavar="NAME", help=f"of {list(INSTRUMENTS)}")
    parser.add_argument("--noise", nargs="+", type=float, default=NOISE, metavar="S", help="share of a column's spread")
    parser.add_argument("--told", action="store_true", help="tell the fits the number of variables")
    options = parser.parse_args(argv)
    plan = Plan.chosen(options, FULL, QUICK)
    names = options.instrument or (("arm",) if options.quick else tuple(INSTRUMENTS))
    config = fit_config(plan.steps, plan.config)
    cells = [
        make_cell(
            _data(name, noise, seed, plan),
            model_seed,
            replace(config, n=INSTRUMENTS[name].n) if options.told else config,
            instrument=name,
            noise=noise,
        )
        for name in names
        for noise in options.noise
        for seed in range(plan.size.data_seeds)
        for model_seed in range(plan.size.model_seeds)
    ]
    told = "told" if options.told else "not told"
    columns = {"instrument": "instrument", "noise": "sensor noise", "n": "n"}
    run_cells(f"physics: more sensors than settings, n {told}", cells, columns, plan)


def _data(name: str, noise: float, seed: int, plan: Plan) -> DataSet:
    """The data set of an instrument, drawn once."""
    from lcm.data.pairs import save_pairs

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
    from lcm.data.pairs import load_pairs

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
