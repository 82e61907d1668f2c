"""What several commands share: reading their inputs, and looking at their outputs before any work is done."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from lcm.data.pairs import PairData
    from lcm.model.pair_model import PairModel
    from lcm.run.runs import Run


class Opened(NamedTuple):
    """A model, and the run that it comes from; None where it comes from a file of its own, as a nature does."""

    model: PairModel
    run: Run | None


def open_model(path: str, float64: bool = False) -> Opened:
    """Read the model of a run folder, or one that is a file by itself, ready to be evaluated."""
    from lcm.model.storage import load_model
    from lcm.run.runs import load_run

    run = None if Path(path).is_file() else load_run(path)
    model = run.model if run else load_model(path)
    return Opened(model.double() if float64 else model, run)


def open_pairs(path: str) -> PairData:
    """Read pairs; the error for a folder names the files of pairs in it."""
    from lcm.data.pairs import load_pairs

    if Path(path).is_dir():
        found = sorted(file.name for file in Path(path).iterdir() if file.suffix in (".safetensors", ".npz"))
        inside = f" that holds {', '.join(found[:5])}" if found else ""
        raise ValueError(f"{path}: Expected a file of pairs; got a folder{inside}")
    return load_pairs(path)


def check_output(path: str, suffix: str, *inputs: str) -> Path:
    """Return `path` as a Path if a file can be written there; its folder need not exist yet.

    Raises:
        ValueError: another suffix, a folder, one of the `inputs`, or a place that cannot be written to.
    """
    file = Path(path)
    if file.suffix != suffix:
        raise ValueError(f"{path}: Expected a {suffix} file to write to; got the suffix {file.suffix!r}")
    if file.is_dir():
        raise ValueError(f"{path}: Expected a file to write to; got a folder")
    if any(file.resolve() == Path(other).resolve() for other in inputs):
        raise ValueError(f"{path}: Expected another file to write to; got the one that is read")
    check_writable(file.parent)
    return file


def check_writable(folder: Path) -> None:
    """Raise ValueError unless `folder`, or the nearest folder above it that exists, can be written to."""
    nearest = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    if not nearest.is_dir() or not os.access(nearest, os.W_OK):
        got = "a folder without that permission" if nearest.is_dir() else "a file"
        raise ValueError(f"{nearest}: Expected a folder to write to; got {got}")


def checkout() -> Path:
    """The folder of the source that the package is part of.

    Raises:
        ValueError: the package was installed without it; the message says how to get it.
    """
    root = source_root()
    if not (root / "pyproject.toml").is_file():
        raise ValueError(
            "experiments/ and paper_configs/: Expected a checkout of the source; got an installed package, which does "
            f"not hold them ({_how_to_get_one()})"
        )
    return root


def source_root() -> Path:
    """The folder beside the package, a checkout or site-packages."""
    import lcm

    return Path(lcm.__file__).parent.parent


def _how_to_get_one() -> str:
    from importlib.metadata import PackageNotFoundError, metadata

    try:
        urls = metadata("latent-causal-models").get_all("Project-URL") or []
    except PackageNotFoundError:
        urls = []
    source = urls[0].rpartition(", ")[2] if urls else "the repository of latent-causal-models"
    return f"git clone {source}, then pip install -e . there"
