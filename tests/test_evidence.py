"""The pipeline of evidence: what it depends on, what it keeps, and that the documents say what results/ has."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from evidence import runner
from evidence.confirm import confirm
from evidence.dependencies import DRAWN, dependencies, digest
from evidence.fill import documents, filled_text
from evidence.parts import FAMILY_HOURS, PARTS, Part, named, one_of_each
from evidence.runner import RECORD, Place, run
from evidence.status import status_text
from evidence.tables import NATURES, TABLES
from evidence.typed import typed_figures
from experiments.families import FAMILIES

ROOT = Path(__file__).parent.parent
TYPED = {
    "README.md": 7,
    "docs/benchmarks.md": 14,
    "docs/certificate.md": 16,
    "docs/chambers.md": 3,
    "docs/disentanglement-peers.md": 12,
    "docs/explicit-models.md": 5,
    "docs/explorer.md": 8,
    "docs/families.md": 27,
    "docs/geometry.md": 4,
    "docs/graph-search.md": 1,
    "docs/howto/noise.md": 2,
    "docs/identifiability.md": 32,
    "docs/ilcm-vae.md": 11,
    "docs/images-import.md": 4,
    "docs/images.md": 6,
    "docs/instruments.md": 6,
    "docs/intervals.md": 8,
    "docs/method.md": 20,
    "docs/models.md": 1,
    "docs/pages.md": 2,
    "docs/paper.md": 7,
    "docs/plan.md": 20,
    "docs/readout.md": 43,
    "docs/reliability.md": 6,
    "docs/scores.md": 16,
    "docs/sweeps.md": 2,
    "docs/theory.md": 1,
    "docs/unpaired.md": 2,
}
"""Figures of each document that no marker fills: all of README are settings, as are many of the others."""


def project(folder: Path, **files: str) -> Path:
    """A small project with modules whose names have __ for a dot."""
    for name, text in files.items():
        path = folder.joinpath(*name.split("__")).with_suffix(".py")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder


SMALL = {
    "experiments__one": "from lcm.a import f\n",
    "lcm__a": "def f():\n    '''Text.'''\n    from lcm.late import g\n    return g, 'lcm.named:g'\n",
    "lcm__late": "from .beside import x\n",
    "lcm__beside": "x = 1\n",
    "lcm__named": "y = 1\n",
    "lcm__typed": "t = 1\n",
    "lcm__other": "o = 1\n",
    "lcm__report": "r = 1\n",
}


def test_imports_are_followed_wherever_they_stand(tmp_path: Path) -> None:
    typed = "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import lcm.typed\nimport lcm.report\n"
    root = project(tmp_path, **SMALL | {"lcm__beside": typed})
    found = dependencies(root, "experiments.one")
    assert set(found) == {"experiments.one", "lcm.a", "lcm.late", "lcm.beside", "lcm.named"}


@pytest.mark.parametrize(
    ("module", "text", "stale"),
    [
        ("lcm__beside", "x = 2\n", True),
        ("lcm__named", "y = 2\n", True),
        ("lcm__a", SMALL["lcm__a"].replace("Text.", "Other text."), False),
        ("lcm__beside", "x  =  1  # why\n", False),
        ("lcm__other", "o = 2\n", False),
        ("lcm__report", "r = 2\n", False),
        ("experiments__one", "from lcm.a import f\nf()\n", True),
    ],
)
def test_a_result_is_stale_where_its_code_changed_and_nowhere_else(
    module: str, text: str, stale: bool, tmp_path: Path
) -> None:
    before, after = project(tmp_path / "before", **SMALL), project(tmp_path / "after", **SMALL | {module: text})
    assert (digest(before, "one", ()) != digest(after, "one", ())) == stale


def test_options_and_configs_count(tmp_path: Path) -> None:
    root = project(tmp_path, **SMALL)
    found = digest(root, "one", ("--seeds", "1"))
    assert found == digest(root, "one", ("--seeds", "1")) != digest(root, "one", ("--seeds", "2"))
    (root / "paper_configs").mkdir()
    (root / "paper_configs" / "new.yaml").write_text("n: 2\n")
    assert digest(root, "one", ("--seeds", "1")) != found


def test_all_that_an_experiment_imports_is_among_its_dependencies(tmp_path: Path) -> None:
    code = (
        "import sys\nfrom experiments import toy2d\n"
        f"toy2d.main(['--quick', '--steps', '3', '--pairs', '400', '--quiet', '--out', {str(tmp_path)!r}])\n"
        "print(*(name for name in sys.modules if name.partition('.')[0] in ('lcm', 'experiments')))"
    )
    printed = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    loaded = {name for name in printed.split() if not name.startswith(DRAWN)}
    # the last two are taken by reports alone
    others = {"experiments", "lcm.run.certificate_text", "lcm.run.columns"}
    assert loaded - set(dependencies(ROOT, "experiments.toy2d")) <= others and "lcm.learn.flow" in loaded


def test_every_part_is_an_experiment_with_a_folder_of_its_own() -> None:
    names = [part.name for part in PARTS]
    assert len(set(names)) == len(names)
    assert all((ROOT / "experiments" / f"{part.experiment}.py").is_file() for part in PARTS)
    assert set(FAMILY_HOURS) == set(FAMILIES) == set(NATURES)


@pytest.mark.parametrize("part", PARTS, ids=lambda part: part.name)
def test_the_options_of_a_part_are_those_of_its_experiment(part: Part, capsys: pytest.CaptureFixture[str]) -> None:
    main = import_module(f"experiments.{part.experiment}").main
    # a wrong option or value before it ends with 2
    with pytest.raises(SystemExit, match=r"^0$"):
        main([*part.options, *part.sample, "--help"])
    assert "--out" in (text := capsys.readouterr().out) and "--quick" in text


def test_figures_that_documents_show_are_kept() -> None:
    shown = {
        name
        for path in documents(ROOT)
        for name in re.findall(r"results/([\w/-]+/[\w-]+)\.png", path.read_text(encoding="utf-8"))
    }
    made = {f"{part.name}/{name}" for part in PARTS for name in part.figures}
    own = {name for name in shown if name.rpartition("/")[0] in {part.name for part in PARTS}}
    # the others are written beside results.json
    assert own - made == {
        "calibration/calibration",
        "false_discoveries/false_discoveries",
        "plan/plan",
        "unpaired/unpaired",
    }
    assert made <= shown


def test_parts_are_named_by_themselves_or_by_their_folder() -> None:
    assert [part.name for part in named(["toy2d"])] == ["toy2d"]
    assert len(named(["families"])) == len(FAMILY_HOURS) and named([]) == PARTS
    each = one_of_each(PARTS)
    assert {part.experiment for part in PARTS} == {part.experiment for part in each} and len(each) < len(PARTS)
    assert each[0] == PARTS[0] and len({part.experiment for part in each}) == len(each)
    with pytest.raises(ValueError, match=r"Expected a part of evidence/parts\.py; got 'nothing'\. Parts: families, "):
        named(["nothing"])


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    """A part whose experiment takes no time: a Python that writes its results, and fails where told."""
    python = tmp_path / "python"
    python.write_text(
        '#!/bin/sh\nfor last; do :; done\n[ -e "$last/fail" ] && exit 3\n'
        'echo \'{"cells": [{"mcc": 0.5}]}\' > "$last/results.json"; echo > "$last/large.bin"\n'
        'mkdir -p "$last/figures"; for name in one two; do echo > "$last/figures/$name.png"; done\n'
    )
    python.chmod(0o755)
    monkeypatch.setattr(runner.sys, "executable", str(python))
    part = Part("one", "one", ("--seeds", "1"), 0.5, ("two",), sample=("--seeds", "0"))
    return Place(project(tmp_path / "project", **SMALL), part)


def with_other_code(place: Place) -> Place:
    """The same part after a change of a module that it imports."""
    project(place.root, lcm__beside="x = 3\n")
    runner_cache_cleared()
    return Place(place.root, place.part)


def writes(place: Place, text: str) -> None:
    """From now on, the experiment has these results."""
    python = Path(runner.sys.executable)
    python.write_text(f"#!/bin/sh\nfor last; do :; done\necho '{text}' > \"$last/results.json\"\n")


def test_a_part_is_missing_then_fresh_then_stale(place: Place) -> None:
    assert place.state() == "missing" and "about 0.5 hours of CPU; 0.5 of them" in status_text([place])
    assert run(place)
    assert place.state() == "fresh" and "0.0 of them are to be run" in status_text([place])
    assert {path.name for path in place.results.iterdir()} == {"results.json", "two.png", RECORD}
    record = json.loads((place.results / RECORD).read_text())
    assert record["command"] == "OMP_NUM_THREADS=1 lcm reproduce one -- --seeds 1" and record["code"] == place.code
    keys = {"command", "code", "commit", "versions", "machine", "wall_seconds", "cpu_seconds", "sessions"}
    assert set(record) == keys and set(record["sessions"][0]) >= {"started", "load_before", "load_after", "exit"}
    assert with_other_code(place).state() == "stale"


def test_a_sample_that_is_equal_but_for_times_and_rounding_confirms_a_stale_part(place: Place) -> None:
    writes(place, '{"cells": [{"mcc": 0.5, "fit_seconds": 3.0}, {"mcc": 0.7, "each": [0.7], "fit_seconds": 3.0}]}')
    assert run(place)
    kept = (place.results / "results.json").read_bytes()
    writes(place, '{"cells": [{"mcc": 0.70001, "each": [0.70001], "fit_seconds": 4.0}]}')
    changed = with_other_code(place)
    assert confirm(changed) is None
    assert changed.state() == "confirmed" and "0.0 of them are to be run" in status_text([changed])
    assert (place.results / "results.json").read_bytes() == kept
    said = json.loads((place.results / RECORD).read_text())["confirmed"]
    assert (said["cells"], said["of"], said["sample"], said["session"]["exit"]) == (1, 2, "--seeds 0", 0)
    # the results of before are of neither code any more
    project(place.root, lcm__beside="x = 4\n")
    runner_cache_cleared()
    assert Place(place.root, place.part).state() == "stale"


@pytest.mark.parametrize(
    ("again", "why"),
    [
        (
            '{"cells": [{"seed": 0, "mcc": 0.5}, {"seed": 1, "mcc": 0.6}]}',
            "another result .* mcc is 0.6 in place of 0.7",
        ),
        ('{"cells": [{"seed": 0, "mcc": 0.5, "more": 1}]}', "another result .* more is 1 in place of None"),
        ('{"cells": [{"seed": 1, "mcc": 0.7003}]}', "another result .* mcc is 0.7003 in place of 0.7"),
        ('{"cells": []}', "the sample has no cells"),
    ],
)
def test_a_sample_with_another_result_leaves_a_part_stale(place: Place, again: str, why: str) -> None:
    writes(place, '{"cells": [{"seed": 0, "mcc": 0.5}, {"seed": 1, "mcc": 0.7}]}')
    assert run(place)
    writes(place, again)
    changed = with_other_code(place)
    assert re.search(why, confirm(changed) or "")
    assert changed.state() == "stale"


def test_what_cannot_be_confirmed_says_why(place: Place) -> None:
    assert "that the pipeline has not made" in str(confirm(place))
    assert run(place)
    assert "without a sample" in str(confirm(replace(place, part=replace(place.part, sample=()))))
    changed = with_other_code(place)
    failing = place.root / "runs" / "evidence-confirm" / changed.work.name / "fail"
    failing.parent.mkdir(parents=True)
    failing.touch()
    assert "the sample failed, see " in str(confirm(changed)) and changed.state() == "stale"


def runner_cache_cleared() -> None:
    """A process reads each file once; here it has changed since."""
    from evidence import dependencies as module

    module._without_texts.cache_clear()
    module._imported.cache_clear()


def test_a_part_that_failed_keeps_what_was_there_and_counts_its_time(place: Place) -> None:
    assert run(place)
    before = (place.results / RECORD).read_bytes()
    (place.work / "fail").touch()
    assert not run(place) and (place.results / RECORD).read_bytes() == before
    (place.work / "fail").unlink()
    assert run(place)
    record = json.loads((place.results / RECORD).read_text())
    assert [session["exit"] for session in record["sessions"]] == [0, 3, 0]


def test_a_quick_part_leaves_results_as_they_are(place: Place) -> None:
    quick = Place(place.root, place.part, quick=True)
    assert run(quick) and not quick.results.exists() and quick.work != place.work
    assert "--quick" in quick.command


def test_results_from_before_the_pipeline_are_old_and_replaced_without_their_neighbours(place: Place) -> None:
    (place.results / "inner").mkdir(parents=True)
    (place.results / "results.md").touch()
    assert place.state() == "old"
    assert run(place)
    assert {path.name for path in place.results.iterdir()} == {"inner", "results.json", "two.png", RECORD}


@pytest.mark.parametrize("path", documents(ROOT), ids=lambda path: path.name)
def test_documents_say_what_results_have(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert filled_text(ROOT, text) == text, "python -m evidence --fill"


def stored(root: Path, content: Any) -> Path:
    (root / "results").mkdir(exist_ok=True)
    (root / "results" / "a.json").write_text(json.dumps(content))
    return root


def test_numbers_are_filled_by_path_sum_and_format(tmp_path: Path) -> None:
    kinds = (("a", "x", 0.5), ("b", "y", 0.75), ("c", "x", 0.875))
    cells = [{"name": name, "kind": kind, "mcc": mcc} for name, kind, mcc in kinds]
    root = stored(tmp_path, {"cells": cells, "share": {"a": 0.01}})
    for marker, value in {
        "cells.1.mcc .3f": "0.750",
        "cells.*.mcc median .2f": "0.75",
        "cells.*.mcc min .1f": "0.5",
        "cells.*.mcc count d": "3",
        "share.*.. .1f": None,
        "share.a .1%": "1.0%",
        "cells.mcc=0.75.mcc .2f": None,
        "cells.name=b.mcc .2f": "0.75",
        "cells.name=b,name=b.mcc .2f": "0.75",
        "cells.name=b,name=c.mcc .2f": None,
        "cells.*kind=x.mcc sum .3f": "1.375",
        "cells.*kind=x,name=a.mcc count d": "1",
        "cells.kind=x.mcc sum .3f": None,
        "cells.*kind=z.mcc .3f": None,
    }.items():
        text = f"It is <!-- =results/a.json {marker} -->old<!-- = -->."
        if value is None:
            with pytest.raises(ValueError, match=r"results/a\.json: Expected a number at "):
                filled_text(root, text)
        else:
            assert filled_text(root, text) == text.replace("old", value)


@pytest.mark.parametrize(
    "marker", ["cells.9.mcc .3f", "cells.mcc=3.mcc .3f", "cells.*.mcc .3f", "cells.0.mcc median d", "other .3f"]
)
def test_a_marker_of_what_is_not_there_is_an_error(marker: str, tmp_path: Path) -> None:
    root = stored(tmp_path, {"cells": [{"mcc": 0.5}, {"mcc": 0.75}]})
    with pytest.raises(ValueError, match=r"results/a\.json: Expected a number at "):
        filled_text(root, f"<!-- =results/a.json {marker} -->1<!-- = -->")


def test_tables_are_filled_and_unknown_ones_refused() -> None:
    text = "<!-- evidence: budget -->\nold\n<!-- end of evidence -->"
    filled = filled_text(ROOT, text)
    assert "| all | " in filled and "old" not in filled and filled_text(ROOT, filled) == filled
    with pytest.raises(ValueError, match=r"Expected a table of evidence/tables\.py; got 'none'"):
        filled_text(ROOT, text.replace("budget", "none"))
    options = {
        "summary": ["paper/toy2d", "model", "mcc:3"],
        "pivot": ["paper/scaling", "n", "model", "mcc:3", "n=2,4"],
        "joined": ["paper/wrong-targets", "family,fitted", "model", "mcc:3,shd"],
    }
    listed = {"rows": ["intervals", "records"], "grouped": ["intervals", "records", "kind,pairs"]}
    listed |= {"crossed": ["intervals", "records", "kind", "pairs"]}
    options |= {name: [*texts, "coverage:3"] for name, texts in listed.items()} | {"certificate": ["power"]}
    assert all(TABLES[name](ROOT, options.get(name, [])).startswith("| ") for name in TABLES)


def test_a_summary_becomes_rows_or_a_table_of_two_keys(tmp_path: Path) -> None:
    rows = [
        {"n": 2, "model": "flow", "mcc": {"median": 0.5, "min": 0.25, "max": 0.75}, "shd": {"true": 1, "of": 3}},
        {"n": 2, "model": "dvae", "mcc": {"median": 0.5, "min": 0.5001, "max": 0.5}, "shd": None},
        {"n": 4, "model": "flow", "mcc": 0.25, "shd": {"true": 0, "of": 3}},
    ]
    (tmp_path / "results" / "x").mkdir(parents=True)
    (tmp_path / "results" / "x" / "results.json").write_text(json.dumps({"summary": rows}))
    told = TABLES["summary"](tmp_path, ["x", "n,model", "mcc:2,shd", "n=2"]).splitlines()
    assert told[0] == "| n | model | MCC | SHD |"
    assert told[2:] == ["| 2 | flow | 0.50 (0.25–0.75) | 1 of 3 |", "| 2 | dvae | 0.50 | – |"]
    table = TABLES["pivot"](tmp_path, ["x/results.json", "n", "model", "mcc:2"]).splitlines()
    assert [table[0], *table[2:]] == ["| n | flow | dvae |", "| 2 | 0.50 (0.25–0.75) | 0.50 |", "| 4 | 0.25 | – |"]
    with pytest.raises(ValueError, match="Expected rows of results/x with n=9; got none"):
        TABLES["summary"](tmp_path, ["x", "n", "mcc:2", "n=9"])


def test_scores_are_joined_in_an_entry_and_wrong_edges_are_told_for_each_seed(tmp_path: Path) -> None:
    rows = [
        {"n": 2, "method": "pc", "mcc": 0.5, "shd": 1, "seconds_truth": 0.25},
        {"n": 4, "method": "ges", "mcc": 0.75, "shd": 0, "seconds_truth": 0.25},
    ]
    cells = [{"n": 2, "method": "pc", "shd_truth": seed, "shd_flow": 7} for seed in (0, 3)]
    (tmp_path / "results" / "x").mkdir(parents=True)
    (tmp_path / "results" / "x" / "results.json").write_text(json.dumps({"summary": rows, "cells": cells}))
    table = TABLES["joined"](tmp_path, ["x", "n", "method", "mcc:2,shd"]).splitlines()
    assert [table[0], *table[2:]] == ["| n | pc | ges |", "| 2 | 0.50 · 1 | – |", "| 4 | – | 0.75 · 0 |"]
    assert "| 2 | `pc` | 0, 3 | 7, 7 | –, – | –, – | 0.2 |" in TABLES["searches"](tmp_path, ["x"])


def test_typed_figures_are_numbers_with_decimals_and_shares() -> None:
    found = "0.5, 12.25 s, 3 %, 1,000.5 and −0.3, −0.1 to 99.9 %"
    assert typed_figures(found) == ["0.5", "12.25", "3 %", "1,000.5", "−0.3", "−0.1", "99.9 %"]
    markers = "<!-- =results/a.json b .1f -->0.5<!-- = --> <!-- evidence: budget -->\n\n0.5\n<!-- end of evidence -->"
    others = "`0.5` [a](b-0.5.md) ```\n0.5\n``` § 4.2 v1.2.3 section-3.1 $0.5$ https://a.b/0.5 2 of 3, 100 pairs"
    assert typed_figures(markers + others) == []


@pytest.mark.parametrize("path", documents(ROOT), ids=lambda path: str(path.relative_to(ROOT)))
def test_figures_without_a_source_are_counted(path: Path) -> None:
    """Settings and bars are typed, measurements should not be: fill more of them, and write the smaller number here."""
    name = str(path.relative_to(ROOT))
    assert len(typed_figures(path.read_text(encoding="utf-8"))) == TYPED.get(name, 0), name
