"""CSV and Parquet: pairs come back, cells that are no numbers are named, and names of columns travel."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from command_line import called, refused
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from small import small_data

from lcm.data.pair_files import load_pairs, save_pairs
from lcm.data.pairs import PairData
from lcm.data.table import MARKS, Table, pair_columns, read_heading, read_table, split, write_table

ENDINGS = (".safetensors", ".npz", ".csv", ".parquet")
FLOATS = st.floats(-(2.0**99), 2.0**99, width=32)


def named(data: PairData) -> PairData:
    return PairData(data.x, data.x_tilde, columns=("speed", "height"))


def written(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize("ending", ENDINGS)
def test_pairs_and_their_truth_come_back(ending: str, tmp_path: Path) -> None:
    data = small_data("linear")
    save_pairs(tmp_path / f"pairs{ending}", data)
    again = load_pairs(tmp_path / f"pairs{ending}")
    kept = [key for key in data.tensors() if key != "adjacency" or ending in (".safetensors", ".npz")]
    assert list(again.tensors()) == kept
    for key in kept:
        np.testing.assert_array_equal(getattr(again, key), getattr(data, key))


@pytest.mark.parametrize("ending", [ending for ending in ENDINGS if ending != ".npz"])
def test_names_of_columns_come_back(ending: str, tmp_path: Path) -> None:
    save_pairs(tmp_path / f"pairs{ending}", named(small_data("linear")))
    assert load_pairs(tmp_path / f"pairs{ending}").columns == ("speed", "height")


@given(arrays(np.float32, st.tuples(st.integers(1, 5), st.integers(1, 4)), elements=FLOATS))
@settings(max_examples=30, deadline=None)
def test_every_float32_comes_back_from_csv(tmp_path_factory: pytest.TempPathFactory, values: Any) -> None:
    path = tmp_path_factory.mktemp("csv") / "table.csv"
    write_table(path, pair_columns({"z": values}))
    found = read_table(path)
    np.testing.assert_array_equal(found.values.astype(np.float32), values)
    assert found.names == tuple(f"z{i}" for i in range(values.shape[1]))


@pytest.mark.parametrize("separator", [",", ";", "\t"])
def test_two_files_are_read_by_their_headers(separator: str, tmp_path: Path) -> None:
    before = written(tmp_path / "before.csv", "a,b\n1,2\n3,5\n".replace(",", separator))
    after = written(tmp_path / "after.csv", "b;a\n7;1\n8;3\n")
    data = load_pairs(before, after)
    assert data.columns == ("a", "b")
    assert data.x.tolist() == [[1, 2], [3, 5]] and data.x_tilde.tolist() == [[1, 7], [3, 8]]


def test_a_header_may_be_left_out_and_an_index_labels_the_rows(tmp_path: Path) -> None:
    plain = load_pairs(written(tmp_path / "b.csv", "1,2\n3,5\n"), written(tmp_path / "a.csv", "1,7\n3,8\n"))
    assert plain.columns == ("x0", "x1")
    before = written(tmp_path / "labelled.csv", ",a,b\nfirst,1,2\nsecond,3,5\n")
    after = written(tmp_path / "turned.csv", ",a,b\nsecond,3,8\nfirst,1,7\n")
    assert load_pairs(before, after).x_tilde.tolist() == [[1, 7], [3, 8]]


@pytest.mark.parametrize("mark", [*MARKS, "post:"])
def test_one_table_holds_both(mark: str) -> None:
    names = ["a", "b", *(mark + name if mark[-1] in "_:" else name + mark for name in ("a", "b"))]
    before, after = split(Table(np.arange(8.0).reshape(2, 4), tuple(names)), None if mark in MARKS else mark)
    assert before.names == after.names == ("a", "b")
    assert before.values.tolist() == [[0, 1], [4, 5]] and after.values.tolist() == [[2, 3], [6, 7]]
    before, after = split(Table(np.arange(4.0).reshape(1, 4), ("before_a", "before_b", "after_a", "after_b")))
    assert after.values.tolist() == [[2, 3]]


REFUSED = {
    "word": ("a,b\n1,2\n3,much\n", r"row 1, column 'b': Expected a number; got 'much'"),
    "decimal comma": (
        "a;b\n1;2\n3;2,479199\n",
        r"row 1, column 'b': Expected a number; got '2,479199' \(decimals need a point, not a comma\)",
    ),
    "quoted decimal comma": ('a,b\n1,"-,5e-3"\n', r"row 0, column 'b': .* got '-,5e-3' \(decimals need a point"),
    "bare decimal comma": ("a,b\n1,5,2,5\n", r"row 0: Expected 2 cells, as in the first; got 4 \(decimals need a"),
    "blank": ("a,b\n1,2\n,4\n", r"row 1, column 'a': Expected a number; got an empty cell"),
    "short": ("a,b\n1,2\n3\n", r"row 1: Expected 2 cells, as in the first; got 1"),
    "twice": ("a,a\n1,2\n", r"Expected columns of different names; got 'a' twice"),
    "empty": ("", r"Expected rows of numbers; got an empty file"),
    "header alone": ("a,b\n", r"Expected at least one row and one column; got shape \(0, 2\)"),
    "no counterpart": ("a,b\n1,2\n", r"Expected a column of x_tilde for each column of x, named with _tilde or _after"),
    "one without": ("a,b,a_tilde\n1,2,3\n", r"column 'b': Expected its counterpart with the mark _tilde; got none"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_bad_table_is_refused_by_row_and_column(case: str, tmp_path: Path) -> None:
    text, message = REFUSED[case]
    path = written(tmp_path / "bad.csv", text)
    with pytest.raises(ValueError, match=f"^{path}: {message}"):
        load_pairs(path)


def test_of_two_tables_the_one_at_fault_is_named(tmp_path: Path) -> None:
    whole, short, less, other, gap = (
        written(tmp_path / f"{name}.csv", text)
        for name, text in {
            "whole": "a,b\n1,2\n3,4\n5,7\n",
            "short": "a,b\n1,2\n3,5\n",
            "less": "a\n1\n3\n4\n",
            "other": "a,c\n1,2\n3,4\n5,6\n",
            "gap": "a,b\n1,2\nnan,4\n5,6\n",
        }.items()
    )
    for tables, message in {
        (whole, short): f"{short}: Expected 3 rows, as {whole} has; got 2",
        (short, whole): f"{short}: Expected 3 rows, as {whole} has; got 2",
        (whole, less): f"{less}: Expected the columns of {whole}; got none named 'b'$",
        (less, whole): f"{less}: Expected the columns of {whole}; got none named 'b'$",
        (whole, other): f"{other}: Expected the columns of {whole}; got none named 'b', but 'c'",
        (whole, gap): f"{gap}: x_tilde: Expected finite numbers; got 1 NaN",
        (gap, whole): f"{gap}: x: Expected finite numbers; got 1 NaN",
    }.items():
        with pytest.raises(ValueError, match=f"^{message}"):
            load_pairs(*tables)


def test_bytes_that_are_no_table_are_refused(tmp_path: Path) -> None:
    (tmp_path / "bad.csv").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ValueError, match="Expected a CSV file; got bytes that are not UTF-8"):
        load_pairs(tmp_path / "bad.csv")
    (tmp_path / "bad.parquet").write_bytes(b"PAR1 no")
    with pytest.raises(ValueError, match="Expected a whole Parquet file; got an unreadable one"):
        load_pairs(tmp_path / "bad.parquet")
    with pytest.raises(ValueError, match=r"Expected a \.csv or \.parquet file; got the suffix '\.npz'"):
        load_pairs(written(tmp_path / "b.csv", "1\n2\n"), tmp_path / "a.npz")
    with pytest.raises(
        ValueError,
        match=r"Expected a \.csv or \.parquet file with x alone; got the suffix '\.npz'",
    ):
        load_pairs(tmp_path / "b.npz", tmp_path / "a.csv")
    with pytest.raises(
        ValueError, match=r"with one of the suffixes \.safetensors, \.npz, \.csv, \.parquet; got '\.txt'"
    ):
        save_pairs(tmp_path / "pairs.txt", small_data("linear"))


def test_a_column_of_words_in_a_frame_or_parquet_is_refused(tmp_path: Path) -> None:
    pd = pytest.importorskip("pandas")
    frame = pd.DataFrame({"a": [1.0, 2.0], "b": ["x", "y"], "a_tilde": [1.0, 3.0], "b_tilde": ["x", "y"]})
    with pytest.raises(ValueError, match="x: column 'b': Expected numbers; got"):
        load_pairs(frame)
    frame.to_parquet(tmp_path / "words.parquet")
    with pytest.raises(ValueError, match="column 'b': Expected numbers; got"):
        load_pairs(tmp_path / "words.parquet")
    pd.DataFrame({"a": [1.0, None], "a_tilde": [1.0, 2.0]}).to_parquet(tmp_path / "gaps.parquet")
    with pytest.raises(ValueError, match="row 1, column 'a': Expected a number; got"):
        load_pairs(tmp_path / "gaps.parquet")


def test_parquet_without_its_extra_names_the_extra(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(__import__("sys").modules, "pyarrow.parquet", None)
    with pytest.raises(ImportError, match=r"Expected the extra parquet for a Parquet file: pip install 'latent-causal"):
        load_pairs(written(tmp_path / "pairs.parquet", ""))


def test_every_command_takes_tables(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = small_data("linear", 1000)
    before, after, run = tmp_path / "before.csv", tmp_path / "after.csv", tmp_path / "run"
    for path, part in ((before, data.x), (after, data.x_tilde)):
        write_table(path, {"speed": part[:, 0], "height": part[:, 1]})
    assert "1,000 of shape (2,)" in called(capsys, "check", before, after)
    printed = called(capsys, "fit", before, after, "--out", run, "--model", "linear")
    assert "speed" in printed and "height" in (run / "report.md").read_text()
    for ending in ENDINGS:
        called(capsys, "encode", run, before, after, "--out", tmp_path / f"encoded{ending}")
        called(capsys, "sample", run, "--n", 20, "--out", tmp_path / f"sampled{ending}")
        acted = tmp_path / f"acted{ending}"
        called(capsys, "sample", run, "--from", before, after, "--do", "0=1", "--out", acted)
        np.testing.assert_allclose(load_pairs(acted).z_tilde[:, 0], 1.0)
    encoded = read_table(tmp_path / "encoded.csv")
    assert encoded.names[:4] == ("z0", "z1", "z0_tilde", "z1_tilde")
    assert encoded.names[-3:] == ("probability_none", "probability_z0", "probability_z1")
    scores = called(capsys, "evaluate", run, tmp_path / "acted.csv")
    assert "mcc" in scores
    line = refused(capsys, "encode", run, before, after, "--out", tmp_path / "encoded.txt")
    assert "Expected a .safetensors, .npz, .csv or .parquet file to write to; got the suffix '.txt'" in line


def test_the_numbers_that_pandas_writes_over_an_array_are_no_row(tmp_path: Path) -> None:
    rows = "".join(f"{k},{k + 1},{k + 3}\n" for k in range(4))
    for file, shift in (("a.csv", 0), ("b.csv", 1)):
        written(tmp_path / file, "0,1,2\n" + rows.replace("0,1,3", f"{shift},1,3"))
    data = load_pairs(tmp_path / "a.csv", tmp_path / "b.csv")
    assert data.x.shape == (4, 3) and data.x[0].tolist() == [0.0, 1.0, 3.0]


def test_a_heading_with_underscores_is_no_row_of_numbers(tmp_path: Path) -> None:
    written(tmp_path / "a.csv", "1_1,1_2\n0.5,1\n2,3\n")
    assert read_table(tmp_path / "a.csv").names == ("1_1", "1_2")


@pytest.mark.parametrize("third", ["z1", "z2"])
def test_columns_that_only_sound_like_the_truth_are_columns(third: str, tmp_path: Path) -> None:
    names = ("x1", "y1", third)
    head = ",".join([*names, *(f"{name}_tilde" for name in names)])
    written(tmp_path / "a.csv", f"{head}\n0,1,2,3,4,5\n1,3,5,3,4,7\n3,1,8,9,4,5\n")
    data = load_pairs(tmp_path / "a.csv")
    assert data.columns == names and data.z is None


def test_columns_that_may_be_the_truth_are_refused(tmp_path: Path) -> None:
    written(tmp_path / "a.csv", "x0,y0,z0,x0_tilde,y0_tilde,z0_tilde\n0,1,2,3,4,5\n1,3,2,3,4,7\n")
    with pytest.raises(
        ValueError, match=r"a\.csv: Expected z0, … beside noise0, … or target_z0, … .* got z0 beside x0"
    ):
        load_pairs(tmp_path / "a.csv")


@pytest.mark.parametrize("labels", [[10, 20, 30], [10, 20, 35], ["u", "v", "w"]])
def test_the_index_of_a_parquet_file_labels_the_rows(labels: list[Any], tmp_path: Path) -> None:
    pandas = pytest.importorskip("pandas")
    before = pandas.DataFrame({"a": [0.0, 1.0, 4.0], "b": [1.0, 5.0, 2.0], "time": labels}).set_index("time")
    after = (before + 0.5).iloc[::-1]
    before.to_parquet(tmp_path / "a.parquet")
    after.to_parquet(tmp_path / "b.parquet")
    data = load_pairs(tmp_path / "a.parquet", tmp_path / "b.parquet")
    assert data.columns == ("a", "b") == read_heading(tmp_path / "a.parquet").names
    np.testing.assert_allclose(data.x_tilde, data.x + 0.5)
    before.set_index("a", append=True).to_parquet(tmp_path / "c.parquet")
    with pytest.raises(ValueError, match=r"Expected rows with one label each; got an index of .*'a'"):
        read_table(tmp_path / "c.parquet")


@pytest.mark.parametrize(
    "noted",
    [
        b"no JSON",
        b"[]",
        b'{"index_columns": 3}',
        b'{"index_columns": [{"start": 5, "stop": 1e300, "step": 1}]}',
        b'{"index_columns": [{"start": 5, "stop": 5, "step": 0}]}',
    ],
)
def test_what_a_parquet_file_notes_of_pandas_need_not_make_sense(noted: bytes, tmp_path: Path) -> None:
    arrow, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    table = arrow.table({"a": [0.0, 1.0], "b": [2.0, 5.0]}).replace_schema_metadata({b"pandas": noted})
    parquet.write_table(table, tmp_path / "a.parquet")
    assert read_table(tmp_path / "a.parquet").names == ("a", "b")
