"""Data sets of the causal chambers (Gamella, Peters and Bühlmann 2025) as pairs: the actuators are the truth.

A pair is two measurements. By default the rows 2k and 2k + 1 of the CSV are a pair, so that no measurement is in two.
Without the truth of a protocol, at most one actuator may change in a pair, and it is the target.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, final

import numpy as np
from numpy.typing import NDArray

from lcm.base import __version__
from lcm.data.chamber.actuator import SETTINGS, TUNNEL_ACTUATORS, require_distinct
from lcm.data.chamber.measurements import Measurements, column_names, read_measurements
from lcm.data.chamber.protocol import PairProtocol
from lcm.data.chamber.protocol_files import read_protocol
from lcm.data.image_files import FinishedBefore, partial_folder, remove_partial, require_new
from lcm.data.imported.listing import require_inside
from lcm.data.imported.source import PairsOfFiles, identity_of_files, require_size, write_image_pairs
from lcm.data.pair_files import save_pairs
from lcm.data.pairs import PairData
from lcm.model.chamber import SENSORS

IMAGE_COLUMN = "image_file"
_URL, _LICENCE = "https://github.com/juangamella/causal-chamber", "CC BY 4.0"
_NOT_AN_EXPERIMENT = "variables"


@final
@dataclass(frozen=True)
class ChamberColumns:
    """Which columns of the CSV are what.

    Attributes:
        actuators: the variables; None for those of the protocol, or else red, green, blue, pol_1 and pol_2.
        sensors: the observation; None for those of the light tunnel.
        images: the column with the names of image files, which are then the observation instead.
        image_folder: the folder of the images, beside the CSV; None for the only one whose name begins with images, or
            that of the CSV where there is none.
    """

    actuators: Sequence[str] | None = None
    sensors: Sequence[str] | None = None
    images: str | None = None
    image_folder: str | None = None

    def __post_init__(self) -> None:
        if self.sensors is not None and list(self.sensors) == [IMAGE_COLUMN] and self.images is None:
            object.__setattr__(self, "images", IMAGE_COLUMN)
            object.__setattr__(self, "sensors", None)
        if self.images is not None and self.sensors is not None:
            raise ValueError(f"sensors: Expected none beside images; got {', '.join(self.sensors)}")
        if self.image_folder is not None and self.images is None:
            raise ValueError(f"image_folder: Expected images with it; got {self.image_folder!r} alone")
        for what in ("actuators", "sensors"):
            names = getattr(self, what)
            if names is not None:
                require_distinct(names, what)


def import_chamber(
    source: str | Path,
    out: str | Path,
    size: int = 64,
    *,
    columns: ChamberColumns | None = None,
    experiment: str | None = None,
    protocol: str | Path | None = None,
    overlapping: bool = False,
    allow_outside: bool = False,
    threads: int | None = None,
    progress: bool = False,
) -> dict[Path, int]:
    """Write the pairs of one experiment to data.safetensors in the folder `out`; return the file and how many they are.

    The truth is z and z_tilde, the values of the actuators, and targets; with a protocol also the adjacency.

    Args:
        source: the CSV of an experiment, or the folder of a data set, with NAME.csv or NAME/NAME.csv for each one.
        size: height and width of written images, a multiple of 16 from 16 to 512; larger images are averaged.
        columns: which columns are what.
        experiment: which one of several in the folder.
        protocol: the JSON file of `lcm protocol`, by which the rows were measured. It gives the targets.
        overlapping: whether each two rows in a row are a pair; by default only rows 2k and 2k + 1.
        allow_outside: whether images may lie outside the folder of the CSV, as absolute paths, `..` and links can say.
        threads: the number of threads that decode images, by default one per core.
        progress: whether to show progress bars on stderr.

    Raises:
        ValueError: no such experiment, a bad CSV, a column that lacks or does not vary, times that go back, rows that
            are no pairs or not those of the protocol, a missing or bad image, or `out` is not new.
    """
    require_size(size)
    require_new(Path(out))
    columns = columns or ChamberColumns()
    path = _csv_of(Path(source), experiment)
    truth = None if protocol is None else read_protocol(protocol)
    if truth is not None and columns.actuators is not None:
        raise ValueError("actuators: Expected none beside a protocol, which names them; got some")
    if truth is not None and overlapping:
        raise ValueError("overlapping: Expected pairs of rows as in the protocol; got overlapping ones")
    actuators, sensors = _names(path, columns, truth)
    measured = _measured(path, actuators, sensors, columns)
    _require_varying(measured, "sensor", sensors)
    if truth is None:
        _require_varying(measured, "actuator", actuators)
    before, after = _rows_of_pairs(measured, overlapping)
    _require_settings(measured, [*actuators, *sensors], before, after)
    tensors = _truth(measured, actuators, before, after, truth)
    metadata = _metadata(path, actuators, overlapping, protocol)
    if columns.images is None:
        return _write_vectors(Path(out), measured, sensors, (before, after), tensors, metadata)
    images = _images(measured, columns.images, columns.image_folder, allow_outside)
    files = [(images[first], images[second]) for first, second in zip(before, after, strict=True)]
    pairs = PairsOfFiles("data", tensors, metadata, files, str(path))
    identity = metadata | {"files": identity_of_files(images)}
    return write_image_pairs(Path(out), [pairs], identity, size, threads=threads, progress=progress)


def _csv_of(source: Path, name: str | None) -> Path:
    """The CSV of the experiment."""
    if source.is_file():
        if name is not None:
            raise ValueError(f"experiment: Expected a folder of experiments with it; got the file {source}")
        return source
    inside = sorted(source.iterdir()) if source.is_dir() else ()
    files = {file.stem: file for file in (each / f"{each.name}.csv" if each.is_dir() else each for each in inside)}
    found = {
        stem: file
        for stem, file in sorted(files.items())
        if file.suffix == ".csv" and file.is_file() and stem != _NOT_AN_EXPERIMENT
    }
    if not found:
        got = "none" if source.is_dir() else "no such folder"
        raise ValueError(
            f"{source}: Expected NAME.csv or NAME/NAME.csv of a causal chamber; got {got}. "
            f"Data sets are at {_URL} (licence: {_LICENCE})"
        )
    if name is None and len(found) == 1:
        return next(iter(found.values()))
    if name not in found:
        listed = ", ".join(list(found)[:8]) + (f" and {len(found) - 8} more" if len(found) > 8 else "")
        raise ValueError(f"{source}: Expected the name of one experiment of {listed}; got {name or 'none'}")
    return found[name]


def _names(path: Path, columns: ChamberColumns, truth: PairProtocol | None) -> tuple[list[str], list[str]]:
    """The columns of the actuators and of the sensors, all of which the header has."""
    header = column_names(path)
    actuators = list(truth.names if truth is not None else columns.actuators or TUNNEL_ACTUATORS)
    sensors = [] if columns.images else list(columns.sensors or SENSORS)
    given = {"actuator": columns.actuators or truth, "sensor": columns.sensors, "image file": columns.images}
    for what, names in (("actuator", actuators), ("sensor", sensors), ("image file", [columns.images or ""])):
        lacking = next((name for name in names if name and name not in header), None)
        if lacking is not None:
            hint = "" if given[what] else f" (name others with --{what}s)"
            raise ValueError(f"{path}: column '{lacking}': Expected this {what} in the header; got none{hint}")
    both = [name for name in sensors if name in actuators]
    if both:
        raise ValueError(f"{path}: column '{both[0]}': Expected an actuator or a sensor; got both")
    return actuators, sensors


def _measured(path: Path, actuators: list[str], sensors: list[str], columns: ChamberColumns) -> Measurements:
    known = [name for name in column_names(path) if name in SETTINGS and name not in actuators and name not in sensors]
    texts = known if columns.images is None else [*known, columns.images]
    measured = read_measurements(path, [*actuators, *sensors], texts)
    if len(measured) < 2:
        raise ValueError(f"{path}: Expected at least two measurements; got {len(measured)}")
    return measured


def _require_varying(measured: Measurements, what: str, names: Sequence[str]) -> None:
    constant = next((name for name in names if np.ptp(measured.numbers[name]) == 0), None)
    if constant is not None:
        hint = f"(name those that vary with --{what}s)"
        raise ValueError(f"{measured.path}: column '{constant}': Expected this {what} to vary; got one value {hint}")


def _rows_of_pairs(measured: Measurements, overlapping: bool) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    rows = np.arange(len(measured))
    if overlapping:
        return rows[:-1], rows[1:]
    if len(measured) % 2:
        expected = "an even number of measurements, two for each pair (--overlapping pairs each row with the next)"
        raise ValueError(f"{measured.path}: Expected {expected}; got {len(measured):,}")
    return rows[::2], rows[1::2]


def _require_settings(
    measured: Measurements, used: Sequence[str], before: NDArray[np.int64], after: NDArray[np.int64]
) -> None:
    """Raise ValueError if a known setting that is no actuator changes inside a pair."""
    for name in sorted(SETTINGS & set(measured.texts)):
        cells = np.array(measured.texts[name])
        changed = np.flatnonzero(cells[before] != cells[after])
        if changed.size:
            expected = f"the value of line {measured.lines[before[changed[0]]]}, as it is no actuator of this import"
            where = f"{measured.at(after[changed[0]])}: column '{name}'"
            raise ValueError(f"{where}: Expected {expected}; got another")


def _truth(
    measured: Measurements,
    actuators: list[str],
    before: NDArray[np.int64],
    after: NDArray[np.int64],
    protocol: PairProtocol | None,
) -> dict[str, NDArray[Any]]:
    values = measured.table(actuators)
    z, z_tilde = values[before], values[after]
    truth = {"z": z.astype(np.float32), "z_tilde": z_tilde.astype(np.float32)}
    if protocol is not None:
        _require_as_planned(measured, protocol, values)
        return truth | {"targets": protocol.targets, "adjacency": protocol.adjacency}
    changed = z != z_tilde
    several = np.flatnonzero(changed.sum(axis=1) > 1)
    if several.size:
        pair = int(several[0])
        got = ", ".join(name for name, differs in zip(actuators, changed[pair], strict=True) if differs)
        expected = f"at most one actuator to differ from line {measured.lines[before[pair]]}"
        raise ValueError(f"{measured.at(after[pair])}: Expected {expected}; got {got}")
    return truth | {"targets": changed}


def _require_as_planned(measured: Measurements, protocol: PairProtocol, values: NDArray[np.float64]) -> None:
    """Raise ValueError unless the rows are the measurements of the protocol, up to half a step of each actuator."""
    if len(measured) != 2 * len(protocol):
        expected = f"{2 * len(protocol):,} measurements, two for each pair of the protocol"
        raise ValueError(f"{measured.path}: Expected {expected}; got {len(measured):,}")
    planned = np.stack([protocol.before, protocol.after], axis=1).reshape(values.shape)
    off = np.abs(values - planned) > [actuator.step / 2 for actuator in protocol.actuators]
    if off.any():
        row, column = np.argwhere(off)[0].tolist()
        actuator = protocol.actuators[column]
        where = f"{measured.at(row)}: column '{actuator.name}'"
        expected = f"{actuator.text(planned[row, column])}, as in the protocol"
        raise ValueError(f"{where}: Expected {expected}; got {values[row, column]:g}")


def _metadata(path: Path, actuators: Sequence[str], overlapping: bool, protocol: str | Path | None) -> dict[str, str]:
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    known = {"source": "chamber", "experiment": path.stem, "csv_sha256": digest, "variables": json.dumps(actuators)}
    known["pairs"] = "overlapping" if overlapping else "disjoint"
    if protocol is not None:
        return known | {"protocol_sha256": hashlib.sha256(Path(protocol).read_bytes()).hexdigest()}
    return known | {"licence": f"published data sets, {_URL}: {_LICENCE}"}


def _write_vectors(
    out: Path,
    measured: Measurements,
    sensors: Sequence[str],
    rows: tuple[NDArray[np.int64], NDArray[np.int64]],
    truth: Mapping[str, NDArray[Any]],
    metadata: Mapping[str, str],
) -> dict[Path, int]:
    values = measured.table(sensors)
    made = {"made_by": "lcm import", "version": __version__}
    data = PairData.from_arrays(values[rows[0]], values[rows[1]], **truth, metadata=made | dict(metadata))  # type: ignore[arg-type]
    identity = {**made, **metadata, "sensors": json.dumps(sensors)}
    with suppress(FinishedBefore), partial_folder(out, identity) as folder:
        try:
            save_pairs(folder / "data.safetensors", replace(data, columns=tuple(sensors)))
        except BaseException:
            # vectors are written in no time: nothing is kept for another run
            remove_partial(out)
            raise
    return {out / "data.safetensors": len(data)}


def _images(measured: Measurements, column: str, folder: str | None, allow_outside: bool) -> list[Path]:
    """The image of each measurement."""
    parent = measured.path.parent
    where = _image_folder(parent, folder)
    images = [where / name for name in measured.texts[column]]
    for row, (name, image) in enumerate(zip(measured.texts[column], images, strict=True)):
        at = f"{measured.at(row)}: column '{column}'"
        if not name:
            raise ValueError(f"{at}: Expected the name of an image; got an empty cell")
        if not allow_outside:
            require_inside(parent, image, at)
        if not image.is_file():
            raise ValueError(f"{at}: Expected an image; got no such file: {image}")
    return images


def _image_folder(parent: Path, name: str | None) -> Path:
    if name is not None:
        if not (parent / name).is_dir():
            raise ValueError(f"image_folder: Expected a folder in {parent}; got {name!r}, which is none")
        return parent / name
    found = sorted(folder for folder in parent.glob("images*") if folder.is_dir())
    if len(found) > 1:
        listed = ", ".join(folder.name for folder in found)
        raise ValueError(f"{parent}: Expected one folder of images, or --image-folder NAME; got {listed}")
    return found[0] if found else parent
