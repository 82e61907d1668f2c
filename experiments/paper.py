"""paper: the published comparison, reproduced and extended: every model on the same pairs, with the same scores.

The parts are: the published n = 4 pairs (--data gives their files), disentanglement against the number of variables,
toy2d, and how models degrade with fewer pairs, noise, a wrong n and a wrong intervention family. Every cell is an
ordinary fit. A finished cell is not run again, so that parts and models can be run one after the other.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from experiments._experiment import Plan, Size, experiment_parser, fit_config, run_cells
from experiments._paper_parts import LARGE_SIZES, MODELS, PARTS, SIZES, Request

REDUCED = Size(model_seeds=3, data_seeds=3, pairs=100_000)
QUICK = Size(model_seeds=1, data_seeds=1, pairs=5_000)
QUICK_PARTS = ("scaling", "toy2d")
PANELS = {
    "dci_disentanglement": "DCI disentanglement",
    "mcc": "MCC",
    "intervention_accuracy": "intervention accuracy",
    "shd": "SHD",
    "fit_seconds": "fit time (s)",
}
SHARES = ("dci_disentanglement", "mcc", "intervention_accuracy")


def main(argv: Sequence[str]) -> None:
    """Run the experiment; `--help` lists the options."""
    parser = experiment_parser("paper", "Every model on the same pairs: the published comparison and extensions.")
    parser.add_argument("--part", nargs="+", choices=PARTS, metavar="PART", help=f"of {', '.join(PARTS)}")
    parser.add_argument(
        "--models", nargs="+", choices=MODELS, metavar="NAME", help=f"models to fit, of {', '.join(MODELS)}"
    )
    parser.add_argument("--full", action="store_true", help="all steps of every peer, and every model seed")
    parser.add_argument("--n", nargs="+", type=int, metavar="N", help="numbers of variables in the part scaling")
    parser.add_argument(
        "--data",
        type=Path,
        nargs=2,
        action="append",
        default=[],
        metavar=("TRAIN", "TEST"),
        help="files for the part reference",
    )
    options = parser.parse_args(argv)
    plan = Plan.chosen(options, REDUCED, QUICK)
    if "reference" in (options.part or ()) and not options.data:
        raise ValueError("--data: Expected TRAIN TEST for the part reference; got none")
    chosen = options.part or (QUICK_PARTS if options.quick else tuple(PARTS))
    default = ((2,), ()) if options.quick else (SIZES, LARGE_SIZES)
    sizes = default if options.n is None else _split(options.n)
    models = tuple(options.models or MODELS)
    config = fit_config(plan.steps, plan.config)
    request = Request(models, tuple(map(tuple, options.data)), config, plan, *sizes, reduced=not options.full)
    for name in chosen:
        _run(name, request)


def _split(sizes: Sequence[int]) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """The numbers of variables for every model, and the larger ones."""
    large = tuple(n for n in sizes if n > max(SIZES))
    return tuple(n for n in sizes if n not in large), large


def _run(name: str, request: Request) -> None:
    part = PARTS[name]
    own = replace(request, plan=replace(request.plan, out=request.plan.out / name))
    cells = list(part.cells(own))
    if not cells:
        if not request.plan.quiet:
            lacks = "it needs --data TRAIN TEST" if name == "reference" else "none of the models takes part"
            print(f"{name}: left out, {lacks}")
        return
    records = run_cells(part.title, cells, part.by, own.plan)
    if part.against is not None:
        from experiments._plot_scores import draw_scores

        (own.plan.out / "figures").mkdir(exist_ok=True)
        drawn = own.plan.out / "figures" / f"{name}.png"
        label = part.by.get(part.against)
        draw_scores(drawn, records, part.against, PANELS, SHARES, "model", part.logarithmic, label)


if __name__ == "__main__":
    main(sys.argv[1:])
