"""verdict: how often `lcm.find_isomorphism` accepts isomorphic images, and models that differ in one thing.

Images are of random natures of 1 to 6 variables, of every kind of mechanism, decoder, noise and intervention, under
random relabellings with maps from affine to strongly bent. Neighbours differ from a nature in one thing and are hidden
behind such an image as well. How far a neighbour is from its nature is measured before that, as the divergence of
their pair distributions on 50,000 pairs of the nature.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from typing import Any

import torch

from experiments._cells import run_once
from experiments._experiment import at_least_one, base_parser
from experiments._report import write_report
from experiments._verdict.images import random_image, random_nature
from experiments._verdict.neighbours import NEIGHBOURS
from lcm.data.nature.build import torch_generator
from lcm.data.pairs import PairData
from lcm.data.sample import sample_data
from lcm.isomorphism import Comparison, find_isomorphism
from lcm.isomorphism.likelihood import log_densities
from lcm.model.latent_causal_model import LatentCausalModel
from lcm.report.tables import Column

FULL, QUICK = 200, 12
PAIRS, MEASURED = 6_000, 50_000
FAR = 0.02
COLUMNS = (
    Column("isomorphic", "called isomorphic", 3),
    Column("not_decided", "not decided", 3),
    Column("divergence", "divergence (nats a pair)"),
    Column("seconds", "time to compare (s)", 1),
)


def main(argv: Sequence[str]) -> None:
    """Run the experiment; `--help` lists the options."""
    parser = base_parser("verdict", __doc__)
    parser.add_argument("--models", type=at_least_one, metavar="K", help="natures of each table")
    parser.add_argument("--first", type=int, default=0, metavar="S", help="seed of the first nature")
    parser.add_argument("--quiet", action="store_true", help="print nothing")
    options = parser.parse_args(argv)
    count = options.models or (QUICK if options.quick else FULL)
    pairs = options.pairs or PAIRS
    records = []
    for seed in range(options.first, options.first + count):
        path = options.out / "cells" / f"nature-{seed:05d}.json"
        found = run_once(path, {"seed": seed, "pairs": pairs}, lambda seed=seed: {"records": measured(seed, pairs)})
        records += found["records"]
    by = {"case": "case", "distance": "neighbours"}
    settings = {"natures": str(count), "first seed": str(options.first), "pairs": str(pairs)}
    table = write_report(options.out, "verdicts on images and neighbours", records, by, COLUMNS, settings)
    if not options.quiet:
        print(f"\n{table}\nResults: {options.out}")


def measured(seed: int, n_pairs: int, n_measured: int = MEASURED) -> list[dict[str, Any]]:
    """Records of one nature: of its image, and of one neighbour of each kind that it has.

    Args:
        seed: of the nature, and of all that is made of it.
        n_pairs: pairs to compare on.
        n_measured: pairs on which the divergence of each neighbour is measured.
    """
    nature = random_nature(seed)
    image, maps = random_image(nature, seed)
    data = sample_data(nature, n_pairs, torch_generator(seed, "verdict pairs"))
    common = {"seed": seed, "n": nature.n, "intervention": nature.intervention.kind, **maps}
    records = [{**common, "case": "image", "distance": "-", **_verdict(nature, image, data), "divergence": 0.0}]
    far = sample_data(nature, n_measured, torch_generator(seed, "verdict divergence"))
    for name, make in NEIGHBOURS.items():
        neighbour = make(nature, seed)
        if neighbour is not None:
            divergence = divergence_on(nature, neighbour, far)
            distance = f">= {FAR} nats" if divergence >= FAR else f"< {FAR} nats"
            hidden, _ = random_image(neighbour, seed + 1)
            found = _verdict(nature, hidden, data)
            records.append({**common, "case": name, "distance": distance, **found, "divergence": divergence})
    return records


def _verdict(nature: LatentCausalModel, other: LatentCausalModel, data: PairData) -> dict[str, Any]:
    started = time.perf_counter()
    found: Comparison = find_isomorphism(nature, other, data)
    return {
        "isomorphic": float(found.isomorphic),
        "not_decided": float(found.verdict == "not decided"),
        "reasons": list(found.reasons),
        "undecided": list(found.judgement.undecided),
        "seconds": time.perf_counter() - started,
    }


@torch.no_grad()
def divergence_on(nature: LatentCausalModel, neighbour: LatentCausalModel, data: PairData) -> float:
    """Mean log p − log p′ on pairs of the nature, at each one's own thickness, at least 0.001; at most 1e9."""
    own, other = (log_densities(model, data, model.thickness.clamp_min(1e-3)) for model in (nature, neighbour))
    return float((own - other).nan_to_num(nan=1e9, posinf=1e9).clamp_max(1e9).mean())


if __name__ == "__main__":
    main(sys.argv[1:])
