"""What the scripts of experiments/ share: options, cells, their table and figures.

A *cell* is one fit of one data set with one model seed. The cells of an experiment are run as those of a sweep are
(`lcm.app.sweep`), in this process. The folder of an experiment is that of a sweep, with a report:

    data/NAME/            what `lcm generate` writes, for each data seed
    cells/CELL/           the run of each cell, as `lcm fit` writes it
    cells/CELL.json       its settings and scores; a finished cell is not run again
    results.csv           a row for each cell, for `lcm table`
    results.json, results.md, figures/
"""

from __future__ import annotations

import argparse
import os
import platform
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, final

from experiments._experiment_data import load_scored
from experiments._report import write_report
from lcm.app.sweep.cells import Cell, DataSet, cell_key
from lcm.base import __version__
from lcm.base.config import config_hash
from lcm.report.tables import Column

if TYPE_CHECKING:
    from lcm.run.config import FitConfig

SCORES = (
    Column("mcc", "MCC"),
    Column("dci_disentanglement", "DCI-D"),
    Column("intervention_accuracy", "intervention accuracy"),
    Column("shd", "SHD", 0),
    Column("edge_f1", "edge F1"),
    Column("graph_isomorphic", "graph isomorphic"),
    Column("fit_seconds", "fit time (s)", 1),
)
"""The columns of most tables; the record of a cell holds all scores of `lcm evaluate`."""


@final
@dataclass(frozen=True)
class Size:
    """The size of an experiment: the numbers of model and data seeds, counted from 0, and the pairs to fit on."""

    model_seeds: int
    data_seeds: int
    pairs: int


@final
@dataclass(frozen=True)
class Plan:
    """The options of an experiment, with its defaults filled in.

    Attributes:
        size: seeds and pairs.
        out: the folder of the experiment.
        steps: steps of the model; None for the defaults of a fit.
        threads: threads of a fit; None for OMP_NUM_THREADS, or 1.
        quiet: print nothing.
        config: a YAML file with settings of a fit; None for the defaults.
    """

    size: Size
    out: Path
    steps: int | None
    threads: int | None
    quiet: bool
    config: Path | None

    @staticmethod
    def chosen(options: argparse.Namespace, full: Size, quick: Size) -> Plan:
        """The full or the quick size, with the options in place of its defaults."""
        given = {key: getattr(options, key) for key in ("model_seeds", "data_seeds", "pairs")}
        size = replace(quick if options.quick else full, **{key: v for key, v in given.items() if v is not None})
        return Plan(size, options.out, options.steps, options.threads, options.quiet, options.config)


@final
class _Parser(argparse.ArgumentParser):
    """A parser whose errors are one line, as on the command line."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: error: {message} (see {self.prog} -- --help)\n")


def base_parser(name: str, description: str | None) -> argparse.ArgumentParser:
    """A parser with the options that every experiment has."""
    parser = _Parser(prog=f"lcm reproduce {name}", description=description)
    out = Path("runs") / name
    # a text as default is parsed as well, so that the folder is there before any work
    parser.add_argument(
        "--out", type=made_folder, default=str(out), metavar="DIR", help=f"folder of results; default: {out}"
    )
    parser.add_argument("--quick", action="store_true", help="one seed of each kind, fewer pairs: at most two minutes")
    parser.add_argument("--pairs", type=at_least_one, metavar="N", help="pairs to fit on")
    parser.add_argument("--steps", type=at_least_one, metavar="N", help="steps of the model; at most N in other stages")
    parser.add_argument("--threads", type=at_least_one, metavar="T", help="of a fit; default: OMP_NUM_THREADS, or 1")
    return parser


def made_folder(text: str) -> Path:
    """Parse the path of a folder, and make it; argparse.ArgumentTypeError where that cannot be done."""
    folder = Path(text)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise argparse.ArgumentTypeError(f"Expected a folder to write to; got {text} ({error.strerror})") from error
    return folder


def experiment_parser(name: str, description: str) -> argparse.ArgumentParser:
    """A parser with the options of an experiment that runs over seeds."""
    parser = base_parser(name, description)
    parser.add_argument(
        "--model-seeds", type=at_least_one, metavar="K", help="fit each data set with the seeds 0 to K-1"
    )
    parser.add_argument("--data-seeds", type=at_least_one, metavar="K", help="draw data with the seeds 0 to K-1")
    parser.add_argument("--config", type=Path, metavar="YAML", help="settings of a fit, in place of the defaults")
    parser.add_argument("--quiet", action="store_true", help="print nothing")
    return parser


def add_data_options(parser: argparse.ArgumentParser) -> None:
    """Add --n and --data: the numbers of variables of a nature, or files to fit instead."""
    parser.add_argument("--n", type=at_least_one, nargs="+", metavar="N", help="numbers of variables")
    parser.add_argument(
        "--data",
        type=Path,
        nargs=2,
        action="append",
        metavar=("TRAIN", "TEST"),
        help="fit these files instead",
    )


def at_least_one(text: str) -> int:
    """Parse an integer of at least 1; argparse.ArgumentTypeError for any other text."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"Expected an integer of at least 1; got {text!r}")
    return int(text)


