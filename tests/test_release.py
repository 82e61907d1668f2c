"""What is released: the version is said once, requirements agree everywhere, and archives hold what they should."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from pathlib import Path
from typing import Any

import pytest
import yaml

import lcm
from release.contents import (
    MOST_BYTES,
    expected_in_sdist,
    expected_in_wheel,
    require_contents,
    sdist_files,
    source_files,
    wheel_files,
)
from release.steps import blocks, commands, run

ROOT = Path(__file__).parent.parent
PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
CONDA_NAMES = {"torch": "pytorch", "matplotlib": "matplotlib-base"}
TRIED_PYTHONS = {"3.11"}


def read_yaml(name: str) -> Any:
    return yaml.safe_load((ROOT / name).read_text(encoding="utf-8"))


def test_the_citation_is_that_of_this_version() -> None:
    citation = read_yaml("CITATION.cff")
    assert {"cff-version", "message", "title", "authors", "version", "date-released", "license"} <= citation.keys()
    assert citation["version"] == lcm.__version__ and citation["license"] == PROJECT["license"]
    changelog = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    assert re.findall(r"^## \[(.+)\] - (.+)$", changelog, flags=re.MULTILINE)[0] == (
        citation["version"],
        citation["date-released"],
    )


def test_the_conda_recipe_asks_for_what_the_package_asks_for() -> None:
    recipe = read_yaml("conda/meta.yaml")
    assert recipe["package"] == {"name": PROJECT["name"], "version": lcm.__version__}
    assert recipe["build"]["entry_points"] == [f"lcm = {PROJECT['scripts']['lcm']}"]
    asked = {}
    for requirement in PROJECT["dependencies"]:
        name, version = re.fullmatch(r"([\w-]+)([=>].+)", requirement).groups()  # type: ignore[union-attr]
        asked[CONDA_NAMES.get(name, name)] = version
    assert dict(line.split() for line in recipe["requirements"]["run"]) == asked | {
        "python": PROJECT["requires-python"]
    }


def test_pythons_are_claimed_only_where_they_were_tried() -> None:
    claimed = {line.rpartition(" ")[2] for line in PROJECT["classifiers"] if re.search(r"Python :: 3\.\d+$", line)}
    assert claimed == TRIED_PYTHONS


@pytest.mark.parametrize("name", [".github/workflows/check.yml", "Dockerfile"])
def test_files_for_other_machines_name_targets_that_there_are(name: str) -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), flags=re.MULTILINE))
    text = (ROOT / name).read_text(encoding="utf-8").replace('["make", "', "make ")
    named = set(re.findall(r"^(?:RUN|CMD| +- run:).*\bmake ([a-z-]+)", text, flags=re.MULTILINE))
    assert named and named <= targets
    if name.endswith(".yml"):
        assert {"lint", "types", "test", "release-check"} <= named
        assert read_yaml(name)["jobs"]["tests"]["strategy"]["matrix"]["python"] == ["3.11", "3.12", "3.13"]


def test_the_build_makes_what_is_shipped(tmp_path: Path) -> None:
    pytest.importorskip("setuptools")
    words = ["egg_info", "--egg-base", str(tmp_path), "build", "--build-base", str(tmp_path / "build")]
    run([sys.executable, "setup.py", "-q", *words, "--build-lib", str(tmp_path / "lib")], ROOT)
    built = {path.relative_to(tmp_path / "lib").as_posix() for path in (tmp_path / "lib").rglob("*") if path.is_file()}
    assert built == expected_in_wheel(ROOT)
    assert not any(path.startswith(("tests", "results", "docs")) for path in built | expected_in_sdist(ROOT))
    code = "import lcm; from lcm.app.commands.common import source_root; print(source_root())"
    place = Path(run([sys.executable, "-c", code], tmp_path / "lib").strip())
    assert (place / "paper_configs" / "toy2d.yaml").is_file()
    # an experiment that is shipped needs what it imports
    names = [path.stem for path in (place / "experiments").glob("[a-z]*.py")]
    assert names and {"demo", "toy2d"} <= set(names)
    run([sys.executable, "-c", "".join(f"import experiments.{name}\n" for name in names)], place)


def test_archives_that_hold_something_else_are_refused(tmp_path: Path) -> None:
    wheel, sdist = tmp_path / "a.whl", tmp_path / "a.tar.gz"
    (tmp_path / "file").write_bytes(b"x")
    with zipfile.ZipFile(wheel, "w") as archive:
        for name in ("lcm/a.py", "lcm-1.dist-info/RECORD"):
            archive.write(tmp_path / "file", name)
    with tarfile.open(sdist, "w:gz") as tar:
        for name in ("lcm-1/setup.py", "lcm-1/tests/test_a.py", "lcm-1/lcm.egg-info/SOURCES.txt"):
            tar.add(tmp_path / "file", name)
    assert wheel_files(wheel) == {"lcm/a.py"} and sdist_files(sdist) == {"setup.py", "tests/test_a.py"}
    require_contents(wheel, wheel_files(wheel), {"lcm/a.py"})
    message = r"a.tar.gz: Expected the shipped files; got none of \['b.py'\] and also \['tests/test_a.py'\]"
    with pytest.raises(ValueError, match=message):
        require_contents(sdist, sdist_files(sdist), {"setup.py", "b.py"})
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("lcm/a.py", bytes(MOST_BYTES))
    with pytest.raises(ValueError, match=r"a.whl: Expected at most 1,000,000 bytes; got 1,000,1\d\d"):
        require_contents(wheel, wheel_files(wheel), {"lcm/a.py"})


def test_what_is_shipped_is_in_the_repository() -> None:
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True)
    if listed.returncode:
        pytest.skip("no git here")
    assert source_files(ROOT) <= set(listed.stdout.splitlines())


def test_a_program_that_fails_ends_the_check(tmp_path: Path) -> None:
    assert run([sys.executable, "-c", "print(1)"], tmp_path) == "1\n"
    with pytest.raises(ValueError, match=r"-c 'exit\(3\)': Expected exit code 0; got 3"):
        run([sys.executable, "-c", "exit(3)"], tmp_path)


def test_the_check_runs_what_the_readme_says() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert len(blocks(text, "python")) == 1
    assert [words[:2] for words in commands(text)] == [["lcm", "fit"], ["lcm", "encode"]]


def test_the_readme_quotes_the_last_check() -> None:
    record = json.loads((ROOT / "results" / "release" / "release.json").read_text(encoding="utf-8"))
    megabytes = {key: f"{record[key] / 1e6:,.0f} MB" for key in ("installed_bytes", "torch_bytes")}
    quoted = (
        f"The wheel has {record['wheel_bytes'] / 1e6:.1f} MB. In an empty environment, `pip install` took "
        f"{record['seconds']['install']:.0f} s and {megabytes['installed_bytes']}, {megabytes['torch_bytes']} of them"
    )
    assert quoted in " ".join((ROOT / "README.md").read_text(encoding="utf-8").split())
