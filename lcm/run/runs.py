"""A fit in a run folder: fit, resume, write, read."""

from __future__ import annotations

import json
import math
import shutil
import time
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, final

import numpy as np
import torch
from numpy.typing import NDArray

from lcm.base import __version__
from lcm.base.atomic import atomic_write
from lcm.base.config import config_hash, load_config, to_yaml
from lcm.base.files import write_json, write_text
from lcm.base.rows import return_free_memory
from lcm.data.pairs import PairData, data_hash
from lcm.learn.restarts import Restart
from lcm.learn.training.tracker import METRICS_FILE, Recorder, read_metrics
from lcm.model.graph import Graph
from lcm.model.image import ImageModel
from lcm.model.names import default_names
from lcm.model.pair_model import PairModel
from lcm.model.storage import load_model, save_model
from lcm.readout.evidence import FoundGraph, GraphEvidence
from lcm.run.assumption import Certificate
from lcm.run.card import hub_config, model_card
from lcm.run.config import AUTO, FitConfig
from lcm.run.fitting import choose_n, fit_pairs, resolve_device, target_distribution
from lcm.run.known import known_targets, knows_targets, require_usable
from lcm.run.refitting import load_refits, save_refits
from lcm.run.report import fit_numbers, fit_report, graph_numbers, shows_numbers
from lcm.run.result import FitResult
from lcm.run.run_folder import (
    CARD_FILE,
    CONFIG_FILE,
    FIGURE_FOLDER,
    FINISHED,
    FIT_FILE,
    GRAPH_FILE,
    HUB_CONFIG_FILE,
    MODEL_FILE,
    NAMES_FILE,
    REPORT_FILE,
    RUN_FILE,
    claimed_folder,
    fit_hash,
    named_folder,
    parts_of,
    read_state,
    write_state,
)
from lcm.run.stored import read_fit, read_graph, read_names

_DRAWN_PAIRS = 20_000


@final
@dataclass(frozen=True, eq=False)
class Run:
    """A finished fit, read from its folder.

    Attributes:
        folder: the run folder.
        model: the fitted model.
        config: all settings of the fit.
        info: content of run.json: schema version, state, SHA-256 of data and config, versions, threads, device.
        fit: content of fit.json (`lcm.run.report.fit_numbers`).
        edge_strength: (n, n) >= 0, [i, j] for i -> j, before thresholding (docs/theory.md section 3); for a peer, as
            the search for its graph measures it.
        order: the variables, causes first.
        names: of the variables; z0, z1, … by default.
        evidence: p-values of edges and ancestor relations, strengths with standard errors; None for a peer.
    """

    folder: Path
    model: PairModel
    config: FitConfig
    info: dict[str, Any]
    fit: dict[str, Any]
    edge_strength: NDArray[np.float64]
    order: tuple[int, ...]
    evidence: GraphEvidence | None
    names: tuple[str, ...]

    def result(self) -> FitResult:
        """The result of the fit, as `fit` returned it, without its data, codes, ancestor tests and implicit model."""
        return _stored_result(self)

    @property
    def columns(self) -> tuple[str, ...]:
        """The names of the columns of x; empty if the data of the fit had none."""
        return tuple(self.fit.get("columns", ()))

    def require_evidence(self) -> GraphEvidence:
        """The evidence. Raises ValueError for a peer, whose edges have no p-values."""
        if self.evidence is None:
            raise ValueError(
                f"{self.folder}: Expected a fit with p-values; got one of {self.config.model}, without "
                "(lcm graph RUN --method tests --data DATA computes them)"
            )
        return self.evidence

    def graph_at(self, false_discovery_rate: float) -> Graph:
        """The graph at another false discovery rate.

        Raises:
            ValueError: a rate that is not strictly between 0 and 1, or the fit of a peer, which has no p-values.
        """
        return self.require_evidence().graph_at(false_discovery_rate)


