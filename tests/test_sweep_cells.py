"""The file of a sweep, its alternatives, and the cells that they make."""

from __future__ import annotations

from dataclasses import asdict, replace
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from command_line import called, refused
from hypothesis import given, settings
from hypothesis import strategies as st
from small import small_data
from sweeps import opened, sweep_file

from lcm.app.sweep.cells import sweep_cells
from lcm.app.sweep.config import (
    DataConfig,
    RayConfig,
    SweepConfig,
    at_path,
    expanded,
    flattened,
    grid_of,
    list_of,
    load_sweep,
    nested,
)
from lcm.app.sweep.sweep import open_sweep
from lcm.base.files import write_tensors
from lcm.base.yaml_text import dump_yaml
from lcm.data.pair_files import save_pairs
from lcm.data.table import write_table

GENERATED = """\
data:
  - name: small
    generate: nature.yaml
    base: {pairs: {train: 200, val: 30}, pairs.test: 60}
    grid: {nature.n: [2, 3], seed: [0, 1]}
grid: {seed: [0, 1, 2]}
"""
FILES = "data: [{train: a.npz, test: a.npz}]\n"

ERRORS: dict[str, tuple[str, str]] = {
    "no data": ("data: []", "data: Expected at least one data set; got none"),
    "data missing": ("grid: {}", "data: Expected a value for this required key; got none"),
    "unknown key": (FILES + "gird: {}", "gird: Expected a known key (did you mean 'grid'?); got an unknown one"),
    "no test": ("data: [{train: a.npz}]", "data[0]: Expected train and test, or generate; got train"),
    "neither": ("data: [{name: a}]", "data[0]: Expected train and test, or generate; got neither"),
    "both": (
        "data: [{train: a, test: b, generate: c}]",
        "data[0]: Expected train and test, or generate; got train and test and generate",
    ),
    "grid of files": (
        "data: [{train: a, test: b, grid: {seed: [0]}}]",
        "data[0]: grid: Expected none with train and test; got one",
    ),
    "values of generated": (
        "data: [{generate: a, values: {n: 2}}]",
        "data[0]: values: Expected none with generate; got one",
    ),
    "base": (FILES + "base: 3", "base: Expected a mapping of keys to values; got 3"),
    "key": (FILES + "base: {3: 4}", "base: Expected keys that are text; got 3"),
    "twice": (
        FILES + "base: {a.b: 1, a: {b: 2}}",
        "base.a.b: Expected each key once; got it nested and dotted",
    ),
    "section": (FILES + "base: {a.b.c: 1, a: 2}", "base: a: Expected a value or a section; got both"),
    "grid value": (
        FILES + "grid: {seed: 1}",
        "grid.seed: Expected a list of one or more values; got 1",
    ),
    "empty grid": (FILES + "grid: {seed: []}", "grid.seed: Expected a list of one or more values; got []"),
    "mapping in grid": (
        FILES + "grid: {a: [{b: 1}]}",
        "grid.a: Expected values; got a mapping (list: takes these)",
    ),
    "list": (FILES + "list: {a: 1}", "list: Expected a list of one or more mappings; got {'a': 1}"),
    "grid and list": (
        FILES + "grid: {seed: [0]}\nlist: [{seed: 1}]",
        "seed: Expected a key in the grid or in the list; got it in both",
    ),
    "batch": (FILES + "batch: 0", "batch: Expected at least 1; got 0"),
    "cpus": (FILES + "ray: {cpus: 0}", "ray: cpus: Expected at least 1; got 0"),
    "gpus": (FILES + "ray: {gpus: -1}", "ray: gpus: Expected at least 0; got -1.0"),
    "retries": (FILES + "ray: {retries: -1}", "ray: retries: Expected at least 0; got -1"),
}


@pytest.mark.parametrize("case", ERRORS)
def test_a_bad_sweep_is_one_message(case: str, tmp_path: Path) -> None:
    text, message = ERRORS[case]
    file = tmp_path / "sweep.yaml"
    file.write_text(text)
    with pytest.raises(ValueError) as caught:
        load_sweep(file)
    assert str(caught.value) == f"{file}: {message}"


