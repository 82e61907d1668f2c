"""plan: how many pairs does `lcm plan` save, compared with equal shares of all targets?

Random natures of linear models are measured in rounds: a pilot of 1,500 pairs with even, uneven or rare targets, then
further pairs. After every round the model is fitted again, and a twentieth more pairs are measured: by the plan for the
goal graph, with equal shares, or with the seldom targets first. What counts is the number of further pairs until every
edge is decided (at a false discovery rate of 5 %, strengths of 0.1 and more) and the graph is the true one. Apart from
that, what the first plan says is measured at once: are nine in ten of the edges then decided, as the power says?

The seeds from 100 on are reported. Seeds 0 to 11 served for choosing how a plan divides its pairs.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from experiments._experiment import at_least_one, base_parser

FULL, QUICK, FIRST = 36, 2, 100
MOST, QUICK_MOST = 20_000, 1_500


def main(argv: Sequence[str]) -> None:
    """Run the experiment; `--help` lists the options."""
    options = _parse(argv)
    import torch

    from experiments._plan_report import write
    from experiments._plan_rounds import run_at_once, run_case

    torch.set_num_threads(options.threads or 1)
    count = options.natures or (QUICK if options.quick else FULL)
    most = options.pairs or (QUICK_MOST if options.quick else MOST)
    records = []
    for seed in range(options.first, options.first + count):
        records.append(run_case(Path(options.out), seed, most))
        if not options.quiet:
            ends = ", ".join(f"{arm} {rounds[-1]['further']:,}" for arm, rounds in records[-1]["arms"].items())
            print(f"[{len(records)}/{count}] seed {seed}, further pairs: {ends}", flush=True)
    at_once = [run_at_once(Path(options.out), int(record["seed"]), most) for record in records]
    text = write(options.out, records, at_once)
    if not options.quiet:
        print(f"\n{text}\nResults: {options.out}")


def _parse(argv: Sequence[str]) -> argparse.Namespace:
    parser = base_parser("plan", "Does following lcm plan save pairs, compared with equal shares of all targets?")
    parser.add_argument("--natures", type=at_least_one, metavar="K", help=f"number of natures; default: {FULL}")
    parser.add_argument("--first", type=int, default=FIRST, metavar="S", help=f"their first seed; default: {FIRST}")
    parser.add_argument("--quiet", action="store_true", help="print nothing")
    return parser.parse_args(argv)


if __name__ == "__main__":
    main(sys.argv[1:])