def fit_run(
    data: PairData,
    out: str | Path,
    config: FitConfig,
    *,
    device: str | torch.device = "auto",
    overwrite: bool = False,
    progress: bool = True,
) -> FitResult:
    """Fit a model to pairs in the folder `out`. An interrupted fit of the same data and config resumes.

    The folder holds model.safetensors, config.yaml, graph.json, fit.json, report.html, report.md, metrics.jsonl,
    TensorBoard events, figures/, README.md and config.json for the Hugging Face hub, and run.json. The state in
    run.json becomes "finished" when all other files are written. `seconds` of the result is the time from data in
    memory to the written model, over all restarts and interrupted parts, without figures.

    Args:
        data: pairs (N, d). The fit does not use their truth, except for targets that the config declares known.
        out: a new or empty folder, or one with an unfinished fit of the same data, config, device and package version.
            If this fit was killed there after its last step, its result is read, without the data.
        device: "auto", "cpu", "cuda" or a torch device.
        overwrite: whether another run in `out` may be replaced. An unfinished run of the same fit resumes in any case.
        progress: whether to show progress bars on stderr.

    Raises:
        ValueError: data that cannot be fitted or whose file changes meanwhile, a target out of range, a missing
            device, or a folder that holds something else, or that another process writes to. Of a fit that was not
            resumed, no files are left behind.
        FloatingPointError: a likelihood that is not finite. Of a fit that was not resumed, no files are left behind.
    """
    _import_the_rest()
    started = time.perf_counter()
    where, n = resolve_device(device), choose_n(data, config)
    require_usable(config, n)
    known_targets(data, config, target_distribution(n, config))
    folder, info = named_folder(out), _identity(data, config, where)
    with claimed_folder(folder, info, overwrite) as finished:
        if finished:
            Recorder(folder).delete_checkpoints()
            return load_run(folder).result()
        write_text(folder / CONFIG_FILE, to_yaml(config))
        prepared_in = time.perf_counter() - started
        recorder = Recorder(folder, progress, fit_hash(info))
        try:
            result = fit_pairs(data, config if config.n == AUTO else replace(config, n=n), where, recorder)
            data.require_unchanged()
            save_model(result.model, folder / MODEL_FILE)
            result = replace(result, config=config, seconds=prepared_in + recorder.seconds)
        finally:
            recorder.close()
        _write_results(folder, result, info)
        data.require_unchanged()
        write_state(folder, info, FINISHED)
        recorder.delete_checkpoints()
    return result


def write_run(folder: Path, result: FitResult, overwrite: bool) -> None:
    """Write the result of a fit as the run folder that `fit_run` would have written.

    A result that was read from a folder is a copy of that run, with the refits of the result.

    Raises:
        ValueError: a folder that holds anything but a run, or is the one that the result was read from.
    """
    from torch.utils.tensorboard import SummaryWriter

    if result.data is None:
        _copy_run(folder, result, overwrite)
        return
    device = next(result.model.buffers()).device
    info, config = _identity(result.data, result.config, device), result.config
    with claimed_folder(folder, info, overwrite) as finished:
        if finished:
            return
        write_text(folder / CONFIG_FILE, to_yaml(config))
        write_text(folder / METRICS_FILE, "".join(json.dumps(record) + "\n" for record in result.records))
        with SummaryWriter(str(folder)) as events:
            for record in result.records:
                curve = f"{record['stage']}/{record['restart']}"
                for name, value in record.items():
                    if isinstance(value, float) and name != "seconds":
                        events.add_scalar(f"{curve}/{name}", value, record["step"])
        save_model(result.model, folder / MODEL_FILE)
        if result.names != default_names(result.model.n):
            write_json(folder / NAMES_FILE, {"names": list(result.names)})
        _write_results(folder, result, info)
        write_state(folder, info, FINISHED)
    if result.refits is not None:
        save_refits(folder, result.refits)


def _copy_run(folder: Path, result: FitResult, overwrite: bool) -> None:
    source = result.folder
    if source is None:
        raise ValueError("Expected a result that holds its data or was read from a folder; got neither.")
    if folder.resolve() == source.resolve():
        raise ValueError(f"{folder}: Expected another folder than the one the result was read from; got the same")
    stored = load_run(source)
    info = {key: value for key, value in stored.info.items() if key not in ("schema", "state")}
    # stored refits are read before anything is written
    refits = result.refits if result.refits is None else replace(result.refits, models=tuple(result.refits.models))
    with claimed_folder(folder, info, overwrite) as finished:
        if finished:
            return
        (folder / FIGURE_FOLDER).mkdir(exist_ok=True)
        for file in parts_of(source):
            with atomic_write(folder / file.relative_to(source)) as temporary:
                shutil.copyfile(file, temporary)
        if result.names != stored.names:
            write_names(folder, result)
        write_state(folder, info, FINISHED)
    if refits is not None:
        save_refits(folder, refits)


def write_names(folder: Path, result: FitResult) -> None:
    """Write the names of the variables of a run, and again with them its graph, report, card and figures."""
    write_json(folder / NAMES_FILE, {"names": list(result.names)})
    _write_described(folder, result)
    if (folder / FIGURE_FOLDER).is_dir():
        _draw_found(folder / FIGURE_FOLDER / "graph.png", result)
        if result.refits is not None and result.refits.drawn is not None:
            from lcm.report import draw_refits

            draw_refits(folder / FIGURE_FOLDER / "refits.png", *result.refits.drawn, result.names)


def _write_described(folder: Path, result: FitResult) -> None:
    """Write the files that name the variables."""
    write_json(folder / GRAPH_FILE, graph_numbers(result))
    write_text(folder / REPORT_FILE, fit_report(result))
    write_text(folder / CARD_FILE, model_card(result))