def test_a_bad_fit_is_named_by_its_path(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"sweep.yaml: noise_encoder.stepz: Expected a known key .* 'steps'"):
        opened(tmp_path, grid={"noise_encoder.stepz": [1]})
    with pytest.raises(ValueError, match=r"sweep.yaml: restarts: Expected at least 1; got 0"):
        opened(tmp_path, list=[{"restarts": 0}])
    with pytest.raises(ValueError, match=r"sweep.yaml: seed: Expected a value or a section; got both"):
        opened(tmp_path, grid={"seed": [1]}, list=[{"seed.x": 0}])


def test_data_that_are_not_there_are_named(tmp_path: Path) -> None:
    file = sweep_file(tmp_path)
    (tmp_path / "linear.safetensors").unlink()
    with pytest.raises(ValueError, match=r"linear.safetensors: Expected a file; got no such file"):
        open_sweep(file, tmp_path / "out")


def test_files_without_pairs_are_named_before_anything_runs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pairs = replace(small_data("linear", 300), columns=("a", "b"))
    for name in ("good.csv", "good.parquet", "good.npz", "good.safetensors"):
        save_pairs(tmp_path / name, pairs)
    for name, part in {"before": pairs.x, "after": pairs.x_tilde}.items():
        for ending in (".csv", ".parquet"):
            write_table(tmp_path / f"{name}{ending}", {"a": part[:, 0], "b": part[:, 1]})
    save_pairs(tmp_path / "others.csv", replace(pairs, columns=("a", "c")))
    np.savez(tmp_path / "alone.npz", x=pairs.x)
    write_tensors(tmp_path / "alone.safetensors", {"x": pairs.x})
    (tmp_path / "broken.safetensors").write_bytes(b"no")
    marks = "Expected a column of x_tilde for each column of x, named with _tilde or _after or after_; got a, b"
    file, good = tmp_path / "sweep.yaml", "good.csv"
    for train, test, message in (
        ("before.csv", "after.csv", f"before.csv: {marks} (lcm.save_pairs joins two tables in one file"),
        (good, "after.parquet", f"after.parquet: {marks}"),
        (good, "others.csv", "others.csv: x: Expected the columns of the fit (a, b); got none named 'b', but a, c"),
        ("alone.npz", good, "alone.npz: x_tilde: Expected the tensors x and x_tilde; got x"),
        (good, "alone.safetensors", "alone.safetensors: x_tilde: Expected the tensors x and x_tilde; got x"),
        (good, "broken.safetensors", "broken.safetensors: Expected a whole safetensors file"),
        (good, "sweep.yaml", "Expected a .safetensors, .npz, .csv or .parquet file; got the suffix '.yaml'"),
    ):
        file.write_text(f"data: [{{name: d, train: {train}, test: {test}}}]")
        assert message in refused(capsys, "sweep", file, "--out", tmp_path / "out", "--dry-run")
    for name in ("good.csv", "good.parquet", "good.npz", "good.safetensors"):
        file.write_text(f"data: [{{name: d, train: {name}, test: good.csv}}]")
        assert "1 cells: 1 waiting" in called(capsys, "sweep", file, "--out", tmp_path / "out", "--dry-run")


def test_names_of_data_sets_differ(tmp_path: Path) -> None:
    file = sweep_file(tmp_path, ("linear", "nonlinear"))
    file.write_text(file.read_text().replace("name: nonlinear", "name: linear"))
    with pytest.raises(ValueError, match=r"data: Expected a name for each data set; got linear for two of them"):
        open_sweep(file, tmp_path / "out")


