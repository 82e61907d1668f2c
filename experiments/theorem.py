"""theorem: Theorem 1 shown both ways (docs/theory.md section 1, docs/identifiability.md section 3).

1: two models have the same distribution of pairs. 2: they are isomorphic.

(2 ⇒ 1) Random models and their images under random isomorphisms have equal densities of pairs, up to rounding, and no
test distinguishes their samples. Models that differ in one edge, weight, imposed law or probability are distinguished.
(1 ⇒ 2) For fits from bad to good, the gap of the held-out likelihood to the nature's is shown against the distance from
an isomorphism.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

from experiments._experiment import at_least_one, made_folder


@final
@dataclass(frozen=True)
class Sizes:
    """The size of the experiment.

    Attributes:
        models, rows: the number of random models with one image each, and of the pairs that are compared.
        natures, mmd_natures: natures for each kind of neighbour and size of change; the first mmd_natures have their
            samples compared as well.
        strengths, pairs: sizes of the change, and of the sample.
        kinds: the number of natures to fit. budgets: steps (None for the default of a fit) and pairs. long_budgets: for
            the first nature only, the quickest. seeds: the number of model seeds.
    """

    models: int
    rows: int
    natures: int
    mmd_natures: int
    strengths: tuple[float, ...]
    pairs: tuple[int, ...]
    kinds: int
    budgets: tuple[tuple[int | None, int], ...]
    long_budgets: tuple[tuple[int | None, int], ...]
    seeds: int


FULL = Sizes(
    models=200,
    rows=2000,
    natures=100,
    mmd_natures=40,
    strengths=(0.05, 0.1, 0.2, 0.4, 0.8),
    pairs=(100, 300, 1000, 3000, 10_000),
    kinds=3,
    budgets=((100, 50_000), (300, 50_000), (1000, 3000), (1000, 50_000), (None, 50_000)),
    long_budgets=((4000, 50_000),),
    seeds=3,
)
QUICK = Sizes(20, 1000, 10, 4, (0.05, 0.2, 0.8), (100, 1000, 10_000), 2, ((100, 5000), (500, 5000)), (), 1)


def main(argv: Sequence[str]) -> None:
    """Run the experiment; `--help` lists the options."""
    options = _parse(argv)
    sizes = QUICK if options.quick else FULL
    parts = run_parts(sizes, options.out, options.seeds or sizes.seeds, options.quiet)
    from experiments._theorem_report import write

    text = write(options.out, parts)
    if not options.quiet:
        print(f"\n{text}\nResults: {options.out}")


def _parse(argv: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="lcm reproduce theorem", description="Theorem 1 shown both ways.")
    out = Path("runs") / "theorem"
    parser.add_argument(
        "--out", type=made_folder, default=str(out), metavar="DIR", help=f"folder for the results; default: {out}"
    )
    parser.add_argument("--quick", action="store_true", help="fewer models, natures and fits: at most two minutes")
    parser.add_argument("--seeds", type=at_least_one, metavar="K", help="fit every nature with the seeds 0 to K-1")
    parser.add_argument("--quiet", action="store_true", help="print nothing")
    return parser.parse_args(argv)


def run_parts(sizes: Sizes, out: Path, seeds: int, quiet: bool) -> dict[str, list[Mapping[str, Any]]]:
    """The records of the three parts: images, neighbours and fits; finished cells are not run again."""
    import torch

    from experiments._theorem_fits import FitBudget, natures, run_fits
    from experiments._theorem_images import run_images
    from experiments._theorem_power import Budget, run_power

    torch.set_num_threads(1)

    def say(text: str) -> None:
        if not quiet:
            print(text, flush=True)

    say(f"theorem: {sizes.models} models and their images")
    images = run_images(out, sizes.models, sizes.rows)
    say(f"theorem: neighbours of {sizes.natures} natures")
    neighbours = run_power(out, Budget(sizes.natures, sizes.mmd_natures, sizes.strengths, sizes.pairs))
    budgets = [FitBudget(*budget) for budget in sizes.budgets]
    say(f"theorem: {sizes.kinds * len(budgets) * seeds} fits")
    names = list(natures())[: sizes.kinds]
    long_budgets = [FitBudget(*budget) for budget in sizes.long_budgets]
    fits = run_fits(out, names, budgets, seeds) + run_fits(out, names[:1], long_budgets, seeds)
    return {"images": list(images), "neighbours": list(neighbours), "fits": list(fits)}


if __name__ == "__main__":
    main(sys.argv[1:])
