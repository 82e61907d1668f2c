"""What the scripts of experiments/ share: data sets drawn once, cells that are fitted once, their table and figures.

A *cell* is one fit of one data set with one model seed. The folder of an experiment holds

    data/NAME/            what `lcm generate` writes, for each data seed
    fits/CELL/            the run of each cell, as `lcm fit` writes it
    cells/CELL.json       seeds and scores of each finished cell; one that is there is not run again
    results.json, results.md, figures/
"""

from __future__ import annotations

import argparse
import os
import platform
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, final

from experiments._experiment_data import DataSet, load_scored
from lcm.base import __version__
from lcm.report.tables import Column, write_report

if TYPE_CHECKING:
    from lcm.data.pairs import PairData
    from lcm.run.config import FitConfig
    from lcm.run.runs import Run

SCORES = (
    Column("mcc", "MCC"),
    Column("dci_disentanglement", "DCI-D"),
    Column("intervention_accuracy", "intervention accuracy"),
    Column("shd", "SHD", 0),
    Column("edge_f1", "edge F1"),
    Column("graph_isomorphic", "graph isomorphic"),
    Column("fit_seconds", "fit time (s)", 1),
)
"""The columns of every table; the record of a cell holds all scores of `lcm evaluate`."""


@final
@dataclass(frozen=True)
class Size:
    """How much of an experiment is run: seeds 0..K-1 of each kind, and the pairs to fit on."""

    model_seeds: int
    data_seeds: int
    pairs: int


@final
@dataclass(frozen=True)
class Cell:
    """One fit: a data set and a model seed.

    Attributes:
        config: settings of the fit, of which the seed is replaced; None for those of the experiment.
        label: tells cells of one data set and seed with other settings apart.
        keys: what else its record says, such as the value that an experiment varies.
    """

    data: DataSet
    model_seed: int
    config: FitConfig | None = None
    label: str = ""
    keys: Mapping[str, Any] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """The name of the cell's files."""
        return f"{self.data.name}-{f'{self.label}-' if self.label else ''}model{self.model_seed}"


@final
@dataclass(frozen=True)
class Plan:
    """What the options of an experiment say, with its defaults filled in.

    Attributes:
        size: seeds and pairs.
        out: the folder of the experiment.
        steps: of the flow; None for the defaults of a fit.
        threads: of a fit; None for OMP_NUM_THREADS, or 1.
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
        """The full or the quick size, with what the options say instead."""
        given = {key: getattr(options, key) for key in ("model_seeds", "data_seeds", "pairs")}
        size = replace(quick if options.quick else full, **{key: v for key, v in given.items() if v is not None})
        return Plan(size, options.out, options.steps, options.threads, options.quiet, options.config)


@final
class _Parser(argparse.ArgumentParser):
    """A parser whose errors are one line, as those of the command line are."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: error: {message} (see {self.prog} -- --help)\n")


def base_parser(name: str, description: str | None) -> argparse.ArgumentParser:
    """A parser with the options that every experiment has."""
    parser = _Parser(prog=f"lcm reproduce {name}", description=description)
    out = Path("runs") / name
    parser.add_argument("--out", type=Path, default=out, metavar="DIR", help=f"results go here; default: {out}")
    parser.add_argument("--quick", action="store_true", help="one seed of each kind, fewer pairs: two minutes at most")
    parser.add_argument("--pairs", type=at_least_one, metavar="N", help="pairs to fit on")
    parser.add_argument("--steps", type=at_least_one, metavar="N", help="steps of the model; at most N in other stages")
    parser.add_argument("--threads", type=at_least_one, metavar="T", help="of a fit; default: OMP_NUM_THREADS, or 1")
    return parser


def experiment_parser(name: str, description: str) -> argparse.ArgumentParser:
    """A parser with the options of an experiment that is repeated over seeds."""
    parser = base_parser(name, description)
    parser.add_argument("--model-seeds", type=at_least_one, metavar="K", help="fit each data set with seeds 0..K-1")
    parser.add_argument("--data-seeds", type=at_least_one, metavar="K", help="draw data with the seeds 0..K-1")
    parser.add_argument("--config", type=Path, metavar="YAML", help="settings of a fit, instead of the defaults")
    parser.add_argument("--quiet", action="store_true", help="print nothing")
    return parser


def add_data_options(parser: argparse.ArgumentParser) -> None:
    """Add --n and --data: the sizes of a nature to fit, or files to fit instead."""
    parser.add_argument("--n", type=at_least_one, nargs="+", metavar="N", help="numbers of variables")
    parser.add_argument(
        "--data", type=Path, nargs=2, action="append", metavar=("TRAIN", "TEST"), help="fit these files instead"
    )


