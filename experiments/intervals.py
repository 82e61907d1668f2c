"""intervals: do the stated intervals of counterfactuals hold the true ones as often as they say?

Random natures, linear and curved, and fits with refits to halves of their pairs. Each query sets one learned variable
to a value in its own units, which a monotone map from learned to true variables translates for the truth.
Coverage is the share of columns of true counterfactuals inside intervals of 90 %, averaged within a nature, then over
natures.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from experiments._cells import run_once
from experiments._experiment import at_least_one, base_parser

if TYPE_CHECKING:
    from lcm.model.latent_causal_model import LatentCausalModel
    from lcm.run.result import FitResult

Array = NDArray[np.float64]
KINDS, PAIRS, LEVEL = ("linear", "curved"), (2_000, 10_000, 100_000), 0.9
_QUERIES, _ROWS, _MAPPED = 12, 200, 20_000


def main(argv: Sequence[str]) -> None:
    """Run the experiment; `--help` lists the options."""
    parser = base_parser("intervals", __doc__)
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=KINDS, metavar="KIND", help=f"of {KINDS}")
    parser.add_argument("--natures", type=at_least_one, metavar="K", help="of each kind and size; default: 50")
    parser.add_argument("--first-seed", type=int, default=0, metavar="S", help="of the natures; default: 0")
    parser.add_argument("--halves", type=at_least_one, default=8, metavar="K", help="refits of each fit; default: 8")
    parser.add_argument(
        "--sizes", type=at_least_one, nargs="+", metavar="N", help=f"numbers of pairs; default: {PAIRS}"
    )
    options = parser.parse_args(argv)
    import torch

    torch.set_num_threads(options.threads or 1)
    natures = options.natures or (2 if options.quick else 50)
    sizes = options.sizes or ((2_000,) if options.quick else PAIRS)
    seeds = range(options.first_seed, options.first_seed + natures)
    cells = [(kind, pairs, seed) for kind in options.kinds for pairs in sizes for seed in seeds]
    records = []
    for index, (kind, pairs, seed) in enumerate(cells):
        cell = {"kind": kind, "pairs": pairs, "seed": seed, "halves": options.halves, "steps": options.steps}
        path = Path(options.out) / "cells" / f"{kind}-{pairs}-{seed}.json"
        records.append(run_once(path, cell, lambda cell=cell: measure(cell)))  # type: ignore[misc]
        print(f"[{index + 1}/{len(cells)}] {kind} {pairs} {seed}: coverage {records[-1]['coverage']:.3f}", flush=True)
    text = _write(Path(options.out))
    print(f"\n{text}\nResults: {options.out}")


def measure(cell: Mapping[str, Any]) -> dict[str, Any]:
    """Coverage of counterfactuals for one nature, widths and errors relative to the spread of x, and edges found."""
    from experiments._experiment import fit_config
    from lcm.base.config import structure_config
    from lcm.data.nature.build import build_nature, torch_generator
    from lcm.data.nature.config import NatureConfig
    from lcm.data.sample import sample_data
    from lcm.learn.training.tracker import Recorder
    from lcm.run.fitting import fit_pairs
    from lcm.run.refitting import refit

    started, seed, linear = time.perf_counter(), cell["seed"], cell["kind"] == "linear"
    settings = {
        "n": 3,
        "graph": {"expected_degree": 1.5},
        "mechanism": {"kind": "linear" if linear else "location-scale"},
        "decoder": {"kind": "rotation"} if linear else {"kind": "mixing", "layers": 2},
    }
    nature = build_nature(structure_config(settings, NatureConfig, "intervals"), seed)
    data = sample_data(nature, cell["pairs"], torch_generator(seed, "pairs"))
    config = replace(fit_config(cell["steps"]), n=3, seed=seed, model="linear" if linear else "flow")
    result = refit(fit_pairs(data, config, recorder=Recorder(progress=False)), halves=cell["halves"], quiet=True)
    found = _answers(nature, result, seed)
    return {**found, "seconds": time.perf_counter() - started}


def _answers(nature: LatentCausalModel, result: FitResult, seed: int) -> dict[str, Any]:
    from lcm.data.encode import encode_pairs
    from lcm.data.nature.build import torch_generator
    from lcm.data.sample import sample_data
    from lcm.isomorphism.matching import correlation_matrix, match_variables
    from lcm.isomorphism.monotone import fit_monotone, mapped, normal_scores, quantile_map
    from lcm.model.do import Do

    test = sample_data(nature, _MAPPED, torch_generator(seed, "queries"))
    x, spread, true = test.x[:_ROWS], test.x.std(0), encode_pairs(nature, test).z.double().numpy()
    permutation = match_variables(correlation_matrix(true, result.encode(test.x)))
    learned = result.encode(test.x)[:, permutation].astype(np.float64)
    units = quantile_map(learned, true, fit_monotone(normal_scores(learned), normal_scores(true)))
    values = learned[_ROWS : _ROWS + _QUERIES]
    translated = mapped(units, values)
    inside, widths, errors = [], [], []
    for query in range(_QUERIES):
        i = query % nature.n
        truth = nature.counterfactual(x, Do({i: float(translated[query, i])}))
        answer = result.counterfactual(x, Do({int(permutation[i]): float(values[query, i])}), interval=LEVEL)
        inside.append(((truth >= answer.low) & (truth <= answer.high)).mean())
        widths.append(((answer.high - answer.low) / spread).mean())
        errors.append(np.abs((truth - answer.estimate) / spread).mean())
    return {
        "coverage": float(np.mean(inside)),
        "width": float(np.mean(widths)),
        "error": float(np.mean(errors)),
        "true_edges": len(nature.graph.edges()),
        "edges_right": bool((nature.graph.adjacency == result.graph.adjacency[permutation][:, permutation]).all()),
    }


def _write(out: Path) -> str:
    from scipy.special import stdtrit

    from lcm.base.files import read_json, write_json, write_text
    from lcm.report.tables import to_markdown

    records = [read_json(path) for path in sorted((out / "cells").glob("*.json"))]
    table = [["kind", "pairs", "natures", "coverage, mean (95 %)", "width / spread, median", "error / spread, median"]]
    for kind in KINDS:
        for pairs in sorted({record["pairs"] for record in records}):
            chosen = [record for record in records if record["kind"] == kind and record["pairs"] == pairs]
            if not chosen:
                continue
            coverage = np.array([record["coverage"] for record in chosen])
            # of few natures, the mean is less sure than a normal law says
            usual = stdtrit(len(chosen) - 1, 0.975) if len(chosen) > 1 else np.nan
            reach = usual * coverage.std(ddof=1) / np.sqrt(len(chosen)) if len(chosen) > 1 else np.nan
            middle = [f"{np.median([record[key] for record in chosen]):.2g}" for key in ("width", "error")]
            mean = f"{coverage.mean():.3f} ({coverage.mean() - reach:.3f}–{coverage.mean() + reach:.3f})"
            table.append([kind, f"{pairs:,}", str(len(chosen)), mean, *middle])
    text = f"# intervals: coverage of counterfactuals at a stated {LEVEL:.0%}\n\n{to_markdown(table)}\n"
    write_json(out / "results.json", {"records": records})
    write_text(out / "results.md", text)
    return text


if __name__ == "__main__":
    main(sys.argv[1:])
