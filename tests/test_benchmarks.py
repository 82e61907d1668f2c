"""The benchmarks keep what they measure whole, compare it honestly, and refuse what cannot be compared."""

from __future__ import annotations

import json
import math
import re
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.image import imread
from scipy.stats import linregress, t

from benchmarks import __main__ as program
from benchmarks import machine, run
from benchmarks.compare import compare_records, ratio
from benchmarks.exponents import UNIT, with_exponents
from benchmarks.figure import draw_scaling, draw_scalings
from benchmarks.record import Record, new_record, read_record
from benchmarks.row import Label, Plan, Row, repeated, timed
from benchmarks.suites import MODULES, Case
from benchmarks.table import markdown, shown

PLAN = Plan(quick=True, repeats=2)


def row(values: list[float], unit: str = "s", case: str = "small", at: float | None = None) -> Row:
    return Label("jobs", case, None if at is None else "n", at).row("fit", unit, values)


def record_of(*rows: Row) -> Record:
    record = new_record(PLAN)
    record.add("jobs: small", rows, 1.0, 2.0)
    return record


def written(path: Path, *rows: Row, **machine: Any) -> Path:
    record = record_of(*rows)
    record.header["machine"] |= machine
    record.write(path)
    return path


def error_of(capsys: pytest.CaptureFixture[str], *argv: str) -> str:
    with pytest.raises(SystemExit) as stopped:
        program.main(argv)
    assert stopped.value.code == 2
    shown_error = capsys.readouterr().err
    assert shown_error.count("\n") == 1
    return shown_error


