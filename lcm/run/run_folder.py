"""The run folder: the names of its files, the fit that it belongs to, and how it is claimed and cleared."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np

from lcm.base.atomic import leftovers
from lcm.base.files import existing_file, read_json, write_json
from lcm.base.lock import LOCK_FILE, locked_folder
from lcm.base.text import shown
from lcm.learn.training.tracker import CHECKPOINT_FOLDER, METRICS_FILE

RUN_SCHEMA_VERSION = 2

RUN_FILE, FIT_FILE, GRAPH_FILE, NAMES_FILE = "run.json", "fit.json", "graph.json", "names.json"
MODEL_FILE, CONFIG_FILE, REPORT_FILE = "model.safetensors", "config.yaml", "report.md"
PAGE_FILE = "report.html"
CARD_FILE, HUB_CONFIG_FILE = "README.md", "config.json"
FIGURE_FOLDER = "figures"
REFITS_FOLDER, MAPS_FILE = "refits", "maps.safetensors"

CLEARING, UNFINISHED, FINISHED = "clearing", "unfinished", "finished"

IDENTITY = {"data_sha256": "data", "config_sha256": "config", "device": "device", "lcm": "package version"}
"""Keys of run.json that must be equal for a fit to resume, with the words for them in errors."""

OVERWRITE = "overwrite=True"
"""The option that replaces a run, in errors; commands call it --overwrite."""

_NOTE = "fit"
_EXACT = (*IDENTITY, "torch")
_FILES = (
    *(FIT_FILE, GRAPH_FILE, NAMES_FILE, MODEL_FILE, CONFIG_FILE, REPORT_FILE, PAGE_FILE, CARD_FILE, HUB_CONFIG_FILE),
    METRICS_FILE,
    RUN_FILE,
)
_EVENTS = "events.out.tfevents.*"
_FIGURES = (
    *("graph", "training", "pairs", "variables", "graphs", "traversals", "counterfactuals", "samples", "targets"),
    *("number_of_variables", "refits"),
)
_FOLDERS = {
    FIGURE_FOLDER: (*(f"{name}.png" for name in _FIGURES), "compared_with_*.png"),
    CHECKPOINT_FOLDER: ("*.safetensors",),
    REFITS_FOLDER: ("*.safetensors",),
}


@contextmanager
def claimed_folder(folder: Path, info: Mapping[str, Any], overwrite: bool) -> Iterator[bool]:
    """Claim `folder`, new or resumed, for the run that `info` describes; yield whether that run is finished already.

    No other process writes to the folder while the block runs. A run that is replaced stays whole until all is checked;
    of the files in the folder, only those with the names of the package's own are removed.

    After an interruption, the folder stays, and the same fit resumes in it. A folder that was not resumed is cleared
    after an error that would happen again (a bad value, a likelihood that is not finite), and after any error before
    the first checkpoint. Folders that were created are then removed.

    Args:
        folder: a new or empty folder, an unfinished run with the same `IDENTITY`, the finished run of a process that
            was killed before it ended, or, with `overwrite`, any run.
        info: the content of run.json, without the schema version and the state.

    Raises:
        ValueError: `folder` is a file, holds something else, holds a run that is finished, different or of an unknown
            schema version, has a link that leads out of it, or another process writes to it.
    """
    if folder.exists() and not folder.is_dir():
        raise ValueError(f"{folder}: Expected a folder to write to; got a file")
    if folder.is_symlink() and not folder.exists():
        raise ValueError(f"{folder}: Expected a folder to write to; got a link to nothing")
    missing = [path for path in (folder, *folder.parents) if not path.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    try:
        with locked_folder(folder, _NOTE) as claim:
            ended = claim.left_behind and claim.note == _NOTE
            state = _state_for(folder, info, overwrite, ended)
            require_own(folder)
            _clear_leftovers(folder)
            with _cleared_after_errors(folder, state == CLEARING):
                if state == CLEARING:
                    _begin(folder, info)
                yield state == FINISHED
    finally:
        _remove_empty(missing)


def claimed_figures(folder: Path) -> AbstractContextManager[Path]:
    """Claim a finished run for more figures; the block gets its folder of figures. Errors as of `claimed_names`."""
    return _claimed(folder, FIGURE_FOLDER)


def claimed_refits(folder: Path) -> AbstractContextManager[Path]:
    """Claim a finished run for refits; the block gets their folder. Errors as of `claimed_names`."""
    return _claimed(folder, REFITS_FOLDER)


def claimed_names(folder: Path) -> AbstractContextManager[Path]:
    """Claim a finished run for names of its variables; the block gets their file.

    Raises:
        ValueError: another process writes to the run, or one of its files or folders is a link that leads out of it.
    """
    return _claimed(folder, NAMES_FILE)


@contextmanager
def _claimed(folder: Path, name: str) -> Iterator[Path]:
    with locked_folder(folder, name):
        require_own(folder)
        if name in _FOLDERS:
            (folder / name).mkdir(exist_ok=True)
        _clear_leftovers(folder)
        yield folder / name


def fit_hash(info: Mapping[str, Any]) -> str:
    """SHA-256 (64 hex digits) of all that the numbers of a fit depend on: data, config with seed, device, versions."""
    return hashlib.sha256(json.dumps([np.__version__, *(info[key] for key in _EXACT)]).encode()).hexdigest()


def require_own(folder: Path) -> None:
    """Raise ValueError if one of the files or folders of a run is a link that leads out of it."""
    inside = folder.resolve()
    for name in (*_FILES, *_FOLDERS):
        path = folder / name
        if path.is_symlink() and not path.resolve().is_relative_to(inside):
            raise ValueError(f"{path}: Expected a part of the run itself; got a link to {path.resolve()}")


def files_read(folder: Path) -> list[Path]:
    """The files of a run that its readers need, whether they are there or not."""
    return [folder / name for name in _FILES]


def is_own_file(folder: Path, path: Path) -> bool:
    """Whether `path` is one of the files or checkpoints of a run in `folder`."""
    place = path.resolve()
    own = any(place == file.resolve() for file in files_read(folder))
    return own or place.parent == folder.resolve() / CHECKPOINT_FOLDER


def parts_of(folder: Path) -> list[Path]:
    """The files of a finished run that are there, but for run.json and refits."""
    figures = [path for pattern in _FOLDERS[FIGURE_FOLDER] for path in (folder / FIGURE_FOLDER).glob(pattern)]
    files = [folder / name for name in _FILES if name != RUN_FILE and (folder / name).is_file()]
    return [*files, *folder.glob(_EVENTS), *figures]


def named_folder(path: str | Path) -> Path:
    """The folder, by a path that ends with its name, so that messages and pages say which it is: "." does not."""
    folder = Path(path)
    return folder if folder.name not in ("", "..") else folder.resolve()


def write_state(folder: Path, info: Mapping[str, Any], state: str) -> None:
    """Write run.json."""
    write_json(folder / RUN_FILE, {"schema": RUN_SCHEMA_VERSION, "state": state, **info})


def read_state(folder: Path) -> dict[str, Any]:
    """The content of run.json.

    Raises:
        ValueError: the folder or the file is missing, not JSON, or of an unknown schema version.
    """
    file = existing_file(folder / RUN_FILE)
    info = read_json(file)
    version = info.get("schema") if isinstance(info, dict) else None
    if version != RUN_SCHEMA_VERSION:
        raise ValueError(f"{file}: schema: Expected version {RUN_SCHEMA_VERSION}; got {shown(version)}{_hint(version)}")
    found = dict(info)
    if found.get("state") not in (CLEARING, UNFINISHED, FINISHED):
        raise ValueError(f"{file}: state: Expected {UNFINISHED} or {FINISHED}; got {shown(found.get('state'))}")
    for key in IDENTITY:
        if not isinstance(found.get(key), str):
            raise ValueError(f"{file}: {key}: Expected a text; got {shown(found.get(key))}")
    return found


def _hint(version: Any) -> str:
    """What to do with a run of another schema version."""
    if not isinstance(version, int) or version < 1:
        return ""
    earlier = version < RUN_SCHEMA_VERSION
    return " (an earlier lcm made it: fit again)" if earlier else " (a later lcm made it: update lcm)"


def _state_for(folder: Path, info: Mapping[str, Any], overwrite: bool, ended: bool) -> str:
    """CLEARING to begin, UNFINISHED to resume, FINISHED where nothing is left to do. ValueError for another run.

    ended: whether a fit in this folder was killed between its first and its last step.
    """
    own = {LOCK_FILE, *(path.name for path in leftovers(folder, *_FILES))}
    if {path.name for path in folder.iterdir()} <= own:
        return CLEARING
    if not (folder / RUN_FILE).is_file():
        raise ValueError(f"{folder}: Expected a new or empty folder, or a run; got a folder of other files")
    try:
        found = read_state(folder)
    except ValueError:
        if overwrite and _is_run(folder / RUN_FILE):
            return CLEARING
        raise
    differing = [words for key, words in IDENTITY.items() if found.get(key) != info[key]]
    state = found.get("state")
    if not differing and (state in (UNFINISHED, CLEARING) or (state == FINISHED and ended)):
        return str(state)
    if overwrite and _is_run(folder / RUN_FILE):
        return CLEARING
    held = "a finished run" if state == FINISHED else f"an unfinished run of another {(differing or ['state'])[0]}"
    hint = "another folder" if overwrite else f"{OVERWRITE} or another folder"
    raise ValueError(f"{folder}: Expected a folder without another run; got {held} (use {hint})")


def _is_run(path: Path) -> bool:
    """Whether a run.json is one that some version of the package wrote, and not somebody else's file of that name."""
    try:
        content = read_json(path)
    except ValueError:
        return False
    return isinstance(content, dict) and {"schema", "state", "data_sha256", "config_sha256"} <= content.keys()