def fit_config(steps: int | None, file: Path | None = None) -> FitConfig:
    """The default settings of a fit or those in a file, with `steps` of the model and at most as many elsewhere."""
    from lcm.base.config import load_config
    from lcm.run.config import FitConfig

    config = FitConfig() if file is None else load_config(file, FitConfig)
    if steps is None:
        return config
    flow, mechanisms = config.noise_encoder, config.mechanisms
    return replace(
        config,
        noise_encoder=replace(flow, steps=steps, marginal_steps=min(steps, flow.marginal_steps)),
        mechanisms=replace(mechanisms, steps=min(steps, mechanisms.steps)),
        peers={section: _shortened(settings, steps) for section, settings in config.peers.items()},
    )


def autoencoder_config(n: int, seed: int, steps: int | None) -> FitConfig:
    """A `beta-vae` of n variables, without a graph, with `steps` or the default number of them."""
    from lcm.peer.search.config import GraphSearchConfig
    from lcm.run.config import FitConfig

    config = FitConfig(model="beta-vae", n=n, seed=seed, graph_search=GraphSearchConfig(method="none"))
    if steps is None:
        return config
    return replace(config, peers={key: _shortened(settings, steps) for key, settings in config.peers.items()})


def _shortened(settings: Any, steps: int) -> Any:
    """Settings of a peer with other steps, and no more in a refit."""
    refit = {"refit_steps": min(steps, settings.refit_steps)} if hasattr(settings, "refit_steps") else {}
    return replace(settings, steps=steps, **refit)


def make_cell(data: DataSet, seed: int, config: FitConfig, label: str = "", **keys: Any) -> Cell:
    """The fit of a data set with a model seed, which replaces that of the config.

    Args:
        label: distinguishes cells of one data set and seed with different settings.
        keys: further entries of the record, such as the value that an experiment varies.
    """
    config = replace(config, seed=seed)
    values = {"data": data.name, **data.values, **keys, "model": config.model, "seed": seed}
    name = f"{data.name}-{f'{label}-' if label else ''}model{seed}"
    return Cell(data, config, values, cell_key(data, config_hash(config)), name)


def seeded_cells(data: Sequence[DataSet], plan: Plan) -> list[Cell]:
    """Every data set with every model seed of the plan, at its settings."""
    config = fit_config(plan.steps, plan.config)
    return [make_cell(part, seed, config) for part in data for seed in range(plan.size.model_seeds)]


def run_cells(title: str, cells: Sequence[Cell], by: Mapping[str, str], plan: Plan) -> list[dict[str, Any]]:
    """Fit and score every cell that is not finished, and write the table of all; return their records.

    Args:
        title: heading of the table.
        cells: at least one.
        by: keys of the records, with their headings; each combination of values is a row of the table.
        plan: the options.

    Raises:
        ValueError: as `fit_cells`.
    """
    records = fit_cells(cells, plan)
    report_cells(title, cells, records, by, plan)
    return records


def report_cells(
    title: str,
    cells: Sequence[Cell],
    records: Sequence[dict[str, Any]],
    by: Mapping[str, str],
    plan: Plan,
    further: Sequence[Column] = (),
) -> None:
    """Write the table of the records of finished cells, and print it unless the plan is quiet.

    Args:
        title, cells, by, plan: as `run_cells`.
        records: one for each cell.
        further: columns of the records, after the scores.
    """
    table = write_report(plan.out, title, records, by, (*SCORES, *further), _settings(cells, records, plan))
    if not plan.quiet:
        print(f"\n{title}; median (range)\n\n{table}\nResults: {plan.out}")


