"""certificate: does it accept what is sound, find what is broken, and find as much as it says it would?

Sound natures: how often is any row called broken? Violations at one to three strengths: how often does a row that
names the violation call it broken? Stated power: a nature is certified, one assumption is broken by just the smallest
violation that the certificate says it would see nine times in ten, and a new certificate is asked.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from experiments._cells import run_once
from experiments._experiment import at_least_one, base_parser

PARTS = ("sound", "violations", "power")


def main(argv: Sequence[str]) -> None:
    """Run the experiment; `--help` lists the options."""
    parser = base_parser("certificate", __doc__)
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=PARTS, metavar="PART", help=f"of {PARTS}")
    parser.add_argument("--first-seed", type=int, default=0, metavar="S", help="of the natures; default: 0")
    for part, count in (("sound", 200), ("violated", 20), ("powered", 30)):
        parser.add_argument(f"--{part}", type=at_least_one, metavar="K", help=f"natures; default: {count}")
    parser.add_argument(
        "--model",
        choices=("flow", "linear"),
        default="linear",
        help="of the fits to broken pairs; default: linear. Sound natures are fitted by flow",
    )
    options = parser.parse_args(argv)
    few = options.quick
    counts = {
        "sound": options.sound or (4 if few else 200),
        "violations": options.violated or (1 if few else 20),
        "power": options.powered or (1 if few else 30),
    }
    import torch

    torch.set_num_threads(options.threads or 1)
    from experiments._certificate_report import write

    pairs = options.pairs or (4_000 if few else None)
    cells = [cell for part in options.parts for cell in _cells(part, options.first_seed, counts[part])]
    records = []
    for index, cell in enumerate(cells):
        model = "flow" if cell["part"] == "sound" else options.model
        records.append(measure(Path(options.out), {**cell, "model": model, "pairs": pairs, "steps": options.steps}))
        broken = ", ".join(records[-1]["broken"]) or "nothing"
        told = " ".join(str(value) for value in cell.values())
        print(f"[{index + 1}/{len(cells)}] {told}: {broken} broken; {records[-1]['seconds']:.1f} s", flush=True)
    text = write(Path(options.out))
    print(f"\n{text}\nResults: {options.out}")


def _cells(part: str, first: int, count: int) -> list[dict[str, Any]]:
    from experiments._violations import VIOLATIONS

    seeds = range(first, first + count)
    if part == "sound":
        return [{"part": part, "seed": seed} for seed in seeds]
    if part == "violations":
        return [
            {"part": part, "violation": name, "strength": strength, "seed": seed}
            for name, violation in VIOLATIONS.items()
            for strength in violation.strengths
            for seed in seeds
        ]
    scaled = [name for name, violation in VIOLATIONS.items() if violation.scales]
    return [{"part": part, "violation": name, "seed": seed} for name in scaled for seed in seeds]


def measure(out: Path, cell: Mapping[str, Any]) -> dict[str, Any]:
    """The record of one cell: the verdict of every row, its statistic, p-value and smallest violation."""
    from experiments._certificate_fits import examine

    name = "-".join(str(value) for key, value in cell.items() if key not in ("pairs", "steps"))
    return run_once(out / "cells" / f"{name}.json", cell, lambda: examine(cell))


if __name__ == "__main__":
    main(sys.argv[1:])