def test_a_file_is_no_folder_of_a_sweep(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("")
    with pytest.raises(ValueError, match=r"out: Expected a folder to write to; got a file"):
        open_sweep(sweep_file(tmp_path), tmp_path / "out")


KEYS = st.sampled_from(["seed", "n", "noise_encoder.steps", "noise_encoder.hidden", "readout.ancestor_level"])
VALUES = st.lists(st.integers(1, 5), min_size=1, max_size=3, unique=True)
GRIDS = st.dictionaries(KEYS, VALUES, max_size=4)


@given(GRIDS, st.lists(st.integers(), min_size=1, max_size=3, unique=True))
def test_a_grid_is_a_product_without_duplicates(grid: dict[str, list[int]], listed: list[int]) -> None:
    entries = list_of([{"restarts": value} for value in listed], "list")
    found = expanded({"validation_share": 0.5}, grid_of(grid, "grid"), entries)
    assert len(found) == len(listed) * prod(map(len, grid.values()))
    assert len({dump_yaml(each) for each in found}) == len(found)
    assert all(
        each["validation_share"] == 0.5 and each.keys() == {*grid, "restarts", "validation_share"} for each in found
    )


@given(GRIDS)
def test_nested_and_dotted_keys_are_the_same(grid: dict[str, list[int]]) -> None:
    assert flattened(nested(grid, ""), "") == grid == flattened(grid, "")
    assert all(at_path(nested(grid, ""), key) == value for key, value in grid.items())


def test_a_path_that_leads_nowhere_is_null() -> None:
    assert at_path({"a": {"b": None}}, "a.b.c") is None and at_path({"a": 1}, "b") is None


SMALL = DataConfig(train="d.npz", test="d.npz")


@pytest.fixture(scope="module")
def anywhere(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("cells")
    (folder / "d.npz").write_bytes(b"data")
    return folder


@settings(deadline=None)
@given(grid=GRIDS)
def test_cells_have_names_and_keys_of_their_own(anywhere: Path, grid: dict[str, list[Any]]) -> None:
    grid = {key: [0.1 / v for v in values] if "level" in key else values for key, values in grid.items()}
    cells = sweep_cells(SweepConfig((SMALL,), grid=grid), anywhere / "s.yaml", anywhere)
    assert len(cells) == prod(map(len, grid.values()))
    assert len({cell.key for cell in cells}) == len({cell.name for cell in cells}) == len(cells)
    for cell in cells:
        assert all(at_path(asdict(cell.config), key) == cell.values[key] for key in grid)
        assert cell.values["seed"] == cell.config.seed and cell.values["data"] == "d"


def test_equal_cells_are_one(anywhere: Path) -> None:
    listed = [{"seed": 0}, {}, {"noise_encoder": {"anneal_from": 1}}, {"seed": 1}]
    cells = sweep_cells(SweepConfig((SMALL, SMALL), list=listed), anywhere / "s.yaml", anywhere)
    assert [cell.config.seed for cell in cells] == [0, 1]


def test_a_key_is_that_of_data_and_settings(anywhere: Path) -> None:
    def key(**keys: Any) -> str:
        (cell,) = sweep_cells(SweepConfig((SMALL,), **keys), anywhere / "s.yaml", anywhere)
        return cell.key

    assert key() == key(grid={"seed": [0]}, batch=3, ray=RayConfig(cpus=2)) == key(base={"noise_encoder": {"bins": 8}})
    assert key() != key(base={"noise_encoder.bins": 9})
    before = key()
    (anywhere / "d.npz").write_bytes(b"other data")
    assert key() != before


def test_names_can_be_read(tmp_path: Path) -> None:
    records = opened(tmp_path, grid={"targets": ["atomic", "all"], "seed": [3]})
    assert [cell.name.rpartition("-")[0] for cell in records.cells] == ["linear-atomic", "linear-all"]


def test_a_config_gives_a_data_set_for_each_of_its_values(tmp_path: Path) -> None:
    (tmp_path / "nature.yaml").write_text("nature: {n: 2}\npairs: {train: 5}\n")
    (tmp_path / "sweep.yaml").write_text(GENERATED)
    cells = open_sweep(tmp_path / "sweep.yaml", tmp_path / "out")[1].cells
    assert len(cells) == 12
    assert list(dict.fromkeys(cell.values["data"] for cell in cells)) == [
        f"small-n{n}-seed{seed}" for n in (2, 3) for seed in (0, 1)
    ]
    assert {(cell.values["data.nature.n"], cell.values["data.seed"]) for cell in cells} == {
        (n, seed) for n in (2, 3) for seed in (0, 1)
    }
    made_by = cells[-1].data.made_by
    assert made_by is not None and (made_by.pairs.train, made_by.pairs.test, made_by.nature.n) == (200, 60, 3)
    assert not (tmp_path / "out").exists()


def test_files_say_what_they_are(tmp_path: Path) -> None:
    file = sweep_file(tmp_path)
    file.write_text(file.read_text().replace("- name: linear", "- name: linear\n  values: {n: 2, family: {kind: a}}"))
    (cell,) = open_sweep(file, tmp_path / "out")[1].cells
    assert (cell.values["data.n"], cell.values["data.family.kind"]) == (2, "a")


def test_the_example_is_a_sweep(tmp_path: Path) -> None:
    example = Path(__file__).parent.parent / "paper_configs" / "sweep-example.yaml"
    cells = sweep_cells(load_sweep(example), example, tmp_path)
    assert len(cells) == len({cell.name for cell in cells}) == 12
