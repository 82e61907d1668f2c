"""`lcm refit`: fits to halves of the pairs of a run, which give its answers intervals."""

from __future__ import annotations

import argparse
from pathlib import Path

from lcm.app.commands.common import add_pairs_arguments, check_writable, pairs_of

HELP = "fit halves of the pairs, for intervals around answers"
DESCRIPTION = """\
Fit random halves of the pairs of a run, with the settings of the run, and keep the refits in RUN/refits. The estimate
from half of the pairs lies about as far from that of all as that of all from the truth, so that the refits give
  lcm sample RUN … --interval 0.9    an interval for each column of a counterfactual
  result.counterfactual(x, do, interval=0.9), result.standard_error(x)    the same in Python
The K halves are K fits of one restart each, at once: count on up to K times the time of one restart, and on less where
fits are small (fit_seconds in RUN/fit.json is the time of all restarts of the fit).
The figure RUN/figures/refits.png shows how far the refits agree on each variable. DATA must be the pairs of the fit.
Refits of images share the autoencoder of the run.
"""
EPILOG = """\
examples:
  lcm refit run data/toy2d/train.safetensors
  lcm refit run before.csv after.csv --halves 16
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    parser.add_argument("run_folder", metavar="RUN", help="run folder of lcm fit")
    add_pairs_arguments(parser)
    parser.add_argument("--halves", metavar="K", type=int, default=8, help="number of refits, at least 4; default: 8")
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto", help="default: auto")


def run(arguments: argparse.Namespace) -> None:
    """Run the command."""
    data = pairs_of(arguments)

    from lcm.data.pairs import data_hash
    from lcm.report import draw_refits
    from lcm.run.known import knows_targets
    from lcm.run.refitting import LEAST_HALVES, refit, save_refits
    from lcm.run.run_folder import claimed_figures
    from lcm.run.runs import load_run

    if arguments.halves < LEAST_HALVES:
        raise ValueError(f"--halves: Expected at least {LEAST_HALVES} refits; got {arguments.halves}")
    folder = Path(arguments.run_folder)
    opened = load_run(folder)
    check_writable(folder)
    if data_hash(data, with_targets=knows_targets(opened.config)) != opened.info["data_sha256"]:
        raise ValueError(f"{arguments.data}: Expected the pairs of the fit in {folder}; got others")
    found = refit(opened.result(), data, halves=arguments.halves, device=arguments.device, quiet=arguments.quiet)
    if found.refits is not None and found.refits.drawn is not None:
        save_refits(folder, found.refits)
        with claimed_figures(folder) as figures:
            draw_refits(figures / "refits.png", *found.refits.drawn, found.names)
    if not arguments.quiet:
        print(f"Fitted {arguments.halves} halves of {len(data):,} pairs: {folder / 'refits'}")
        print("Edges with the 95 % interval of their strength, the error of the encoder included:")
        interval = found.edge_interval()
        for i, j in found.graph.edges():
            low, high = interval[i, j]
            print(f"  {found.names[i]} -> {found.names[j]}  {found.edge_strength[i, j]:.3f}  [{low:.3f}, {high:.3f}]")
        print(f"Figure: {folder / 'figures' / 'refits.png'}")
        print(f"Next: lcm sample {folder} --from DATA --do 0=1.5 --interval 0.9 --out FILE")