def _begin(folder: Path, info: Mapping[str, Any]) -> None:
    """Replace whatever run is there; after an interruption, the same fit goes on with it."""
    write_state(folder, info, CLEARING)
    _clear(folder, but=RUN_FILE)
    write_state(folder, info, UNFINISHED)


@contextmanager
def _cleared_after_errors(folder: Path, new: bool) -> Iterator[None]:
    try:
        yield
    except Exception as error:
        hopeless = isinstance(error, ValueError | FloatingPointError) or not (folder / CHECKPOINT_FOLDER).exists()
        if hopeless and new:
            _clear(folder)
        raise


def _clear(folder: Path, but: str = "") -> None:
    """Delete the files that a run writes, and no others; run.json is the last, so that this can be interrupted."""
    for name, patterns in _FOLDERS.items():
        for path in [path for pattern in patterns for path in (folder / name).glob(pattern)]:
            path.unlink(missing_ok=True)
        with suppress(OSError):
            (folder / name).rmdir()
    _clear_leftovers(folder)
    for path in (*folder.glob(_EVENTS), *(folder / name for name in _FILES if name != but)):
        path.unlink(missing_ok=True)


def _clear_leftovers(folder: Path) -> None:
    """Delete the temporary files of killed processes."""
    for part, names in {"": _FILES, **_FOLDERS}.items():
        for path in leftovers(folder / part, *names):
            path.unlink(missing_ok=True)


def _remove_empty(folders: list[Path]) -> None:
    for path in folders:
        # another process may have created it again, or written to it
        with suppress(OSError):
            path.rmdir()