def at_least_one(text: str) -> int:
    """An option that is an integer of at least 1; raises argparse.ArgumentTypeError for another."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"Expected an integer of at least 1; got {text!r}")
    return int(text)


def fit_config(steps: int | None, file: Path | None = None) -> FitConfig:
    """The defaults of a fit or the settings in a file, with `steps` of the model and no more in any other stage."""
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


def _shortened(settings: Any, steps: int) -> Any:
    """Settings of a peer with other steps, and no more in a refit."""
    refit = {"refit_steps": min(steps, settings.refit_steps)} if hasattr(settings, "refit_steps") else {}
    return replace(settings, steps=steps, **refit)


def run_cells(title: str, cells: Sequence[Cell], by: Mapping[str, str], plan: Plan) -> list[dict[str, Any]]:
    """Fit and score every cell that is not finished yet, and write the table of all; returns their records.

    Args:
        title: heading of the table.
        cells: at least one.
        by: keys of the records that make a row of the table, with their headings.
        plan: where and how.

    Raises:
        ValueError: a finished cell is of other data or of another config, or data that cannot be fitted.
    """
    import torch

    # The networks are small: beside other work, threads that wait for each other cost more than they gain.
    if plan.threads is not None or "OMP_NUM_THREADS" not in os.environ:
        torch.set_num_threads(plan.threads or 1)
    (plan.out / "cells").mkdir(parents=True, exist_ok=True)
    config = fit_config(plan.steps, plan.config)
    records = []
    for number, cell in enumerate(cells, 1):
        settings = replace(cell.config or config, seed=cell.model_seed)
        record = run_cell(cell, plan.out, settings, progress=not plan.quiet)
        records.append(record)
        if not plan.quiet:
            print(f"[{number}/{len(cells)}] {cell.name}: {_one_line(record)}", flush=True)
    table = write_report(plan.out, title, records, by, SCORES, _settings(cells, records, plan))
    if not plan.quiet:
        print(f"\n{title}; median (range)\n\n{table}\nResults: {plan.out}")
    return records


def run_cell(cell: Cell, out: Path, config: FitConfig, progress: bool = False) -> dict[str, Any]:
    """Fit one data set with one seed and score the model on its test pairs, unless that was done before.

    Returns the record: data, n, n_pairs, data_seed, model_seed, every score of `lcm.metric.scores`, true_edges and
    learned_edges as pairs [i, j], i -> j, both in the true numbering, the held-out implicit_nll and explicit_nll in
    nats a pair, and the SHA-256 of data and config.
    """
    import numpy as np

    from lcm.base.config import config_hash
    from lcm.base.files import read_json, write_json
    from lcm.data.pairs import data_hash, load_pairs
    from lcm.metric.graph import aligned_adjacency
    from lcm.metric.scores import evaluate
    from lcm.run.known import knows_targets

    train, (test, true_z, true_adjacency) = load_pairs(cell.data.train), load_scored(cell.data.test)
    seen = data_hash(train, with_targets=knows_targets(config))
    same = {"data_sha256": seen, "config_sha256": config_hash(config)}
    path = out / "cells" / f"{cell.name}.json"
    if path.exists():
        record: dict[str, Any] = read_json(path)
        _require_same(record, same, path)
        return record
    run = _fitted(train, out / "fits" / cell.name, config, progress)
    _require_same(run.info, same, run.folder)
    scores = evaluate(run.model, test, edge_strength=run.edge_strength, fit_seconds=run.fit["fit_seconds"])
    learned = aligned_adjacency(run.model.graph.adjacency, scores["permutation"])
    record = {
        "data": cell.data.name,
        **({"family": cell.data.family} if cell.data.family else {}),
        **cell.keys,
        "model": config.model,
        "n": true_z.shape[1],
        "n_pairs": len(train),
        "data_seed": cell.data.seed,
        "model_seed": cell.model_seed,
        **scores,
        "true_edges": np.argwhere(true_adjacency),
        "learned_edges": np.argwhere(learned),
        "implicit_nll": run.fit["implicit_nll"],
        "explicit_nll": run.fit["explicit_nll"],
        **same,
    }
    write_json(path, record)
    return dict(read_json(path))


def _fitted(train: PairData, folder: Path, config: FitConfig, progress: bool) -> Run:
    """The run in `folder`, fitted or finished now where it is not yet."""
    from lcm.run.run_folder import FINISHED, RUN_FILE, read_state
    from lcm.run.runs import fit_run, load_run

    if not (folder / RUN_FILE).exists() or read_state(folder)["state"] != FINISHED:
        fit_run(train, folder, config, device="cpu", progress=progress)
    return load_run(folder)


def _require_same(found: Mapping[str, Any], same: Mapping[str, str], path: Path) -> None:
    if any(found.get(key) != value for key, value in same.items()):
        raise ValueError(f"{path}: Expected a fit of these data and settings; got another. Choose another --out.")


def _one_line(record: Mapping[str, Any]) -> str:
    return (
        f"MCC {record['mcc']:.4f}, DCI-D {record['dci_disentanglement']:.4f}, SHD {record['shd']},"
        f" {record['fit_seconds']:.1f} s"
    )


def _settings(cells: Sequence[Cell], records: Sequence[Mapping[str, Any]], plan: Plan) -> dict[str, str]:
    """What a reader needs to run a table again, in words."""
    import torch

    def distinct(values: Iterable[object]) -> str:
        return ", ".join(map(str, dict.fromkeys(values)))

    return {
        "data": distinct(cell.data.name for cell in cells),
        "pairs to fit on": distinct(record["n_pairs"] for record in records),
        "model seeds": distinct(cell.model_seed for cell in cells),
        "steps": "the defaults of a fit" if plan.steps is None else f"{plan.steps}, not the defaults of a fit",
        "settings": "the defaults of a fit" if plan.config is None else f"those of {plan.config.name}",
        "models": distinct(record["model"] for record in records),
        "threads": f"{torch.get_num_threads()}, on {os.cpu_count()} cores",
        "versions": f"lcm {__version__}, torch {torch.__version__}, Python {platform.python_version()}",
    }


def draw_fit(cell: Cell, out: Path, record: Mapping[str, Any], prefix: str = "") -> None:
    """Draw the figures of one finished cell into figures/: variables, graphs, training and, unless images, pairs.

    Learned variables and graph are shown in the numbering of the true ones.
    """
    import numpy as np

    from lcm import report as plot
    from lcm.data.encode import encode_data
    from lcm.learn.training.tracker import METRICS_FILE, read_metrics
    from lcm.metric.graph import aligned_adjacency
    from lcm.run.runs import load_run

    figures, run = out / "figures", load_run(out / "fits" / cell.name)
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
