"""Columns with names are matched with those of the fit by their names, in every method and every command."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from command_line import called, refused
from small import small_data

import lcm
from lcm.base.files import read_json
from lcm.data.named_columns import frame_in_fitted_order, in_fitted_order, in_order_of, with_columns_of
from lcm.data.pair_files import load_pairs, save_pairs
from lcm.data.pairs import PairData
from lcm.data.table import read_table, write_table

pytestmark = pytest.mark.usefixtures("cheap_scores")

ROWS = 600


def pairs_of(*columns: str) -> PairData:
    """Two pairs whose column k holds k + 1 and its tens."""
    x = np.arange(1.0, len(columns) + 1.0, dtype=np.float32) * np.array([[1.0], [10.0]], dtype=np.float32)
    return PairData(x=x, x_tilde=-x, columns=columns, source="some.csv")


def test_columns_are_matched_by_name_and_others_are_left_out() -> None:
    found = in_fitted_order(pairs_of("c", "a", "b"), ["a", "b"])
    assert found.columns == ("a", "b") and found.x.tolist() == [[2.0, 3.0], [20.0, 30.0]]
    assert np.array_equal(found.x_tilde, -found.x)


@pytest.mark.parametrize("given", [(), ("x0", "x1"), ("0", "1"), ("a", "b")])
@pytest.mark.parametrize("fitted", [(), ("x0", "x1"), ("a", "b")])
def test_columns_without_names_of_their_own_stay_where_they_are(
    given: tuple[str, ...], fitted: tuple[str, ...]
) -> None:
    data = PairData(x=np.eye(2, dtype=np.float32), x_tilde=-np.eye(2, dtype=np.float32), columns=given)
    assert in_fitted_order(data, fitted) is data


def test_numbered_columns_in_another_order_are_moved() -> None:
    data = pairs_of("x2", "x0", "x1")
    moved = in_fitted_order(data, ("x0", "x1", "x2"))
    assert moved.columns == ("x0", "x1", "x2")
    np.testing.assert_array_equal(moved.x, data.x[:, [1, 2, 0]])
    fit = SimpleNamespace(columns=("x0", "x1", "x2"))
    np.testing.assert_array_equal(in_order_of(data, fit).x, moved.x)


def test_a_column_of_the_fit_that_is_missing_is_named() -> None:
    message = r"some\.csv: x: Expected the columns of the fit \(a, b\); got none named 'b', but a, c"
    with pytest.raises(ValueError, match=message):
        in_fitted_order(pairs_of("a", "c"), ["a", "b"])
    assert frame_in_fitted_order([[1.0]], ["a"]) == [[1.0]]


def test_fits_of_columns_in_another_order_are_not_compared() -> None:
    first, second, unnamed = (SimpleNamespace(columns=columns) for columns in (("a", "b"), ("b", "a"), ("x0", "x1")))
    assert in_order_of(pairs_of("b", "a"), first, unnamed, None).columns == ("a", "b")
    assert in_order_of(pairs_of("b", "a"), unnamed).columns == ("b", "a")
    with pytest.raises(ValueError, match="Expected fits of the same columns in the same order; got a, b and b, a"):
        in_order_of(pairs_of("b", "a"), first, second)


@pytest.fixture(scope="module")
def tables(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """before.csv and after.csv, and the same with the columns turned round."""
    folder, data = tmp_path_factory.mktemp("tables"), small_data("linear", ROWS)
    for name, part in (("before", data.x), ("after", data.x_tilde)):
        write_table(folder / f"{name}.csv", {"speed": part[:, 0], "height": part[:, 1]})
        write_table(folder / f"{name}-turned.csv", {"height": part[:, 1], "speed": part[:, 0]})
    return folder


@pytest.fixture(scope="module")
def run(tables: Path) -> Path:
    lcm.fit(tables / "before.csv", tables / "after.csv", model="linear", out=tables / "run", quiet=True)
    return tables / "run"


METHODS: dict[str, Any] = {
    "encode": lambda result, x, x_tilde: result.encode(x).to_numpy(),
    "encode pairs": lambda result, x, x_tilde: result.encode_pairs(x, x_tilde).posterior,
    "encode PairData": lambda result, x, x_tilde: result.encode(load_pairs(x, x_tilde)).to_numpy(),
    "log_prob": lambda result, x, x_tilde: result.log_prob(x, x_tilde),
    "counterfactual": lambda result, x, x_tilde: result.counterfactual(x, lcm.Do({0: 0.5}))["height"].to_numpy(),
    "evaluate": lambda result, x, x_tilde: lcm.evaluate(result, x, x_tilde)["nll"],
    "find_isomorphism": lambda result, x, x_tilde: lcm.find_isomorphism(result, result, x, x_tilde=x_tilde).r2,
    "certify": lambda result, x, x_tilde: [row.statistic or 0.0 for row in result.certify(x, x_tilde).rows],
    "standard_error": lambda result, x, x_tilde: (
        lcm.refit(result, x, x_tilde, halves=4, quiet=True).standard_error(x).to_numpy()
    ),
}


@pytest.mark.parametrize("method", METHODS.values(), ids=METHODS)
def test_every_method_finds_the_columns_of_a_frame(method: Any, run: Path, tables: Path) -> None:
    pd = pytest.importorskip("pandas")
    result = lcm.load(run)
    x, x_tilde = (pd.read_csv(tables / f"{name}.csv") for name in ("before", "after"))
    turned = (part[["height", "speed"]] for part in (x, x_tilde))
    np.testing.assert_allclose(method(result, *turned), method(result, x, x_tilde), rtol=1e-6)
    with pytest.raises(ValueError, match="got none named 'speed', but height, haste"):
        method(result, *(part.rename(columns={"speed": "haste"})[["height", "haste"]] for part in (x, x_tilde)))


COMMANDS: dict[str, list[str]] = {
    "encode": ["--out", "out.csv"],
    "sample": ["--do", "0=1", "--out", "out.csv"],
    "certify": ["--json", "out.json"],
    "compare": ["--json", "out.json"],
    "graph": ["--method", "tests", "--json", "out.json"],
}


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_finds_the_columns_of_a_table(
    command: str,
    run: Path,
    tables: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    found = []
    for ending in ("", "-turned"):
        files = [tables / f"before{ending}.csv", tables / f"after{ending}.csv"]
        option = {"sample": ["--from"], "graph": ["--data"], "compare": [run]}.get(command, [])
        called(capsys, command, run, *option, *files, *COMMANDS[command])
        if COMMANDS[command][-1].endswith("csv"):
            found.append(read_table("out.csv").values)
        else:
            content = read_json(Path("out.json"))
            found.append({key: value for key, value in content.items() if key not in ("data", "seconds")})
    assert np.array_equal(*found) if command in ("encode", "sample") else found[0] == found[1]


def test_the_page_of_two_tables_names_both_and_judges_the_pairs_that_it_shows(
    run: Path, tables: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    called(capsys, "report", run, tables / "before-turned.csv", tables / "after-turned.csv")
    html = (run / "report.html").read_text(encoding="utf-8")
    assert f"lcm fit {tables / 'before.csv'} {tables / 'after.csv'} --config {run / 'config.yaml'}" in html
    assert "Causal model of before.csv and after.csv" in html
    assert "Judged from the pairs of before-turned.csv" in html and "0 broken" in html
    # strangers: each x with the x_tilde of another row
    after = read_table(tables / "after.csv")
    write_table(tables / "strange.csv", dict(zip(after.names, np.roll(after.values, 7, 0).T, strict=True)))
    called(capsys, "report", run, tables / "before.csv", tables / "strange.csv")
    assert "Read the certificate before you use this result." in (run / "report.html").read_text(encoding="utf-8")
    line = refused(capsys, "report", run, tables / "before.csv")
    assert "Expected a column of x_tilde for each column of x" in line


def test_a_variable_that_is_no_number_is_refused() -> None:
    with pytest.raises(ValueError, match=r"Expected variables by their numbers; got 'light'\."):
        lcm.Do({"light": 2.0})  # type: ignore[dict-item]
    assert lcm.Do({np.int64(1): 2.0}).imposed(2, 1, None)[0].tolist() == [[False, True]]  # type: ignore[dict-item]


def test_what_a_fit_draws_has_the_names_of_its_columns(
    run: Path, tables: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data, before, after = small_data("linear", ROWS), tables / "before.csv", tables / "after.csv"
    for name, part in (("first", data.x), ("second", data.x_tilde)):
        write_table(tmp_path / f"{name}.csv", {"x0": part[:, 0], "x1": part[:, 1]})
    without = [tmp_path / "first.csv", tmp_path / "second.csv"]
    for options in ([], ["--do", "0=1"], ["--do", "0=1", "--from", before, after], ["--do", "0=1", "--from", *without]):
        for ending in (".csv", ".parquet", ".safetensors"):
            called(capsys, "sample", run, "--n", "20", *options, "--out", tmp_path / f"out{ending}")
            again = load_pairs(tmp_path / f"out{ending}")
            assert again.columns == ("speed", "height") and again.z is not None, (options, ending)
    assert read_table(tmp_path / "out.csv").names[:4] == ("speed", "height", "speed_tilde", "height_tilde")


@pytest.mark.parametrize("columns", [("z0", "speed"), ("speed", "speed_tilde"), ("target_z7", "speed")])
def test_names_that_a_file_would_mix_up_with_the_truth_are_left_out(columns: tuple[str, ...], tmp_path: Path) -> None:
    data = small_data("linear", 20)
    save_pairs(tmp_path / "pairs.csv", with_columns_of(data, columns))
    again = load_pairs(tmp_path / "pairs.csv")
    assert again.columns == () and again.z is not None and data.z is not None
    assert np.array_equal(again.x, data.x) and np.array_equal(again.z, data.z)
