"""The cells of a sweep and their data sets: each cell is one fit, with a key of its content and a readable name."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, final

from lcm.app.sweep.config import DataConfig, SweepConfig, at_path, flattened, nested
from lcm.base.config import config_hash, load_config, structure_config, to_yaml
from lcm.base.files import existing_file
from lcm.base.lock import lock_beside
from lcm.base.requirement import to_dict
from lcm.base.yaml_text import parse_yaml, read_yaml
from lcm.run.config import FitConfig

if TYPE_CHECKING:
    from lcm.data.data_set import GenerateConfig

KEY_DIGITS = 12
"""How many hexadecimal digits of a cell's key end its name."""

_ALWAYS = ("model", "seed")
_LONGEST_LABEL = 80


@final
@dataclass(frozen=True)
class DataSet:
    """Pairs to fit and pairs to score on.

    name: unique within the sweep. key: a hash of the content. train, test: the files. values: columns of the table.
    made_by: the config that generates the files; None for given files.
    """

    name: str
    key: str
    train: Path
    test: Path
    values: Mapping[str, Any]
    made_by: GenerateConfig | None = None


@final
@dataclass(frozen=True)
class Cell:
    """One fit and its scores: the data, all settings, its columns in the table, and its key and name.

    The key is the SHA-256 of data and settings, 64 hex digits: cells of equal keys are the same work.
    """

    data: DataSet
    config: FitConfig
    values: Mapping[str, Any]
    key: str
    name: str


def sweep_cells(sweep: SweepConfig, file: Path, out: Path) -> list[Cell]:
    """All cells of a sweep, each once, data sets in turn.

    Args:
        sweep: the content of `file`; paths in it are relative to its folder.
        file: named in errors.
        out: the folder of the sweep, where data are generated.

    Raises:
        ValueError: an unknown key or bad value of a fit or a data set, a missing file, or two data sets of one name.
    """
    data = [each for index in range(len(sweep.data)) for each in _data_sets(sweep.data[index], index, file, out)]
    _require_own_names(data, file)
    configs = _fit_configs(sweep, file)
    columns = list(dict.fromkeys([*(key for key in _ALWAYS if hasattr(FitConfig(), key)), *sweep.varied()]))
    differing = [key for key in columns if len({_text(at_path(to_dict(config), key)) for config, _ in configs}) > 1]
    cells: dict[str, Cell] = {}
    for each in data:
        for config, identity in configs:
            key = cell_key(each, identity)
            settings = to_dict(config)
            values = {"data": each.name, **each.values, **{name: at_path(settings, name) for name in columns}}
            label = _label(each.name, {name: values[name] for name in differing})
            cells.setdefault(key, Cell(each, config, values, key, f"{label}-{key[:KEY_DIGITS]}"))
    return list(cells.values())


def cell_key(data: DataSet, config_sha256: str) -> str:
    """The key of the cell of a data set and a config."""
    return hashlib.sha256(f"{data.key} {config_sha256}".encode()).hexdigest()


def with_names(cells: Iterable[Cell], known: Mapping[str, str]) -> list[Cell]:
    """The cells with the names that they already have; `known` maps the last digits of a name to the name."""
    return [replace(cell, name=known.get(cell.key[:KEY_DIGITS], cell.name)) for cell in cells]


def _fit_configs(sweep: SweepConfig, file: Path) -> list[tuple[FitConfig, str]]:
    """All configs of fits, with their hashes."""
    configs = [structure_config(nested(each, str(file)), FitConfig, str(file)) for each in sweep.settings()]
    return [(config, config_hash(config)) for config in configs]


def _data_sets(config: DataConfig, index: int, file: Path, out: Path) -> list[DataSet]:
    if config.generate is not None:
        return _generated(config, index, file, out)
    train, test = (file.parent / str(path) for path in (config.train, config.test))
    stem = train.stem.removesuffix("_train")
    name = config.name or (train.absolute().parent.name if stem == "train" else stem)
    values = {f"data.{key}": value for key, value in flattened(config.values, "values").items()}
    return [given_data(_plain(name), train, test, values)]


