"""The public functions fit, save and load."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from lcm.base.config import load_config
from lcm.data.pair_files import load_pairs
from lcm.learn.training.tracker import Recorder
from lcm.model.pair_model import PairModel
from lcm.model.storage import load_model
from lcm.run.config import FitConfig
from lcm.run.fitting import fit_pairs, resolve_device
from lcm.run.result import FitResult
from lcm.run.run_folder import named_folder
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
        x_tilde: observations (N, d) after the intervention, if x does not hold them.
        n: number of causal variables; default: its estimate from x and x_tilde.
        config: settings, or a YAML file with settings; the arguments below override them.
        model: `flow` or another model of docs/models.md; default: `flow`.
        seed: seed of the fit; default: 0.
        restarts: number of fits, of which the likeliest is kept; default: 1.
        device: "auto", "cpu", "cuda" or a torch device.
        threads: number of threads; default: the setting of torch.
        quiet: whether to hide the progress bars on stderr.
        out: run folder to write, as the command does. An interrupted fit resumes in it. By default, no folder is
            written.
        overwrite: whether another run in `out` may be replaced.

    Returns:
        The model with its graph, p-values and doubts. `print(result)` gives one page.

    Raises:
        ValueError: data that cannot be fitted (shapes, NaN, constant columns, too few pairs, dim x < n), an unknown
            model, a missing device, or a folder that holds something else.
        FloatingPointError: a likelihood that is not finite.

    Example:
        >>> import lcm
        >>> result = lcm.fit("data/sample.safetensors", model="linear", quiet=True)
        >>> len(result.graph.edges())
        2
    """
    data = load_pairs(x, x_tilde)
    if not isinstance(config, FitConfig | str | Path | None):
        raise ValueError(f"config: Expected an lcm.FitConfig or a YAML file; got {type(config).__name__}.")
    settings = load_config(config, FitConfig) if isinstance(config, str | Path) else config or FitConfig()
    given = {"n": n, "model": model, "seed": seed, "restarts": restarts}
    settings = replace(settings, **{k: v for k, v in given.items() if v is not None})  # type: ignore[arg-type]
    before = torch.get_num_threads()
    torch.set_num_threads(threads or before)
    try:
        if out is not None:
            found = fit_run(data, out, settings, device=device, overwrite=overwrite, progress=not quiet)
            return found if found.data is not None else replace(found, data=data)
        return fit_pairs(data, settings, resolve_device(device), Recorder(progress=not quiet))
    finally:
        torch.set_num_threads(before)


def save(result: FitResult | PairModel, path: str | Path, *, overwrite: bool = False) -> None:
    """Write the result of a fit as a run folder, as `lcm fit --out` does; or write a model to a file.

    Args:
        result: the result of a fit, or any model. One that was read from a folder gives a copy of that run.
        path: a new or empty folder for a result; a .safetensors file for a model.
        overwrite: whether another run in the folder may be replaced.

    Raises:
        ValueError: a folder that holds anything but a run, or is the one that the result was read from.

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
    write_run(named_folder(path), result, overwrite)


def load(path: str | Path) -> Any:
    """Read what `save` or `lcm fit` has written: a `FitResult` from a run folder, or a model from a file.

    Raises:
        ValueError: a path that is neither a run nor a model, an unfinished run, or an unknown schema version.

    Example:
        >>> import lcm
        >>> lcm.load("no such run")
        Traceback (most recent call last):
        ValueError: no such run: Expected a run folder or a model file; got no such file or folder
    """
    if not Path(path).exists():
        raise ValueError(f"{path}: Expected a run folder or a model file; got no such file or folder")
    return load_model(path) if Path(path).is_file() else load_run(path).result()
