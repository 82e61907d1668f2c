"""ablations: what each part of the method adds. One part at a time is taken out of the default fit.

| name | what is taken out |
| --- | --- |
| `default` | nothing |
| `no-warm-start` | the linear start: the flow starts at the whitened coordinates |
| `adam` | steps in the eigenbases of gradients: all parameters move by Adam, at the rate 0.01 |
| `splines` | the residual flow: couplings by splines |
| `fixed-thickness` | the fall of the thickness: the data set it from the first step |
| `one-round` | rounds until the encoder has converged: 2,000 steps |
| `strong-edges` | the tests of edges: what explains 1 % of a variable's variance is an edge, along the order found |
| `leading-directions` | the choice of a code: the n leading principal directions; instruments alone |

All arms are fitted to the same pairs of the same natures, with the same seeds. A fit has ten minutes instead of some
seconds a variable, so that other work on the machine does not choose the better arm.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace
from typing import Any, final
from unittest.mock import patch

import numpy as np

from experiments import families, physics
from experiments._experiment import Plan, Size, experiment_parser, fit_cells, fit_config, make_cell, report_cells
from lcm.app.sweep.cells import DataSet
from lcm.data.pairs import PairData
from lcm.learn.principal import principal_directions
from lcm.learn.training import optimiser
from lcm.model.decoder import ChainDecoder
from lcm.model.graph import Graph
from lcm.readout.evidence import GraphEvidence

FULL = Size(model_seeds=1, data_seeds=3, pairs=30_000)
QUICK = Size(model_seeds=1, data_seeds=1, pairs=3_000)
VECTORS, INSTRUMENTS = ("location-scale-strong-4", "skewed-strong-3"), ("arm",)
_LEAST_STRENGTH, _MOST_SECONDS = 0.01, 600.0


@final
@dataclass(frozen=True)
class Arm:
    """A fit with something taken out.

    Attributes:
        noise_encoder: keys of that section of the config, and their values.
        patched: what replaces code of the package while the arm is fitted.
        natures: the natures that it is fitted to.
    """

    noise_encoder: Mapping[str, Any] = field(default_factory=dict)
    patched: Callable[[], AbstractContextManager[Any]] = nullcontext
    natures: tuple[str, ...] = VECTORS


def whitened(train: Any, train_tilde: Any, generator: Any, atomic: bool) -> Any:
    """In place of the linear start: the coordinates of the fit, which are uncorrelated and of unit variance."""
    import torch

    return torch.eye(train.shape[1], dtype=torch.float64, device=train.device)


def by_strength(evidence: GraphEvidence, _: float) -> Graph:
    """In place of tests: the edges along the order that was found whose strength is at least 0.01."""
    position = np.argsort(evidence.order)
    return Graph((evidence.edge_strength >= _LEAST_STRENGTH) & (position[:, None] < position[None, :]))


def leading(data: PairData, n: int, *_: Any) -> ChainDecoder:
    """In place of the choice of a code: the n leading principal directions."""
    return principal_directions(data.x, n)


ARMS: dict[str, Arm] = {
    "default": Arm(natures=(*VECTORS, *INSTRUMENTS)),
    "no-warm-start": Arm(patched=lambda: patch("lcm.learn.prepared._linear_start", whitened)),
    "adam": Arm({"learning_rate": 0.01}, lambda: patch.object(optimiser, "_InEigenbases", _adam)),
    "splines": Arm({"flow": "spline"}),
    "fixed-thickness": Arm({"anneal_share": 0.0}),
    "one-round": Arm({"steps": 2000}),
    "strong-edges": Arm(patched=lambda: patch.object(GraphEvidence, "graph_at", by_strength)),
    "leading-directions": Arm(patched=lambda: patch("lcm.run.fitting.coordinates", leading), natures=INSTRUMENTS),
}


def _adam(parameters: Any, gradients: Any, _: Any) -> Any:
    return optimiser.Adam(parameters, gradients)


def main(argv: Sequence[str]) -> None:
    """Run the experiment; `--help` lists the options."""
    parser = experiment_parser("ablations", "What each part of the method adds.")
    parser.add_argument("--arms", nargs="+", choices=ARMS, default=list(ARMS), metavar="ARM", help=f"of {list(ARMS)}")
    every = (*VECTORS, *INSTRUMENTS)
    parser.add_argument("--natures", nargs="+", choices=every, default=every, metavar="NAME", help=f"of {every}")
    options = parser.parse_args(argv)
    plan = Plan.chosen(options, FULL, QUICK)
    cells, records = [], []
    for name in options.arms:
        own = [
            _cell(name, nature, seed, model_seed, plan)
            for nature in ARMS[name].natures
            if nature in options.natures
            for seed in range(plan.size.data_seeds)
            for model_seed in range(plan.size.model_seeds)
        ]
        with ARMS[name].patched():
            records += fit_cells(own, plan)
        cells += own
    title = "ablations: one part of the method taken out at a time"
    report_cells(title, cells, records, {"nature": "nature", "arm": "arm"}, plan)


def _cell(name: str, nature: str, seed: int, model_seed: int, plan: Plan) -> Any:
    config = fit_config(plan.steps, plan.config)
    own = ARMS[name].noise_encoder
    # a quick version has fewer steps than any arm
    own = {key: value for key, value in own.items() if key != "steps" or plan.steps is None}
    config = replace(config, noise_encoder=replace(config.noise_encoder, most_seconds=_MOST_SECONDS, **own))
    return make_cell(_data(nature, seed, plan), model_seed, config, name, nature=nature, arm=name)


def _data(nature: str, seed: int, plan: Plan) -> DataSet:
    if nature in INSTRUMENTS:
        return physics.draw_instrument(nature, 0.0, seed, plan)
    return families.draw_family(nature, seed, plan)


if __name__ == "__main__":
    main(sys.argv[1:])