@pytest.fixture
def fake_suites(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Replace all suites by two cases, the second of which fails once; returns the names of those that were run."""
    ran: list[str] = []

    def first() -> list[Row]:
        ran.append("first")
        return [row([1.0, 2.0], case="first", at=at) for at in (1, 2)]

    def second() -> list[Row]:
        ran.append("second")
        if ran.count("second") == 1:
            raise ArithmeticError("went\nwrong")
        return [row([3.0], case="second")]

    def cases(suite: str, plan: Plan) -> dict[str, Case]:
        return {"first": first, "second": second}

    monkeypatch.setattr(run, "cases_of", cases)
    return ran


def test_the_first_value_is_not_counted() -> None:
    values = iter([100.0, 1.0, 2.0, 3.0])
    assert repeated(lambda: next(values), Plan(repeats=3)) == [1.0, 2.0, 3.0]


def test_no_repeat_begins_after_the_time_of_a_row() -> None:
    calls: list[int] = []
    assert len(timed(lambda: calls.append(1), Plan(repeats=5, row_seconds=0.0))) == 1
    assert len(calls) == 2


def test_a_row_holds_median_and_range() -> None:
    found = row([3.0, 1.0, 2.0])
    assert (found.median, found.min, found.max, found.repeats) == (2.0, 1.0, 3.0, 3)


@pytest.mark.parametrize(
    ("unit", "better"), [("s", "lower"), ("× the data", "lower"), ("pairs/s", "higher"), ("%", ""), ("calls", "")]
)
def test_a_unit_says_what_is_better(unit: str, better: str) -> None:
    assert row([1.0], unit).better == better


def test_a_row_survives_json() -> None:
    for each in (row([1.0, 2.0], at=4), Label("memory", "large").missing("peak", "MB", "not available")):
        assert Row.from_json(json.loads(json.dumps(each.to_json()))) == each


@pytest.mark.parametrize("value", [{"suite": "jobs"}, 3, None])
def test_what_is_no_row_is_refused(value: Any) -> None:
    with pytest.raises(ValueError, match=r"Expected a row with the keys suite, case, .*; got"):
        Row.from_json(value)


@pytest.mark.parametrize(
    ("value", "text"), [(None, "–"), (0.01234, "0.0123"), (12.34, "12.3"), (123456.0, "123,456"), (0.0, "0")]
)
def test_numbers_are_shown_to_three_digits(value: float | None, text: str) -> None:
    assert shown(value) == text


def test_a_machine_says_what_it_is() -> None:
    found = machine.machine()
    assert found["processor"]
    assert found["cores"] >= 1
    assert found["memory_bytes"] is None or found["memory_bytes"] > 2**20
    assert {"lcm", "python", "torch"} <= machine.versions().keys()


def test_outside_a_checkout_there_is_no_commit(tmp_path: Path) -> None:
    assert machine.commit(tmp_path) is None


def test_a_commit_says_whether_files_differ_from_it(tmp_path: Path) -> None:
    for name in ("code", "results"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "file").write_text("a")
    who = ["-c", "user.name=a", "-c", "user.email=a@b"]
    for command in (["init", "-q"], ["add", "."], [*who, "commit", "-qm", "a"]):
        subprocess.run(["git", *command], cwd=tmp_path, check=True)
    head = machine.commit(tmp_path)
    assert head is not None and len(head) == 40
    (tmp_path / "results" / "file").write_text("b")
    assert machine.commit(tmp_path) == f"{head}+changes" and machine.commit(tmp_path, "results") == head
    (tmp_path / "code" / "file").write_text("b")
    assert machine.commit(tmp_path, "results") == f"{head}+changes"


def test_a_record_is_read_back_as_it_was(tmp_path: Path) -> None:
    record = record_of(row([1.0, 2.0]), row([5.0], case="large", at=3))
    record.write(tmp_path / "a.json")
    read = read_record(tmp_path / "a.json")
    assert (read.header, read.rows, read.seconds) == (record.header, record.rows, record.seconds)


def test_a_record_says_where_and_with_what(tmp_path: Path) -> None:
    content = json.loads(written(tmp_path / "a.json", row([1.0])).read_text(encoding="utf-8"))
    assert {"date", "machine", "versions", "commit", "seeds", "settings", "rows"} <= content.keys()
    assert content["machine"]["threads"] == PLAN.threads


def test_the_markdown_holds_every_row() -> None:
    text = markdown(
        record_of(row([1.0]), row([1.0], case="large", at=30), Label("memory", "x").missing("p", "MB", "why"))
    )
    assert "### jobs" in text
    assert "| large, n = 30 | fit | 1 | 1–1 | s | 1 |  |" in text
    assert "| x | p | – | – | MB | 0 | why |" in text


def test_figures_are_drawn_of_what_is_varied(tmp_path: Path) -> None:
    varied = record_of(*(row([at / 2, at], at=at) for at in (2, 4, 30)), row([3.0], "steps/s", at=2))
    assert draw_scalings(record_of(row([1.0]), row([1.0], case="b")), tmp_path, "run") == []
    assert draw_scalings(varied, tmp_path, "run") == [tmp_path / "run-jobs.png"]
    assert (tmp_path / "run-jobs.png").read_bytes().startswith(b"\x89PNG")


def test_what_is_varied_in_two_ways_has_two_panels(tmp_path: Path) -> None:
    rows = [Label("growth", "case", axis, at).row("fit", "s", [at]) for axis in ("n", "pairs") for at in (2.0, 4.0)]
    for name, drawn in (("one", rows[:2]), ("two", rows)):
        draw_scaling(drawn, tmp_path / f"{name}.png")
    one, two = (imread(tmp_path / f"{name}.png").shape[1] for name in ("one", "two"))
    assert two == pytest.approx(2 * one, abs=2)


def test_a_power_law_has_its_exponent_and_no_width() -> None:
    line = [row([3.0 * at**1.7], at=at) for at in (2, 4, 10, 30)]
    rates = [row([5.0 / at**0.5], "steps/s", case="rate", at=at) for at in (10, 100, 1000)]
    others = [
        *(row([at], case="two points", at=at) for at in (1, 2)),
        row([1.0]),
        *(row([at], "MB", case="size", at=at) for at in (1, 2, 3)),
    ]
    found = with_exponents([*line, *rates, *others])
    assert found[:-2] == [*line, *rates, *others]
    for each, exponent, points in zip(found[-2:], (1.7, 0.5), (4, 3), strict=True):
        assert each.unit == UNIT and each.repeats == points and each.at is None
        assert [each.median, each.min, each.max] == pytest.approx([exponent] * 3)
    assert found[-2].quantity == "fit: growth of time with n" and found[-2].note.startswith("n from 2 to 30;")
    assert with_exponents(found) == found


def test_the_range_of_an_exponent_is_that_of_a_regression() -> None:
    at, seconds = np.array([2.0, 4.0, 8.0, 10.0, 30.0]), np.array([1.0, 3.0, 4.0, 9.0, 11.0])
    (found,) = with_exponents([row([s], at=a) for a, s in zip(at, seconds, strict=True)])[-1:]
    line = linregress(np.log(at), np.log(seconds))
    reach = t.ppf(0.975, 3) * line.stderr
    assert [found.median, found.min, found.max] == pytest.approx([line.slope, line.slope - reach, line.slope + reach])


def test_lines_with_long_names_leave_room_for_the_plot(tmp_path: Path) -> None:
    rows = [row([at], case=f"{name}, 10,000 pairs, 100 steps, batch 512", at=at) for at in (1, 16) for name in "abcdef"]
    other = [
        row([at], "× one model", case=f"{name}, 10,000 pairs, 100 steps", at=at) for at in (1, 16) for name in "ab"
    ]
    assert len(draw_scalings(record_of(*rows, *other), tmp_path, "run")) == 1


@pytest.mark.parametrize(
    ("unit", "a", "b", "verdict"),
    [
        ("s", [1.0, 2.0], [3.0, 4.0], "B worse"),
        ("s", [3.0, 4.0], [1.0, 2.0], "B better"),
        ("steps/s", [1.0, 2.0], [3.0, 4.0], "B better"),
        ("s", [1.0, 3.0], [3.0, 4.0], "overlap"),
        ("%", [1.0, 1.0], [2.0, 2.0], "differs"),
        ("s", [1.0], [2.0, 3.0], "no spread"),
    ],
)
def test_a_verdict_needs_ranges_that_do_not_meet(unit: str, a: list[float], b: list[float], verdict: str) -> None:
    assert ratio(row(a, unit), row(b, unit)).verdict == verdict


def test_a_ratio_has_the_range_of_all_repeats() -> None:
    found = ratio(row([1.0, 2.0, 4.0]), row([2.0, 6.0, 8.0]))
    assert found.value is not None and math.isclose(found.value, 3.0)
    assert (found.low, found.high) == (0.5, 8.0)


def test_what_was_not_measured_has_no_ratio() -> None:
    missing = Label("jobs", "small").missing("fit", "s", "no compiler")
    found = compare_records(record_of(row([1.0])), record_of(missing))
    assert [(each.value, each.verdict) for each in found] == [(None, "–")]


def test_a_run_compared_with_itself_overlaps(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = str(written(tmp_path / "a.json", row([1.0, 2.0])))
    assert program.main(["compare", path, path]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 2
    assert lines[1].split()[-1] == "overlap"


def test_what_one_run_lacks_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    a, b = written(tmp_path / "a.json", row([1.0])), written(tmp_path / "b.json", row([1.0]), row([2.0], case="large"))
    program.main(["compare", str(a), str(b)])
    assert "only in B: jobs (large)" in capsys.readouterr().out


@pytest.mark.parametrize("other", [{"processor": "another"}, {"threads": 7}, {"cores": 1000}])
def test_other_machines_are_refused_unless_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], other: dict[str, Any]
) -> None:
    a, b = str(written(tmp_path / "a.json", row([1.0]))), str(written(tmp_path / "b.json", row([2.0]), **other))
    message = error_of(capsys, "compare", a, b)
    assert f"{next(iter(other))}: Expected runs of one machine and number of threads; got" in message
    assert program.main(["compare", a, b, "--any-machine"]) == 0


def test_runs_without_common_figures_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    a, b = written(tmp_path / "a.json", row([1.0])), written(tmp_path / "b.json", row([1.0], case="large"))
    assert "Expected runs with figures in common; got none" in error_of(capsys, "compare", str(a), str(b))


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("{}", "Expected a run of the benchmarks of schema 2; got None"),
        ("[]", "Expected a run of the benchmarks of schema 2; got list"),
        ('{"schema": 2, "rows": [1]}', "Expected the rows of a run of the benchmarks; got: Expected a row"),
        ('{"schema": 2}', "Expected the rows of a run of the benchmarks; got"),
        ("{", "Expected JSON; got"),
    ],
)
def test_what_is_no_run_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], content: str, expected: str
) -> None:
    path = tmp_path / "a.json"
    path.write_text(content, encoding="utf-8")
    assert f"{path}: {expected}" in error_of(capsys, "table", str(path))


def test_a_file_that_is_not_there_is_an_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "Expected a file; got no such file" in error_of(capsys, "plot", str(tmp_path / "none.json"))


@pytest.mark.parametrize(
    ("argv", "expected"),
    [
        (["nonsense"], "SUITE: Expected some of quality, .*; got 'nonsense'"),
        (["--threads", "0"], "--threads: Expected 1 to .*; got 0"),
        (["--threads", "100000"], "--threads: Expected 1 to .*; got 100000"),
        (["--repeats", "0"], "--repeats: Expected at least 1; got 0"),
        (["--seed", "-1"], "--seed: Expected at least 0; got -1"),
        (["--resume"], "--resume: Expected --out FILE, the run to continue; got none"),
        (["--out", "run.txt"], r"run\.txt: Expected a file that ends in \.json; got the suffix '\.txt'"),
        (["--repeats", "many"], "argument --repeats: invalid int value"),
        (["compare"], "the following arguments are required: A, B"),
    ],
)
def test_bad_usage_is_one_line(capsys: pytest.CaptureFixture[str], argv: list[str], expected: str) -> None:
    assert re.search(expected, error_of(capsys, *argv))


def test_the_suites_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert program.main(["list"]) == 0
    assert capsys.readouterr().out.split() == list(MODULES)


def test_a_failed_case_leaves_a_row_and_is_run_again_when_resumed(tmp_path: Path, fake_suites: list[str]) -> None:
    out = tmp_path / "new" / "run.json"
    assert program.main(["jobs", "--quick", "--out", str(out)]) == 1
    failed = [each.note for each in read_record(out).rows if each.median is None]
    assert failed == ["failed: went wrong"]
    assert program.main(["jobs", "--quick", "--out", str(out), "--resume"]) == 0
    assert fake_suites == ["first", "second", "second"]
    assert [each.case for each in read_record(out).rows] == ["first", "first", "second"]
    assert {path.name for path in out.parent.iterdir()} == {"run.json", "run.md", "run-jobs.png"}


def test_a_run_is_neither_overwritten_nor_resumed_otherwise(
    tmp_path: Path, fake_suites: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    out = str(tmp_path / "run.json")
    program.main(["jobs", "--quick", "--out", out])
    assert "Expected a new file; got one that exists" in error_of(capsys, "jobs", "--quick", "--out", out)
    other = error_of(capsys, "jobs", "--quick", "--out", out, "--resume", "--seed", "3")
    assert "seeds: Expected {'nature': 3, 'pairs': 3, 'fit': 3} to resume; got {'nature': 0" in other


def test_rows_of_a_case_are_replaced_not_doubled() -> None:
    record = record_of(row([1.0]), row([2.0], case="large"))
    record.add("jobs: small", [row([9.0])], 1.0, 2.0)
    assert [(each.case, each.median) for each in record.rows] == [("large", 2.0), ("small", 9.0)]
