"""calibration: are the error rates of the graph and the probabilities of interventions correct?

Random natures, many of them with weak edges, are fitted once each. Three questions are answered. How many of the edges
and ancestor relations that are declared at a false discovery rate are false, and how many true ones are found? How
often is a target set right that is predicted with some probability? How often does the interval of an edge's strength
hold the true strength?
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

from experiments._experiment import at_least_one, base_parser


@final
@dataclass(frozen=True)
class Sizes:
    """How many natures with linear and nonlinear mixing are fitted, and the steps (None: the defaults of a fit)."""

    linear: int
    nonlinear: int
    linear_steps: int | None
    nonlinear_steps: int | None


FULL = Sizes(linear=200, nonlinear=5, linear_steps=150, nonlinear_steps=600)
QUICK = Sizes(linear=6, nonlinear=1, linear_steps=100, nonlinear_steps=200)


def main(argv: Sequence[str]) -> None:
    """Run the experiment; `--help` lists the options."""
    options = _parse(argv)
    sizes = QUICK if options.quick else FULL
    linear = sizes.linear if options.natures is None else options.natures
    nonlinear = sizes.nonlinear if options.nonlinear is None else options.nonlinear
    few = _run("nonlinear", nonlinear, options.steps or sizes.nonlinear_steps, options)
    records = _run("linear", linear, options.steps or sizes.linear_steps, options) + few
    from experiments._calibration_report import write

    text = write(options.out, records)
    if not options.quiet:
        print(f"\n{text}\nResults: {options.out}")


def _parse(argv: Sequence[str]) -> argparse.Namespace:
    parser = base_parser("calibration", "Are the stated error rates and probabilities correct?")
    parser.add_argument("--natures", type=at_least_one, metavar="K", help="natures with linear mixing")
    parser.add_argument("--nonlinear", type=at_least_one, metavar="K", help="natures with nonlinear mixing")
    parser.add_argument("--quiet", action="store_true", help="print nothing")
    return parser.parse_args(argv)


def _run(mixing: Any, natures: int, steps: int | None, options: argparse.Namespace) -> list[dict[str, Any]]:
    import torch

    from experiments._calibration_fits import run_fit

    torch.set_num_threads(options.threads or 1)
    records = []
    for seed in range(natures):
        record = run_fit(Path(options.out), mixing, seed, steps)
        records.append(record)
        if not options.quiet:
            edges = record["edges"][1]
            found = f"{edges['declared']} edges declared, {edges['false']} false, of {edges['true']}"
            print(f"[{mixing} {seed + 1}/{natures}] {found}; {record['fit_seconds']:.1f} s", flush=True)
    return records


if __name__ == "__main__":
    main(sys.argv[1:])
