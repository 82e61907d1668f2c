"""The verbs of the public API: fit, save, load."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from lcm.base.config import load_config
from lcm.data.pairs import load_pairs
from lcm.learn.training.tracker import Recorder
from lcm.model.pair_model import PairModel
from lcm.model.storage import load_model
from lcm.run.config import FitConfig
from lcm.run.fitting import fit_pairs, resolve_device
from lcm.run.result import FitResult
from lcm.run.runs import fit_run, load_run, write_run


def fit(
    x: Any,
    x_tilde: Any = None,
    n: int | None = None,
    config: FitConfig | str | Path | None = None,
    *,
    model: str | None = None,
    seed: int | None = None,
    restarts: int | None = None,
    device: str | torch.device = "auto",
    threads: int | None = None,
    quiet: bool = False,
    out: str | Path | None = None,
    overwrite: bool = False,
) -> FitResult:
    """Fit a latent causal model, or a peer, to pairs. The arguments are those of the command `lcm fit`.

    Args:
        x: observations (N, d) before the intervention; or pairs, as anything that `lcm.load_pairs` takes.
        x_tilde: observations (N, d) after it, where x holds none.
        n: number of causal variables; by default dim x, or the estimated dimension where x is rank-deficient.
        config: all settings, or a YAML file with some of them; the arguments below override its entries.
        model: `flow`, the default, or another one of docs/models.md.
        seed: of the fit; by default 0.
        restarts: fits to choose the likeliest from; by default 1.
        device: "auto", "cpu", "cuda" or a torch device.
        threads: to compute with; by default as torch is set.
        quiet: whether to hide the progress bars on stderr.
        out: a run folder to write, as the command does; an interrupted fit resumes in it. Default: none.
        overwrite: whether another run in `out` may be replaced.

    Returns:
        The model with its graph, p-values and doubts; it prints itself on a page.

    Raises:
        ValueError: data that cannot be fitted (shapes, NaN, constant columns, too few pairs, dim x < n), no such model
            or device, or a folder that holds something else.
        FloatingPointError: a likelihood that is not finite.

    Example:
        >>> import lcm
        >>> result = lcm.fit("data/sample.safetensors", model="linear", quiet=True)
        >>> len(result.graph.edges())
        2
    """
    data = load_pairs(x, x_tilde)
    settings = load_config(config, FitConfig) if isinstance(config, str | Path) else config or FitConfig()
    given = {"n": n, "model": model, "seed": seed, "restarts": restarts}
    settings = replace(settings, **{k: v for k, v in given.items() if v is not None})  # type: ignore[arg-type]
    before = torch.get_num_threads()
    torch.set_num_threads(threads or before)
    try:
        if out is not None:
            return fit_run(data, out, settings, device=device, overwrite=overwrite, progress=not quiet)
        return fit_pairs(data, settings, resolve_device(device), Recorder(progress=not quiet))
    finally:
        torch.set_num_threads(before)


def save(result: FitResult | PairModel, path: str | Path, *, overwrite: bool = False) -> None:
    """Write what `fit` returned as a run folder, as `lcm fit --out` does, or a model alone to a file.

    Args:
        result: the result of a fit, or any model.
        path: a new or empty folder for a result; a .safetensors file for a model.
        overwrite: whether another run in the folder may be replaced.

    Raises:
        ValueError: a folder that holds anything but a run, or a result that was itself read from a folder.

    Example:
        >>> import lcm, tempfile
        >>> result = lcm.fit("data/sample.safetensors", model="linear", quiet=True)
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     lcm.save(result, f"{folder}/run")
        ...     lcm.load(f"{folder}/run").graph == result.graph
        True
    """
    if isinstance(result, PairModel):
        result.save(path)
        return
    if result.data is None:
        raise ValueError(
            "Expected a result that holds its data, as lcm.fit gives; got one that was read from a folder."
        )
    write_run(Path(path), result, overwrite)


def load(path: str | Path) -> Any:
    """Read what `save` or `lcm fit` wrote: a `FitResult` from a run folder, a model from a file.

    Raises:
        ValueError: no run and no model, an unfinished run, or one of an unknown schema version.

    Example:
        >>> import lcm
        >>> lcm.load("no such run")
        Traceback (most recent call last):
        ValueError: no such run: Expected a run folder or a model file; got no such file or folder
    """
    if not Path(path).exists():
        raise ValueError(f"{path}: Expected a run folder or a model file; got no such file or folder")
    return load_model(path) if Path(path).is_file() else load_run(path).result()
