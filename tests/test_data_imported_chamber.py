"""Experiments of causal chambers become pairs; rows that are none, and cells that are no numbers, are named by line."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from chambers import measured, walk, write_experiment, write_image_experiment, write_rows
from imported_images import encoded
from small import content

from lcm.data.chamber.actuator import TUNNEL_ACTUATORS
from lcm.data.imported.chamber import ChamberColumns, import_chamber
from lcm.data.pair_files import load_pairs
from lcm.data.pairs import PairData
from lcm.model.chamber import SENSORS

ROWS = measured(walk())


def loaded(source: Path, out: Path, **options: Any) -> PairData:
    ((path, count),) = import_chamber(source, out, 32, **options).items()
    data = load_pairs(path)
    assert path == out / "data.safetensors" and len(data) == count
    return data


def numbers(rows: list[dict[str, str]], names: tuple[str, ...]) -> Any:
    return np.array([[float(row[name]) for name in names] for row in rows], np.float32)


@pytest.mark.parametrize("name", ["", "walk.csv"], ids=["folder", "file"])
def test_rows_become_disjoint_pairs_with_the_actuator_that_changes_as_target(name: str, tmp_path: Path) -> None:
    data = loaded(write_experiment(tmp_path / "set") / name, tmp_path / "out")
    assert set(data.tensors()) == {"x", "x_tilde", "z", "z_tilde", "targets"} and len(data) == 8
    for key, first, names in (("x", 0, SENSORS), ("z", 0, TUNNEL_ACTUATORS)):
        np.testing.assert_array_equal(getattr(data, key), numbers(ROWS[first::2], names))
        np.testing.assert_array_equal(getattr(data, f"{key}_tilde"), numbers(ROWS[1::2], names))
    assert data.targets is not None and data.targets.argmax(axis=1).tolist() == [0, 1, 2, 3, 4, 0, 1, 2]
    assert data.targets.sum() == 8 and data.columns == SENSORS
    assert json.loads(data.metadata["variables"]) == list(TUNNEL_ACTUATORS)
    assert data.metadata["pairs"] == "disjoint" and data.metadata["licence"].endswith(": CC BY 4.0")
    assert content(tmp_path / "out").keys() == {"data.safetensors"}


def test_a_pair_without_a_change_is_an_empty_intervention(tmp_path: Path) -> None:
    rows = measured([*walk(), "MSR,1,0", "MSR,1,0"])
    data = loaded(write_rows(tmp_path / "a.csv", rows), tmp_path / "out")
    assert data.targets is not None and not data.targets[-1].any()
    assert (data.x[-1] != data.x_tilde[-1]).any(), "the sensors measure anew"


def test_overlapping_pairs_use_each_row_twice(tmp_path: Path) -> None:
    lines = ["SET,red,1", "MSR,1,0", "SET,red,2", "MSR,1,0", "SET,pol_1,3", "MSR,1,0"]
    columns = ChamberColumns(("red", "pol_1"))
    data = loaded(write_rows(tmp_path / "a.csv", measured(lines)), tmp_path / "out", columns=columns, overlapping=True)
    assert data.z is not None and data.z.tolist() == [[1, 0], [2, 0]]
    assert data.targets is not None and data.targets.tolist() == [[True, False], [False, True]]
    assert data.metadata["pairs"] == "overlapping"


def test_chosen_columns_are_taken_in_their_order(tmp_path: Path) -> None:
    lines = ["SET,blue,9", "MSR,1,0", "SET,blue,2", "MSR,1,0", "MSR,1,0", "SET,red,3", "MSR,1,0"]
    columns = ChamberColumns(["blue", "red"], ["vis_1", "current"])
    data = loaded(write_rows(tmp_path / "a.csv", measured(lines)), tmp_path / "out", columns=columns)
    assert data.columns == ("vis_1", "current") and data.x.shape == (2, 2)
    assert data.z is not None and data.z.tolist() == [[9, 0], [2, 0]]


@pytest.mark.parametrize(
    "columns", [ChamberColumns(images="image_file"), ChamberColumns(sensors=["image_file"])], ids=["images", "sensors"]
)
def test_images_are_found_beside_the_csv(columns: ChamberColumns, tmp_path: Path) -> None:
    data = loaded(write_image_experiment(tmp_path / "set"), tmp_path / "out", columns=columns)
    assert data.x.shape == (5, 32, 32, 3) and data.z is not None and data.z_tilde is not None
    np.testing.assert_array_equal(data.x[:, 3, 4, 1], data.z[:, 0])
    np.testing.assert_array_equal(data.x_tilde[:, 0, 0, 0], data.z_tilde[:, 0])
    assert data.targets is not None and data.targets.argmax(axis=1).tolist() == [0, 1, 2, 3, 4]


def test_one_of_several_image_folders_is_chosen(tmp_path: Path) -> None:
    write_image_experiment(tmp_path / "set")
    other = tmp_path / "set" / "walk" / "images_48"
    other.mkdir()
    for number in range(10):
        (other / f"{number:05d}.png").write_bytes(encoded(np.full((48, 48, 3), 7, np.uint8), "PNG"))
    with pytest.raises(
        ValueError, match=r"Expected one folder of images, or --image-folder NAME; got images_32, images"
    ):
        loaded(tmp_path / "set", tmp_path / "out", columns=ChamberColumns(images="image_file"))
    columns = ChamberColumns(images="image_file", image_folder="images_48")
    assert (loaded(tmp_path / "set", tmp_path / "out", columns=columns).x == 7).all()
    with pytest.raises(ValueError, match=r"image_folder: Expected a folder in .*walk; got 'images_9', which is none$"):
        columns = ChamberColumns(images="image_file", image_folder="images_9")
        import_chamber(tmp_path / "set", tmp_path / "o", 32, columns=columns)


def test_images_outside_are_taken_on_request_only(tmp_path: Path) -> None:
    write_image_experiment(tmp_path / "set")
    folder = tmp_path / "set" / "walk" / "images_32"
    folder.rename(tmp_path / "elsewhere")
    folder.symlink_to(tmp_path / "elsewhere")
    columns = ChamberColumns(images="image_file")
    with pytest.raises(
        ValueError, match=r"line 2: column 'image_file': Expected a file inside .*walk; got .*--allow-out"
    ):
        import_chamber(tmp_path / "set", tmp_path / "out", 32, columns=columns)
    assert len(loaded(tmp_path / "set", tmp_path / "out", columns=columns, allow_outside=True)) == 5


def test_one_of_several_experiments_is_chosen(tmp_path: Path) -> None:
    write_experiment(tmp_path / "set", "other", 6)
    write_experiment(tmp_path / "set")
    (tmp_path / "set" / "variables.csv").write_text("column_name\nred\n")
    for name, got in ((None, "none"), ("variables", "variables")):
        with pytest.raises(ValueError, match=rf"set: Expected the name of one experiment of other, walk; got {got}$"):
            import_chamber(tmp_path / "set", tmp_path / "out", experiment=name)
    assert len(loaded(tmp_path / "set", tmp_path / "out", experiment="other")) == 6


def changed(row: int, **cells: str | None) -> Callable[[Path], Any]:
    """The walk with some cells of a row changed, or, with None, of all rows left out."""
    rows = [dict(each) for each in ROWS]
    rows[row] |= {name: cell for name, cell in cells.items() if cell is not None}
    for each in rows:
        for name in [name for name, cell in cells.items() if cell is None]:
            del each[name]
    return lambda folder: write_rows(folder / "walk.csv", rows)


def everywhere(**cells: str) -> Callable[[Path], Any]:
    return lambda folder: write_rows(folder / "walk.csv", [row | cells for row in ROWS])


def text(value: str | bytes) -> Callable[[Path], Any]:
    data = value if isinstance(value, bytes) else value.encode()
    return lambda folder: (folder / "walk.csv").write_bytes(data)


HEAD = ",".join(ROWS[0])
CELLS = ",".join(ROWS[0].values())
BAD: dict[str, tuple[Callable[[Path], Any], str]] = {
    "no csv": (
        lambda folder: (folder / "walk.csv").unlink(),
        r"set: Expected NAME\.csv or NAME/NAME\.csv of a causal chamber; got none\. Data sets are at https://github\.com"
        r"/juangamella/causal-chamber \(licence: CC BY 4\.0\)$",
    ),
    "an empty file": (text(""), r"walk\.csv: Expected a header of column names; got an empty file$"),
    "a header alone": (text(f"{HEAD}\n"), r"walk\.csv: Expected at least two measurements; got 0$"),
    "one row": (text(f"{HEAD}\n{CELLS}\n"), r"walk\.csv: Expected at least two measurements; got 1$"),
    "a name twice": (text(f"{HEAD},red\n{CELLS},1\n"), r"walk\.csv: Expected each column once; got 'red' again$"),
    "not UTF-8": (text(b"red,\xff\n"), r"walk\.csv: Expected a CSV in UTF-8; got "),
    "an open quote": (text(f'{HEAD}\n"{CELLS}\n'), r"walk\.csv: Expected a CSV in UTF-8; got "),
    "a short row": (
        text(f"{HEAD}\n{CELLS}\n1,2\n"),
        r"walk\.csv: line 3: Expected 22 cells, as the header has; got 2$",
    ),
    "no pol_1": (
        changed(0, pol_1=None),
        r"walk\.csv: column 'pol_1': Expected this actuator in the header; got none \(name others with --actuators\)$",
    ),
    "no vis_3": (changed(0, vis_3=None), r"column 'vis_3': Expected this sensor in the header; got none \(name others"),
    "a word": (changed(4, red="x"), r"walk\.csv: line 6: column 'red': Expected a finite number; got 'x'$"),
    "NaN": (changed(4, vis_1="nan"), r"walk\.csv: line 6: column 'vis_1': Expected a finite number; got 'nan'$"),
    "an infinite number": (changed(4, vis_1="-inf"), r"line 6: column 'vis_1': Expected a finite number; got '-inf'$"),
    "beyond float32": (changed(4, vis_1="1e39"), r"line 6: column 'vis_1': Expected a finite number; got '1e39'$"),
    "an underscore": (changed(4, vis_1="1_0"), r"line 6: column 'vis_1': Expected a finite number; got '1_0'$"),
    "an empty cell": (changed(0, pol_2=" "), r"line 2: column 'pol_2': Expected a finite number; got an empty cell$"),
    "no time": (changed(3, timestamp="soon"), r"line 5: column 'timestamp': Expected a finite number; got 'soon'$"),
    "a time that goes back": (
        changed(3, timestamp="1699999999"),
        r"line 5: column 'timestamp': Expected a time from 1700000000\.3 on, as the row above has; got 1699999999$",
    ),
    "an odd number of rows": (
        lambda folder: write_rows(folder / "walk.csv", ROWS[:-1]),
        r"walk\.csv: Expected an even number of measurements, two for each pair \(--overlapping pairs each row with "
        r"the next\); got 15$",
    ),
    "two changes at once": (
        changed(3, pol_2="77"),
        r"walk\.csv: line 5: Expected at most one actuator to differ from line 4; got green, pol_2$",
    ),
    "another setting changes": (
        changed(5, l_11="3"),
        r"walk\.csv: line 7: column 'l_11': Expected the value of line 6, as it is no actuator of this import; got ano",
    ),
    "an actuator that rests": (
        everywhere(pol_2="3"),
        r"walk\.csv: column 'pol_2': Expected this actuator to vary; got one value \(name those that vary with --act",
    ),
    "a sensor that rests": (everywhere(ir_2="3"), r"column 'ir_2': Expected this sensor to vary; got one value"),
}


@pytest.mark.parametrize(("spoil", "message"), BAD.values(), ids=BAD.keys())
def test_what_is_wrong_is_named(spoil: Callable[[Path], Any], message: str, tmp_path: Path) -> None:
    spoil(write_experiment(tmp_path / "set"))
    with pytest.raises(ValueError, match=message):
        import_chamber(tmp_path / "set", tmp_path / "out", 32)
    assert [path.name for path in tmp_path.iterdir()] == ["set"]


BAD_COLUMNS: dict[str, tuple[dict[str, Any], str]] = {
    "no such actuator": (
        {"columns": {"actuators": ["red", "pink"]}},
        r"column 'pink': Expected this actuator in the header; got none$",
    ),
    "no such sensor": ({"columns": {"sensors": ["uv"]}}, r"column 'uv': Expected this sensor in the header; got none$"),
    "no images": (
        {"columns": {"images": "image_file"}},
        r"column 'image_file': Expected this image file in the header; got none$",
    ),
    "an actuator twice": (
        {"columns": {"actuators": ["red"] * 2}},
        r"^actuators: Expected each name once; got red again$",
    ),
    "both": (
        {"columns": {"actuators": ["red"], "sensors": ["vis_1", "red"]}},
        r"column 'red': Expected an actuator or a sensor; got both$",
    ),
    "sensors and images": (
        {"columns": {"sensors": ["vis_1"], "images": "image_file"}},
        r"^sensors: Expected none beside images; got vis_1$",
    ),
    "a folder alone": (
        {"columns": {"image_folder": "images_64"}},
        r"^image_folder: Expected images with it; got 'images_64' alone$",
    ),
    "an experiment of a file": (
        {"experiment": "walk", "source": "set/walk.csv"},
        r"^experiment: Expected a folder of experiments with it; got the file .*walk\.csv$",
    ),
    "no such folder": (
        {"source": "none"},
        r"none: Expected NAME\.csv or NAME/NAME\.csv .*; got no such folder\. Data ",
    ),
    "a size": ({"size": 20}, r"^size: Expected a multiple of 16 from 16 to 512; got 20\.$"),
}


@pytest.mark.parametrize(("options", "message"), BAD_COLUMNS.values(), ids=BAD_COLUMNS.keys())
def test_options_that_do_not_fit_are_refused(options: dict[str, Any], message: str, tmp_path: Path) -> None:
    write_experiment(tmp_path / "set")
    given = {"source": "set"} | options
    with pytest.raises(ValueError, match=message):
        columns = ChamberColumns(**given.pop("columns", {}))
        import_chamber(tmp_path / given.pop("source"), tmp_path / "out", columns=columns, **given)


@pytest.mark.parametrize(
    ("cell", "message"),
    [
        ("", r"walk\.csv: line 4: column 'image_file': Expected the name of an image; got an empty cell$"),
        ("no.png", r"line 4: column 'image_file': Expected an image; got no such file: .*images_32/no\.png$"),
        ("../../a", r"line 4: column 'image_file': Expected a file inside .*walk; got "),
    ],
)
def test_images_that_are_missing_are_named(cell: str, message: str, tmp_path: Path) -> None:
    write_image_experiment(tmp_path / "set")
    path = tmp_path / "set" / "walk" / "walk.csv"
    path.write_text(path.read_text().replace("00002.png", cell))
    with pytest.raises(ValueError, match=message):
        import_chamber(tmp_path / "set", tmp_path / "out", 32, columns=ChamberColumns(images="image_file"))
    assert [path.name for path in tmp_path.iterdir()] == ["set"]


def test_an_interrupted_import_of_vectors_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: Any) -> None:
        raise KeyboardInterrupt

    write_experiment(tmp_path / "set")
    monkeypatch.setattr("lcm.data.imported.chamber.save_pairs", interrupted)
    with pytest.raises(KeyboardInterrupt):
        import_chamber(tmp_path / "set", tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir()] == ["set"]
