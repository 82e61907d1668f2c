"""false_discoveries: does the graph hold as many false edges as its rate says, and what does each rule cost?

Natures of 2 to 8 variables, from empty to dense graphs and with edges of all strengths from nearly 0 on, are fitted
once each. Those with linear mixing and mechanisms are fitted in closed form, where a null hypothesis is exact; then
again with a negligible share of 0, so that only effects of 0 count as none. The others have additive or location-scale
mechanisms and the default fit. Each graph is compared with the one that a single step-up over all possible edges gives
from the same p-values.
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
    """How many linear and curved natures are fitted, and the steps of the latter."""

    linear: int
    curved: int
    steps: int


FULL = Sizes(linear=300, curved=110, steps=150)
QUICK = Sizes(linear=4, curved=1, steps=40)


def main(argv: Sequence[str]) -> None:
    """Run the experiment; `--help` lists the options."""
    parser = base_parser("false_discoveries", "How many edges are false, at each number of pairs and by each rule?")
    parser.add_argument("--natures", type=at_least_one, metavar="K", help="natures with linear mechanisms")
    parser.add_argument("--curved", type=at_least_one, metavar="K", help="natures with other mechanisms")
    parser.add_argument("--first", type=int, default=0, metavar="S", help="seed of the first nature; default: 0")
    parser.add_argument("--quiet", action="store_true", help="print nothing")
    options = parser.parse_args(argv)
    sizes = QUICK if options.quick else FULL
    steps = options.steps or sizes.steps
    records = _run("linear", options.natures or sizes.linear, steps, options)
    records += _run("curved", options.curved or sizes.curved, steps, options)
    from experiments._false_discoveries_report import write

    text = write(options.out, records, steps)
    if not options.quiet:
        print(f"\n{text}\nResults: {options.out}")


def _run(kind: Any, natures: int, steps: int, options: argparse.Namespace) -> list[dict[str, Any]]:
    import torch

    from experiments._false_discoveries_fits import run_fit

    torch.set_num_threads(options.threads or 1)
    records = []
    for number in range(natures):
        record = run_fit(Path(options.out), kind, options.first + number, steps)
        records.append(record)
        if not options.quiet:
            print(f"[{kind} {number + 1}/{natures}] {record['n']} variables, {record['pairs']:,} pairs", flush=True)
    return records


if __name__ == "__main__":
    main(sys.argv[1:])