def fit_cells(cells: Sequence[Cell], plan: Plan) -> list[dict[str, Any]]:
    """Fit and score every cell that is not finished; return the records of all cells, one flat mapping each.

    A record holds the cell's own keys, n, n_pairs, data_seed, model_seed, every score of `lcm.metric.scores`,
    true_edges and learned_edges as pairs [i, j], i -> j, both in the true numbering, the held-out implicit_nll and
    explicit_nll in nats a pair, and the SHA-256 of data and config.

    Raises:
        ValueError: a finished cell is of other data or of another config, or a cell failed.
    """
    import torch

    from lcm.app.sweep.executors import InProcessExecutor
    from lcm.app.sweep.sweep import Records, cells_that_failed, run_sweep

    # The networks are small: when other work runs beside, threads that wait for each other cost more than they gain.
    threads = plan.threads or (torch.get_num_threads() if "OMP_NUM_THREADS" in os.environ else 1)
    records = Records(plan.out, cells)
    run_sweep(records, InProcessExecutor("cpu", threads), batch=1, quiet=plan.quiet)
    for name, error in cells_that_failed(records):
        raise ValueError(f"{name}: Expected every cell to finish; got an error: {error}")
    return [_flat(cell, records.found[cell.key]) for cell in cells]


def _flat(cell: Cell, record: Mapping[str, Any]) -> dict[str, Any]:
    renamed = {"n": "data.n", "data_seed": "data.seed", "model_seed": "seed"}
    kept = ("n_pairs", "true_edges", "learned_edges", "implicit_nll", "explicit_nll", "data_sha256", "config_sha256")
    return {
        **{key: value for key, value in cell.values.items() if key not in renamed.values()},
        **{key: cell.values[name] for key, name in renamed.items()},
        **record["scores"],
        **{key: record[key] for key in kept},
    }


def _settings(cells: Sequence[Cell], records: Sequence[Mapping[str, Any]], plan: Plan) -> dict[str, str]:
    """How a table was made, in words."""
    import torch

    def distinct(values: Iterable[object]) -> str:
        return ", ".join(map(str, dict.fromkeys(values)))

    return {
        "data": distinct(cell.data.name for cell in cells),
        "pairs to fit on": distinct(record["n_pairs"] for record in records),
        "model seeds": distinct(cell.config.seed for cell in cells),
        "steps": "the defaults of a fit" if plan.steps is None else f"{plan.steps}, not the defaults of a fit",
        "settings": "the defaults of a fit" if plan.config is None else f"those of {plan.config.name}",
        "models": distinct(record["model"] for record in records),
        "threads": f"{torch.get_num_threads()}, on {os.cpu_count()} cores",
        "versions": f"lcm {__version__}, torch {torch.__version__}, Python {platform.python_version()}",
    }


def draw_fit(cell: Cell, out: Path, record: Mapping[str, Any], prefix: str = "") -> None:
    """Draw the figures of one finished cell into figures/: variables, graphs, training and, for vectors, pairs.

    Learned variables and graph are shown in the true numbering.
    """
    import numpy as np

    from lcm import report as plot
    from lcm.app.sweep.sweep import run_folder
    from lcm.data.encode import encode_data
    from lcm.learn.training.tracker import METRICS_FILE, read_metrics
    from lcm.metric.graph import aligned_adjacency
    from lcm.run.runs import load_run

    figures, run = out / "figures", load_run(run_folder(out, cell))
    test, true_z, true_adjacency = load_scored(cell.data.test)
    figures.mkdir(exist_ok=True)
    permutation = np.asarray(record["permutation"])
    learned = np.where(permutation >= 0, encode_data(run.model, test)["z"][:, permutation], 0.0)
    graphs = run.model.graph.adjacency, run.edge_strength
    adjacency, strength = (aligned_adjacency(part, permutation) for part in graphs)
    plot.draw_variables(figures / f"{prefix}variables.png", true_z, learned)
    plot.draw_two_graphs(figures / f"{prefix}graphs.png", true_adjacency, adjacency, strength)
    plot.draw_training(figures / f"{prefix}training.png", read_metrics(run.folder / METRICS_FILE))
    if not test.is_images:
        plot.draw_pairs(figures / f"{prefix}pairs.png", test.x, test.x_tilde)
