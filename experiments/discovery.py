"""discovery: which method finds the graph over which variables: structural Hamming distance, method × representation.

The natures are those of the scaling family. A representation is the true variables, or those that a model finds in
pairs. Each model is fitted once, and all methods get the same encodings. A finished fit or search is not run again.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, final

from experiments._cells import run_once
from experiments._experiment import Plan, Size, experiment_parser, fit_cells, fit_config, make_cell
from experiments._experiment_data import draw_sizes
from experiments._report import write_report
from lcm.app.sweep.cells import Cell, DataSet
from lcm.peer.search.config import LIBRARY_METHODS, METHODS, GraphSearchConfig, SearchMethod
from lcm.report.tables import Column
from lcm.run.config import models

if TYPE_CHECKING:
    from lcm.peer.search.variables import FittedVariables
    from lcm.readout.evidence import FoundGraph
    from lcm.run.config import FitConfig

CONFIG = Path(__file__).resolve().parent.parent / "paper_configs" / "scaling.yaml"
FULL = Size(model_seeds=1, data_seeds=2, pairs=100_000)
QUICK = Size(model_seeds=1, data_seeds=1, pairs=5_000)
FULL_N, QUICK_N = (3, 4, 8), (3,)
TRUTH = "truth"
REPRESENTATIONS = (TRUTH, "flow", "ilcm-vae", "dvae")
CHOSEN: tuple[SearchMethod, ...] = tuple(method for method in METHODS if method != "none")
_MOST_ROWS = 20_000


@final
@dataclass(frozen=True)
class Search:
    """One method on one representation of one data set, with a model seed.

    fit, scores: the cell that gives the representation, and its record; None and none for the true variables.
    """

    data: DataSet
    representation: str
    method: SearchMethod
    seed: int
    fit: Cell | None
    scores: Mapping[str, Any]

    @property
    def name(self) -> str:
        """The name of its file."""
        return f"{self.data.name}-{self.representation}-model{self.seed}-{self.method}"


def main(argv: Sequence[str]) -> None:
    """Run the experiment; `--help` lists the options."""
    parser = experiment_parser("discovery", "SHD by discovery method and representation, on the scaling family.")
    parser.add_argument("--n", nargs="+", type=int, metavar="N", help="numbers of variables")
    known = (TRUTH, *models())
    parser.add_argument("--representations", nargs="+", choices=known, metavar="R", help=f"of {', '.join(known)}")
    parser.add_argument("--methods", nargs="+", choices=CHOSEN, metavar="M", help=f"of {', '.join(CHOSEN)}")
    options = parser.parse_args(argv)
    plan = Plan.chosen(options, FULL, QUICK)
    methods = tuple(options.methods or _installed(plan))
    representations = tuple(options.representations or (name for name in REPRESENTATIONS if name in known))
    data = draw_sizes(CONFIG, options.n or (QUICK_N if options.quick else FULL_N), plan)
    records = list(_records(data, representations, methods, plan))
    columns = [Column(f"shd_{name}", f"SHD, {name}", 1) for name in representations]
    seconds = [Column(f"seconds_{name}", f"seconds, {name}", 1) for name in representations[:1]]
    by = {"n": "n", "method": "method"}
    table = write_report(plan.out, "Discovery", _rows(records), by, [*columns, *seconds], _settings(plan, records))
    if not plan.quiet:
        print(f"\n{table}\nResults: {plan.out}")


def _installed(plan: Plan) -> Iterator[SearchMethod]:
    """The methods whose packages are there."""
    from importlib.util import find_spec

    for method in CHOSEN:
        package = "gies" if method == "gies" else "causallearn"
        if method not in LIBRARY_METHODS or find_spec(package) is not None:
            yield method
        elif not plan.quiet:
            print(f"{method}: left out; it needs pip install 'latent-causal-models[discovery]'")


def _records(
    data: Sequence[DataSet], representations: Sequence[str], methods: Sequence[SearchMethod], plan: Plan
) -> Iterator[dict[str, Any]]:
    """The record of every cell, in the order of the data sets; what is missing is found now."""
    import torch

    torch.set_num_threads(plan.threads or 1)
    seeds = range(plan.size.model_seeds)
    models = [name for name in representations if name != TRUTH]
    cells = [
        make_cell(part, seed, _fit_settings(name, plan), name) for part in data for name in models for seed in seeds
    ]
    fits = list(zip(cells, fit_cells(cells, plan), strict=True)) if cells else []
    found = {(cell.data.name, cell.config.model, cell.config.seed): (cell, scores) for cell, scores in fits}
    for part in data:
        for name in representations:
            for seed in seeds if name != TRUTH else (0,):
                fit = found.get((part.name, name, seed), (None, {}))
                yield from _search_all([Search(part, name, method, seed, *fit) for method in methods], plan)


def _search_all(searches: Sequence[Search], plan: Plan) -> Iterator[dict[str, Any]]:
    """All methods on one representation, which is encoded only if one of them is not finished."""
    variables = cache(partial(_variables, searches[0], plan.out))
    for search in searches:
        path = plan.out / "searches" / f"{search.name}.json"
        record = run_once(path, _same(search, plan), partial(_found, search, plan, variables))
        if not plan.quiet:
            print(f"{search.name}: SHD {record['shd']}, {record['seconds']:.1f} s", flush=True)
        yield record


def _found(search: Search, plan: Plan, encoded: Callable[[], tuple[FittedVariables, dict[str, Any]]]) -> dict[str, Any]:
    from lcm.peer.search import discover

    variables, about = encoded()
    return _scored(search, discover(variables, seed=search.seed, config=_search_settings(search, plan)), about)


def _search_settings(search: Search, plan: Plan) -> GraphSearchConfig:
    """The settings of the search, with at most as many steps as the plan says."""
    config = replace(fit_config(None, plan.config).graph_search, method=search.method)
    if plan.steps is None:
        return config
    networks, enco = (replace(part, steps=min(plan.steps, part.steps)) for part in (config.networks, config.enco))
    return replace(config, networks=networks, enco=enco)


def _same(search: Search, plan: Plan) -> dict[str, Any]:
    """What a finished cell must agree in."""
    from lcm.base.config import config_hash

    own = asdict(_search_settings(search, plan))
    fitted = "" if search.fit is None else config_hash(search.fit.config)
    return {"search": own, "fit_sha256": fitted, "pairs": plan.size.pairs}


def _fit_settings(model: str, plan: Plan) -> FitConfig:
    # the fit gives the encodings alone, because the graph is searched for here
    config = replace(fit_config(plan.steps, plan.config), model=model)
    return replace(config, graph_search=replace(config.graph_search, method="none"))


def _variables(search: Search, out: Path) -> tuple[FittedVariables, dict[str, Any]]:
    """The variables of a representation at the first training pairs; what its fit scores, and how they match."""
    from lcm.app.sweep.sweep import run_folder
    from lcm.data.encode import encode_pairs
    from lcm.data.pair_files import load_pairs
    from lcm.peer.search.variables import FittedVariables
    from lcm.run.runs import load_run

    train = load_pairs(search.data.train).first(_MOST_ROWS)
    if search.fit is None:
        variables = FittedVariables.from_truth(train)
        return variables, {"permutation": list(range(variables.n)), "mcc": 1.0}
    model = load_run(run_folder(out, search.fit)).model
    variables = FittedVariables.from_encoded(encode_pairs(model, train), model.target_distribution)
    return variables, {key: search.scores[key] for key in ("permutation", "mcc", "fit_seconds")}


def _scored(search: Search, found: FoundGraph, about: dict[str, Any]) -> dict[str, Any]:
    import numpy as np

    from lcm.data.pair_files import load_pairs
    from lcm.metric.graph import aligned_adjacency, edge_scores, structural_hamming_distance

    true = load_pairs(search.data.test).adjacency
    if true is None:
        raise ValueError(f"{search.data.test}: Expected the true adjacency; got none.")
    learned = aligned_adjacency(found.graph.adjacency, about["permutation"])
    return {
        "data": search.data.name,
        "n": len(true),
        "data_seed": search.data.values["data.seed"],
        "model_seed": search.seed,
        "representation": search.representation,
        "method": search.method,
        "shd": structural_hamming_distance(true, learned),
        "edge_f1": edge_scores(true, learned).f1,
        "true_edges": np.argwhere(true).tolist(),
        "learned_edges": np.argwhere(learned).tolist(),
        "seconds": found.seconds,
        **about,
    }


def _rows(records: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """One record for each method, data set and seed, with the SHD and seconds of every representation."""
    rows: dict[tuple[Any, ...], dict[str, Any]] = {}
    for record in records:
        key = record["n"], record["method"], record["data_seed"], record["model_seed"]
        row = rows.setdefault(key, dict(zip(("n", "method", "data_seed", "model_seed"), key, strict=True)))
        row |= {f"{part}_{record['representation']}": record[part] for part in ("shd", "seconds", "mcc")}
        row["true_edges"] = len(record["true_edges"])
    return sorted(rows.values(), key=lambda row: (row["n"], CHOSEN.index(row["method"])))


def _settings(plan: Plan, records: Sequence[dict[str, Any]]) -> dict[str, str]:
    import torch

    from lcm.base import __version__

    edges = dict.fromkeys(f"{record['data']}: {len(record['true_edges'])}" for record in records)
    return {
        "pairs to fit on": f"{plan.size.pairs}; the search for the graph uses the first {_MOST_ROWS}",
        "true edges": ", ".join(edges),
        "steps": "the defaults of a fit" if plan.steps is None else f"{plan.steps}, not the defaults of a fit",
        "versions": f"lcm {__version__}, torch {torch.__version__}",
    }


if __name__ == "__main__":
    main(sys.argv[1:])