def load_run(path: str | Path) -> Run:
    """Read a finished run from its folder.

    Raises:
        ValueError: no run, an unfinished run, an unknown schema version, or a file in the run that is missing or bad.
    """
    folder = named_folder(path)
    if not folder.is_dir():
        raise ValueError(f"{folder}: Expected a run folder; got {'a file' if folder.exists() else 'no such folder'}")
    info = read_state(folder)
    if info.get("state") != FINISHED:
        raise ValueError(f"{folder / RUN_FILE}: state: Expected a finished run; got {info.get('state')!r}")
    model = load_model(folder / MODEL_FILE)
    strength, order, evidence = read_graph(folder / GRAPH_FILE, model.n)
    run = Run(
        folder=folder,
        model=model,
        config=load_config(folder / CONFIG_FILE, FitConfig),
        info=info,
        fit=read_fit(folder / FIT_FILE, model.n),
        edge_strength=strength,
        order=order,
        evidence=evidence,
        names=read_names(folder / NAMES_FILE, model.n),
    )
    if read_state(folder) != info:
        raise ValueError(f"{folder}: Expected a run that stays as it is while it is read; got one that is replaced")
    return run


def _import_the_rest() -> None:
    """Import what a fit needs before its clock starts."""
    import torch.utils.tensorboard  # noqa: F401


def _identity(data: PairData, config: FitConfig, device: torch.device) -> dict[str, Any]:
    return {
        "data": data.source,
        **{key: value for key, value in (("after", data.after), ("after_mark", data.mark)) if value},
        "data_sha256": data_hash(data, with_targets=knows_targets(config)),
        "config_sha256": config_hash(config),
        "lcm": __version__,
        "torch": torch.__version__,
        "threads": torch.get_num_threads(),
        "device": device.type,
    }


def _write_results(folder: Path, result: FitResult, info: Mapping[str, Any]) -> None:
    _write_described(folder, result)
    write_json(folder / FIT_FILE, fit_numbers(result))
    write_json(folder / HUB_CONFIG_FILE, hub_config(result))
    return_free_memory()
    # drawn last, since matplotlib stays in memory
    _draw(folder, result, info)


def _draw(run: Path, result: FitResult, info: Mapping[str, Any]) -> None:
    """Draw the figures of a run, and write its page, which holds some of them."""
    from lcm.report import (
        draw_image_figures,
        draw_number_of_variables,
        draw_pairs,
        draw_training,
    )
    from lcm.run.page import write_fit_page

    folder = run / FIGURE_FOLDER
    folder.mkdir(exist_ok=True)
    data, vectors = result.data, result.vectors
    if data is None or vectors is None:
        return
    _draw_found(folder / "graph.png", result)
    if shows_numbers(result):
        core = data.without_outliers
        draw_number_of_variables(
            folder / "number_of_variables.png", core.spectrum, core.dimension_evidence, result.tried
        )
    # closed forms take no steps
    if result.records:
        draw_training(folder / "training.png", result.records)
    some = vectors.without_outliers.first(_DRAWN_PAIRS)
    draw_pairs(folder / "pairs.png", some.x, some.x_tilde, columns=vectors.columns)
    if isinstance(result.model, ImageModel):
        draw_image_figures(folder, result.model.cpu(), data, result.config.seed)
    write_fit_page(run, result, info, data)


def _draw_found(path: Path, result: FitResult) -> None:
    """Draw the graph of a run, with p-values where there are any."""
    from lcm.report import draw_evidence, draw_one_graph, graph_labels

    graph, labels = result.model.graph, graph_labels(result.names, [each[0][0] for each in result.related])
    if result.found.evidence is not None:
        draw_evidence(path, result.found.evidence, graph, labels)
    else:
        draw_one_graph(path, graph.adjacency, result.edge_strength, labels=labels)


def _stored_restart(numbers: Mapping[str, Any]) -> Restart:
    kept = {field.name: numbers[field.name] for field in fields(Restart)}
    worse_by = math.inf if kept["worse_by"] is None else kept["worse_by"]
    return Restart(**{**kept, "worse_by": worse_by, "reasons": tuple(kept["reasons"])})


def _stored_result(run: Run) -> FitResult:
    fit = run.fit
    related = tuple(tuple(each.items()) for each in fit.get("related_columns", []))
    held_out, implicit = fit["held_out_nll" if "held_out_nll" in fit else "explicit_nll"], fit["implicit_nll"]
    metrics = run.folder / METRICS_FILE
    return FitResult(
        model=run.model,
        found=FoundGraph(run.model.graph, run.edge_strength, run.order, run.evidence),
        held_out_nll=math.nan if held_out is None else held_out,
        config=run.config,
        data=None,
        size=(fit["n_pairs"], fit.get("n_dimensions", run.model.d)),
        implicit_nll=implicit,
        seconds=fit["fit_seconds"],
        records=tuple(read_metrics(metrics)) if metrics.exists() else (),
        restart=fit["restart"],
        refits=load_refits(run.folder),
        support=np.asarray(fit["support"], dtype=np.float64) if fit.get("support") else None,
        names=run.names,
        tried=tuple((int(n), nll) for n, nll in fit.get("tried", ())),
        restart_nll=tuple(math.nan if nll is None else nll for nll in fit["restart_nll"]),
        other_restarts=tuple(map(_stored_restart, fit.get("other_restarts", ()))),
        columns=run.columns,
        related=related,
        folder=run.folder,
        stored_doubts=tuple(fit.get("doubts", ())),
        stored_certificate=Certificate.from_json(fit["certificate"]) if "certificate" in fit else None,
        stored_cut_short_at=fit.get("cut_short_at"),
    )
