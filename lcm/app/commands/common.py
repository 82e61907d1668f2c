"""Functions that several commands share: they read inputs, and check output paths before any work is done."""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from glob import escape
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from lcm.base.atomic import leftovers

if TYPE_CHECKING:
    from lcm.data.pairs import PairData
    from lcm.model.pair_model import PairModel
    from lcm.run.runs import Run


class Opened(NamedTuple):
    """A model and its run; `run` is None if the model comes from a model file, such as a nature."""

    model: PairModel
    run: Run | None

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the variables; z0, z1, … for a model file."""
        from lcm.model.names import default_names

        return self.run.names if self.run else default_names(self.model.n)


def open_model(path: str, float64: bool = False) -> Opened:
    """Read a model from a run folder or from a model file, ready for evaluation."""
    from lcm.model.storage import load_model
    from lcm.run.runs import load_run

    run = None if Path(path).is_file() else load_run(path)
    model = run.model if run else load_model(path)
    return Opened(model.double() if float64 else model, run)


def add_pairs_arguments(parser: argparse.ArgumentParser, holding: str = "x and x_tilde") -> None:
    """Add DATA, AFTER and --after-mark, which `pairs_of` reads."""
    parser.add_argument(
        "data",
        metavar="DATA",
        help=f".safetensors, .npz, .csv or .parquet file with {holding}; a table with x alone, if AFTER is given",
    )
    parser.add_argument(
        "after", metavar="AFTER", nargs="?", help=".csv or .parquet file with x_tilde, if DATA has x alone"
    )
    add_mark_argument(parser)


def add_mark_argument(parser: argparse.ArgumentParser) -> None:
    """Add the option --after-mark."""
    parser.add_argument(
        "--after-mark",
        metavar="MARK",
        help="prefix or suffix of the x_tilde columns, if one table has both; default: _tilde, _after or after_",
    )


def pairs_of(arguments: argparse.Namespace) -> PairData:
    """Read the pairs that the arguments of `add_pairs_arguments` name."""
    return open_pairs(arguments.data, arguments.after, mark=arguments.after_mark)


def open_pairs(path: str, after: str | None = None, *, mark: str | None = None) -> PairData:
    """Read pairs. If a path is a folder, the error lists the files of pairs in it."""
    from lcm.data.pair_files import WRITTEN_SUFFIXES, load_pairs

    for each in (path, after):
        if each is not None and Path(each).is_dir():
            found = sorted(file.name for file in Path(each).iterdir() if file.suffix in WRITTEN_SUFFIXES)
            inside = f" that holds {', '.join(found[:5])}" if found else ""
            raise ValueError(f"{each}: Expected a file of pairs; got a folder{inside}")
    return load_pairs(path, after, mark=mark)


def check_output(path: str, suffixes: str | Sequence[str], *inputs: str | None) -> Path:
    """Return `path` as a Path if a file can be written there. Its folder need not exist yet.

    Args:
        path: of the file to write.
        suffixes: of which it has one.
        inputs: files that the command reads, data sets in parts, and run folders, of which it reads the files.

    Raises:
        ValueError: another suffix, a folder, a link, a file that the command reads, or a place without write
            permission.
    """
    file, allowed = Path(path), (suffixes,) if isinstance(suffixes, str) else tuple(suffixes)
    if file.is_dir():
        raise ValueError(f"{path}: Expected a file to write to; got a folder")
    if file.suffix not in allowed:
        listed = ", ".join(allowed[:-1]) + (" or " if len(allowed) > 1 else "") + allowed[-1]
        raise ValueError(f"{path}: Expected a {listed} file to write to; got the suffix {file.suffix!r}")
    if any(_is_same(file, read) for each in inputs if each is not None for read in _files_read(Path(each))):
        raise ValueError(f"{path}: Expected another file to write to; got the one that is read")
    if _is_part_of_run(file):
        raise ValueError(f"{path}: Expected another file to write to; got one that a run is read from")
    if file.is_symlink():
        raise ValueError(f"{path}: Expected a file to write to; got a link to {os.readlink(file)}")
    check_writable(file.parent)
    # what killed commands left
    for left in leftovers(file.parent, escape(file.name)):
        left.unlink(missing_ok=True)
    return file


def _is_part_of_run(file: Path) -> bool:
    """Whether `file` is one of the files that some run, around it, is read from."""
    if not any((folder / "run.json").is_file() for folder in file.absolute().parents[:2]):
        return False
    from lcm.run.run_folder import is_own_file

    return any(is_own_file(folder, file) for folder in file.absolute().parents[:2])


def _files_read(source: Path) -> list[Path]:
    """The files that are read where a command is given `source`: itself, its parts, or the files of a run."""
    if source.is_dir():
        from lcm.run.run_folder import files_read

        return files_read(source)
    from lcm.data.image_files import found_shards

    return [source, *found_shards(source)]


def _is_same(file: Path, other: Path) -> bool:
    """Whether two paths name one file, by links or not; neither need exist."""
    if file.resolve() == other.resolve():
        return True
    return file.exists() and other.exists() and file.samefile(other)


def check_writable(folder: Path) -> None:
    """Raise ValueError unless `folder`, or its nearest parent that exists, can be written to."""
    nearest = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    if not nearest.is_dir() or not os.access(nearest, os.W_OK):
        got = "a folder without that permission" if nearest.is_dir() else "a file"
        raise ValueError(f"{nearest}: Expected a folder to write to; got {got}")


def find_config(path: str) -> Path:
    """The config file. One of paper_configs/ is found from any folder.

    Raises:
        ValueError: no config of paper_configs/ has that name; the message lists them.
    """
    file = Path(path)
    if file.exists() or file.is_absolute() or file.parts[:1] != ("paper_configs",):
        return file
    found = source_root() / file
    if not found.is_file():
        names = ", ".join(sorted(each.name for each in found.parent.glob("*.yaml"))) or "none"
        raise ValueError(f"{path}: Expected a config of paper_configs/ ({names}); got no file of that name")
    return found


def source_root() -> Path:
    """The folder that holds experiments/ and paper_configs/: the checkout, or a folder of an installed package."""
    import lcm

    package = Path(lcm.__file__).parent
    return package.parent if (package.parent / "pyproject.toml").is_file() else package / "shipped"
