"""unpaired: what do pairs buy, compared with unpaired environments whose targets are known?

Natures with a linear mixing, one target a pair. The paired models see x beside x̃ and no targets. The unpaired
estimators see as many x and x̃, of different pairs: x̃ is told apart by its target, which is more than pairs say. Both
are scored by |Spearman| of matched variables (MCC) and by the structural Hamming distance of the graph (SHD).
"""

from __future__ import annotations

import argparse
import os
import platform
import sys
from collections.abc import Iterator, Sequence
from itertools import product
from typing import TYPE_CHECKING

from experiments._experiment import at_least_one, base_parser
from lcm.base import __version__
from lcm.report.tables import Column

if TYPE_CHECKING:
    from experiments._unpaired_fits import Request

SIZES = (500, 2_000, 10_000, 50_000)
NUMBERS = (3, 5)
SEEDS = 8
TITLE = "unpaired: pairs against unpaired environments"
BY = {"kind": "mechanisms", "n": "n", "observations": "observations", "method": "method"}
COLUMNS = (
    Column("mcc", "MCC", 3),
    Column("shd", "SHD", 0),
    Column("fitted", "fitted"),
    Column("seconds", "time (s)", 2),
)


def main(argv: Sequence[str]) -> None:
    """Run the experiment; `--help` lists the options."""
    options = _parse(argv)
    import torch

    from experiments._plot_unpaired import draw_unpaired
    from experiments._report import write_report
    from experiments._unpaired_fits import run_cell

    torch.set_num_threads(options.threads or 1)
    requests = list(_requests(options))
    records = []
    for request in requests:
        records.append(run_cell(options.out, request, options.steps))
        if not options.quiet:
            found = {key: records[-1][key] for key in ("mcc", "shd")}
            print(f"[{len(records)}/{len(requests)}] {request.name}: {found}", flush=True)
    records = [{**record, "fitted": record["refused"] is None} for record in records]
    table = write_report(options.out, TITLE, records, BY, COLUMNS, _settings(options))
    draw_unpaired(options.out / "unpaired.png", records)
    if not options.quiet:
        print(f"\n{TITLE}; median (range)\n\n{table}\nResults: {options.out}")


def _requests(options: argparse.Namespace) -> Iterator[Request]:
    """All cells, the slow ones of `flow` last."""
    from experiments._unpaired_fits import KINDS, METHODS, Request

    sizes = (2 * options.pairs,) if options.pairs else (SIZES[1],) if options.quick else SIZES
    seeds = options.seeds or (1 if options.quick else SEEDS)
    grid = list(product(KINDS, NUMBERS[:1] if options.quick else NUMBERS, sizes, options.methods or METHODS))
    chosen = [each for each in grid if each[3] != "flow"] + [each for each in grid if _of_flow(*each)]
    for kind, n, size, method in chosen:
        yield from (Request(kind, n, seed, size, method) for seed in range(seeds))


def _of_flow(kind: str, n: int, size: int, method: str) -> bool:
    """Whether a cell of `flow` is fitted: where mechanisms are not linear, and for the larger n at one size alone."""
    return method == "flow" and kind == "location-scale" and (n == min(NUMBERS) or size == SIZES[2])


def _settings(options: argparse.Namespace) -> dict[str, str]:
    from experiments._unpaired_fits import FREQUENCIES, FREQUENCY_SCALE, IMPOSED_DEVIATION, TESTED

    return {
        "natures": f"seeds 0 to {(options.seeds or (1 if options.quick else SEEDS)) - 1}; 70 % of all edges, a linear"
        " mixing of condition at most 3, normal noise, one target a pair",
        "imposed values": f"normal, of deviation {IMPOSED_DEVIATION:g}; of deviation 1, as the noise, in same law",
        "observations": "x and x̃ together; half of them without an intervention",
        "told": "linear, flow: pairs, no targets; the others: the target of each x̃, no pairs",
        "score, waves": f"{FREQUENCIES} frequencies of deviation {FREQUENCY_SCALE:g}, chosen on seeds 100 to 102",
        "edges": "at a false discovery rate of 5 %",
        "scores": f"on {TESTED:,} other observations, over the cells that a fit does not refuse for too few pairs",
        "steps": "the defaults of a fit" if options.steps is None else f"{options.steps} of flow",
        "versions": f"lcm {__version__}, Python {platform.python_version()}, {os.cpu_count()} cores",
    }


def _parse(argv: Sequence[str]) -> argparse.Namespace:
    from experiments._unpaired_fits import METHODS

    parser = base_parser("unpaired", "What pairs buy, compared with unpaired environments of known targets.")
    parser.add_argument("--seeds", type=at_least_one, metavar="K", help=f"natures with the seeds 0 to K-1; {SEEDS}")
    parser.add_argument("--methods", nargs="+", choices=METHODS, metavar="NAME", help=f"of {'; '.join(METHODS)}")
    parser.add_argument("--quiet", action="store_true", help="print nothing")
    return parser.parse_args(argv)


if __name__ == "__main__":
    main(sys.argv[1:])
