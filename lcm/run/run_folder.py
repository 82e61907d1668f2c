"""The run folder: the names of its files, the fit that it belongs to, and how it is created and removed."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from lcm.base.files import existing_file, read_json, write_json
from lcm.learn.training.tracker import CHECKPOINT_FOLDER, METRICS_FILE

RUN_SCHEMA_VERSION = 2

RUN_FILE, FIT_FILE, GRAPH_FILE = "run.json", "fit.json", "graph.json"
MODEL_FILE, CONFIG_FILE, REPORT_FILE = "model.safetensors", "config.yaml", "report.md"
FIGURE_FOLDER = "figures"

UNFINISHED, FINISHED = "unfinished", "finished"

IDENTITY = {"data_sha256": "data", "config_sha256": "config", "device": "device", "lcm": "package version"}
"""Keys of run.json that must be equal for a fit to resume, with the words for them in errors."""

_FILES = (RUN_FILE, FIT_FILE, GRAPH_FILE, MODEL_FILE, CONFIG_FILE, REPORT_FILE, METRICS_FILE)
_FOLDERS = (FIGURE_FOLDER, CHECKPOINT_FOLDER)
_EVENTS = "events.out.tfevents.*"


@contextmanager
def claimed_folder(folder: Path, info: Mapping[str, Any], overwrite: bool) -> Iterator[None]:
    """Claim `folder`, new or resumed, for the run that `info` describes, while the block runs.

    After an interruption, the folder stays, and the same fit resumes in it. A folder that was not resumed is cleared
    after an error that would happen again (a bad value, a likelihood that is not finite), and after any error before
    the first checkpoint. Folders that were created are then removed.

    Args:
        folder: a new or empty folder, an unfinished run with the same `IDENTITY`, or, with `overwrite`, any run.
        info: the content of run.json, without the schema version and the state.

    Raises:
        ValueError: `folder` is a file, holds something else, or holds a run that is finished, different or of an
            unknown schema version.
    """
    resumed = _is_resumable(folder, info, overwrite)
    missing = [path for path in (folder, *folder.parents) if not path.exists()]
    try:
        if not resumed:
            folder.mkdir(parents=True, exist_ok=True)
            _clear(folder)
            write_state(folder, info, UNFINISHED)
        yield
    except Exception as error:
        hopeless = isinstance(error, ValueError | FloatingPointError) or not (folder / CHECKPOINT_FOLDER).exists()
        if hopeless and not resumed:
            _clear(folder)
            _remove_empty(missing)
        raise


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
        hint = " (an earlier lcm made it: fit again)" if version == 1 else ""
        raise ValueError(f"{file}: schema: Expected version {RUN_SCHEMA_VERSION}; got {version}{hint}")
    return dict(info)


def _is_resumable(folder: Path, info: Mapping[str, Any], overwrite: bool) -> bool:
    """Whether the folder holds an unfinished run of this fit. Raises ValueError if it must not be written to."""
    if folder.exists() and not folder.is_dir():
        raise ValueError(f"{folder}: Expected a folder to write to; got a file")
    if not folder.exists() or not any(folder.iterdir()):
        return False
    if not (folder / RUN_FILE).is_file():
        raise ValueError(f"{folder}: Expected a new or empty folder, or a run; got a folder of other files")
    try:
        found = read_state(folder)
    except ValueError:
        if overwrite:
            return False
        raise
    differing = [words for key, words in IDENTITY.items() if found.get(key) != info[key]]
    if found.get("state") == UNFINISHED and not differing:
        return True
    if overwrite:
        return False
    held = "a finished run" if found.get("state") == FINISHED else f"an unfinished run of another {differing[0]}"
    raise ValueError(f"{folder}: Expected a folder without another run; got {held} (use --overwrite or another folder)")


def _clear(folder: Path) -> None:
    """Delete the files that a run writes, and no others."""
    for name in _FOLDERS:
        shutil.rmtree(folder / name, ignore_errors=True)
    for path in (*(folder / name for name in _FILES), *folder.glob(_EVENTS)):
        path.unlink(missing_ok=True)


def _remove_empty(folders: list[Path]) -> None:
    for path in folders:
        if path.is_dir() and not any(path.iterdir()):
            path.rmdir()