def _generated(config: DataConfig, index: int, file: Path, out: Path) -> list[DataSet]:
    from lcm.data.data_set import GenerateConfig

    source = file.parent / str(config.generate)
    content = flattened(parse_yaml(read_yaml(source), str(source)), str(source))
    load_config(source, GenerateConfig)
    found = []
    for settings in config.settings():
        where = f"{file}: data[{index}]"
        made_by = structure_config(nested({**content, **settings}, where), GenerateConfig, where)
        whole = to_dict(made_by)
        values = {key: at_path(whole, key) for key in config.varied()}
        name = _label(config.name or source.stem, values)
        folder = out / "data" / f"{name}-{config_hash(made_by)[:KEY_DIGITS]}"
        found.append(generated_data(name, made_by, folder, {f"data.{key}": value for key, value in values.items()}))
    return found


def generated_data(name: str, config: GenerateConfig, folder: Path, values: Mapping[str, Any]) -> DataSet:
    """The data set of a config; `draw` generates it into the folder."""
    files = folder / "train.safetensors", folder / "test.safetensors"
    return DataSet(name, f"generated {config_hash(config)}", *files, values, config)


def given_data(name: str, train: Path, test: Path, values: Mapping[str, Any]) -> DataSet:
    """The data set in two files, hashed by their bytes; ValueError for a missing file."""
    return DataSet(name, f"files {_digest(train)} {_digest(test)}", train, test, values)


def draw(data: DataSet) -> None:
    """Generate a data set, unless its files exist already.

    Raises:
        ValueError: the folder holds the data of other settings.
    """
    if data.made_by is None:
        return
    from lcm.data.data_set import generate
    from lcm.report.images import draw_contact_sheet

    folder = data.train.parent
    # a lock that was left says that generating it did not end
    if not folder.exists() or lock_beside(folder.resolve()).exists():
        generate(data.made_by, folder, draw=draw_contact_sheet)
    elif (folder / "config.yaml").read_text(encoding="utf-8") != to_yaml(data.made_by):
        raise ValueError(f"{folder}: Expected the data of these settings; got others. Choose another --out.")


def require_pairs(data: DataSet) -> None:
    """Raise ValueError, by their headings, for given files without pairs, or to score on without the fitted columns."""
    if data.made_by is not None:
        return
    from lcm.data.named_columns import require_columns_of

    train, test = _columns(data.train), _columns(data.test)
    require_columns_of(test, train, f"{data.test}: x")


def _columns(path: Path) -> tuple[str, ...]:
    from lcm.data.pair_files import columns_of_file

    try:
        return columns_of_file(path)
    except ValueError as error:
        alone = "Expected a column of x_tilde" in str(error)
        hint = " (lcm.save_pairs joins two tables in one file: docs/sweeps.md)" if alone else ""
        raise ValueError(f"{error}{hint}") from error


def _require_own_names(data: Sequence[DataSet], file: Path) -> None:
    keys: dict[str, str] = {}
    for each in data:
        if keys.setdefault(each.name, each.key) != each.key:
            raise ValueError(f"{file}: data: Expected a name for each data set; got {each.name} for two of them")


def _digest(path: Path) -> str:
    with existing_file(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _label(first: str, values: Mapping[str, Any]) -> str:
    """A name from values: a text stands alone, any other value follows the last part of its key."""
    parts = [first]
    for key, value in values.items():
        parts.append(value if isinstance(value, str) else f"{key.rpartition('.')[2]}{_text(value)}")
    return _plain("-".join(parts))[:_LONGEST_LABEL]


def _plain(text: str) -> str:
    return re.sub(r"[^A-Za-z0-9._=-]+", "_", text).strip("._-") or "data"


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)
