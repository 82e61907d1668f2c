"""families: hard natures of many kinds, all fitted with the default config and compared with required scores (bars).

There are linear models of up to thirty variables, location-scale mechanisms under curved mixings, skewed and
heavy-tailed noise, targets of uneven probability, few pairs, and noisy observations with more dimensions than
variables, where the number of variables is estimated. The settings of a fit are the same for all families.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any, final

from experiments._experiment import Plan, Size, draw_fit, experiment_parser, fit_config, make_cell, run_cells
from experiments._experiment_data import draw_config
from lcm.app.sweep.cells import DataSet
from lcm.base.config import structure_config
from lcm.base.files import write_json, write_text
from lcm.data.data_set import GenerateConfig, SplitConfig
from lcm.data.nature.config import NatureConfig
from lcm.report.tables import to_markdown, to_text

FULL = Size(model_seeds=1, data_seeds=5, pairs=100_000)
QUICK = Size(model_seeds=1, data_seeds=1, pairs=20_000)
QUICK_FAMILIES = ("linear-10", "few-pairs-linear-4", "noisy-8-linear-4")
FEW_PAIRS, FEWEST_PAIRS, NOISIEST_PAIRS = 5_000, 2_000, 30_000


@final
@dataclass(frozen=True)
class Family:
    """A kind of nature with its bars: the least MCC, DCI and intervention accuracy, the most SHD and seconds of a fit.

    Attributes:
        nature: as in a config file.
        bars: mcc, dci_disentanglement, intervention_accuracy, shd, fit_seconds.
        pairs: the most pairs to fit on.
        observation_noise: as in `lcm.data.data_set.GenerateConfig`.
    """

    nature: Mapping[str, Any]
    bars: tuple[float, float, float, int, float]
    pairs: int | None = None
    observation_noise: float = 0.0


SPARSE, DENSE = {"kind": "erdos-renyi", "expected_degree": 2.0}, {"kind": "erdos-renyi", "edge_probability": 0.5}
NORMALISED = {"kind": "linear", "weights": {"kind": "uniform", "low": 0.7, "high": 1.5}, "normalise": True}
LOCATION_SCALE = {"kind": "location-scale"}
MILD, CURVED, STRONG = ({"kind": "mixing", "strength": strength} for strength in (0.3, 0.4, 0.6))
SKEWED = {"kind": "skewed"}


def _linear(n: int, graph: Mapping[str, Any], **decoder: Any) -> dict[str, Any]:
    return {"n": n, "graph": graph, "mechanism": NORMALISED, "decoder": {"kind": "rotation", **decoder}}


def _nonlinear(n: int, decoder: Mapping[str, Any], **other: Any) -> dict[str, Any]:
    return {"n": n, "graph": SPARSE, "mechanism": LOCATION_SCALE, "decoder": decoder, **other}


def _uneven(n: int) -> dict[str, Any]:
    """p(∅) = 0.5; the probabilities of the atomic sets rise evenly to five times the smallest."""
    shares = [1.0 + 4.0 * index / (n - 1) for index in range(n)]
    return {"intervention": {"probabilities": [0.5, *(0.5 * share / sum(shares) for share in shares)]}}


FAMILIES: dict[str, Family] = {
    "linear-10": Family(_linear(10, SPARSE), (0.998, 0.99, 0.99, 0, 20)),
    "linear-10-dense": Family(_linear(10, DENSE), (0.998, 0.99, 0.99, 0, 20)),
    "linear-20": Family(_linear(20, SPARSE), (0.995, 0.98, 0.99, 0, 60)),
    "linear-20-dense": Family(_linear(20, DENSE), (0.995, 0.98, 0.99, 0, 60)),
    "linear-30": Family(_linear(30, SPARSE), (0.99, 0.97, 0.99, 1, 120)),
    "linear-30-dense": Family(_linear(30, DENSE), (0.99, 0.97, 0.99, 5, 120)),
    "location-scale-mild-5": Family(_nonlinear(5, MILD), (0.9995, 0.99, 0.985, 0, 40)),
    "location-scale-strong-4": Family(_nonlinear(4, STRONG), (0.9995, 0.99, 0.98, 0, 60)),
    "location-scale-strong-10": Family(_nonlinear(10, STRONG), (0.998, 0.98, 0.95, 1, 200)),
    "tanh-laplace-10": Family(
        _nonlinear(10, CURVED, mechanism={"kind": "additive"}, noise={"kind": "laplace"}),
        (0.9995, 0.99, 0.985, 0, 100),
    ),
    "skewed-strong-3": Family(_nonlinear(3, STRONG, noise=SKEWED), (0.9995, 0.99, 0.985, 0, 40)),
    "spline-couplings-5": Family(
        _nonlinear(5, {"kind": "flow", "coupling": "spline", "strength": 0.5}), (0.99, 0.95, 0.93, 1, 180)
    ),
    "uneven-linear-10": Family(_linear(10, SPARSE) | _uneven(10), (0.998, 0.99, 0.99, 0, 20)),
    "uneven-mild-5": Family(_nonlinear(5, MILD) | _uneven(5), (0.998, 0.98, 0.95, 0, 120)),
    "few-pairs-linear-4": Family(_linear(4, SPARSE), (0.985, 0.95, 0.90, 1, 60), pairs=FEW_PAIRS),
    "few-pairs-mild-4": Family(_nonlinear(4, MILD), (0.997, 0.97, 0.97, 0, 20), pairs=FEW_PAIRS),
    "fewest-pairs-mild-4": Family(_nonlinear(4, MILD), (0.99, 0.93, 0.95, 1, 20), pairs=FEWEST_PAIRS),
    **{
        f"{noisy}-{d}-{name}-4": Family(nature, bars, pairs, observation_noise)
        for noisy, observation_noise, bars, pairs in (
            ("noisy", 0.01, (0.99, 0.97, 0.95, 0, 180), None),
            ("noisiest", 0.05, (0.99, 0.95, 0.90, 0, 120), NOISIEST_PAIRS),
        )
        for d in (8, 20)
        for name, nature in (
            ("linear", _linear(4, SPARSE, dim_x=d)),
            ("mild", _nonlinear(4, {**MILD, "dim_x": d})),
        )
    },
}
"""No fit is told n: n is the dimension of x, or is estimated if x has more dimensions than variables."""

SCORES = ("mcc", "dci_disentanglement", "intervention_accuracy", "shd", "fit_seconds")
MOST = {"shd", "fit_seconds"}
HEADINGS = ("family", "fits", "MCC", "DCI-D", "intervention accuracy", "SHD", "fit time (s)", "n found", "missed")


def main(argv: Sequence[str]) -> None:
    """Run the experiment; `--help` lists the options."""
    parser = experiment_parser("families", "Hard natures of many kinds, fitted with the default config.")
    parser.add_argument("--family", nargs="+", choices=FAMILIES, metavar="NAME", help=f"of {', '.join(FAMILIES)}")
    options = parser.parse_args(argv)
    plan = Plan.chosen(options, FULL, QUICK)
    names = options.family or (QUICK_FAMILIES if options.quick else tuple(FAMILIES))
    config = fit_config(plan.steps, plan.config)
    cells = [
        make_cell(draw_family(name, seed, plan), model_seed, config, family=name)
        for name in names
        for seed in range(plan.size.data_seeds)
        for model_seed in range(plan.size.model_seeds)
    ]
    records = run_cells("families: hard natures, one config", cells, {"family": "family", "n": "n"}, plan)
    rows = [_row(name, [record for record in records if record["family"] == name]) for name in names]
    table = [list(HEADINGS), *([str(row[heading]) for heading in HEADINGS] for row in rows)]
    write_json(plan.out / "bars.json", rows)
    write_text(plan.out / "bars.md", f"# families: medians (ranges) beside the bars\n\n{to_markdown(table)}")
    if not options.quiet:
        print(f"\n{to_text(table)}")
    for name in names:
        cell, record = next(pair for pair in zip(cells, records, strict=True) if pair[1]["family"] == name)
        draw_fit(cell, plan.out, record, prefix=f"{name}-")


def draw_family(name: str, seed: int, plan: Plan) -> DataSet:
    """The data set of a family with a seed, drawn once."""
    family = FAMILIES[name]
    pairs = plan.size.pairs if family.pairs is None else min(family.pairs, plan.size.pairs)
    config = GenerateConfig(
        structure_config(family.nature, NatureConfig, f"families: {name}"),
        SplitConfig(train=pairs, val=1, test=10_000),
        family.observation_noise,
        seed,
    )
    return draw_config(config, f"{name}-seed{seed}", plan.out)


def _row(name: str, records: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Median and range of every score beside its bar, how often n was found, and the bars that the median misses."""
    row: dict[str, Any] = {"family": name, "fits": len(records)}
    missed = []
    for key, heading, bar in zip(SCORES, HEADINGS[2:7], FAMILIES[name].bars, strict=True):
        values = [record[key] for record in records]
        middle = median(values)
        met = middle <= bar if key in MOST else middle >= bar
        missed += [] if met else [heading]
        digits = 1 if key in MOST else 4
        spread = f"{middle:.{digits}f} ({min(values):.{digits}f}–{max(values):.{digits}f})"
        row[heading] = f"{spread} {'≤' if key in MOST else '≥'} {bar:g}"
    found = sum(record["n_variables"] == record["n"] for record in records)
    return row | {"n found": f"{found} of {len(records)}", "missed": ", ".join(missed) or "none"}


if __name__ == "__main__":
    main(sys.argv[1:])
